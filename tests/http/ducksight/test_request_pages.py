"""Pages of requests: nothing that came from a client is markup, whatever it is and wherever it is shown."""

import itertools
from html.parser import HTMLParser

import pytest

from duck.http.ducksight.curl import curl
from duck.http.ducksight.inspection import is_wanted
from duck.http.ducksight.recorder import Recorder
from duck.http.ducksight.report import SHORT_TEXT, details, summary
from duck.http.ducksight.request_pages import POLICY, list_page, request_page
from duck.net.measure import Measure
from duck.testing import record_exchange
from duck.wire.head import ResponseHead

EVIL = "\"><script>evil()</script><img src=x onerror=evil()>'--><svg onload=evil()>{{7*7}}"

_WANTED = {"path": "", "method": "", "status": "", "files": False}


class Markup(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def recorded(*, body=b"", answer=b"", kind=b"text/plain", answer_kind=b"text/plain", error=None, **request):
    recorder = Recorder(10, itertools.count(1).__next__, lambda: 1.0, lambda: 1_700_000_000.0)
    fields = [*request.pop("fields", ()), (b"Content-Type", kind)]
    exchange, _ = record_exchange(content_length=len(body) or 0, fields=fields, **request)
    recorder.begin(exchange)
    (recording,) = recorder.recordings()
    recording.body.add(body)
    recording.body.ended = True
    exchange.error = error
    exchange.response.answer(ResponseHead(200, [(b"X-Evil", EVIL.encode()), (b"Content-Type", answer_kind)]), answer)
    return recording


def pages(recording):
    told = details(recording, 1.0)
    return (
        list_page([summary(recording, 1.0)], {**_WANTED, "path": EVIL}, 10),
        request_page(told, curl(recording), "the proof"),
    )


def check(page):
    """Only what Duck wrote is markup, and nothing in it could run."""
    markup = Markup(page)
    scripts = [attributes for tag, attributes in markup.elements if tag == "script"]
    assert scripts == [{"defer": None, "src": "/.duck/requests/page.js"}]
    for tag, attributes in markup.elements:
        assert tag not in ("img", "iframe", "object", "style", "base"), tag
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style", (tag, name)
            if name in ("href", "src", "action"):
                assert value.startswith(("/.duck/requests", "#")), value
    return markup


FORM = b"name=" + EVIL.replace("&", "%26").encode() + b"&" + EVIL.replace("=", "%3D").encode() + b"=x"
PART = b'--xx\r\nContent-Disposition: form-data; name="a\'<script>"; filename="<script>"\r\n\r\nx\r\n--xx--'


@pytest.mark.parametrize(
    "recording",
    [
        recorded(target=b"/" + EVIL.encode(), method=b"GET<script>"),
        recorded(fields=[(b"X-Evil", EVIL.encode()), (b"Cookie", EVIL.encode() + b"=" + EVIL.encode())]),
        recorded(method=b"POST", body=EVIL.encode(), answer=EVIL.encode(), answer_kind=b"text/html"),
        recorded(method=b"POST", body=FORM, kind=b"application/x-www-form-urlencoded"),
        recorded(method=b"POST", body=PART, kind=b"multipart/form-data; boundary=xx"),
        recorded(answer=b'{"a<script>": "x", "b": [1, null, "</pre>"]}', answer_kind=b"application/json"),
        recorded(answer=b'{"a": "</pre><script>evil()</script>"}', answer_kind=b"application/json"),
        recorded(answer=b"x", answer_kind=b"text/<script>evil()</script>"),
        recorded(answer=b"\xff\xfe\xed\xa0\x80", answer_kind=b"text/html"),
        recorded(error=ValueError(EVIL)),
    ],
    ids=range(10),
)
def test_what_comes_from_clients_is_text(recording):
    for page in pages(recording):
        check(page.encode("utf-8", "backslashreplace").decode())


def test_the_policy_lets_nothing_run_but_the_pages_own_script():
    said = dict(part.strip().split(b" ", 1) for part in POLICY.split(b";"))
    assert said[b"default-src"] == b"'none'"
    assert said[b"script-src"] == said[b"style-src"] == said[b"form-action"] == b"'self'"
    assert b"unsafe" not in POLICY


def test_all_of_a_request_is_on_its_page():
    recording = recorded(
        method=b"POST",
        target=b"/shop?item=7&token=abc",
        fields=[(b"Cookie", b"sessionid=geheim; theme=dark")],
        kind=b"application/x-www-form-urlencoded",
        body=b"amount=3&password=geheim",
        answer=b'{"total": 21.5}',
        answer_kind=b"application/json",
    )
    recording.measure = Measure(4, 0.002, 0.001, 0.01)
    (listed, shown) = pages(recording)
    text = check(shown).text
    for part in ("POST", "/shop?item=7&token=(hidden)", "theme=(hidden)", "amount", '"total"', "21.5", "4 queries"):
        assert part in text, part
    assert "geheim" not in shown and "geheim" not in listed and "abc" not in shown + listed
    assert 'name="proof" value="the proof"' in shown
    for part in ("Front", "Wait", "Django", "Database", "Templates", "Send"):
        assert part in text
    assert "4 in 2.0 ms" in Markup(listed).text


def test_what_cannot_be_sent_again_has_no_button():
    recording = recorded(method=b"POST", body=b"x")
    recording.body.ended = False
    shown = request_page(details(recording, 1.0), "", "the proof")
    assert "<form" not in shown and "the proof" not in shown
    assert "was not read to its end" in shown


def test_an_exchange_that_has_no_answer_yet():
    recorder = Recorder(10, itertools.count(1).__next__, lambda: 1.0, lambda: 0.0)
    exchange, _ = record_exchange()
    recorder.begin(exchange)
    (recording,) = recorder.recordings()
    told = details(recording, 1.0)
    assert (told["status"], told["state"], told["answer"]["fields"]) == (None, "waiting", [])
    assert "waiting" in check(request_page(told, curl(recording), "")).text


def test_an_empty_list_says_why_it_is_so():
    assert "No request yet" in list_page([], _WANTED, 10)
    assert "No request is like that" in list_page([], {**_WANTED, "status": "5"}, 10)


def test_a_reply_over_the_control_socket_stays_within_its_bound():
    import json

    from duck.services.ipc import MAX_UNSENT_BYTES

    text = "\u20ac".encode() * 200_000
    recording = recorded(method=b"POST", body=text, answer=text)
    assert len(json.dumps(details(recording, 1.0, SHORT_TEXT))) < MAX_UNSENT_BYTES


ROW = {
    "id": 7,
    "file": False,
    "target": "/Api/x?b",
    "method": "GET",
    "status": 404,
    "state": "done",
    "error": "",
}


@pytest.mark.parametrize(
    ("row", "wanted", "expected"),
    [
        ({}, {}, True),
        ({}, {"path": "api"}, True),
        ({}, {"path": "other"}, False),
        ({}, {"method": "get"}, True),
        ({}, {"method": "POST"}, False),
        ({}, {"status": "4"}, True),
        ({}, {"status": "404"}, True),
        ({}, {"status": "5"}, False),
        ({}, {"status": "x"}, False),
        ({"state": "cut"}, {"status": "x"}, True),
        ({"error": "why"}, {"status": "x"}, True),
        ({"status": None}, {"status": "4"}, False),
        ({}, {"after": 6}, True),
        ({}, {"after": 7}, False),
        ({"file": True}, {}, False),
        ({"file": True}, {"files": True}, True),
    ],
)
def test_rows_are_chosen(row, wanted, expected):
    assert is_wanted({**ROW, **row}, wanted) is expected

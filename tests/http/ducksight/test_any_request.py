"""Whatever came, its page can be made, it is markup nowhere, and no secret that was put where one may be is shown."""

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from duck.cli.requests import one, table
from duck.http.ducksight.curl import curl
from duck.http.ducksight.recorder import Recorder
from duck.http.ducksight.report import details, summary
from duck.http.ducksight.request_pages import list_page, request_page
from duck.testing import record_exchange
from duck.wire.head import ResponseHead
from tests.http.ducksight.test_request_pages import check

SECRET = "geheim0815"
_WANTED = {"path": "", "method": "", "status": "", "files": False}

PIECES = st.sampled_from(
    [
        b"<script>",
        b'"',
        b"'",
        b"--xx\r\n",
        b"\r\n",
        b"=",
        b"&",
        b"{",
        b"}",
        b":",
        b"\\",
        b"%3d",
        b"\x1b[2J",
        b"\xff",
        b"\0",
    ]
)
ANYTHING = st.binary(max_size=200) | st.lists(PIECES | st.binary(max_size=5), max_size=40).map(b"".join)
KINDS = st.sampled_from(
    [
        b"text/html; charset=utf-16",
        b"application/json",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=xx",
        b"multipart/form-data; boundary=\xff",
        b"text/plain; charset=shift_jis",
        b"image/png",
        b"",
    ]
) | st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=30).map(
    lambda text: text.encode("latin-1")
)
CODINGS = st.sampled_from([b"", b"gzip", b"deflate", b"br", b"x"])


def recorded(method, target, fields, body, answer, status):
    recorder = Recorder(10, itertools.count(1).__next__, lambda: 1.0, lambda: 1_700_000_000.0)
    exchange, _ = record_exchange(method=method, target=target, fields=fields, content_length=len(body))
    recorder.begin(exchange)
    (recording,) = recorder.recordings()
    recording.body.add(body)
    recording.body.ended = True
    exchange.response.answer(ResponseHead(status, fields), answer)
    return recording


def shown(recording):
    """All that is shown of it anywhere."""
    told = details(recording, 2.0)
    row = summary(recording, 2.0)
    command = curl(recording)
    page, listed = request_page(told, command, "proof"), list_page([row], _WANTED, 10)
    for made in (page, listed):
        check(made.encode("utf-8", "backslashreplace").decode())
    text = "\n".join([*one(told), *table([row])])
    assert not any(ord(character) < 32 and character not in "\n\t" for character in text)
    return page + listed + text + command + json.dumps(told)


@settings(max_examples=150, deadline=None)
@given(ANYTHING, ANYTHING, KINDS, CODINGS, ANYTHING)
def test_all_of_it_can_be_shown(body, answer, kind, coding, value):
    value = bytes(byte for byte in value if byte >= 32 and byte != 127)
    fields = [(b"Content-Type", kind), (b"Content-Encoding", coding), (b"X-Any", value), (b"Cookie", value)]
    shown(recorded(b"POST", b"/" + value.replace(b" ", b"+"), fields, body, answer if answer else b"x", 200))


NAMES = st.sampled_from(["password", "new_password", "accessToken", "api_key", "client-secret", "csrfmiddlewaretoken"])


@settings(max_examples=60, deadline=None)
@given(NAMES, st.sampled_from(["json", "form", "multipart", "html", "script"]), st.text("ab<&\"'{}=: ", max_size=12))
def test_no_secret_is_shown(name, shape, noise):
    if shape == "json":
        kind, body = b"application/json", json.dumps({"a": noise, "b": [{name: SECRET}], "c": noise}).encode()
    elif shape == "form":
        kind, body = b"application/x-www-form-urlencoded", f"a=1&{name}={SECRET}&b=2".encode()
    elif shape == "multipart":
        kind = b"multipart/form-data; boundary=xx"
        body = f'--xx\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{SECRET}\r\n--xx--\r\n'.encode()
    elif shape == "html":
        kind, body = (
            b"text/html",
            f'<p>{noise}</p>\n<input name="{name}" value="{SECRET}">'.encode(),
        )
    else:
        kind, body = b"text/javascript", f'// {noise}\nlet a = {{"{name}": "{SECRET}"}};'.encode()
    fields = [
        (b"Content-Type", kind),
        (b"Cookie", f"{name}={SECRET}; other={SECRET}".encode()),
        (b"Authorization", f"Bearer {SECRET}".encode()),
        (b"Referer", f"http://x/?{name}={SECRET}".encode()),
        (f"X-{name}".replace("_", "-").encode(), SECRET.encode()),
    ]
    recording = recorded(b"POST", f"/a?{name}={SECRET}".encode(), fields, body, body, 200)
    assert SECRET not in shown(recording)
    assert SECRET in curl(recording, with_secrets=True)

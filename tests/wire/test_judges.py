"""Duck held against h11 and llhttp: who sees which message where.

What a proxy and the server behind it frame differently is request smuggling. So: whatever Duck accepts, each judge that
accepts it too must frame in the same way; and where the judges frame it differently, Duck must refuse. The second
follows from the first, and is asserted by itself for the corpus. The exceptions are in this file, each with its reason.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.corpus import (
    HOSTILE_ANSWERS,
    HOSTILE_REQUESTS,
    POISONS,
    VALID_ANSWERS,
    VALID_REQUESTS,
    answer,
    request,
)
from tests.wire.judges import (
    Framed,
    disagree,
    duck_answers,
    duck_requests,
    h11_answers,
    h11_requests,
    llhttp_answers,
    llhttp_requests,
)


def _upgrade_with_body(data: bytes, duck: Framed, llhttp: Framed) -> bool:
    """llhttp leaves the body of a request that asks for an upgrade to the new protocol; Duck ignores the upgrade.

    Java's client and `curl --http2` ask for h2c with any request, also one with a body: refusing it would lock them
    out. RFC 9110 §7.8 allows to ignore it; the body is framed by the head then, as h11 does. A backend never sees the
    upgrade. (A WebSocket handshake with a body is refused.)
    """
    if b"upgrade" not in data.lower():
        return False
    index = next(
        (index for index, (a, b) in enumerate(zip(duck.messages, llhttp.messages, strict=False)) if a != b),
        min(len(duck.messages), len(llhttp.messages)),
    )
    return index < len(llhttp.messages) and llhttp.messages[index].body == b"" and llhttp.ending == "closed"


def check_requests(data: bytes) -> Framed:
    """Assert the rule for one stream of requests; what Duck makes of it."""
    duck = duck_requests(data)
    difference = disagree(duck, h11_requests(data))
    assert not difference, f"h11: {difference}"
    llhttp = llhttp_requests(data)
    difference = disagree(duck, llhttp)
    assert not difference or _upgrade_with_body(data, duck, llhttp), f"llhttp: {difference}"
    return duck


def check_answers(data: bytes) -> Framed:
    """Assert the rule for one answer; what Duck makes of it."""
    duck = duck_answers(data)
    for name, judge in (("h11", h11_answers), ("llhttp", llhttp_answers)):
        difference = disagree(duck, judge(data))
        assert not difference or duck.ending == "head", f"{name}: {difference}"
    return duck


@pytest.mark.parametrize("data", VALID_REQUESTS)
def test_valid_requests_are_accepted_and_framed_as_the_judges_do(data: bytes) -> None:
    duck = check_requests(data)
    assert duck.messages
    assert duck.ending in ("clean", "closed")


@pytest.mark.parametrize("data", HOSTILE_REQUESTS)
def test_hostile_requests_are_refused_or_framed_as_the_judges_do(data: bytes) -> None:
    check_requests(data)


@pytest.mark.parametrize("data", VALID_ANSWERS)
def test_valid_answers_are_accepted_and_framed_as_the_judges_do(data: bytes) -> None:
    duck = check_answers(data)
    assert duck.messages or duck.ending == "body"
    assert duck.ending != "refused"


@pytest.mark.parametrize("data", HOSTILE_ANSWERS)
def test_hostile_answers_are_refused_or_framed_as_the_judges_do(data: bytes) -> None:
    check_answers(data)


def test_what_the_judges_frame_differently_is_refused() -> None:
    for data in HOSTILE_REQUESTS:
        h11, llhttp = h11_requests(data), llhttp_requests(data)
        duck = duck_requests(data)
        if disagree(h11, llhttp) and not _upgrade_with_body(data, duck, llhttp):
            assert duck.ending == "refused", data
    for data in HOSTILE_ANSWERS:
        if disagree(h11_answers(data), llhttp_answers(data)):
            assert duck_answers(data).ending == "refused", data


# Accepted by both judges, and refused by Duck all the same.
STRICTER = {
    "an unknown version": request(b"Content-Length: 3", start=b"POST / HTTP/2.0", body=b"abc"),
    "chunks under HTTP/1.0": request(
        b"Transfer-Encoding: chunked", b"Connection: keep-alive", start=b"POST / HTTP/1.0", body=b"0\r\n\r\n"
    ),
    "CONNECT": request(start=b"CONNECT a:1 HTTP/1.1"),
    "a fragment": request(start=b"GET /#a HTTP/1.1"),
    "the asterisk of another method": request(start=b"GET * HTTP/1.1"),
    "userinfo in a target": request(start=b"GET http://a@b/ HTTP/1.1"),
    "an empty Host": request(host=b"Host:"),
    "userinfo in Host": request(host=b"Host: a@b"),
    "a path in Host": request(host=b"Host: a/b"),
    "a space in Host": request(host=b"Host: a b"),
    "a port that is none": request(host=b"Host: a:99999"),
    "a chunk size of more than 15 digits": request(
        b"Transfer-Encoding: chunked", body=b"0000000000000003\r\nabc\r\n0\r\n\r\n"
    ),
    "an extension of more than a line": request(
        b"Transfer-Encoding: chunked", body=b"3;" + b"a" * 2000 + b"\r\nabc\r\n0\r\n\r\n"
    ),
    "an unknown expectation": request(b"Expect: x"),
    "a WebSocket handshake with a body": request(
        b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3", body=b"abc"
    ),
}
# Accepted by one of them.
STRICTER_THAN_ONE = {
    "an equal second Content-Length": request(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "a list of equal lengths": request(b"Content-Length: 3, 3", body=b"abc"),
    "a folded line": request(b"X: a\r\n b"),
    "no Host": request(host=b""),
    "two Hosts": request(host=b"Host: a\r\nHost: a"),
    "bare line feeds": request(b"X: y").replace(b"\r\n", b"\n"),
}


@pytest.mark.parametrize("name", STRICTER)
def test_what_both_judges_accept_and_duck_refuses_is_known(name: str) -> None:
    data = STRICTER[name]
    assert h11_requests(data).messages
    assert llhttp_requests(data).messages
    duck = duck_requests(data)
    assert (duck.messages, duck.ending) == ([], "refused")


@pytest.mark.parametrize("name", STRICTER_THAN_ONE)
def test_what_one_judge_accepts_and_duck_refuses_is_known(name: str) -> None:
    data = STRICTER_THAN_ONE[name]
    accepting = [judge for judge in (h11_requests, llhttp_requests) if judge(data).messages]
    assert len(accepting) == 1
    duck = duck_requests(data)
    assert (duck.messages, duck.ending) == ([], "refused")


def test_what_duck_accepts_and_a_judge_refuses_is_framed_by_no_one_else() -> None:
    # RFC 9112 §2.2: one empty line before a request is let pass; h11 refuses it.
    assert h11_requests(b"\r\n" + VALID_REQUESTS[0]).ending == "refused"
    # llhttp refuses bytes behind `Connection: close`; Duck throws them away.
    closing = request(b"Connection: close")
    assert (len(duck_requests(closing).messages), duck_requests(closing).ending) == (1, "closed")
    assert llhttp_requests(closing) == Framed(duck_requests(closing).messages, "refused")
    # llhttp knows a fixed list of methods; Duck passes any token on.
    unknown = request(start=b"UNKNOWN / HTTP/1.1")
    assert llhttp_requests(unknown).ending == "refused"
    assert duck_requests(unknown) == h11_requests(unknown)


# -- mutations --------------------------------------------------------------------------------------------------------


@st.composite
def mutated(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """A valid stream with one to three small things put in, taken out, put elsewhere or said twice."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        what = draw(st.integers(0, 5))
        if what == 0:
            data = data[:at] + draw(st.sampled_from(POISONS)) + data[at:]
        elif what == 1:
            poison = draw(st.sampled_from(POISONS))
            data = data[:at] + poison + data[at + len(poison) :]
        elif what == 2:
            data = data[:at] + data[at + draw(st.integers(1, 3)) :]
        elif what == 3:
            lines = data.split(b"\r\n")
            line = draw(st.sampled_from(lines))
            lines.insert(draw(st.integers(0, len(lines))), line)
            data = b"\r\n".join(lines)
        elif what == 4:
            lines = data.split(b"\r\n")
            index = draw(st.integers(0, len(lines) - 1))
            lines[index] = draw(st.sampled_from(POISONS)) + lines[index]
            data = b"\r\n".join(lines)
        else:
            data = data[:at] + draw(st.binary(min_size=1, max_size=3)) + data[at:]
    return data


_many = settings(deadline=None, max_examples=600, suppress_health_check=[HealthCheck.too_slow])


@_many
@given(data=mutated([*VALID_REQUESTS, *HOSTILE_REQUESTS]))
def test_mutated_requests_are_refused_or_framed_as_the_judges_do(data: bytes) -> None:
    check_requests(data)


@_many
@given(data=mutated([*VALID_ANSWERS, *HOSTILE_ANSWERS]))
def test_mutated_answers_are_refused_or_framed_as_the_judges_do(data: bytes) -> None:
    check_answers(data)


@st.composite
def assembled(draw: st.DrawFn) -> bytes:
    """A request put together from lines that matter, in any number and order."""
    lines = draw(
        st.lists(
            st.sampled_from(
                [
                    b"Content-Length: 3",
                    b"content-length:0",
                    b"Content-Length: 13",
                    b"Transfer-Encoding: chunked",
                    b"Transfer-Encoding: gzip, chunked",
                    b"Transfer-Encoding: identity",
                    b"Transfer_Encoding: chunked",
                    b"Transfer-Encoding : chunked",
                    b"Connection: close",
                    b"Connection: keep-alive",
                    b"Connection: Upgrade",
                    b"Connection: Content-Length",
                    b"Upgrade: websocket",
                    b"Upgrade: h2c",
                    b"Expect: 100-continue",
                    b"X: y",
                    b" folded",
                    b"Host: b",
                ]
            ),
            max_size=4,
        )
    )
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"DELETE"]))
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]))
    body = draw(
        st.sampled_from([b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n", b"3;a\r\nabc\r\n0\r\nX: y\r\n\r\n"])
    )
    return request(*lines, start=method + b" / " + version, body=body)


@_many
@given(data=assembled())
def test_any_combination_of_framing_fields_is_refused_or_framed_as_the_judges_do(data: bytes) -> None:
    check_requests(data)


def test_the_judges_see_what_is_there_to_be_seen() -> None:
    """The comparison is worth something: it tells framings apart."""
    one = h11_requests(request(b"Content-Length: 3", body=b"abc"))
    assert [message.start for message in one.messages] == [b"POST /first", b"GET /next"]
    assert one == llhttp_requests(request(b"Content-Length: 3", body=b"abc"))
    assert disagree(one, h11_requests(request(b"Content-Length: 4", body=b"abc")))
    assert disagree(one, Framed(one.messages[:1], "clean"))
    assert disagree(Framed([], "body"), Framed([], "head"))
    assert not disagree(one, Framed(one.messages[:1], "refused"))
    assert answer(body=b"x")

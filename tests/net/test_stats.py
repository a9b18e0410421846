"""What a loop counts of its exchanges and connections, and what many such counts come to."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.exceptions import BackendBusy, BackendTimeout
from duck.net.exchange import FILES
from duck.net.stats import _FIRST, BYTES, CLASSES, METHODS, SECONDS, merge
from duck.wire.head import ResponseHead
from tests.net.front import Front, chunked, echo_body, get, post


def requests(front, method):
    return front.server.snapshot()["requests"][method]


@pytest.mark.parametrize(
    ("method", "group", "status"),
    [("GET", "GET", 200), ("HEAD", "HEAD", 304), ("POST", "POST", 404), ("BREW", "other", 503), ("GET", "GET", 200)],
)
def test_requests_are_counted_by_method_and_class_of_status(method, group, status):
    front = Front(lambda exchange: exchange.response.answer(ResponseHead(status, []), b""))
    front.ask(get(method=method))
    expected = [0] * CLASSES
    expected[status // 100] = 1
    told = front.server.snapshot()["requests"]
    assert told.pop(group) == expected
    assert all(row == [0] * CLASSES for row in told.values())
    assert set(told) | {group} == set(METHODS)


def test_what_is_counted_needs_no_access_log():
    front = Front()
    front.server.on_exchange = None
    front.ask(get())
    assert requests(front, "GET")[2] == 1


def test_an_exchange_counts_when_it_is_over_and_is_in_flight_until_then():
    front = Front(lambda exchange: None)
    client = front.connect()
    client.receive(get())
    assert front.server.snapshot()["now"]["in_flight"] == 1
    assert sum(requests(front, "GET")) == 0
    front.now += 0.2
    front.exchanges[0].response.answer(ResponseHead(200, []), b"x" * 500)
    told = front.server.snapshot()
    assert told["now"]["in_flight"] == 0
    assert told["duration"]["counts"][SECONDS.index(0.25)] == 1
    assert told["duration"]["sum"] == pytest.approx(0.2)
    assert told["answer"]["counts"][BYTES.index(1000)] == 1
    assert told["answer"]["sum"] == 500


def test_a_duration_on_a_bound_is_below_it_and_one_past_the_last_has_its_place():
    front = Front(lambda exchange: None)
    for seconds in (SECONDS[0], SECONDS[-1] + 1):
        client = front.connect()
        client.receive(get())
        front.exchanges[-1].started = front.now - seconds
        front.exchanges[-1].response.answer(ResponseHead(200, []), b"")
    counts = front.server.snapshot()["duration"]["counts"]
    assert len(counts) == len(SECONDS) + 1
    assert (counts[0], counts[-1], sum(counts)) == (1, 1, 2)


def test_the_first_bound_is_told_without_a_search():
    assert _FIRST == SECONDS[0]


def test_bytes_of_bodies_are_counted_and_none_for_head():
    front = Front(echo_body)
    front.ask(post(b"hello"))
    front.ask(chunked(b"ab", b"c"))
    front.ask(get(method="HEAD"))
    told = front.server.snapshot()
    assert (told["received_bytes"], told["answer"]["sum"]) == (8, 8)


def test_a_client_that_leaves_before_its_answer_is_a_request_without_a_status():
    front = Front(lambda exchange: None)
    client = front.connect()
    client.receive(get())
    client.lose()
    told = front.server.snapshot()
    assert told["requests"]["GET"][0] == 1
    assert (told["cut"], told["clients_gone"]) == (1, 1)
    assert told["now"]["in_flight"] == 0


@pytest.mark.parametrize(("error", "status"), [(BackendBusy("busy"), "503"), (BackendTimeout("late"), "504")])
def test_failures_of_backends_are_counted_by_what_was_answered(error, status):
    front = Front(lambda exchange: (_ for _ in ()).throw(error))
    front.ask(get())
    failures = front.server.snapshot()["backend_failures"]
    assert failures.pop(status) == 1
    assert not any(failures.values())


def test_files_are_counted_by_themselves():
    def answer(exchange):
        exchange.backend = FILES if exchange.request.path == b"/f" else ""
        exchange.response.answer(ResponseHead(200, []), b"")

    front = Front(answer)
    front.ask(get("/f"))
    front.ask(get("/v"))
    assert front.server.snapshot()["files"] == 1


def test_connections_are_counted_as_taken_crowded_out_and_upgraded():
    front = Front(
        lambda exchange: exchange.response.upgrade(ResponseHead(101, [])) if exchange.request.upgrade else None,
        max_connections=2,
    )
    socket = front.connect()
    socket.receive(get("/", "Connection: Upgrade", "Upgrade: websocket"))
    front.connect()
    front.connect()
    told = front.server.snapshot()
    assert told["connections"] == {"accepted": 3, "crowded_out": 1, "upgraded": 1}
    assert told["refused"] == 0
    assert (told["now"]["tunnels"], told["now"]["connections"]) == (1, 3)
    front.now += 3600
    socket.lose()
    told = front.server.snapshot()
    assert told["now"]["tunnels"] == 0
    assert told["connections"]["upgraded"] == 1
    assert told["requests"]["GET"][1] == 1
    # An hour in a tunnel is no slow answer.
    assert sum(told["duration"]["counts"]) == 0


def test_what_cannot_be_understood_is_refused_and_no_request():
    front = Front()
    front.ask(b"nonsense\r\n\r\n")
    told = front.server.snapshot()
    assert told["refused"] == 1
    assert sum(map(sum, told["requests"].values())) == 0


def test_a_handler_adds_what_it_knows():
    front = Front()
    front.snapshot = lambda: {"retries": 2, "now": {"busy": 1}}
    told = front.server.snapshot()
    assert told["retries"] == 2
    assert (told["now"]["busy"], told["now"]["loops"]) == (1, 1)


def test_a_snapshot_stays_as_it_was_and_is_json():
    front = Front()
    front.ask(get())
    told = front.server.snapshot()
    kept = json.dumps(told)
    front.ask(get())
    assert json.dumps(told) == kept


def test_snapshots_add_up_and_are_left_alone():
    one = {"a": 1, "b": {"x": [1, 2]}, "now": {"generations": {"1": 1}}}
    other = {"a": 2.5, "b": {"x": [10]}, "now": {"generations": {"2": 1}}, "c": 7}
    total = merge([one, other])
    assert total == {"a": 3.5, "b": {"x": [11, 2]}, "now": {"generations": {"1": 1, "2": 1}}, "c": 7}
    merge([total, total])["b"]["x"][0] = 0
    assert one == {"a": 1, "b": {"x": [1, 2]}, "now": {"generations": {"1": 1}}}
    assert merge([]) == {}


_VALUES = st.fixed_dictionaries(
    {
        "n": st.integers(0, 1000),
        "l": st.lists(st.integers(0, 9), max_size=3),
        "d": st.dictionaries(st.sampled_from("ab"), st.integers(0, 9)),
    }
)


@given(st.lists(_VALUES, min_size=1, max_size=4))
def test_the_order_of_what_is_added_does_not_matter(snapshots):
    assert merge(snapshots) == merge(reversed(snapshots)) == merge([merge(snapshots[:1]), merge(snapshots[1:])])

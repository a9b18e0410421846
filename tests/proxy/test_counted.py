"""What is known of a call's times once its exchange has ended."""

import threading

import pytest

from duck.proxy.upstream import QueueLimits
from tests.net.front import get
from tests.proxy.backends import answer, serve
from tests.proxy.conftest import wait


def test_a_wait_for_a_slot_is_told_apart_from_the_time_of_the_backend(front, link_backend, event):
    begun = threading.Semaphore(0)

    def script(slot, items, fields, body):
        begun.release()
        if items["path"] == "/first":
            event.wait(10)
        slot.answer(b"x")

    front.switch(link_backend(script).upstream(slots=1))
    first, second = front.connect(), front.connect()
    first.sendall(get("/first"))
    begun.acquire()
    second.sendall(get("/second"))
    wait(lambda: front.call(front.worker.server.snapshot)["now"]["waiting"] == 1)
    told = front.call(front.worker.server.snapshot)
    assert (told["now"]["slots"], told["now"]["busy"], told["now"]["in_flight"]) == (1, 1, 2)
    event.set()
    assert first.answer().status == second.answer().status == 200
    front.wait_exchanges(2)
    by_path = {exchange.request.path: exchange for exchange in front.exchanges}
    # The first waited for the slot to be dialled, as well.
    held, waited = by_path[b"/first"], by_path[b"/second"]
    assert waited.waited_s > 0
    assert 0 <= waited.dispatched_at - waited.started - waited.waited_s < 5  # parsing, and what a busy machine adds
    assert waited.ended_at >= waited.dispatched_at >= held.dispatched_at
    told = front.call(front.worker.server.snapshot)
    assert sum(told["wait"]["counts"]) == sum(told["upstream"]["counts"]) == 2
    assert told["wait"]["sum"] == pytest.approx(held.waited_s + waited.waited_s)
    assert told["now"]["generations"] == {"1": 1}
    assert told["backend_failures"] == {"502": 0, "503": 0, "504": 0}


def test_who_waited_in_vain_has_waited(make_front, link_backend, event):
    front = make_front(queue=QueueLimits(queue_timeout_s=1.0))
    began = threading.Event()

    def script(slot, items, fields, body):
        began.set()
        event.wait(10)
        slot.answer(b"x")

    front.switch(link_backend(script).upstream(slots=1))
    first, second = front.connect(), front.connect()
    first.sendall(get())
    assert began.wait(10)
    second.sendall(get())
    wait(lambda: front.call(front.worker.server.snapshot)["now"]["waiting"] == 1)
    front.sweep(2.0)
    assert second.answer().status == 503
    front.wait_exchanges(1)
    assert front.exchanges[0].waited_s > 0
    told = front.call(front.worker.server.snapshot)
    assert sum(told["wait"]["counts"]) == 1
    assert sum(told["upstream"]["counts"]) == 0
    assert told["backend_failures"]["503"] == 1
    event.set()
    first.answer()


def test_a_request_sent_again_is_a_retry_and_no_failure(front, http_backend):
    asked = []

    def script(connection):
        serve(reply)(connection)

    def reply(connection, line, fields, body):
        asked.append(line)
        return None if len(asked) == 2 else answer(b"x")

    front.switch(http_backend(script).upstream())
    client = front.connect()
    assert [client.ask(get()).status for _ in range(2)] == [200, 200]
    front.wait_exchanges(2)
    told = front.call(front.worker.server.snapshot)
    assert told["retries"] == 1
    assert told["requests"]["GET"][2] == 2
    assert not any(told["backend_failures"].values())


def test_the_time_of_a_backend_ends_with_its_first_byte(front, link_backend, event):
    began = threading.Event()

    def script(slot, items, fields, body):
        slot.head(b"begun")
        began.set()
        event.wait(10)
        slot.end()
        slot.free()

    front.switch(link_backend(script).upstream())
    client = front.connect()
    client.sendall(get())
    assert began.wait(10)
    client.head()
    exchange = next(iter(front.worker.server.connections))._exchange
    answered_at = exchange.answered_at
    assert answered_at >= exchange.dispatched_at > 0
    event.set()
    front.wait_exchanges(1)
    assert exchange.answered_at == answered_at < exchange.ended_at

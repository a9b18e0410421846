"""Which requests an ASGI application has not answered, and where their tasks stand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from duck.backend.django.worker.awaits import stack_of_task, stacks_of_threads
from duck.backend.django.worker.unanswered import Unanswered

Message = dict[str, Any]


async def forever() -> None:
    await asyncio.Event().wait()


async def nested() -> None:
    await forever()


async def gathered() -> None:
    await asyncio.gather(nested(), asyncio.sleep(0))


async def waited() -> None:
    tasks = [asyncio.ensure_future(nested())]
    await asyncio.wait(tasks)


async def awaited() -> None:
    await asyncio.ensure_future(nested())


async def generated() -> None:
    async def chunks() -> Any:
        await nested()
        yield b""

    async for _ in chunks():
        pass


async def grouped() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(nested())


async def stack_of(work: Callable[[], Awaitable[None]]) -> str:
    task = asyncio.ensure_future(work())
    for _ in range(10):
        await asyncio.sleep(0)
    text = stack_of_task(task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return text


@pytest.mark.parametrize("work", [nested, gathered, waited, awaited, grouped])
def test_a_stack_goes_on_through_what_is_awaited(work: Callable[[], Awaitable[None]]) -> None:
    text = asyncio.run(stack_of(work))
    assert f"in {work.__name__}\n" in text
    assert "in nested\n" in text and "in forever\n" in text
    assert text.index(f"in {work.__name__}\n") <= text.index("in nested\n") < text.index("in forever\n")


def test_a_stack_names_the_loop_over_a_generator() -> None:
    assert "in generated\n" in asyncio.run(stack_of(generated))


def test_tasks_that_wait_for_each_other_are_named_once() -> None:
    async def both() -> str:
        tasks: list[asyncio.Task[None]] = []

        async def one() -> None:
            held = tasks  # noqa: F841
            await forever()

        tasks += [asyncio.ensure_future(one()), asyncio.ensure_future(one())]
        for _ in range(5):
            await asyncio.sleep(0)
        text = stack_of_task(tasks[0])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return text

    assert asyncio.run(both()).count("in one\n") == 2


def test_variables_are_not_asked_what_they_are() -> None:
    class Lazy:
        @property
        def __class__(self) -> type:
            raise AssertionError("it would have been evaluated")

        @__class__.setter
        def __class__(self, value: type) -> None: ...

    async def holds() -> None:
        user = Lazy()  # noqa: F841
        await forever()

    assert "in holds\n" in asyncio.run(stack_of(holds))


def test_threads_are_told_of_that_work_on_something_of_the_project_s() -> None:
    began, ended = threading.Event(), threading.Event()

    def view() -> None:
        began.set()
        ended.wait(20)

    thread = threading.Thread(target=view, name="a view's")
    thread.start()
    try:
        assert began.wait(20)
        text = stacks_of_threads()
    finally:
        ended.set()
        thread.join()
    assert "The thread a view's stands at:\n" in text
    assert "in view\n" in text


class Client:
    """What an application is given."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.more = asyncio.Event()
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if not self.messages:
            await self.more.wait()
        return self.messages.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)


SCOPE = {"type": "http", "method": "POST", "path": "/here", "query_string": b"secret"}


def test_one_that_is_never_read_grows_old_and_is_told_of_once() -> None:
    async def run() -> None:
        client = Client()
        unanswered = Unanswered()
        call = unanswered.begin(SCOPE, client.receive, client.send)
        assert unanswered.stuck(call.since + 4, 5) == []
        (told,) = unanswered.stuck(call.since + 6, 5)
        assert (told["request"], told["age_s"]) == ("POST /here", 6.0)
        assert "test_worker_unanswered" in told["stack"] or "in run\n" in told["stack"]
        assert unanswered.stuck(call.since + 60, 5) == []
        assert unanswered.oldest_s(call.since + 60) == 60
        call.end()
        assert unanswered.oldest_s(call.since + 60) == 0

    asyncio.run(run())


def test_one_that_waits_for_its_body_is_not_stuck_and_begins_with_what_comes() -> None:
    async def run() -> None:
        client = Client({"type": "http.request", "body": b"1", "more_body": True})
        unanswered = Unanswered()
        call = unanswered.begin(SCOPE, client.receive, client.send)
        began = call.since
        await call.receive()
        assert call.since > began
        waiting = asyncio.ensure_future(call.receive())
        await asyncio.sleep(0)
        assert unanswered.stuck(call.since + 60, 5) == []
        client.messages.append({"type": "http.request", "body": b"2", "more_body": False})
        client.more.set()
        await waiting
        # The whole body is there: who waits now for the client to leave works, or hangs.
        client.more.clear()
        leaving = asyncio.ensure_future(call.receive())
        await asyncio.sleep(0)
        assert len(unanswered.stuck(call.since + 60, 5)) == 1
        leaving.cancel()

    asyncio.run(run())


def test_one_that_has_been_answered_is_forgotten() -> None:
    async def run() -> None:
        client = Client()
        unanswered = Unanswered()
        call = unanswered.begin(SCOPE, client.receive, client.send)
        await call.send({"type": "http.response.start"})
        assert client.sent == [{"type": "http.response.start"}]
        assert unanswered.stuck(call.since + 60, 5) == []
        call.end()

    asyncio.run(run())


def test_a_websocket_is_one_until_it_is_accepted() -> None:
    async def run() -> None:
        client = Client({"type": "websocket.connect"})
        unanswered = Unanswered()
        call = unanswered.begin({"type": "websocket", "path": "/echo"}, client.receive, client.send)
        await call.receive()
        (told,) = unanswered.stuck(call.since + 60, 5)
        assert told["request"] == "WebSocket /echo"
        await call.send({"type": "websocket.accept"})
        assert unanswered.oldest_s(call.since + 60) == 0

    asyncio.run(run())

"""That a run ended is told once, wherever within it a cancellation arrives."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from duck.backend.django.worker import job as job_module
from duck.backend.django.worker import jobs as module
from duck.backend.django.worker.jobs import JobProcess

DEADLINE_S = 30.0
SUCCEEDED = {"state": "succeeded", "reason": "", "traceback": ""}


class Control:
    """What the App hears."""

    def __init__(self) -> None:
        self.ends: list[dict[str, Any]] = []
        self.has_ended = threading.Event()

    def send(self, event: str, **facts: Any) -> None:
        if event == "ended":
            self.ends.append(facts)
            self.has_ended.set()


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobProcess]:
    # As in a Duck project without Django; other tests of this process may have had one.
    monkeypatch.setattr(module, "has_django", lambda: False)
    monkeypatch.setattr(job_module, "has_django", lambda: False)
    # Here this is the process of the tests, whose children (databases, say) are no run's.
    monkeypatch.setattr(module, "end_left", lambda: 0)

    def made(lane: str) -> JobProcess:
        told = {"own": {}, "plain": True, "celery": {}, "lane": lane, "cwd": "."}
        process = JobProcess(told)
        process.control = Control()  # type: ignore[assignment]
        return process

    return made


def told(lane: str) -> dict[str, Any]:
    return {"command": "run", "run": 7, "automation": "job", "lane": lane, "context": {}, "kind": "call"}


class AtLine:
    """Has a run cancelled when its thread comes to its `line`th line of what Duck has around it."""

    def __init__(self, process: JobProcess, line: int) -> None:
        self.was_there = False
        self._process = process
        self._left = line

    def __call__(self, frame: FrameType, event: str, arg: Any) -> AtLine | None:
        if frame.f_code.co_filename != module.__file__ or frame.f_code.co_name not in ("_run_in_thread", "_is_wanted"):
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self.was_there = True
                # On the thread that hears the App. Where this one holds the lock, that waits for it.
                hears = threading.Thread(target=self._process._cancel, args=(7,))
                hears.start()
                hears.join(0.1)
        return self


@pytest.fixture
def no_trace() -> Iterator[None]:
    before = threading.gettrace()
    yield
    threading.settrace(before)  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_trace")
def test_a_thread_that_is_cancelled_at_any_of_its_lines_tells_its_end_once(
    make: Callable[..., JobProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "carry_out", lambda told: dict(SUCCEEDED))
    states = []
    for line in range(1, 100):
        process = make("shared")
        control: Any = process.control
        at = AtLine(process, line)
        threading.settrace(at)
        process._command(told("thread"))
        process._start_shared(process._runs.get())  # type: ignore[arg-type]
        assert control.has_ended.wait(DEADLINE_S), f"cancelled at line {line} it told no end"
        threading.settrace(None)  # type: ignore[arg-type]
        assert process._threads == {} and process._lock.acquire(timeout=DEADLINE_S)
        (end,) = control.ends
        states.append(end["state"])
        if not at.was_there:
            break
    assert len(states) > 8 and set(states) == {"cancelled", "succeeded"}
    assert states[-1] == "succeeded", "nobody cancelled that one"


def test_a_run_that_no_thread_can_be_had_for_has_failed(
    make: Callable[..., JobProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = make("shared")
    control: Any = process.control
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if "_run_in_thread" in repr(thread._args):  # type: ignore[attr-defined]
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    process._command(told("thread"))
    process._start_shared(process._runs.get())  # type: ignore[arg-type]
    assert control.has_ended.wait(DEADLINE_S)
    assert control.ends == [{"run": 7, "state": "failed", "reason": "can't start new thread", "traceback": ""}]


def test_a_coroutine_that_is_cancelled_while_it_is_closed_tells_its_end(
    make: Callable[..., JobProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = make("shared")
    control: Any = process.control
    closing = threading.Event()

    async def carried(told: dict[str, Any], ended: dict[str, Any]) -> None:
        ended.update(SUCCEEDED)
        closing.set()
        await asyncio.sleep(DEADLINE_S)  # connections are closed

    monkeypatch.setattr(module, "carry_out_async", carried)
    process._command(told("loop"))
    process._start_shared(process._runs.get())  # type: ignore[arg-type]
    assert closing.wait(DEADLINE_S)
    process._cancel(7)
    assert control.has_ended.wait(DEADLINE_S)
    assert control.ends == [{"run": 7, **SUCCEEDED}]
    loop = process._loop
    assert loop is not None
    loop.call_soon_threadsafe(loop.stop)
    for thread in threading.enumerate():
        if thread.name == "duck-jobs-loop":
            thread.join(DEADLINE_S)
    loop.close()


class TestAlone:
    """On the main thread, by a signal."""

    @pytest.fixture(autouse=True)
    def handler(self) -> Iterator[None]:
        before = signal.getsignal(signal.SIGTERM)
        yield
        signal.signal(signal.SIGTERM, before)

    @pytest.fixture
    def end_of(
        self, make: Callable[..., JobProcess], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> Callable[[Callable[[JobProcess], dict[str, Any]]], str]:
        """How a run ends whose work is `carried`, which gets its process."""

        def run(carried: Callable[[JobProcess], dict[str, Any]]) -> str:
            process = make("process")
            control: Any = process.control
            monkeypatch.setattr(module, "carry_out", lambda told: carried(process))
            process._command(told("process"))
            process._run_alone(process._runs.get())  # type: ignore[arg-type]
            assert capfd.readouterr().out.endswith("\n\0duck ended 7\n")
            (end,) = control.ends
            return str(end["state"])

        return run

    def test_one_that_is_asked_twice_to_end_tells_its_end_once(self, end_of: Callable[..., str]) -> None:
        def carried(process: JobProcess) -> dict[str, Any]:
            try:
                process._cancel(7)
            finally:
                process._cancel(7)  # while it is still being closed
            raise AssertionError("it was not interrupted")

        assert end_of(carried) == "cancelled"

    def test_what_was_meant_for_the_run_before_is_not_for_the_next(self, end_of: Callable[..., str]) -> None:
        def carried(process: JobProcess) -> dict[str, Any]:
            process._cancel(6)
            return dict(SUCCEEDED)

        assert end_of(carried) == "succeeded"

    def test_one_hears_though_the_run_before_has_set_a_handler_of_its_own(self, end_of: Callable[..., str]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

        def carried(process: JobProcess) -> dict[str, Any]:
            process._cancel(7)
            return dict(SUCCEEDED)

        assert end_of(carried) == "cancelled"

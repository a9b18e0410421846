"""Requests: an automation that is a URL to be asked. Each waits in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from duck.services.automations.engine import NOTHING_PRINTED, Ended, Printed
from duck.services.automations.run import State
from duck.services.automations.tail import OUTPUT_BYTES
from duck.services.exchange import Exchange

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.run import Run
    from duck.services.inbox import Inbox, Timer

# Of one that names no time of its own.
TIMEOUT_S: Final = 60.0


class Requests:
    """An `Executor` for URLs. On the inbox's thread.

    Args:
        most: how many at once.
        base: what URLs that begin with `/` are of: the project's own address; None where there is none.
    """

    def __init__(self, inbox: Inbox, most: int, base: str | None = None) -> None:
        self._inbox = inbox
        self._most = most
        self._base = base
        self._running: dict[int, tuple[Callable[[Ended], None], Timer, Exchange]] = {}
        self._done: Callable[[], None] | None = None

    def room(self) -> Mapping[str, int]:
        """See `Executor`."""
        return {"url": self._most - len(self._running)}

    def start(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        """See `Executor`."""
        # httpx waits so long for each part of an answer, which may come a byte at a time.
        timeout_s = declaration.timeout_s or TIMEOUT_S
        late = partial(self._over, run.id, _late(timeout_s))
        exchange = Exchange()
        self._running[run.id] = ended, self._inbox.call_later(timeout_s, late), exchange
        url = declaration.target
        if url.startswith("/"):
            if self._base is None:
                reason = f"{url} is of the project itself, which nobody serves here; set AUTOMATION_SITE"
                self._inbox.post(lambda: self._over(run.id, Ended(State.FAILED, reason)))
                return
            url = self._base + url
        threading.Thread(
            target=self._ask, args=(run, declaration, url, timeout_s, exchange), name="duck-url", daemon=True
        ).start()

    def printed(self) -> Mapping[int, Printed]:
        """See `Executor`: an answer is there at its end."""
        return NOTHING_PRINTED

    def cancel(self, run_id: int) -> None:
        """See `Executor`: its answer is not waited for."""
        self._over(run_id, Ended(State.CANCELLED))

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """See `Executor`."""
        self._done = done
        self._inbox.call_later(deadline_s, self.kill)
        self._inbox.post(self._check_stopped)

    def kill(self) -> None:
        """See `Executor`."""
        for run_id in tuple(self._running):
            self._over(run_id, Ended(State.CANCELLED))

    def _ask(self, run: Run, declaration: Declaration, url: str, timeout_s: float, exchange: Exchange) -> None:
        """In a thread of its own, which ends with the exchange."""
        deadline = time.monotonic() + timeout_s
        # Nobody else pays for it.
        import httpx

        details = declaration.details_table
        headers = {
            "Idempotency-Key": run.key,
            "Duck-Scheduled-For": run.planned.isoformat().replace("+00:00", "Z"),
            **{str(name): str(value) for name, value in details.get("headers", {}).items()},
        }
        method = str(details.get("method", "GET"))
        try:
            with exchange, httpx.Client(timeout=timeout_s, follow_redirects=True) as client:
                with client.stream(
                    method, url, headers=headers, content=details.get("body"), extensions=exchange.extensions
                ) as answer:
                    body = b""
                    for chunk in answer.iter_bytes():
                        body += chunk
                        if len(body) > OUTPUT_BYTES or time.monotonic() > deadline:
                            break
                    ok = answer.is_success
                    reason = "" if ok else f"answered {answer.status_code}"
                    text = body[:OUTPUT_BYTES].decode("utf-8", "replace")
                    ended = Ended(
                        State.SUCCEEDED if ok else State.FAILED, reason, answer.status_code, text, printed=len(text)
                    )
        except httpx.TimeoutException:
            ended = _late(timeout_s)
        except Exception as error:  # a header that cannot be sent is a ValueError
            ended = Ended(State.FAILED, f"{url} cannot be asked: {error}")
        self._inbox.post(lambda: self._over(run.id, ended, exchange))

    def _over(self, run_id: int, ended: Ended, exchange: Exchange | None = None) -> None:
        """It ended so; `exchange` where only this one is meant, and no later attempt at the run."""
        told = self._running.get(run_id)
        if told is not None and exchange in (None, told[2]):
            del self._running[run_id]
            told[1].cancel()
            told[2].end()
            told[0](ended)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if not self._running and self._done is not None:
            done, self._done = self._done, None
            done()


def _late(timeout_s: float) -> Ended:
    return Ended(State.TIMED_OUT, f"no answer within {timeout_s:g} s")

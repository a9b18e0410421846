"""Requests: an automation that is a URL to be asked. Each waits in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from duck.services.automations.engine import NOTHING_PRINTED, Ended, Printed
from duck.services.automations.run import State
from duck.services.automations.tail import OUTPUT_BYTES

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.run import Run
    from duck.services.inbox import Inbox

# Of one that names no time of its own.
_TIMEOUT_S: Final = 60.0


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
        self._running: dict[int, Callable[[Ended], None]] = {}
        self._done: Callable[[], None] | None = None

    def room(self) -> Mapping[str, int]:
        """See `Executor`."""
        return {"url": self._most - len(self._running)}

    def start(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        """See `Executor`."""
        self._running[run.id] = ended
        url = declaration.target
        if url.startswith("/"):
            if self._base is None:
                reason = f"{url} is of the project itself, which nobody serves here; give a whole URL"
                self._inbox.post(lambda: self._over(run.id, Ended(State.FAILED, reason)))
                return
            url = self._base + url
        threading.Thread(target=self._ask, args=(run, declaration, url), name="duck-url", daemon=True).start()

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

    def _ask(self, run: Run, declaration: Declaration, url: str) -> None:
        """In a thread of its own."""
        # Nobody else pays for it.
        import httpx

        details = declaration.details_table
        timeout_s = declaration.timeout_s or _TIMEOUT_S
        headers = {
            "Idempotency-Key": run.key,
            "Duck-Scheduled-For": run.planned.isoformat().replace("+00:00", "Z"),
            **{str(name): str(value) for name, value in details.get("headers", {}).items()},
        }
        method = str(details.get("method", "GET"))
        try:
            with httpx.Client(timeout=timeout_s, follow_redirects=True) as client:
                with client.stream(method, url, headers=headers, content=details.get("body")) as answer:
                    body = b""
                    for chunk in answer.iter_bytes():
                        body += chunk
                        if len(body) > OUTPUT_BYTES:
                            break
                    ok = answer.is_success
                    reason = "" if ok else f"answered {answer.status_code}"
                    text = body[:OUTPUT_BYTES].decode("utf-8", "replace")
                    ended = Ended(
                        State.SUCCEEDED if ok else State.FAILED, reason, answer.status_code, text, printed=len(text)
                    )
        except httpx.TimeoutException:
            ended = Ended(State.TIMED_OUT, f"no answer within {timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            ended = Ended(State.FAILED, f"{url} cannot be asked: {error}")
        self._inbox.post(lambda: self._over(run.id, ended))

    def _over(self, run_id: int, ended: Ended) -> None:
        told = self._running.pop(run_id, None)
        if told is not None:
            told(ended)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if not self._running and self._done is not None:
            done, self._done = self._done, None
            done()

"""Inspection: what is asked of one site's recorder, in plain values, by its own page and by the App for all its sites.

    version                            {"version": N, "busy": N}      grows with whatever is recorded; those under way
    list    limit, files, filters      {"requests": [summary ...]}    the newest first
    show    id, limit                  details
    curl    id, secrets                {"curl": text}
    replay  id                         summary of the new one, when it has been answered
    clear                              {}

An answer of None: there is no such request here. One with `error`: it cannot be done, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from duck.http.ducksight.curl import CannotRepeat, curl
from duck.http.ducksight.replay import replay
from duck.http.ducksight.report import LONG_TEXT, details, summary

if TYPE_CHECKING:
    import asyncio

    from duck.http.ducksight.recorder import Recorder
    from duck.http.ducksight.recording import Recording
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler

Answer = dict[str, Any] | None
Tell = Callable[[Answer], None]
# Asks a question of all sites; the answer is told at once or later, on any thread.
Ask = Callable[[Mapping[str, Any], Tell], None]

VERSION: Final = "version"
LIST: Final = "list"
SHOW: Final = "show"
CURL: Final = "curl"
REPLAY: Final = "replay"
CLEAR: Final = "clear"


class Inspection:
    """Answers for one site, on its loop.

    Args:
        handler: answers replays: the site.
        max_body_bytes: that a replay's body may have before a route says otherwise.
        on_replay: told of each replay when it has ended.
    """

    def __init__(
        self,
        recorder: Recorder,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        max_body_bytes: int,
        *,
        on_replay: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._on_replay = on_replay
        self._recorder = recorder
        self._handler = handler
        self._loop = loop
        self._max_body_bytes = max_body_bytes

    def ask(self, question: Mapping[str, Any], tell: Tell) -> None:
        """Answer `question` (see the module)."""
        recorder, what = self._recorder, question["do"]
        if what == VERSION:
            tell({"version": recorder.version, "busy": recorder.busy})
        elif what == LIST:
            tell({"requests": self._rows(question)})
        elif what == CLEAR:
            recorder.clear()
            tell({})
        else:
            self._about_one(what, question, tell)

    def _about_one(self, what: str, question: Mapping[str, Any], tell: Tell) -> None:
        recording = self._recorder.find(question["id"])
        if recording is None:
            tell(None)
            return
        try:
            if what == SHOW:
                tell(details(recording, self._recorder.now(), question.get("limit", LONG_TEXT)))
            elif what == CURL:
                tell({"curl": curl(recording, with_secrets=bool(question.get("secrets")))})
            else:
                assert what == REPLAY, what
                self._replay(recording, tell)
        except CannotRepeat as error:
            tell({"error": str(error)})

    def _replay(self, recording: Recording, tell: Tell) -> None:
        recorder = self._recorder

        def done(again: Recording | None) -> None:
            tell(None if again is None else summary(again, recorder.now()))

        def ended(exchange: Exchange) -> None:
            exchange.ended_at = recorder.now()
            if self._on_replay is not None:
                self._on_replay(exchange)

        replay(recording, self._handler, self._loop, recorder.now(), self._max_body_bytes, ended, done)

    def _rows(self, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        now, limit = self._recorder.now(), question.get("limit", 0)
        rows = []
        for recording in self._recorder.recordings():
            row = summary(recording, now)
            if is_wanted(row, question):
                rows.append(row)
                if len(rows) == limit:
                    break
        return rows


def gathered(question: Mapping[str, Any], answers: Sequence[Answer]) -> Answer:
    """One answer to `question` out of those of all sites."""
    told = [answer for answer in answers if answer is not None]
    failed = next((answer for answer in told if "error" in answer and "id" not in answer), None)
    what = question["do"]
    if failed is not None or not told:
        return failed
    if what == VERSION:
        return {name: sum(answer[name] for answer in told) for name in ("version", "busy")}
    if what == LIST:
        rows = sorted((row for answer in told for row in answer["requests"]), key=lambda row: -row["id"])
        return {"requests": rows[: question.get("limit") or None]}
    return told[0]


def is_wanted(row: Mapping[str, Any], question: Mapping[str, Any]) -> bool:
    """Whether a row of a list is asked for.

    `files`: those answered with files, too; `after`: with a higher number; `path`: a part of the target; `method`;
    `status`: the first digit, or all three; `x` for those that were cut or failed.
    """
    if row["file"] and not question.get("files"):
        return False
    if row["id"] <= question.get("after", 0):
        return False
    path, method, status = question.get("path", ""), question.get("method", ""), question.get("status", "")
    if path and path.lower() not in row["target"].lower():
        return False
    if method and row["method"] != method.upper():
        return False
    if status == "x":
        return bool(row["error"]) or row["state"] == "cut"
    return not status or str(row["status"] or "").startswith(status)

"""Recorded requests of an App: asked of all sites of its front, for their pages and for `duck requests`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from duck.http.ducksight.inspection import CURL, LIST, REPLAY, SHOW, gathered
from duck.http.ducksight.inspector import REPLAY_S, REQUESTS_PATH
from duck.http.ducksight.report import SHORT_TEXT

if TYPE_CHECKING:
    import asyncio

    from duck.app.lifecycle import Lifecycle
    from duck.http.ducksight.inspection import Answer, Tell
    from duck.http.site import Site
    from duck.services.inbox import Inbox
    from duck.services.ipc import Request

MAX_ROWS: Final = 500
URL: Final = "url"
# What a loop has to answer; one that hangs is not waited for.
_ANSWER_S: Final = 4.0

Sites = Sequence[tuple["asyncio.AbstractEventLoop", "Site"]]


def gather(inbox: Inbox, sites: Sites, question: Mapping[str, Any], tell: Tell) -> None:
    """Ask all `sites`, each on its own loop, and `tell` one answer, once; both on the inbox's thread."""
    _Gathering(inbox, question, tell).begin(sites)


class _Gathering:
    """One question on its way."""

    def __init__(self, inbox: Inbox, question: Mapping[str, Any], tell: Tell) -> None:
        self._inbox = inbox
        self._question = question
        self._tell: Tell | None = tell
        self._missing = 0
        self._answers: list[Answer] = []
        self._timer = inbox.call_later(REPLAY_S if question["do"] == REPLAY else _ANSWER_S, self._finish)

    def begin(self, sites: Sites) -> None:
        self._missing = len(sites)
        for loop, site in sites:
            try:
                loop.call_soon_threadsafe(site.inspect, self._question, self._answered)
            except RuntimeError:  # its loop has ended
                self._missing -= 1
        if not self._missing:
            self._finish()

    def _answered(self, answer: Answer) -> None:
        """On a site's loop."""
        self._inbox.post(lambda: self._add(answer))

    def _add(self, answer: Answer) -> None:
        self._answers.append(answer)
        self._missing -= 1
        if not self._missing:
            self._finish()

    def _finish(self) -> None:
        tell, self._tell = self._tell, None
        self._timer.cancel()
        if tell is not None:
            tell(gathered(self._question, self._answers))


def commanded(lifecycle: Lifecycle, request: Request) -> None:
    """`duck requests`: the arguments are a question (see `duck.http.ducksight.inspection`)."""
    question = dict(request.arguments)
    what, number = question.get("do"), question.get("id")
    if what not in (LIST, SHOW, CURL, REPLAY, URL) or (what not in (LIST, URL) and type(number) is not int):
        request.refuse("A question about requests is a list or a url, or one of show, curl and replay with an id.")
        return
    config = lifecycle.front.config
    sight = config.ducksight if config is not None else None
    if sight is None:
        request.refuse(_why_none(lifecycle))
        return
    run = sight.run
    if what == URL:
        _tell_url(lifecycle, request)
        return
    question["limit"] = min(question.get("limit") or MAX_ROWS, MAX_ROWS) if what == LIST else SHORT_TEXT

    def tell(answer: Answer) -> None:
        if answer is None:
            request.refuse(f"No request {number} is kept; `duck requests` lists those that are.")
        elif "error" in answer and "id" not in answer:
            request.refuse(answer["error"])
        else:
            request.reply({**answer, "run": run})

    lifecycle.browsers.ask(question, tell)


def page_url(lifecycle: Lifecycle) -> str:
    """The address of the page, for a browser on this machine, with the token; empty where there is none."""
    config = lifecycle.front.config
    sight = config.ducksight if config is not None else None
    address = next((one for one in lifecycle.addresses if one.startswith(("http://", "https://"))), None)
    if sight is None or not sight.requests or address is None:
        return ""
    return f"{address.rstrip('/')}{REQUESTS_PATH.decode()}?token={lifecycle.browsers.token}"


def _tell_url(lifecycle: Lifecycle, request: Request) -> None:
    """To the user whom the control socket belongs to."""
    url = page_url(lifecycle)
    if url:
        request.reply({"url": url})
    else:
        request.refuse("There is no page: no request is kept (DUCKSIGHT_REQUESTS), or there is no address of HTTP.")


def _why_none(lifecycle: Lifecycle) -> str:
    settings = lifecycle.settings
    if settings["MODE"] == "serve":
        return "`duck serve` records no requests; `duck runserver` does, while the project's DEBUG is on."
    if not settings["DUCKSIGHT"]:
        return "DUCKSIGHT is off, so no request is recorded; start without --no-ducksight."
    return "No request is recorded here: only threads record them, and only while DEBUG is on."

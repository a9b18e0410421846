"""Recorded requests are asked of every loop, and told once."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from duck.app import recorded
from duck.app.recorded import commanded, gather
from duck.http.ducksight.config import DuckSightConfig


class Site:
    """Answers on its own loop what it was made with."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.thread = None

    def inspect(self, question, tell):
        self.asked.append(question)
        self.thread = threading.current_thread()
        if self.answer != "nothing":
            tell(self.answer)


@pytest.fixture
def make_site():
    """A function that gives a site with a loop that runs in a thread of its own."""
    loops = []

    def make(answer):
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        loops.append((loop, thread))
        return loop, Site(answer)

    yield make
    for loop, thread in loops:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def ask(inbox, sites, question):
    told = []
    gather(inbox, sites, question, told.append)
    while not told:
        inbox.run_once(10)
    inbox.run_once(0)
    assert len(told) == 1
    return told[0]


def row(number):
    return {"id": number}


def test_lists_become_one_the_newest_first(inbox, make_site):
    sites = [make_site({"requests": [row(5), row(2)]}), make_site({"requests": [row(4), row(3)]})]
    assert ask(inbox, sites, {"do": "list", "limit": 3}) == {"requests": [row(5), row(4), row(3)]}
    assert all(site.thread is not threading.current_thread() for _, site in sites)
    assert ask(inbox, sites, {"do": "list"})["requests"][-1] == row(2)


def test_one_request_is_found_wherever_it_is(inbox, make_site):
    sites = [make_site(None), make_site({"id": 7, "error": ""}), make_site(None)]
    assert ask(inbox, sites, {"do": "show", "id": 7}) == {"id": 7, "error": ""}
    assert ask(inbox, sites[::2], {"do": "show", "id": 7}) is None


def test_versions_are_added(inbox, make_site):
    sites = [make_site({"version": 5, "busy": 1}), make_site({"version": 7, "busy": 0})]
    assert ask(inbox, sites, {"do": "version"}) == {"version": 12, "busy": 1}


def test_a_refusal_is_told(inbox, make_site):
    sites = [make_site({"error": "DEBUG is off"}), make_site({"error": "DEBUG is off"})]
    assert ask(inbox, sites, {"do": "list"}) == {"error": "DEBUG is off"}


def test_a_loop_that_hangs_or_has_ended_is_not_waited_for(inbox, make_site, monkeypatch):
    monkeypatch.setattr(recorded, "_ANSWER_S", 0.05)
    ended = asyncio.new_event_loop()
    ended.close()
    sites = [make_site("nothing"), make_site({"requests": [row(1)]}), (ended, Site(None))]
    assert ask(inbox, sites, {"do": "list"}) == {"requests": [row(1)]}
    assert ask(inbox, [], {"do": "list"}) is None


# -- the command --------------------------------------------------------------------------------------------------


class Request:
    def __init__(self, **arguments):
        self.arguments = arguments
        self.replied = self.refused = None

    def reply(self, result):
        self.replied = result

    def refuse(self, sentence):
        self.refused = sentence


def lifecycle(answer=None, *, sight=True, addresses=("http://localhost:8000/",), **settings):
    def ask(question, tell):
        asked.append(question)
        tell(answer)

    asked = []
    config = SimpleNamespace(ducksight=DuckSightConfig("t0ken", run="r") if sight else None)
    return SimpleNamespace(
        settings={"MODE": "runserver", "DUCKSIGHT": True, **settings},
        front=SimpleNamespace(config=config),
        browsers=SimpleNamespace(ask=ask, token="t0ken"),
        addresses=list(addresses),
        asked=asked,
    )


def command(life, **arguments):
    request = Request(**arguments)
    commanded(life, request)
    return request


def test_what_is_told_carries_the_run():
    life = lifecycle({"requests": []})
    assert command(life, do="list", limit=7, path="/a").replied == {"requests": [], "run": "r"}
    assert life.asked == [{"do": "list", "limit": 7, "path": "/a"}]
    command(life, do="list", limit=10**9)
    assert life.asked[-1]["limit"] == 500


@pytest.mark.parametrize("arguments", [{}, {"do": "clear"}, {"do": "show"}, {"do": "show", "id": "1"}, {"do": "x"}])
def test_other_questions_are_refused(arguments):
    assert "A question about requests" in command(lifecycle(), **arguments).refused


def test_what_is_not_kept_is_one_sentence():
    assert command(lifecycle(None), do="show", id=7).refused.startswith("No request 7 is kept")
    assert command(lifecycle({"error": "It is cut."}), do="replay", id=7).refused == "It is cut."


def test_the_address_of_the_page_holds_the_token():
    assert command(lifecycle(), do="url").replied == {"url": "http://localhost:8000/.duck/requests?token=t0ken"}
    assert "no address of HTTP" in command(lifecycle(addresses=["unix:/run/x"]), do="url").refused


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"MODE": "serve"}, "`duck serve` records no requests"),
        ({"DUCKSIGHT": False}, "--no-ducksight"),
        ({}, "threads"),
    ],
)
def test_why_there_are_none(settings, word):
    assert word in command(lifecycle(sight=False, **settings), do="list").refused

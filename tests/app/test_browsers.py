"""What the App says to browsers and does for them."""

import asyncio
import threading

import pytest

from duck.app.browsers import Browsers
from duck.app.front import Front
from duck.app.front_processes import FrontProcesses
from duck.http.site import SiteConfig
from duck.net.clock import Clock
from duck.services.inbox import Inbox
from duck.settings.load import load

FAULT = {"type": "fault", "fault": {"kind": "syntax"}}


@pytest.fixture
def inbox():
    made = Inbox()
    yield made
    made.close()


def browsers_of(tmp_path, inbox, front=None, **values):
    made = Browsers(load(values, {}, tmp_path), front or Front(inbox.post), lambda: inbox)
    made.begin({})
    return made


def test_the_token_is_random_and_kept_by_the_next_duck_of_the_process(tmp_path, inbox):
    one, other = browsers_of(tmp_path, inbox), browsers_of(tmp_path, inbox)
    assert len(one.token) >= 32 and one.token != other.token
    other.begin(one.hand_over())
    assert other.token == one.token
    first, second = (duck.config(use_django=True) for duck in (one, other))
    assert first.token == second.token == one.token
    assert first.run != second.run  # pages of the Duck before load again


@pytest.mark.parametrize("values", [{"MODE": "serve"}, {"DUCKSIGHT": False}, {"MODE": "serve", "DUCKSIGHT": True}])
def test_in_production_or_where_it_is_not_wanted_there_is_none(tmp_path, inbox, values):
    assert browsers_of(tmp_path, inbox, **values).config(use_django=True) is None


def test_worker_processes_have_none_and_telling_them_is_nothing(tmp_path, inbox):
    browsers = browsers_of(tmp_path, inbox, FrontProcesses(lambda: inbox, 1))
    assert browsers.config(use_django=True) is None
    browsers.tell({"type": "reload"})


@pytest.mark.parametrize("debug", [True, False])
def test_without_django_ducks_own_debug_counts(tmp_path, inbox, debug):
    config = browsers_of(tmp_path, inbox, DEBUG=debug).config(use_django=False)
    assert (config is not None) is debug


def test_what_is_allowed_comes_from_the_settings(tmp_path, inbox):
    browsers = browsers_of(tmp_path, inbox, DUCKSIGHT_ALLOWED=["172.17.0.1", "shop.test"])
    assert browsers.config(use_django=True).allowed == ("172.17.0.1/32", "shop.test")


def test_a_command_is_done_on_the_inbox_and_what_fails_is_answered(tmp_path, inbox, caplog):
    browsers = browsers_of(tmp_path, inbox)
    done, replies = [], []
    browsers.commands["migrate"] = lambda arguments, reply: done.append(threading.current_thread())
    browsers.commands["open"] = lambda arguments, reply: 1 / 0
    on_command = browsers.config(use_django=True).on_command
    asking = threading.Thread(target=on_command, args=("migrate", {}, replies.append))
    asking.start()
    asking.join()
    on_command("open", {"file": "a"}, replies.append)
    on_command("other", {}, replies.append)
    inbox.run_once(1.0)
    assert done == [threading.current_thread()]
    assert [reply["ok"] for reply in replies] == [False, False]
    assert "ZeroDivisionError" in replies[0]["text"] and "other" in replies[1]["text"]
    assert "ZeroDivisionError" in caplog.text


def test_a_worker_that_starts_later_knows_what_was_told_before(tmp_path, inbox):
    front = Front(inbox.post)
    browsers = browsers_of(tmp_path, inbox, front)
    front.config = SiteConfig(development=True, ducksight=browsers.config(use_django=True))
    loop = asyncio.new_event_loop()
    try:
        first = front.make_handler(loop, Clock(loop))
        front.tell_browsers({"type": "style", "urls": []})
        front.tell_browsers(FAULT)
        loop.run_until_complete(asyncio.sleep(0))
        second = front.make_handler(loop, Clock(loop))
        assert first.sight.channel.at == second.sight.channel.at
        assert first.sight.channel.at.endswith(".2")
        assert first.sight.channel._fault == second.sight.channel._fault == FAULT
        front.tell_browsers({"type": "reload"})
        loop.run_until_complete(asyncio.sleep(0))
        assert first.sight.channel._fault is second.sight.channel._fault is None
        first.close(), second.close()
    finally:
        loop.close()

"""What DuckSight and browsers say to each other, over real WebSockets of another implementation."""

import asyncio
import json

import pytest
import websockets.asyncio.client as client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from duck.http.ducksight import channel as channels
from duck.http.ducksight.channel import Channel, fault_after
from duck.http.ducksight.config import DuckSightConfig
from duck.http.ducksight.sight import Sight
from tests.http.ducksight.asking import TOKEN
from tests.http.lane import run, serving, until

FAULT = {"type": "fault", "fault": {"kind": "syntax", "title": "SyntaxError"}}


def conversation(work, **config):
    async def serve():
        sight = Sight(DuckSightConfig(TOKEN, run="r", **config), asyncio.get_running_loop())
        async with serving(sight.endpoints) as port:
            await work(sight, port)
            await until(lambda: not sight.channel.browsers)

    run(serve)


def connect(port, token=TOKEN, **more):
    return client.connect(f"ws://127.0.0.1:{port}/.duck/socket?token={token}", proxy=None, **more)


async def heard(ws):
    return json.loads(await ws.recv())


def test_a_browser_hears_where_things_stand_and_what_happens():
    async def work(sight, port):
        async with connect(port, origin=f"http://127.0.0.1:{port}") as ws:
            assert await heard(ws) == {"type": "hello", "at": "r.0", "editor": ""}
            sight.tell({"type": "style", "urls": ["/static/a.css"]}, 1)
            assert await heard(ws) == {"type": "style", "urls": ["/static/a.css"], "at": "r.1"}
            sight.tell({"type": "reload"}, 2)
            assert await heard(ws) == {"type": "reload", "at": "r.2"}

    conversation(work)


def test_all_browsers_hear_it():
    async def work(sight, port):
        async with connect(port) as one, connect(port) as other:
            assert [(await heard(ws))["type"] for ws in (one, other)] == ["hello", "hello"]
            sight.tell({"type": "reload"}, 1)
            assert [(await heard(ws))["type"] for ws in (one, other)] == ["reload", "reload"]

    conversation(work)


def test_who_comes_later_hears_of_the_fault_until_it_is_mended():
    async def work(sight, port):
        sight.tell(FAULT, 1)
        sight.tell({"type": "style", "urls": []}, 2)
        async with connect(port) as ws:
            assert await heard(ws) == {"type": "hello", "at": "r.2", "editor": ""}
            assert await heard(ws) == {**FAULT, "at": "r.2"}
            sight.tell({"type": "mended"}, 3)
            assert (await heard(ws))["type"] == "mended"
        async with connect(port) as ws:
            assert (await heard(ws))["type"] == "hello"
            sight.tell({"type": "reload"}, 4)
            assert (await heard(ws))["type"] == "reload"

    conversation(work)


def test_what_is_wrong_with_one_page_is_told_to_who_looks_at_it():
    async def work(sight, port):
        broken = {"type": "fault", "fault": {"kind": "error"}, "page": "/a?b=c d"}
        async with connect(f"{port}", f"{TOKEN}&page=%2Fa%3Fb%3Dc%20d") as one, connect(port) as other:
            assert [(await heard(ws))["type"] for ws in (one, other)] == ["hello", "hello"]
            sight.tell(broken, 1)
            sight.tell({"type": "style", "urls": []}, 2)
            assert [(await heard(ws))["type"] for ws in (one, other)] == ["fault", "style"]
        async with connect(port, f"{TOKEN}&page=%2Fa%3Fb%3Dc%20d") as later:  # its page loads after it was told
            assert (await heard(later))["type"] == "hello"
            assert await heard(later) == {**broken, "at": "r.2", "kept": True}
            sight.tell({"type": "reload"}, 3)
        async with connect(port, f"{TOKEN}&page=%2Fa%3Fb%3Dc%20d") as later:
            await heard(later)
            sight.tell({"type": "mended"}, 4)
            assert (await heard(later))["type"] == "mended"

    conversation(work, editor="")


def test_of_single_pages_only_so_many_are_kept(monkeypatch):
    async def work():
        channel = Channel(DuckSightConfig(TOKEN), asyncio.get_running_loop())
        for number in range(100):
            channel.tell({"type": "fault", "fault": {"kind": "error"}, "page": f"/{number}"}, number)
        assert list(channel._pages) == [f"/{number}" for number in range(100 - channels.MAX_PAGES, 100)]

    run(work)


@pytest.mark.parametrize(
    ("kind", "message", "left"),
    [
        ("syntax", {"type": "style", "urls": []}, True),
        ("syntax", {"type": "static", "urls": []}, True),
        ("syntax", {"type": "template"}, True),
        ("template", {"type": "template"}, False),
        ("syntax", {"type": "mended"}, False),
        ("syntax", {"type": "reload"}, False),
    ],
)
def test_a_fault_is_over_when_what_could_be_wrong_has_changed(kind, message, left):
    fault = {"type": "fault", "fault": {"kind": kind}}
    assert (fault_after(fault, message) is fault) is left
    assert fault_after(None, message) is None
    assert fault_after(fault, FAULT) is FAULT


def test_a_notice_is_kept_beside_a_fault_until_there_is_none():
    async def work():
        channel = Channel(DuckSightConfig(TOKEN), asyncio.get_running_loop())
        for number, message in enumerate(
            ({"type": "notice", "fault": {"kind": "migrations"}}, FAULT, {"type": "mended"}, {"type": "reload"})
        ):
            channel.tell(message, number)
        assert [said["type"] for said in heard_by(channel.join())] == ["hello", "notice"]
        channel.tell({"type": "notice", "fault": None}, 5)
        assert [said.get("fault") for said in heard_by(channel.join())] == [None, None]

    run(work)


def heard_by(browser):
    return [json.loads(browser.outbox.get_nowait()) for _ in range(browser.outbox.qsize())]


def test_the_listed_commands_are_done_and_answered():
    asked = []

    def on_command(name, arguments, reply):
        asked.append((name, arguments))
        reply({"ok": True, "text": name})

    async def work(sight, port):
        async with connect(port) as ws:
            await heard(ws)
            await ws.send('{"type": "migrate", "id": 7, "app": "ignored"}')
            assert await heard(ws) == {"type": "reply", "id": 7, "ok": True, "text": "migrate"}
            await ws.send('{"type": "open", "id": 8, "file": "/a.py", "line": 3, "more": 1}')
            assert (await heard(ws))["id"] == 8
        assert asked == [("migrate", {}), ("open", {"file": "/a.py", "line": 3})]

    conversation(work, on_command=on_command)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "x",
        "[]",
        "null",
        '{"type": "eval", "id": 1, "code": "1"}',
        '{"type": ["open"], "id": 1}',
        '{"type": "migrate"}',
        '{"type": "migrate", "id": true}',
        '{"type": "open", "id": 1, "file": "/a.py"}',
        '{"type": "open", "id": 1, "file": "", "line": 1}',
        '{"type": "open", "id": 1, "file": "/a\\u0000.py", "line": 1}',
        '{"type": "open", "id": 1, "file": ["/a.py"], "line": 1}',
        '{"type": "open", "id": 1, "file": "/a.py", "line": -1}',
        '{"type": "open", "id": 1, "file": "/a.py", "line": "1; rm"}',
        "[" * 5000,
        b"\xff\xfe",
    ],
)
def test_anything_else_is_nothing(message):
    asked = []

    async def work(sight, port):
        async with connect(port) as ws:
            await heard(ws)
            await ws.send(message)
            await ws.send('{"type": "migrate", "id": 1}')
            assert (await heard(ws))["id"] == 1
        assert asked == ["migrate"]

    def on_command(name, arguments, reply):
        asked.append(name)
        reply({})

    conversation(work, on_command=on_command)


@pytest.mark.parametrize(
    "more",
    [
        {"token": "wrong"},
        {"token": ""},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:1"},
        {"additional_headers": {"X-Forwarded-For": "127.0.0.1"}},
        {"additional_headers": {"Sec-Fetch-Site": "cross-site"}},
    ],
)
def test_a_stranger_is_not_let_in(more):
    async def work(sight, port):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(port, **more):
                pass
        assert refused.value.response.status_code == 404

    conversation(work)


def test_a_page_by_a_name_that_was_made_to_lead_here_is_not_let_in():
    async def work(sight, port):
        with pytest.raises(InvalidStatus):
            async with client.connect(
                f"ws://rebound.example:{port}/.duck/socket?token={TOKEN}", host="127.0.0.1", port=port, proxy=None
            ):
                pass

    conversation(work)


def test_a_browser_that_takes_nothing_is_let_go_and_nothing_piles_up(monkeypatch):
    monkeypatch.setattr(channels, "MAX_BEHIND", 4)

    async def work(sight, port):
        async with connect(port) as ws:
            await heard(ws)
            for number in range(10):  # at once, so that nothing is sent between
                sight.tell({"type": "template"}, number)
            with pytest.raises(ConnectionClosed) as ended:
                while True:
                    await ws.recv()
            assert ended.value.rcvd.code == 1013

    conversation(work)


def test_there_is_room_for_so_many_and_no_more(monkeypatch):
    monkeypatch.setattr(channels, "MAX_BROWSERS", 2)

    async def work(sight, port):
        async with connect(port), connect(port):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(port):
                    pass
            assert refused.value.response.status_code == 503

    conversation(work)


def test_a_worker_that_ends_says_so_and_the_page_may_come_again():
    async def work(sight, port):
        async with connect(port) as ws:
            await heard(ws)
            sight.drain()
            with pytest.raises(ConnectionClosed) as ended:
                await ws.recv()
            assert ended.value.rcvd.code == 1001

    conversation(work)


def test_where_debug_is_off_those_who_listen_are_sent_away():
    async def work(sight, port):
        async with connect(port) as ws:
            await heard(ws)
            sight.turn(False)
            with pytest.raises(ConnectionClosed):
                await ws.recv()

    conversation(work)


def test_an_answer_to_who_has_left_is_dropped():
    replies = []

    async def work(sight, port):
        async with connect(port) as ws:
            await heard(ws)
            await ws.send('{"type": "migrate", "id": 1}')
            await until(lambda: replies)
        await until(lambda: not sight.channel.browsers)
        replies[0]({"ok": True})
        await asyncio.sleep(0)

    conversation(work, on_command=lambda name, arguments, reply: replies.append(reply))


def test_without_browsers_nothing_of_websockets_is_loaded():
    async def work():
        channel = Channel(DuckSightConfig(TOKEN, run="r"), asyncio.get_running_loop())
        channel.tell({"type": "reload"}, 3)
        assert channel.at == "r.3"
        assert channel._lane is None

    run(work)

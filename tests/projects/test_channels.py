"""The chat of Channels' tutorial, with its layer in memory: served by Daphne's runserver, and by uvicorn."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.projects.conftest import RUNSERVER, Serve
from tests.projects.recipes import ADMIN, Tool, make

if TYPE_CHECKING:
    from tests.projects.pair import Pair
    from tests.projects.site import Site

pytestmark = pytest.mark.timeout(240)  # the first time an environment and a project are made
USER, PASSWORD = ADMIN["DJANGO_SUPERUSER_USERNAME"], ADMIN["DJANGO_SUPERUSER_PASSWORD"]
DEADLINE_S = 30.0

CONSUMERS = """
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer


class Chat(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.room = "chat_" + self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept(self.scope["subprotocols"][0] if self.scope["subprotocols"] else None)

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive_json(self, content):
        await self.channel_layer.group_send(self.room, {"type": "chat.message", "message": content["message"]})

    async def chat_message(self, event):
        await self.send_json({"message": event["message"]})


class Scope(WebsocketConsumer):
    def connect(self):
        self.accept()
        headers = sorted((k.decode(), v.decode()) for k, v in self.scope["headers"])
        self.send(repr({
            "user": str(self.scope["user"]), "path": self.scope["path"], "query": self.scope["query_string"],
            "host": [v for k, v in headers if k == "host"], "client": self.scope["client"][0],
            "origin": [v for k, v in headers if k == "origin"], "cookies": sorted(self.scope["cookies"]),
        }))
        self.close(code=4321)


class Refuse(WebsocketConsumer):
    def connect(self):
        self.close()


class Echo(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data, bytes_data=bytes_data)
"""
ASGI = """
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path

from chat import consumers

application = ProtocolTypeRouter({
    "http": application,
    "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter([
        path("ws/chat/<room>/", consumers.Chat.as_asgi()),
        path("ws/scope/", consumers.Scope.as_asgi()),
        path("ws/refuse/", consumers.Refuse.as_asgi()),
        path("ws/echo/", consumers.Echo.as_asgi()),
    ]))),
})
"""
SAY = '''

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.http import HttpResponse


def say(request, room):
    """A message from a page: heard only when pages and sockets are one process."""
    message = {"type": "chat.message", "message": "from a page: " + request.GET["message"]}
    async_to_sync(get_channel_layer().group_send)("chat_" + room, message)
    return HttpResponse("said")


urlpatterns += [path("say/<room>/", say)]
'''
LAYER = """
ASGI_APPLICATION = "mysite.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""


def chat(tool: Tool) -> None:
    tool.startproject("mysite", ".")
    tool.manage("startapp", "chat")
    tool.install("daphne", "chat")
    tool.append("mysite/settings.py", LAYER)
    tool.write("chat/consumers.py", CONSUMERS)
    tool.append("mysite/asgi.py", ASGI)
    tool.append("mysite/urls.py", SAY)
    tool.migrate()


def chat_with_uvicorn(tool: Tool) -> None:
    tool.startproject("mysite", ".")
    tool.manage("startapp", "chat")
    tool.install("channels", "chat")
    tool.append("mysite/settings.py", LAYER)
    tool.write("chat/consumers.py", CONSUMERS)
    tool.append("mysite/asgi.py", ASGI)
    tool.append("mysite/urls.py", SAY)
    tool.migrate()


UVICORN = ("-m", "uvicorn", "mysite.asgi:application", "--port", "{port}")


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def site(serve: Serve, request: pytest.FixtureRequest) -> Pair:
    django = "Django>=5.2,<5.3"
    if request.param == "daphne":
        return serve(make(chat, "3.11", "channels", "daphne", django), straight=RUNSERVER)
    return serve(make(chat_with_uvicorn, "3.12", "channels", "uvicorn", "websockets", django), straight=UVICORN)


def join(site: Site, target: str, **more: object) -> ClientConnection:
    arguments = {"origin": "http://localhost:8000", "open_timeout": DEADLINE_S, "proxy": None} | more
    address = f"ws://localhost:{site.port}{target}"
    return connect(address, additional_headers=arguments.pop("fields", {}), **arguments)  # type: ignore[arg-type]


def test_two_browsers_in_one_room_see_each_others_messages_and_those_of_pages(site: Pair) -> None:
    for one in (site.straight, site.duck):
        with join(one, "/ws/chat/lobby/") as first, join(one, "/ws/chat/lobby/") as second:
            with join(one, "/ws/chat/other/") as elsewhere:
                for sender, message in ((first, "hello"), (second, "Grüße \U0001f986"), (first, "x" * 300_000)):
                    sender.send(json.dumps({"message": message}))
                    for receiver in (first, second):
                        assert json.loads(receiver.recv(DEADLINE_S)) == {"message": message}
                assert site.both(lambda browser: browser.ask("GET", "/say/lobby/?message=a+b"), "say")[1].text == "said"
                for receiver in (first, second):
                    assert json.loads(receiver.recv(DEADLINE_S)) == {"message": "from a page: a b"}
                elsewhere.send(json.dumps({"message": "alone"}))
                assert json.loads(elsewhere.recv(DEADLINE_S)) == {"message": "alone"}
    site.check()


def both(site: Pair, act: Callable[[Site], object]) -> object:
    straight, duck = act(site.straight), act(site.duck)
    assert duck == straight
    return duck


def test_a_consumer_sees_the_same_scope_the_session_and_the_closing_code(site: Pair) -> None:
    site.fresh()
    assert site.submit("/admin/login/?next=/admin/", username=USER, password=PASSWORD).status == 302
    cookies = {site.straight.port: site.cookies[0], site.duck.port: site.cookies[1]}

    def scope(one: Site) -> object:
        cookie = "; ".join(f"{name}={value}" for name, value in cookies[one.port].items())
        fields = {"Cookie": cookie, "X-Forwarded-Host": "evil.example"}
        with join(one, "/ws/scope/?a=%C3%A4&b=1", fields=fields) as connection:
            text = connection.recv(DEADLINE_S)
            assert isinstance(text, str)
            with pytest.raises(Exception, match="4321"):
                connection.recv(DEADLINE_S)
        return text.replace(str(one.port), "PORT")

    assert "'user': 'admin'" in str(both(site, scope))


def test_what_is_refused_is_refused_with_the_same_status(site: Pair) -> None:
    def status(one: Site, target: str, origin: str) -> int | None:
        try:
            join(one, target, origin=origin).close()
        except InvalidStatus as refused:
            return refused.response.status_code
        return None

    def of(target: str, origin: str = "http://localhost:8000") -> object:
        return both(site, lambda one: status(one, target, origin))

    assert of("/ws/refuse/") == 403
    assert of("/ws/scope/", origin="http://evil.example") == 403
    assert of("/ws/scope/", origin="http://localhost:8000") is None
    assert of("/ws/nothing/") in (403, 404, 500)


def test_text_and_binary_messages_of_all_sizes_come_back(site: Pair) -> None:
    for one in (site.straight, site.duck):
        with join(one, "/ws/echo/", max_size=None) as connection:
            # One byte to 1 MB: Daphne takes no more, and does not call the consumer for an empty message.
            for size in (1, 125, 126, 65535, 65536, 500_000):
                for message in ("ä" * size, bytes(size)):
                    connection.send(message)
                    assert connection.recv(DEADLINE_S) == message


def test_pages_static_files_and_the_admin(site: Pair) -> None:
    site.fresh()
    for target in ("/", "/nothing", "/admin", "/say/lobby/?message=%F0%9F%A6%86", "/static/admin/css/base.css"):
        if target.startswith("/static/") and site.straight_alone("GET", target).status == 404:
            assert site.duck_alone("GET", target).status == 200  # uvicorn alone serves no files
        else:
            site.conditional(target)
    site.follow(site.submit("/admin/login/?next=/admin/", username=USER, password=PASSWORD))
    site.crawl("/admin/", limit=25, leave_out="logout|^/static/")
    assert site.submit("/admin/auth/group/add/", name="Würfel").status == 302
    site.check()

"""The ASGI application: Django for pages, and an echo for WebSockets at /ws/echo/."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")


class ProtocolRouter:
    """One application for each protocol, as Channels' ProtocolTypeRouter, which can take this one's place.

    Where `application_mapping["http"]` is Django's own handler, Duck sends pages through WSGI, which is several times
    cheaper for views that are not coroutines, and WebSockets here.
    """

    def __init__(self, application_mapping):
        self.application_mapping = application_mapping

    async def __call__(self, scope, receive, send):
        application = self.application_mapping.get(scope["type"])
        if application is None:
            raise ValueError(f"No application is configured for {scope['type']}.")
        await application(scope, receive, send)


async def echo(scope, receive, send):
    """Send each message of a WebSocket back."""
    message = await receive()
    if message["type"] != "websocket.connect":
        return
    if scope["path"] != "/ws/echo/":
        # Refused before it is accepted: the client gets 403.
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"]})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


application = ProtocolRouter({"http": get_asgi_application(), "websocket": echo})

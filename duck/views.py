"""Names for a Duck project's `views.py`."""

from duck.http.request import HttpRequest
from duck.http.response import (
    ErrorResponse,
    FileResponse,
    HttpRedirectResponse,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
    TemplateResponse,
)
from duck.http.views import View
from duck.http.websocket import WebSocketView

__all__ = [
    "ErrorResponse",
    "FileResponse",
    "HttpRedirectResponse",
    "HttpRequest",
    "HttpResponse",
    "JsonResponse",
    "StreamingHttpResponse",
    "TemplateResponse",
    "View",
    "WebSocketView",
]

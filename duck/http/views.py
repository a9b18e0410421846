"""Views: functions or classes that answer a request, and what becomes of what they return."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import DuckError
from duck.http.calls import call
from duck.http.response import ErrorResponse, HttpResponse, JsonResponse

if TYPE_CHECKING:
    from duck.http.request import HttpRequest
    from duck.http.routing import Match

METHODS: Final = ("get", "post", "put", "patch", "delete", "options")


class View:
    """A view with a method for each of HTTP's: `get`, `post`, `put`, `patch`, `delete`, `options`.

    Each request gets an instance of its own. HEAD is answered by `get`, OPTIONS and unknown methods by what is there.
    Methods take what the path gives as arguments, and may be coroutine functions.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    async def dispatch(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method for the request's; override it to do something around each."""
        method = self.request.method.lower()
        if method == "head" and not hasattr(self, "head"):
            method = "get"
        handler = getattr(self, method, None) if method in (*METHODS, "head") else None
        if handler is None:
            allowed = self.allowed_methods()
            if method == "options":
                return HttpResponse(b"", 204, {"Allow": ", ".join(allowed)}, None)
            return ErrorResponse(405, request=self.request, headers={"Allow": ", ".join(allowed)})
        return await call(handler, *args, **kwargs)

    def allowed_methods(self) -> list[str]:
        """The methods answered here, for the field `Allow`."""
        present = [method.upper() for method in METHODS if hasattr(self, method)]
        if "GET" in present:
            present.insert(present.index("GET") + 1, "HEAD")
        return present if "OPTIONS" in present else [*present, "OPTIONS"]


async def call_view(match: Match, request: HttpRequest) -> HttpResponse:
    """The response of the view that `match` found."""
    view = match.view
    if inspect.isclass(view) and issubclass(view, View):
        result = await view(request).dispatch(*match.args, **match.kwargs)
    else:
        result = await call(view, request, *match.args, **match.kwargs)
    return to_response(result, view)


def to_response(result: Any, view: Any) -> HttpResponse:
    """What a view returned, as a response: text and bytes become a page, dicts and lists JSON.

    Raises:
        DuckError: it is none of these.
    """
    if isinstance(result, HttpResponse):
        return result
    if isinstance(result, str | bytes):
        return HttpResponse(result)
    if isinstance(result, dict | list):
        return JsonResponse(result)
    name = getattr(view, "__qualname__", repr(view))
    raise DuckError(
        f"the view {name} returned {type(result).__name__}; "
        "a view returns an HttpResponse, text, bytes, a dict or a list"
    )

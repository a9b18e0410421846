"""MiddlewareChain: middlewares in order on the way in, from where it ended backwards on the way out."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import ClientGone, ExpectingNoResponse, HttpError, ProtocolError, SettingsError
from duck.http.calls import call
from duck.http.errors import format_traceback
from duck.http.middleware import Middleware
from duck.http.response import ErrorResponse, HttpResponse

if TYPE_CHECKING:
    from duck.http.request import HttpRequest

logger = logging.getLogger("duck.http")

BLOCK: Final = "block"
IGNORE: Final = "ignore"


class MiddlewareChain:
    """The middlewares that one kind of request passes.

    Args:
        behavior: what becomes of a request whose middleware finds it bad or fails: `block` answers it with an error,
            `ignore` logs that and goes on (MIDDLEWARE_FAILURE_BEHAVIOR).
        debug: show tracebacks on error pages.
    """

    def __init__(self, middlewares: Sequence[Any], *, behavior: str = BLOCK, debug: bool = False) -> None:
        if behavior not in (BLOCK, IGNORE):
            raise SettingsError(f'MIDDLEWARE_FAILURE_BEHAVIOR is {behavior!r}; it can be "block" or "ignore"')
        self._middlewares = tuple(middlewares)
        self._blocks = behavior == BLOCK
        self._debug = debug

    def __len__(self) -> int:
        return len(self._middlewares)

    async def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Pass `request` through; a response where a middleware stopped it, which then stands in `stopped_at`."""
        request.chain = self
        for place, middleware in enumerate(self._middlewares):
            try:
                verdict = await call(middleware.process_request, request)
                if isinstance(verdict, HttpResponse):
                    request.stopped_at = place
                    return verdict
                if verdict == Middleware.request_ok:
                    continue
                if not self._blocks:
                    logger.warning("%s found a request bad, and was ignored: %s", _name(middleware), request)
                    continue
                request.stopped_at = place
                response: HttpResponse = await call(middleware.get_error_response, request)
                return response
            except (ClientGone, ExpectingNoResponse):
                raise
            except (HttpError, ProtocolError):
                request.stopped_at = place
                raise
            except Exception:
                if self._blocks:
                    request.stopped_at = place
                    raise
                logger.exception("%s failed on a request, and was ignored", _name(middleware))
        return None

    async def process_response(self, response: HttpResponse, request: HttpRequest) -> HttpResponse:
        """Pass `response` back, from the middleware that stopped the request or the last one, to the first.

        Returns:
            The response, or an error in its place where a middleware failed and that blocks.
        """
        last = len(self._middlewares) if request.stopped_at is None else request.stopped_at + 1
        for middleware in reversed(self._middlewares[:last]):
            try:
                await call(middleware.process_response, response, request)
            except ClientGone:
                raise
            except Exception as error:
                logger.exception("%s failed on a response", _name(middleware))
                if self._blocks:
                    await response.aclose()
                    traceback = format_traceback(error) if self._debug else None
                    response = ErrorResponse(500, request=request, debug=self._debug, traceback=traceback)
        return response


def load_middlewares(names: Iterable[Any]) -> list[Any]:
    """A middleware of each of `names`: dotted names, classes, or middlewares already made.

    Raises:
        SettingsError: a name that is none, or that has neither method.
    """
    return [_load(name) for name in names]


def load_name(setting: str, name: str) -> Any:
    """What the dotted `name` stands for.

    Raises:
        SettingsError: there is no such module or name in it.
    """
    module_name, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"{setting} names {name!r}, which cannot be imported: {error}") from error


def _load(name: Any) -> Any:
    found = load_name("MIDDLEWARES", name) if isinstance(name, str) else name
    middleware = found() if inspect.isclass(found) else found
    for method in ("process_request", "process_response", "get_error_response"):
        if not callable(getattr(middleware, method, None)):
            raise SettingsError(
                f"MIDDLEWARES names {name!r}, which has no {method}; derive it from duck.http.middleware.Middleware"
            )
    return middleware


def _name(middleware: Any) -> str:
    return f"{type(middleware).__module__}.{type(middleware).__qualname__}"

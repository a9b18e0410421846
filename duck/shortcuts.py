"""What views do often, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from duck.exceptions import HttpError
from duck.http.response import ErrorResponse, HttpRedirectResponse, JsonResponse, TemplateResponse

if TYPE_CHECKING:
    from duck.http.request import HttpRequest

__all__ = ["HttpError", "jsonify", "not_found", "redirect", "render"]


def render(
    request: HttpRequest, template: str, context: Mapping[str, Any] | None = None, status_code: int = 200
) -> TemplateResponse:
    """A template of TEMPLATE_DIRS as a page; it is rendered after the view, off the loop."""
    return TemplateResponse(request, template, context, status_code)


def redirect(location: str, permanent: bool = False) -> HttpRedirectResponse:
    """To `location`: for now (302), or for good (301)."""
    return HttpRedirectResponse(location, permanent)


def jsonify(data: Any, status_code: int = 200) -> JsonResponse:
    """`data` as JSON."""
    return JsonResponse(data, status_code)


def not_found(request: HttpRequest, detail: str | None = None) -> ErrorResponse:
    """A 404 page in the form the client asks for."""
    return ErrorResponse(404, detail, request=request)

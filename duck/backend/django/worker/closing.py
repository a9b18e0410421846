"""Whether closing a Django response does work of the project's, such as mails sent after the answer."""

from __future__ import annotations

import weakref
from typing import Any, Callable, List

from django.core.signals import request_finished
from django.http.response import HttpResponseBase


def quick_closing() -> Callable[[Any], bool]:
    """A function that tells whether `close()` of a response is Django's own, with only Django's receivers.

    Those reset caches and close old database connections. The receivers are looked at again when they change.
    """
    own_close = HttpResponseBase.close
    seen: List[Any] = []
    quick = False

    def is_quick(response: Any) -> bool:
        nonlocal seen, quick
        receivers = request_finished.receivers
        if receivers != seen:
            seen = list(receivers)
            quick = all(_is_djangos(entry[1]) for entry in seen)
        if not quick or getattr(response.close, "__func__", None) is not own_close:
            return False
        # Django puts `request.close` there, which closes uploaded files.
        return len(getattr(response, "_resource_closers", ())) <= 1

    return is_quick


def _is_djangos(receiver: Any) -> bool:
    if isinstance(receiver, weakref.ReferenceType):
        receiver = receiver()
        if receiver is None:
            return True
    return (getattr(receiver, "__module__", None) or "").startswith("django.")

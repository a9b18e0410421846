"""The page of a project that does not run yet loads itself again once it does."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from duck.wire.head import ResponseHead

READY_PATH: Final = b"/.duck/ready"

# Asked of Duck, not of the project: a reload for each try would lose the place in the traceback.
_SCRIPT: Final = (
    "const look = () => fetch('" + READY_PATH.decode() + "').then((answer) => answer.ok && location.reload(), () => 0)"
    ".finally(() => setTimeout(look, 1000)); setTimeout(look, 1000);"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest())
_POLICY: Final = b"; script-src 'sha256-" + _HASH + b"'; connect-src 'self'"
_SAID: Final = b"<p>This page loads again by itself as soon as Django runs.</p>"
_PART: Final = _SAID + f"\n<script>{_SCRIPT}</script>".encode()
_PLACE: Final = b"<h2>Traceback</h2>"


def load_again_when_ready(head: ResponseHead, body: bytes, *, is_told: bool) -> bytes:
    """`body` with the part that asks `READY_PATH` each second, which the policy in `head` then allows; or only with
    the sentence that says so, where DuckSight tells the page.

    Only a page of Duck's own in HTML is changed, and only where it waits for an answer to GET.
    """
    place = body.find(_PLACE) if _PLACE in body else body.find(b"<footer>")
    if place < 0 or not body.startswith(b"<!doctype html>"):
        return body
    body = body[:place] + (_SAID if is_told else _PART) + b"\n" + body[place:]
    head.content_length = len(body)
    if is_told:
        return body
    for index, (name, value) in enumerate(head.fields):
        if name == b"Content-Security-Policy":
            head.fields[index] = (name, value + _POLICY)
    return body

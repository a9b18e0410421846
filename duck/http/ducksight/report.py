"""What is told of recordings, as JSON carries it: the same for pages, for programs and for `duck requests`.

Secrets are hidden here, once for all of them.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from duck.http.ducksight.curl import CannotRepeat, body_of
from duck.http.ducksight.masking import mask_field, mask_url
from duck.http.ducksight.shown_body import show
from duck.net.exchange import FILES

if TYPE_CHECKING:
    from duck.http.ducksight.recording import Recording
    from duck.wire.fields import Fields

# A reply over the control socket is bounded (services.ipc), and JSON may need six characters for one.
SHORT_TEXT: Final = 49_152
LONG_TEXT: Final = 262_144

_VERSIONS: Final = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}
_MAX_TARGET: Final = 8192


def summary(recording: Recording, now: float) -> dict[str, Any]:
    """One line of a list.

    `id`, `time` (UTC), `method`, `target`, `status` (null before there is one), `state` (see `Recording.state`),
    `answered_by` (`duck`, `file` or the backend's name), `file` (whether a list without files leaves it out), `type`
    (media type of the answer), `received_bytes`,
    `sent_bytes`, `duration_ms`, `queries` and `database_ms` (null where nobody counts them), `error`, `replay_of` (null
    for none).
    """
    recording.refresh()
    measure = recording.measure
    received, sent = recording.moved
    return {
        "id": recording.id,
        "time": _stamp(recording.began),
        "method": _text(recording.request.method),
        "target": mask_url(_text(recording.request.target[:_MAX_TARGET])),
        "status": recording.status or None,
        "state": recording.state,
        "answered_by": "file" if recording.backend is FILES else recording.backend or "duck",
        "file": recording.is_file,
        "type": recording.answer_type,
        "received_bytes": received,
        "sent_bytes": sent,
        "duration_ms": round(recording.lasted(now) * 1000, 3),
        "queries": None if measure is None else measure.queries,
        "database_ms": None if measure is None else round(measure.database_s * 1000, 3),
        "error": mask_url(recording.error),
        "replay_of": recording.replay_of or None,
    }


def details(recording: Recording, now: float, limit: int = LONG_TEXT) -> dict[str, Any]:
    """All of one: its `summary`, and

    `client`, `scheme`, `host`, `version`, `request_id`, `timing` (see `Timing`, each part with `_ms`), `request` and
    `answer`, each with `fields` (pairs) and `body` (see `ShownBody`), `cannot_repeat` (why it cannot be sent again, or
    empty).
    """
    request, head = recording.request, recording.head
    told = summary(recording, now)
    return told | {
        "client": recording.client,
        "scheme": recording.peer.scheme.decode("ascii"),
        "host": _text(request.authority),
        "version": _VERSIONS[request.version],
        "request_id": recording.request_id,
        "timing": recording.timing(now).millis(),
        "request": {
            "fields": _fields(request.fields),
            "body": asdict(show(recording.body, request.fields, limit)),
        },
        "answer": {
            "reason": "" if head is None else _text(head.reason),
            "fields": [] if head is None else _fields(head.fields),
            "body": asdict(show(recording.answer, [] if head is None else head.fields, limit)),
        },
        "cannot_repeat": _why_not(recording),
    }


def _why_not(recording: Recording) -> str:
    try:
        body_of(recording)
    except CannotRepeat as error:
        return str(error)
    return ""


def _fields(fields: Fields) -> list[list[str]]:
    return [[(shown := _text(name)), mask_field(shown, _text(value))] for name, value in fields]


def _stamp(seconds: float) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    millis = int(seconds * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(millis // 1000)) + f".{millis % 1000:03d}Z"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")

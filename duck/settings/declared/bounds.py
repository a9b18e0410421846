"""What clients and backends may use up: sizes and numbers, and time."""

from __future__ import annotations

from typing import Final

from duck.settings import kinds
from duck.settings.setting import GIB, KIB, MIB, Setting

_deadline = kinds.duration(zero_is_off=True)

LIMITS: Final = (
    Setting(
        "Limits",
        "MAX_HEAD_BYTES",
        kinds.size(1024),
        32 * KIB,
        "The longest request line with fields; more is answered with 431.",
        unit="bytes",
    ),
    Setting(
        "Limits",
        "MAX_TARGET_BYTES",
        kinds.size(256),
        16 * KIB,
        "The longest request target; more is answered with 414.",
        unit="bytes",
    ),
    Setting(
        "Limits",
        "MAX_FIELDS",
        kinds.integer(8, 10_000),
        100,
        "The most fields a request may have; more is answered with 431.",
        unit="fields",
    ),
    Setting(
        "Limits",
        "MAX_BODY_BYTES",
        kinds.size(),
        GIB,
        "The longest request body; more is answered with 413.",
        unit="bytes",
        aliases=("DATA_UPLOAD_MAX_SIZE",),
    ),
    Setting(
        "Limits",
        "BODY_LIMITS",
        kinds.table(kinds.REGEX, kinds.size(), "regular expression to bytes"),
        {},
        "Other body limits by path: the first expression that matches the whole path replaces MAX_BODY_BYTES.",
        unit="bytes",
    ),
    Setting(
        "Limits",
        "MAX_SPOOL_BYTES",
        kinds.size(),
        4 * GIB,
        "How much of all bodies together may lie on disk, half of it answers that slow clients have not taken; "
        "a request's body that does not fit is answered with 503.",
        unit="bytes",
    ),
    Setting(
        "Limits",
        "MAX_SPOOLED_ANSWER_BYTES",
        kinds.size(),
        64 * MIB,
        "How much of one answer may lie on disk until a slow client takes it, so that its Django thread is free; "
        "beyond it, and from the start with 0, the thread waits for the client.",
        unit="bytes",
    ),
    Setting(
        "Limits",
        "SPOOL_DIR",
        kinds.PATH.or_none(),
        None,
        "Where large bodies wait: of requests for their end, of answers for slow clients. By default the system's "
        "directory for temporary files.",
    ),
    Setting(
        "Limits",
        "MAX_CONNECTIONS",
        kinds.integer(1),
        10_000,
        "Client connections at once, of each front worker; more are answered with 503.",
        unit="connections",
    ),
    Setting(
        "Limits",
        "MAX_STREAMS",
        kinds.integer(1, 10_000),
        100,
        "Requests at once on one HTTP/2 connection; a client that begins more is told to wait (REFUSED_STREAM).",
        unit="requests",
    ),
    Setting(
        "Limits",
        "MAX_QUEUE",
        kinds.integer(0),
        1000,
        "Requests that may wait in each front worker for a free Django thread; more are answered with 503.",
        unit="requests",
    ),
)

DEADLINES: Final = (
    Setting(
        "Deadlines",
        "HEAD_TIMEOUT",
        kinds.duration(),
        30.0,
        "How long a request's head may take, from its first byte or the connection's start.",
        unit="seconds",
        aliases=("REQUEST_TIMEOUT",),
    ),
    Setting(
        "Deadlines",
        "BODY_TIMEOUT",
        kinds.duration(),
        60.0,
        "How long a request body may stand still.",
        unit="seconds",
    ),
    Setting(
        "Deadlines",
        "MIN_BODY_RATE",
        kinds.size(),
        256,
        "The slowest a request body may come on average, after BODY_TIMEOUT; 0 for any speed.",
        unit="bytes per second",
    ),
    Setting(
        "Deadlines",
        "KEEP_ALIVE_TIMEOUT",
        kinds.duration(),
        75.0,
        "How long an idle connection is kept for another request.",
        unit="seconds",
    ),
    Setting(
        "Deadlines",
        "SEND_TIMEOUT",
        kinds.duration(),
        60.0,
        "How long a client may take none of its answer before the connection is cut.",
        unit="seconds",
    ),
    Setting(
        "Deadlines",
        "PROXY_CONNECT_TIMEOUT",
        kinds.duration(),
        5.0,
        "How long a connection to a backend may take.",
        unit="seconds",
    ),
    Setting(
        "Deadlines",
        "PROXY_READ_TIMEOUT",
        _deadline,
        600.0,
        "How long a backend may say nothing, before its answer and within it; 0 for no deadline.",
        unit="seconds",
    ),
    Setting(
        "Deadlines",
        "QUEUE_TIMEOUT",
        kinds.duration(),
        30.0,
        "How long a request waits for a free Django thread, or for Django to be ready, before it is answered with 503.",
        unit="seconds",
    ),
    Setting(
        "Deadlines",
        "TUNNEL_IDLE_TIMEOUT",
        _deadline,
        3600.0,
        "How long a WebSocket may be silent in both directions; 0 for no deadline.",
        unit="seconds",
    ),
    Setting(
        "Deadlines",
        "SHUTDOWN_TIMEOUT",
        kinds.duration(),
        10.0,
        "How long what runs may go on after Ctrl-C or SIGTERM.",
        unit="seconds",
    ),
)

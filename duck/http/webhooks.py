"""Webhooks: requests that start automations, at paths that declarations name, for who proves to know their secret.

    POST path     202 and the event's id, as JSON
    proof         X-Hub-Signature-256: sha256=HMAC of the body, as GitHub signs it; or Authorization: Bearer SECRET
    refused       401 no proof, 405 no POST, 400 a body that is said to be JSON and is none, or is nested too deep,
                  413 a longer one than MAX_BODY_BYTES, 429 more than a sender may send, or more of its automation wait
                  than may, 503 it cannot be kept

What is refused for a crowd, or cannot be kept, is counted, and told in the log once a minute.
An event is on the disk before it is answered. Who carries it out may be another process, and need not run.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from duck.http.question import Question
from duck.http.tally import Tally
from duck.wire.fields import get
from duck.wire.render import answer_head, plain_error

if TYPE_CHECKING:
    from duck.net.clock import Clock
    from duck.net.exchange import Exchange
    from duck.wire.fields import Fields

logger = logging.getLogger("duck.http")

MAX_BODY_BYTES: Final = 256 * 1024
# Of bodies that are being read, by one worker.
_MOST_BODIES: Final = 32
# Of each path, by one worker: so many at once, and so many a second after that.
BURST: Final = 100
RATE: Final = 10.0
# Of JSON: what reads an event later has its own limit, which must not be met there.
MAX_DEPTH: Final = 64
_MAX_QUERY: Final = 2000
_JSON: Final = b"application/json"
_SIGNATURE: Final = b"x-hub-signature-256"
_FIELDS: Final = (b"content-type", b"user-agent", b"idempotency-key")
_FIELD_ENDS: Final = (b"-event", b"-delivery", b"-id")


class HookSource(Protocol):
    """Which paths there are, and where events are kept."""

    def look(self) -> Mapping[bytes, tuple[bytes, ...]] | None:
        """The secrets of each path, where they are others than the last time; asked once a second, and quick."""

    def crowded(self) -> Collection[bytes]:
        """Paths of which nothing more is to be kept now; asked once a second, and quick."""

    def keep(self, path: str, told: Mapping[str, Any]) -> str:
        """Keep an event, on any thread; its id.

        Raises:
            OSError: it cannot be kept.
        """


class Webhooks:
    """Of one worker (a `Handler`, and swept by its clock).

    Attributes:
        secrets: by path; a path without one that is known answers 401 to everybody.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, source: HookSource) -> None:
        self.secrets: Mapping[bytes, tuple[bytes, ...]] = {}
        self.deadline = 0.0
        self._crowded: Collection[bytes] = ()
        self._refused = Tally(_tell_refused)
        self._loop = loop
        self._clock = clock
        self._source = source
        self._bodies = 0
        self._rates: dict[bytes, tuple[float, float]] = {}  # how many more there may be, and when that was so
        self.expire(clock.now)
        clock.watched.add(self)

    def expire(self, now: float) -> None:
        """Look for other paths (`Watched`)."""
        self._crowded = self._source.crowded()
        self._refused.look(now)
        found = self._source.look()
        if found is not None:
            self.secrets = found
            self._rates = {path: self._rates.get(path, (float(BURST), now)) for path in found}

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange`, whose path is one of `secrets`."""
        request = exchange.request
        exchange.backend = "webhook"
        if request.method != b"POST":
            _refuse(exchange, 405, "A webhook takes POST.", [(b"Allow", b"POST")])
            return
        if (request.content_length or 0) > MAX_BODY_BYTES:
            _refuse(exchange, 413, f"A webhook takes {MAX_BODY_BYTES} bytes.")
            return
        signature = get(request.fields, _SIGNATURE)
        if signature is None and not self._is_bearer(exchange):
            _refuse(exchange, 401, "Sign the body, or send the secret.", [(b"WWW-Authenticate", b"Bearer")])
            return
        if self._bodies >= _MOST_BODIES:
            _refuse(exchange, 429, "Too many webhooks at once.", [(b"Retry-After", b"1")])
            return
        self._bodies += 1
        exchange.read_body(_Body(exchange, lambda body: self._read(exchange, body, signature), self._body_over))

    def _body_over(self) -> None:
        self._bodies -= 1

    def _is_bearer(self, exchange: Exchange) -> bool:
        scheme, _, token = (get(exchange.request.fields, b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        return _is_one_of(token.strip(), self.secrets.get(exchange.request.path, ()))

    def _read(self, exchange: Exchange, body: bytes, signature: bytes | None) -> None:
        request = exchange.request
        if signature is not None:
            secrets = self.secrets.get(request.path, ())
            right = [b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode() for secret in secrets]
            if not _is_one_of(signature.strip().lower(), right):
                _refuse(exchange, 401, "The signature is another.", [(b"WWW-Authenticate", b"Bearer")])
                return
        if request.path in self._crowded:
            self._refused.add(f"{request.path.decode('latin-1')}: too many runs wait for it", self._clock.time())
            _refuse(exchange, 429, "Too much of this waits already.", [(b"Retry-After", b"30")])
            return
        if not self._has_room(request.path):
            self._refused.add(f"{request.path.decode('latin-1')}: more than {RATE:g} a second", self._clock.time())
            _refuse(exchange, 429, f"A webhook takes {RATE:g} requests a second.", [(b"Retry-After", b"1")])
            return
        kind = get(request.fields, b"content-type") or b""
        try:
            said = read_body(kind, body)
        except ValueError:
            _refuse(exchange, 400, "The body is no JSON.")
            return
        path = request.path.decode("ascii")
        told = {
            "method": "POST",
            "path": path,
            "query": request.query.decode("latin-1")[:_MAX_QUERY],
            "headers": chosen_headers(request.fields),
            "body": said,
        }

        def keep(tell: Callable[[str | OSError], None]) -> None:
            def work() -> None:
                try:
                    tell(self._source.keep(path, told))
                except OSError as error:
                    tell(error)
                except Exception as error:  # whoever sent it waits for an answer
                    tell(OSError(f"{type(error).__name__}: {error}"))

            self._loop.run_in_executor(None, work)

        Question(self._loop, exchange, self._answer).ask(keep)

    def _answer(self, exchange: Exchange, told: str | OSError) -> None:
        if isinstance(told, OSError):
            self._refused.add(f"{exchange.request.path.decode('latin-1')}: {told}", self._clock.time())
            _refuse(exchange, 503, "The event cannot be kept.", [(b"Retry-After", b"30")])
            return
        body = json.dumps({"id": told}).encode() + b"\n"
        exchange.response.answer(answer_head(202, _JSON, body), body)

    def _has_room(self, path: bytes) -> bool:
        now = self._clock.time()
        left, at = self._rates.get(path, (float(BURST), now))
        left = min(float(BURST), left + (now - at) * RATE)
        self._rates[path] = (max(0.0, left - 1.0), now)
        return left >= 1.0


def read_body(kind: bytes, body: bytes) -> Any:
    """What a body says: JSON where its type is that, else text.

    Raises:
        ValueError: it is no JSON.
    """
    kind = kind.partition(b";")[0].strip().lower()
    if kind != _JSON and not kind.endswith(b"+json"):
        return body.decode("utf-8", "replace")
    try:
        said = json.loads(body) if body else None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [said]
    for _ in range(MAX_DEPTH):
        level = [item for each in level if isinstance(each, dict | list) for item in _items(each)]
        if not level:
            return said
    raise ValueError("it is nested too deeply")


def _items(of: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return of.values() if isinstance(of, dict) else of


def chosen_headers(fields: Fields) -> dict[str, str]:
    """Those that say what a request is about; none that proves who sends it."""
    return {
        name.lower().decode("latin-1"): value.decode("latin-1")
        for name, value in fields
        if name.lower() in _FIELDS or name.lower().endswith(_FIELD_ENDS)
    }


def _is_one_of(given: bytes, right: tuple[bytes, ...] | list[bytes]) -> bool:
    """In a time that tells nothing of where they differ."""
    return any([hmac.compare_digest(given, each) for each in right])


def _tell_refused(count: int, what: str) -> None:
    logger.error("Webhooks are refused, %d in the last minute at %s", count, what)


def _refuse(exchange: Exchange, status: int, sentence: str, fields: Fields | None = None) -> None:
    exchange.response.answer(*plain_error(status, sentence, fields=fields))


class _Body:
    """The body of a webhook (a `BodySink`); `over` is called once, `done` before it where the body is whole."""

    def __init__(self, exchange: Exchange, done: Callable[[bytes], None], over: Callable[[], None]) -> None:
        self._exchange = exchange
        self._done = done
        self._over = over
        self._body = bytearray()
        self._is_over = False

    def data(self, chunk: bytes) -> None:
        if self._is_over:
            return
        self._body += chunk
        if len(self._body) > MAX_BODY_BYTES:
            self._end()
            _refuse(self._exchange, 413, f"A webhook takes {MAX_BODY_BYTES} bytes.")

    def end(self, trailers: Fields | None) -> None:
        if not self._is_over:
            self._end()
            if not self._exchange.is_over:
                self._done(bytes(self._body))

    def abort(self, error: Exception) -> None:
        if not self._is_over:
            self._end()
            if not self._exchange.is_over:
                self._exchange.response.abort(error)

    def _end(self) -> None:
        self._is_over = True
        self._over()

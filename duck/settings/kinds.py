"""The types a setting can have: how a written value becomes the value that is used.

A `Kind` reads what a Python module or TOML gives (numbers, lists, tables) and what a command line or environment
variable gives (text) alike. What it cannot read it refuses with a `ValueError` whose text says what would be right,
as the end of a sentence: "give a port from 1 to 65535".
"""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from duck.settings.duration import parse_duration
from duck.settings.listen import parse_listen, split_host_port

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*(b|kb|mb|gb|tb|kib|mib|gib|tib|k|m|g)?", re.IGNORECASE)
_SIZE_UNITS = {
    **{unit: 1 for unit in ("", "b")},
    **{unit: 1 << 10 for unit in ("k", "kb", "kib")},
    **{unit: 1 << 20 for unit in ("m", "mb", "mib")},
    **{unit: 1 << 30 for unit in ("g", "gb", "gib")},
    **{unit: 1 << 40 for unit in ("tb", "tib")},
}
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?")


class Kind:
    """One type of setting.

    Attributes:
        name: as the reference page says it.
        read: takes the written value and the directory that relative paths start from.
        words: all values there are, of a choice.
    """

    __slots__ = ("name", "optional", "read", "words")

    def __init__(
        self, name: str, read: Callable[[Any, Path], Any], *, optional: bool = False, words: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.read = read
        self.optional = optional
        self.words = words

    def or_none(self) -> Kind:
        """The same, and None, `""` from the environment, for "not set"."""

        def read(raw: Any, base: Path) -> Any:
            return None if raw is None or raw == "" else self.read(raw, base)

        return Kind(self.name, read, optional=True)


def _boolean(raw: Any, base: Path) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in _WORDS:
        return _WORDS[raw.lower()]
    raise ValueError("give true or false")


def _text(raw: Any, base: Path) -> str:
    if isinstance(raw, str):
        return raw
    raise ValueError("give a text")


def integer(low: int, high: int | None = None, what: str = "a whole number") -> Kind:
    """Whole numbers from `low` to `high`."""
    right = f"give {what} from {low} to {high}" if high is not None else f"give {what}, {low} or more"

    def read(raw: Any, base: Path) -> int:
        if isinstance(raw, str) and re.fullmatch(r"-?\d{1,18}", raw):
            raw = int(raw)
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < low or (high is not None and raw > high):
            raise ValueError(right)
        return raw

    return Kind("integer", read)


def integer_or(word: str, low: int, high: int, what: str) -> Kind:
    """`word`, or a whole number from `low` to `high`."""
    number = integer(low, high, what)

    def read(raw: Any, base: Path) -> int | str:
        if isinstance(raw, str) and raw.strip().lower() == word:
            return word
        try:
            value: int = number.read(raw, base)
        except ValueError as error:
            raise ValueError(f'{error}, or "{word}"') from None
        return value

    return Kind(f"integer or `{word}`", read)


def duration(*, zero_is_off: bool = False) -> Kind:
    """Seconds as a float; `"30s"`, `"1.5h"`, `"1h30m"` are accepted. 0 only where it means "no deadline"."""
    none = ", or 0 for none" if zero_is_off else ""
    right = f'give seconds as a number, or a text like "30s", "5m" or "1h30m"{none}'

    def read(raw: Any, base: Path) -> float:
        if isinstance(raw, str):
            raw = parse_duration(raw)
        if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not 0 <= raw < 1e9:
            raise ValueError(right)
        if raw == 0 and not zero_is_off:
            raise ValueError(right + ", more than 0")
        return float(raw)

    return Kind("duration", read)


def size(low: int = 0) -> Kind:
    """Bytes; `"10MB"`, `"64 KiB"` are accepted, a K being 1024 in both."""

    def read(raw: Any, base: Path) -> int:
        if isinstance(raw, str):
            match = _SIZE.fullmatch(raw.strip())
            raw = int(float(match[1]) * _SIZE_UNITS[(match[2] or "").lower()]) if match else None
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < low:
            least = f", at least {low}" if low else ""
            raise ValueError(f'give bytes as a number, or a text like "10MB"{least}')
        return raw

    return Kind("size", read)


def choice(*words: str) -> Kind:
    """One of `words`."""

    def read(raw: Any, base: Path) -> str:
        # TOML and Python write `off` as false, and so may a user.
        if raw is False and "off" in words:
            return "off"
        if isinstance(raw, str) and raw.lower() in words:
            return raw.lower()
        raise ValueError("give one of " + ", ".join(words))

    return Kind("one of " + ", ".join(f"`{word}`" for word in words), read, words=words)


def items(of: Kind, name: str) -> Kind:
    """A list; text is split at commas, or read as JSON when it opens with `[`."""

    def read(raw: Any, base: Path) -> list[Any]:
        if isinstance(raw, str):
            raw = _json(raw, list) if raw.lstrip().startswith("[") else [x.strip() for x in raw.split(",") if x.strip()]
        if not isinstance(raw, (list, tuple)):
            raise ValueError(f"give a list: {name}")
        values = []
        for item in raw:
            try:
                values.append(of.read(item, base))
            except ValueError as error:
                # A tuple is what one option gave that may be repeated.
                where = "" if isinstance(raw, tuple) and len(raw) == 1 else f"{item!r} in it is wrong: "
                raise ValueError(f"{where}{error}") from None
        return values

    return Kind(f"list of {name}", read)


def table(key: Kind, value: Kind, name: str) -> Kind:
    """A mapping; text is read as JSON."""

    def read(raw: Any, base: Path) -> dict[Any, Any]:
        if isinstance(raw, str):
            raw = _json(raw, dict)
        if not isinstance(raw, Mapping):
            raise ValueError(f"give a table: {name}")
        values = {}
        for item, content in raw.items():
            try:
                values[key.read(item, base)] = value.read(content, base)
            except ValueError as error:
                raise ValueError(f"{item!r} in it is wrong: {error}") from None
        return values

    return Kind(f"table, {name}", read)


def _json(raw: str, kind: type) -> Any:
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"as JSON it cannot be read ({error})") from None
    if not isinstance(value, kind):
        raise ValueError(f"give a JSON {'list' if kind is list else 'object'}")
    return value


def _path(raw: Any, base: Path) -> Path:
    if isinstance(raw, (str, Path)) and str(raw):
        return base / Path(raw).expanduser()
    raise ValueError("give a path")


def _dotted(raw: Any, base: Path) -> str:
    if isinstance(raw, str) and _DOTTED.fullmatch(raw):
        return raw
    raise ValueError('give a dotted name like "package.module"')


def _module(raw: Any, base: Path) -> str:
    if isinstance(raw, str) and (_DOTTED.fullmatch(raw) or raw.endswith(".py")):
        return raw
    raise ValueError('give a dotted name like "package.settings", or a path that ends in .py')


def _entry(raw: Any, base: Path) -> str:
    if isinstance(raw, str) and _ENTRY.fullmatch(raw):
        return raw
    raise ValueError('give a name like "package.wsgi.application" or "package.wsgi:application"')


def _regex(raw: Any, base: Path) -> str:
    if isinstance(raw, str):
        try:
            # What Python says of a set within a set is that it will be read in another way one day: `\[` is clear.
            with warnings.catch_warnings(action="error", category=FutureWarning):
                re.compile(raw)
        except (re.error, FutureWarning) as error:
            raise ValueError(f"as a regular expression it cannot be read ({error})") from None
        return raw
    raise ValueError("give a regular expression as text")


def _network(raw: Any, base: Path) -> str:
    if isinstance(raw, str):
        if raw == "unix":
            return raw
        try:
            return str(ipaddress.ip_network(raw, strict=True))
        except ValueError as error:
            raise ValueError(f'give an address, a network like "10.0.0.0/8", or "unix" ({error})') from None
    raise ValueError('give an address, a network like "10.0.0.0/8", or "unix"')


def _host(raw: Any, base: Path) -> str:
    if isinstance(raw, str) and raw and not re.search(r"[\s/@?#]", raw):
        return raw
    raise ValueError("give a host name or IP address, without scheme or path")


def _listen(raw: Any, base: Path) -> str:
    if isinstance(raw, str):
        return parse_listen(raw, base).url
    raise ValueError('give "http://address:port", "unix:/path" or "fd:N"')


def _listen_or_off(raw: Any, base: Path) -> str:
    if raw == "off":
        return "off"
    if isinstance(raw, str) and raw.startswith("https:"):
        raise ValueError('give "http://address:port", "unix:/path" or "fd:N": what is private needs no HTTPS')
    return _listen(raw, base)


def _server(raw: Any, base: Path) -> str:
    if isinstance(raw, (list, tuple)) and len(raw) == 2:
        raw = f"{raw[0]}:{raw[1]}"  # the (address, port) that App.DJANGO_ADDR is
    if isinstance(raw, str) and raw.startswith("unix:"):
        return parse_listen(raw, base).url
    if isinstance(raw, str):
        host, port = split_host_port(raw.removeprefix("http://").rstrip("/"))
        if host and port:
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    raise ValueError('give "host:port" or "unix:/path"')


def _http_url(raw: Any, base: Path) -> str:
    if isinstance(raw, str):
        scheme, _, rest = raw.partition("://")
        authority, _, path = rest.partition("/")
        host, port = split_host_port(authority)
        if scheme == "http" and host and not re.search(r"[\s?#]", path):
            where = f"[{host}]" if ":" in host else host
            return f"http://{where}:{port or 80}/{path}" + ("" if not path or path.endswith("/") else "/")
    raise ValueError('give "http://host:port", and a path behind it where there is one')


def _command(raw: Any, base: Path) -> str:
    if isinstance(raw, str) and raw.strip():
        try:
            shlex.split(raw)
        except ValueError as error:
            raise ValueError(f"as a command line it cannot be read ({error})") from None
        return raw
    raise ValueError('give a management command with its arguments, like "migrate --noinput"')


def _prefix(raw: Any, base: Path) -> str:
    if isinstance(raw, str) and re.fullmatch(r"(/[^/?#\s]+)+/?|/", raw):
        return raw.rstrip("/") or "/"
    raise ValueError('give a path that begins with "/", like "/shop"')


def _name(raw: Any, base: Path) -> str:
    if isinstance(raw, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", raw):
        return raw
    raise ValueError("give letters, digits, dots, dashes and underscores, 64 at most")


BOOLEAN = Kind("boolean", _boolean)
TEXT = Kind("text", _text)
PATH = Kind("path", _path)
DOTTED = Kind("dotted name", _dotted)
MODULE = Kind("dotted name or path", _module)
ENTRY = Kind("dotted name", _entry)
REGEX = Kind("regular expression", _regex)
NETWORK = Kind("address or network", _network)
HOST = Kind("host name or address", _host)
LISTEN = Kind("listening URL", _listen)
LISTEN_OR_OFF = Kind("listening URL or `off`", _listen_or_off)
SERVER = Kind("`host:port` or `unix:/path`", _server)
HTTP_URL = Kind("`http:` URL", _http_url)
COMMAND = Kind("command", _command)
PREFIX = Kind("path prefix", _prefix)
NAME = Kind("name", _name)

"""One request of the link as a WSGI environ (PEP 3333), and the other pieces a WSGI server hands over. Hot code."""

from __future__ import annotations

import io
import os
import stat
from typing import IO, Any, Dict, Iterator, List
from urllib.parse import unquote_to_bytes

from ....wire.link import FIELDS_AT, SHARED_AT, LinkError

Environ = Dict[str, Any]

_FIELDS_AT = FIELDS_AT - SHARED_AT  # within the shared items
_MAX_KEYS = 1024
_MAX_KEY = 128
_MAX_KNOWN = 256
_MAX_SHARED = 4096
_FILE_BLOCK = 262_144


class _Keys(Dict[str, str]):
    """Field name as received -> environ key; `""` for names that must not be there. Bounded: clients choose names."""

    def __missing__(self, name: str) -> str:
        key = _environ_key(name)
        if len(self) < _MAX_KEYS and len(name) <= _MAX_KEY:
            self[name] = key
        return key


def _environ_key(name: str) -> str:
    if name[:1] == ":":
        return name[1:]  # of the front's own (net.peer): no field can have such a name
    if "_" in name:
        return ""  # `X_Forwarded_For` would become the key of `X-Forwarded-For`
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key


_keys = _Keys()


class Environs:
    """Makes environs, and remembers what they share: fields and addresses of one client differ seldom.

    A remembered environ is copied, never handed out. What is remembered is bounded twice: `_MAX_SHARED` characters
    each, and two generations of `_MAX_KNOWN`.
    """

    def __init__(self, base: Environ) -> None:
        self._base = base
        self._known: Dict[str, Environ] = {}
        self._older: Dict[str, Environ] = {}

    def make(self, items: List[str], body: bytes) -> Environ:
        """The environ of a request with these `wire.link` items, the shared ones as one; `body`: all, if not spooled.

        Raises:
            LinkError: the items are not what a front sends.
            OSError: the spooled body cannot be opened.
        """
        method, script_name, path, query, target, port, length, spool, request_id, shared = items
        known = self._known.get(shared)
        environ = known.copy() if known is not None else self._learn(shared)
        environ["REQUEST_METHOD"] = method
        environ["SCRIPT_NAME"] = script_name
        environ["PATH_INFO"] = unquote_to_bytes(path.encode("latin-1")).decode("latin-1") if "%" in path else path
        environ["QUERY_STRING"] = query
        environ["RAW_URI"] = environ["REQUEST_URI"] = target
        environ["REMOTE_PORT"] = port
        if request_id:
            environ["HTTP_X_REQUEST_ID"] = request_id
        if length:
            environ["CONTENT_LENGTH"] = length
        environ["wsgi.input"] = open(os.fsencode(spool.encode("latin-1")), "rb") if spool else io.BytesIO(body)
        return environ

    def _learn(self, shared: str) -> Environ:
        environ = self._older.get(shared)
        if environ is None:
            environ = _shared_environ(self._base, shared.split("\0"))
        if len(shared) <= _MAX_SHARED:
            if len(self._known) >= _MAX_KNOWN:
                self._older, self._known = self._known, {}
            self._known[shared] = environ
        return environ.copy()


def _shared_environ(base: Environ, items: List[str]) -> Environ:
    if len(items) < _FIELDS_AT or (len(items) - _FIELDS_AT) % 2:
        raise LinkError(f"a REQUEST frame with {len(items)} shared items")
    environ = base.copy()
    for name, value in zip(items[_FIELDS_AT::2], items[_FIELDS_AT + 1 :: 2], strict=True):
        key = _keys[name]
        if key not in environ:
            environ[key] = value
        elif key == "HTTP_COOKIE":
            environ[key] += "; " + value  # RFC 6265 §5.4
        elif key != "CONTENT_TYPE":
            environ[key] += "," + value
    environ.pop("", None)
    environ.pop("CONTENT_LENGTH", None)  # the link says it by itself
    (
        environ["SERVER_PROTOCOL"],
        environ["wsgi.url_scheme"],
        environ["REMOTE_ADDR"],
        environ["SERVER_NAME"],
        environ["SERVER_PORT"],
    ) = items[:_FIELDS_AT]
    if environ["wsgi.url_scheme"] == "https":
        environ["HTTPS"] = "on"
    return environ


class FileWrapper:
    """`wsgi.file_wrapper` (PEP 3333): blocks of a file. Django asks for 4 KiB, whatever the file is.

    What cannot make its reader wait, a regular file or memory, is read in larger blocks, since each block costs a frame
    and two system calls.
    """

    def __init__(self, filelike: IO[bytes], block_size: int = 8192) -> None:
        self.filelike = filelike
        self._read = filelike.read
        self._block_size = max(block_size, _FILE_BLOCK) if _is_quick(filelike) else block_size
        close = getattr(filelike, "close", None)
        if close is not None:
            self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data = self._read(self._block_size)
        if data:
            return data
        raise StopIteration


def _is_quick(filelike: Any) -> bool:
    if isinstance(filelike, io.BytesIO):
        return True
    try:
        return stat.S_ISREG(os.fstat(filelike.fileno()).st_mode)
    except (AttributeError, OSError, TypeError, ValueError):
        return False

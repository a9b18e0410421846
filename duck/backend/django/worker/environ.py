"""One request of the link as a WSGI environ (PEP 3333), and the other pieces a WSGI server hands over. Hot code."""

from __future__ import annotations

import io
import os
import stat
from typing import IO, Any, Dict, Iterator, List
from urllib.parse import unquote_to_bytes

from ....wire.link import FIELDS_AT

Environ = Dict[str, Any]

_MAX_KEYS = 1024
_MAX_KEY = 128
_FILE_BLOCK = 262_144


class _Keys(Dict[str, str]):
    """Field name as received -> environ key; `""` for names that must not be there. Bounded: clients choose names."""

    def __missing__(self, name: str) -> str:
        key = _environ_key(name)
        if len(self) < _MAX_KEYS and len(name) <= _MAX_KEY:
            self[name] = key
        return key


def _environ_key(name: str) -> str:
    if "_" in name:
        return ""  # `X_Forwarded_For` would become the key of `X-Forwarded-For`
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key


_keys = _Keys()


def make_environ(base: Environ, items: List[str], body: bytes) -> Environ:
    """The environ of the request with these `wire.link` items; `body` is the whole body, unless it was spooled.

    `base` is copied. Fields that came more than once are joined; all of it costs 2 us for 15 fields.
    """
    environ = base.copy()
    for name, value in zip(items[FIELDS_AT::2], items[FIELDS_AT + 1 :: 2], strict=True):
        key = _keys[name]
        if key not in environ:
            environ[key] = value
        elif key == "HTTP_COOKIE":
            environ[key] += "; " + value  # RFC 6265 §5.4
        elif key != "CONTENT_TYPE":
            environ[key] += "," + value
    environ.pop("", None)
    (
        environ["REQUEST_METHOD"],
        environ["SCRIPT_NAME"],
        path,
        environ["QUERY_STRING"],
        target,
        environ["SERVER_PROTOCOL"],
        environ["wsgi.url_scheme"],
        environ["REMOTE_ADDR"],
        environ["REMOTE_PORT"],
        environ["SERVER_NAME"],
        environ["SERVER_PORT"],
        length,
        spool,
    ) = items[:FIELDS_AT]
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    environ["PATH_INFO"] = path
    environ["RAW_URI"] = environ["REQUEST_URI"] = target
    if length:
        environ["CONTENT_LENGTH"] = length
    elif "CONTENT_LENGTH" in environ:
        del environ["CONTENT_LENGTH"]
    environ["wsgi.input"] = open(os.fsencode(spool.encode("latin-1")), "rb") if spool else io.BytesIO(body)
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

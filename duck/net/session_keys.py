"""The keys of TLS session tickets (RFC 5077, RFC 8446 §4.6.1), shared by processes that serve the same site.

    secret ──with what clients are asked for──> keys ──> each front context: who met one process resumes at any other

Python's `ssl` has no function for it, OpenSSL has one. Which of OpenSSL's contexts a new `SSLContext` stands for it
tells itself, by the callback that it calls whenever it makes one (CRYPTO_get_ex_new_index(3)): nothing is assumed of
how Python keeps it. Then SSL_CTX_set_tlsext_ticket_keys sets the keys, and they are read back. Where one of these
functions is not there (OpenSSL linked into the interpreter, another library), contexts have keys of their own.
"""

from __future__ import annotations

import ctypes
import hmac
import logging
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final

logger = logging.getLogger("duck.net")

SECRET_BYTES: Final = 32

# Of openssl/crypto.h and openssl/ssl.h; part of its binary interface since 1.1.0.
_CRYPTO_EX_INDEX_SSL_CTX: Final = 1
_SSL_CTRL_GET_TLSEXT_TICKET_KEYS: Final = 58
_SSL_CTRL_SET_TLSEXT_TICKET_KEYS: Final = 59
# 48 bytes were these keys in OpenSSL 1.0, 80 are they since: a name, one for the MAC, one for the cipher.
_MAX_KEY_BYTES: Final = 256


class _OpenSSL:
    """The OpenSSL that `ssl` uses."""

    def __init__(self, library: Any) -> None:
        self._made = threading.local()
        self._control = library.SSL_CTX_ctrl
        self._control.restype = ctypes.c_long
        self._control.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
        pointer, number = ctypes.c_void_p, ctypes.c_long
        self._callback = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, ctypes.c_int, number, pointer)(self._new)
        register = library.CRYPTO_get_ex_new_index
        register.restype = ctypes.c_int
        register.argtypes = [ctypes.c_int, number, pointer, type(self._callback), pointer, pointer]
        if register(_CRYPTO_EX_INDEX_SSL_CTX, 0, None, self._callback, None, None) < 0:
            raise OSError("no room for it")

    def _new(self, parent: Any, value: Any, data: Any, index: int, number: int, argument: Any) -> None:
        """OpenSSL has made the context `parent`, in this thread."""
        self._made.context = parent

    def keyed(self, make: Callable[[], ssl.SSLContext], keys: Callable[[int], bytes]) -> tuple[ssl.SSLContext, bool]:
        """The context that `make` makes, and whether it has the keys that `keys` gives, so many bytes long."""
        self._made.context = None
        context = make()
        address = self._made.context
        if not address:
            return context, False
        size = self._control(address, _SSL_CTRL_GET_TLSEXT_TICKET_KEYS, 0, None)
        if not 48 <= size <= _MAX_KEY_BYTES:
            return context, False
        wanted, found = keys(size), ctypes.create_string_buffer(size)
        self._control(address, _SSL_CTRL_SET_TLSEXT_TICKET_KEYS, size, wanted)
        self._control(address, _SSL_CTRL_GET_TLSEXT_TICKET_KEYS, size, found)
        return context, found.raw == wanted


_lock: Final = threading.Lock()
_loaded: list[_OpenSSL | None] = []


def keyed_context(make: Callable[[], ssl.SSLContext], secret: bytes, purpose: bytes) -> tuple[ssl.SSLContext, bool]:
    """The one context that `make` makes, with ticket keys that everybody who has `secret` has for `purpose`.

    The second value tells whether that could be done; else its keys are its own.
    """
    library = _openssl()
    if library is None:
        return make(), False
    return library.keyed(make, lambda size: _expand(secret, purpose, size))


def _openssl() -> _OpenSSL | None:
    with _lock:
        if not _loaded:
            _loaded.append(_load())
        return _loaded[0]


def _load() -> _OpenSSL | None:
    try:
        import _ssl

        # What a module was linked with is found through it, whatever else of that name is on the machine.
        return _OpenSSL(ctypes.CDLL(_ssl.__file__))
    except (ImportError, OSError, AttributeError, TypeError) as error:
        logger.debug("TLS sessions are not shared among processes: %s", error)
        return None


def _expand(secret: bytes, purpose: bytes, size: int) -> bytes:
    """HKDF-Expand (RFC 5869 §2.3) with SHA-512; `secret` is as good as random already."""
    found = block = b""
    number = 1
    while len(found) < size:
        block = hmac.digest(secret, block + b"duck session tickets" + purpose + bytes([number]), "sha512")
        found += block
        number += 1
    return found[:size]

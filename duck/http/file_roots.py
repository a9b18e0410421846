"""Opening files below a root: regular files only, never waiting, and for media never outside the root.

Every `open` here answers None where there is nothing to serve. The reason is logged only where the operator can do
something about it: what may not be read.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from typing import Final, NamedTuple, Protocol

logger = logging.getLogger("duck.files")

# O_NONBLOCK: the open of a pipe without a writer returns at once. Names that Windows lacks are 0 there.
_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0)

_NOTHING_THERE: Final = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO)
)
_A_SYMLINK: Final = frozenset((errno.ELOOP, errno.EMLINK, errno.ENOTDIR))
_CAN_CHAIN: Final = os.open in os.supports_dir_fd and bool(_NO_FOLLOW)

_MAX_TOLD: Final = 256
_told: set[str] = set()


class Signature(NamedTuple):
    """What tells one state of a file from another."""

    inode: int
    size: int
    mtime_ns: int


class Root(Protocol):
    """Where files are looked for."""

    def open(self, name: str) -> tuple[int, Signature] | None:
        """A descriptor of the regular file called `name`, to be closed by the caller, and its state; or None."""


class OpenRoot:
    """A directory whose owner is trusted, symbolic links included: STATIC_ROOT, as `collectstatic --link` fills it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self, name: str) -> tuple[int, Signature] | None:
        return open_regular(f"{self.path}/{name}")


class ClosedRoot:
    """A directory that others fill: nothing outside it is opened, whatever links lie in it.

    Each directory is opened below the last one and no link is followed, so that exchanging a directory for a link in
    between gains nothing. Where a link is met its target is resolved, checked to be within the root and free of hidden
    segments, and opened in the same way. The root itself may be a link, and may be exchanged while Duck runs.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self, name: str) -> tuple[int, Signature] | None:
        if not _CAN_CHAIN:
            return self._open_resolved(name)
        try:
            return self._open_below(name)
        except OSError as error:
            if error.errno not in _A_SYMLINK:
                tell(f"{self.path}/{name}", error)
                return None
        except ValueError:
            return None  # no name in the encoding of this file system
        try:
            inside = self._resolve(name)
            return None if inside is None else self._open_below(inside)
        except (OSError, ValueError) as error:
            tell(f"{self.path}/{name}", error)
            return None

    def _open_below(self, name: str) -> tuple[int, Signature] | None:
        *directories, base = name.split("/")
        below = os.open(self.path, _READ | _DIRECTORY)
        try:
            for segment in directories:
                deeper = os.open(segment, _READ | _DIRECTORY | _NO_FOLLOW, dir_fd=below)
                os.close(below)
                below = deeper
            descriptor = os.open(base, _READ | _NO_FOLLOW, dir_fd=below)
        finally:
            os.close(below)
        return _checked(descriptor)

    def _resolve(self, name: str) -> str | None:
        """The name below the root that `name` leads to when its links are followed, or None where that is elsewhere."""
        root = os.path.realpath(self.path)
        target = os.path.realpath(os.path.join(root, name))
        if not target.startswith(os.path.join(root, "")):
            return None
        inside = os.path.relpath(target, root).replace(os.sep, "/")
        return None if inside.startswith(".") or "/." in inside else inside

    def _open_resolved(self, name: str) -> tuple[int, Signature] | None:
        """Without `openat`, on Windows: check, open, and check again that what was checked is what was opened."""
        inside = self._resolve(name)
        if inside is None:
            return None
        found = open_regular(os.path.join(os.path.realpath(self.path), inside))
        if found is not None and self._resolve(name) != inside:
            os.close(found[0])
            return None
        return found


class AnyPath:
    """Absolute paths that Django's finders have named."""

    def open(self, name: str) -> tuple[int, Signature] | None:
        return open_regular(name)


def open_regular(path: str) -> tuple[int, Signature] | None:
    """Open the regular file at `path`, links followed."""
    try:
        return _checked(os.open(path, _READ))
    except (OSError, ValueError) as error:
        tell(path, error)
        return None


def signature(descriptor: int) -> Signature | None:
    """The present state of an open regular file; None for a directory, a pipe or a device."""
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        return None
    return Signature(facts.st_ino, facts.st_size, facts.st_mtime_ns)


def tell(path: str, error: Exception) -> None:
    """Log, once for each path, what keeps an existing file from being served."""
    if not isinstance(error, OSError) or error.errno in _NOTHING_THERE:
        return
    if path not in _told and len(_told) < _MAX_TOLD:
        _told.add(path)
        remedy = " Make it readable for the user that runs Duck." if isinstance(error, PermissionError) else ""
        logger.warning("%s cannot be served (%s): the request goes to Django.%s", path, error.strerror, remedy)


def _checked(descriptor: int) -> tuple[int, Signature] | None:
    state = signature(descriptor)
    if state is None:
        os.close(descriptor)
        return None
    return descriptor, state

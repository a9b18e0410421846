"""Where Duck keeps what is not the project's: the run directory (sockets, locks) and the state directory (what lasts).

Neither lies in the project. Every directory Duck makes has mode 0700; one that somebody else could write to, or a
symbolic link in its place, is refused rather than repaired.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from duck.exceptions import ApplicationError

# Of what lasts, for who has no home (FHS 3.0 §5.8).
SYSTEM: Final = Path("/var/lib")
# sockaddr_un holds 104 bytes on macOS and 108 on Linux, the final NUL included.
MAX_SOCKET_PATH_BYTES = 103
# What an instance appends to the run directory at the longest: "/<key>/django-<generation>-<number>.sock".
_LONGEST_TAIL = 1 + 16 + 1 + 30
# By these a directory is somebody's work, and not just where a command was started.
_PROJECT_FILES = ("manage.py", "main.py", "duck.toml", "pyproject.toml", ".git")


def run_directory(environ: Mapping[str, str] | None = None, *, make: bool = True) -> Path:
    """The directory of sockets and locks, made when absent: gone after a reboot, never in the project.

    RUNTIME_DIRECTORY (systemd) goes before XDG_RUNTIME_DIR; a directory per user below /tmp serves where neither is
    usable, or where its path leaves no room for the name of a Unix socket. Without `make` nothing is made: it raises
    where making it would.

    Raises:
        ApplicationError: the directory is a symbolic link, somebody else's, or open to others.
    """
    environ = os.environ if environ is None else environ
    private = private_directory if make else _possible_directory
    for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        # systemd lists several, colon-separated; the first is the service's own.
        parent = environ.get(variable, "").split(":")[0]
        if not parent or not os.path.isabs(parent) or not _is_own_directory(parent):
            continue
        path = Path(parent) / "duck"
        if len(os.fsencode(path)) + _LONGEST_TAIL <= MAX_SOCKET_PATH_BYTES:
            return private(path)
    return private(_per_user_directory(environ))


def state_directory(
    option: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    project: str | os.PathLike[str] | None = None,
    make: bool = True,
) -> Path:
    """The directory of what outlives a run (certificates, automation history), made when absent.

    `option` (`--state-dir`) goes before STATE_DIRECTORY (systemd), XDG_STATE_HOME, the one that root has made for this
    user (`make_for`), and ~/.local/state. Without `make` nothing is made: it raises where making it would.

    Raises:
        ApplicationError: the directory is a symbolic link, somebody else's, open to others, or `option` lies in
            `project`, where it would be served, committed or deployed by mistake. A directory that holds no project,
            such as that in which cron or systemd starts a command, is none.
    """
    environ = os.environ if environ is None else environ
    private = private_directory if make else _possible_directory
    if option:
        path = Path(option).expanduser().absolute()
        if project is not None:
            real = Path(os.path.realpath(path))
            for inner in _projects(Path(os.path.realpath(project))):
                if real.is_relative_to(inner):
                    raise ApplicationError(
                        f"The state directory {path} lies in the project {inner}; give --state-dir a path outside."
                    )
        return private(path)
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given and os.path.isabs(given):
        return private(Path(given) / "duck")
    home = environ.get("XDG_STATE_HOME", "")
    if home and os.path.isabs(home):
        return private(Path(home) / "duck")
    of_root = system_state(os.geteuid()) if sys.platform != "win32" else None
    if of_root is not None and _is_own_directory(str(of_root)):
        return private(of_root)
    return private(Path.home() / ".local" / "state" / "duck")


def system_state(uid: int) -> Path:
    """Where the state of a user without a home of its own is, as that of `www-data`."""
    return SYSTEM / f"duck-{uid}"


def make_for(uid: int, gid: int) -> Path:
    """Make `system_state` for a user; for root, who gives it away at once.

    Raises:
        ApplicationError: it cannot be made, or somebody else's is there.
    """
    path = system_state(uid)
    try:
        path.mkdir(mode=0o700)
        os.chown(path, uid, gid)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
            raise ApplicationError(
                f"{path} is not a directory of the user id {uid}; remove it, or give another with --state-dir."
            ) from None
    except OSError as error:
        raise _cannot_be_made(path, error.strerror or str(error)) from error
    return path


def _projects(directory: Path) -> list[Path]:
    """`directory` where it holds a project, else those right below it that do."""
    if any((directory / name).exists() for name in _PROJECT_FILES):
        return [directory]
    return [found.parent for found in directory.glob("*/manage.py")]


def private_directory(path: Path) -> Path:
    """`path`, made with mode 0700 when absent; its owner and mode checked when it was there.

    Raises:
        ApplicationError: it is not a directory, a symbolic link, another user's, or others may enter it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise _cannot_be_made(path, error.strerror or str(error)) from error
    _refuse_unsafe(path, found)
    return path


def _possible_directory(path: Path) -> Path:
    """As `private_directory`, for somebody who only wants to know."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        above = next(parent for parent in path.parents if os.path.lexists(parent))
        if not above.is_dir() or not os.access(
            above, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
        ):
            raise _cannot_be_made(path, f"{above} is no directory that this user may write to") from None
    except OSError as error:
        raise _cannot_be_made(path, error.strerror or str(error)) from error
    else:
        _refuse_unsafe(path, found)
    return path


def _cannot_be_made(path: Path, why: str) -> ApplicationError:
    return ApplicationError(
        f"The directory {path} cannot be made: {why}; give another with --state-dir,"
        " STATE_DIRECTORY, RUNTIME_DIRECTORY or XDG_RUNTIME_DIR."
    )


def _refuse_unsafe(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        raise ApplicationError(f"{path} is not a directory of its own (a symbolic link or a file); remove it.")
    if sys.platform != "win32":
        if found.st_uid != os.geteuid():
            raise ApplicationError(
                f"{path} belongs to user id {found.st_uid}, not to {os.geteuid()} who runs Duck;"
                " set RUNTIME_DIRECTORY or XDG_RUNTIME_DIR to a directory of your own."
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise ApplicationError(
                f"{path} has mode {stat.S_IMODE(found.st_mode):04o}, so others may enter it; run: chmod 700 {path}"
            )


def clear_directory(path: Path) -> None:
    """Remove `path` and what a killed run left in it, without following links."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path, ignore_errors=True)


def _is_own_directory(path: str) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    # Under sudo XDG_RUNTIME_DIR may still be the caller's: what root makes there, the caller could replace.
    return sys.platform == "win32" or found.st_uid == os.geteuid()


def _per_user_directory(environ: Mapping[str, str]) -> Path:
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA", "") or Path.home()) / "duck" / "run"
    # Not tempfile.gettempdir(): on macOS it leaves 50 bytes for the rest of a socket's path.
    return Path("/tmp") / f"duck-{os.geteuid()}"

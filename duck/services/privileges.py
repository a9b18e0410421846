"""Started as root: who serves instead, what that user is given, and the way from root to it, which has no way back.

    account = serving_account("www-data")               refuses before anything is done
    obstacles(account, {"the project": ...})            what that user could not read
    adapt(account, os.environ)                          whose home it is
    with acting_as(account): ...                        make directories and locks as that user
    (bind the listeners, as root)
    give(account, [...])                                what root made, and the user has to write
    drop(account)                                       for good; the project is started after it

The kernel checks all rights by itself in `acting_as`; `give` is for what only root could make.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

from duck.exceptions import ApplicationError

if sys.platform != "win32":
    import grp
    import pwd

logger = logging.getLogger("duck.services")

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_HOMES: Final = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


@dataclass(frozen=True)
class Account:
    """Who serves.

    Attributes:
        name: as the system has it; the number as text for a user id that has no entry.
        gid: of the group that was named with it, else of its login group.
        groups: all of its groups, `gid` among them.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def is_root(self) -> bool:
        """Whether nothing is dropped."""
        return self.uid == 0


def serving_account(named: str | None, *, euid: int | None = None) -> Account | None:
    """Who serves where `--user` says `named`; None for whoever runs this process and named nobody.

    Args:
        named: a name or user id, `name:group` with a group's name or id.
        euid: whose process this is, by default asked of the system.

    Raises:
        ApplicationError: root named nobody, somebody else named another, or there is no such user or group.
    """
    if sys.platform == "win32":
        if named is not None:
            raise ApplicationError(f"--user {named} is for systems with root; start Duck as the user who shall serve.")
        return None
    euid = os.geteuid() if euid is None else euid
    if named is None:
        if euid == 0:
            raise ApplicationError(
                "Duck was started by root, and views must not run as root: say who serves, as in --user www-data;"
                " --user root serves as root all the same."
            )
        return None
    account = _look_up(named)
    if euid not in (0, account.uid):
        raise ApplicationError(
            f"Duck runs as {_user_name(euid)} and cannot become {account.name}: only root can; start it as root,"
            f" or as {account.name} without --user."
        )
    if euid != 0 and ":" in named and account.gid not in {os.getegid(), *os.getgroups()}:
        raise ApplicationError(
            f"Duck runs as {account.name}, who is not in the group {named.partition(':')[2]}; start it as root,"
            " or leave the group out of --user."
        )
    return account


def obstacles(account: Account, needed: Mapping[str, str | os.PathLike[str]]) -> list[str]:
    """A sentence for each path of `needed` (keyed by what it is) that the account cannot read, or cannot get to.

    Directories have to be readable and open, files readable; links are followed. For root before `drop`, or for the
    account itself; nothing is changed.
    """
    found: list[str] = []
    for what, path in needed.items():
        real = os.path.realpath(path)
        if not os.path.exists(real):
            continue  # whoever needs it says so
        with acting_as(account):
            wall = next((place for place in _way_to(path, real) if not _may_pass(place, is_end=place == real)), None)
        if wall is None:
            continue
        verb = "read" if wall == real and not os.path.isdir(wall) else "enter"
        where = "" if wall == os.fspath(path) else f", where {what} {os.fspath(path)} is"
        which = what if wall == os.fspath(path) else "the directory" if os.path.isdir(wall) else "the file"
        found.append(
            f"The user {account.name} may not {verb} {which} {wall}{_who_may(wall)}{where};"
            " give it the right, move what is there, or choose another --user."
        )
    return found


@contextlib.contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """What is made within belongs to the account, and only what it may do succeeds; root again after it.

    For the whole process (POSIX has no other), so before there are threads. Does nothing where this is not root.
    """
    if sys.platform == "win32" or os.geteuid() != 0 or account.is_root:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    try:
        try:
            os.setgroups(account.groups)
            os.setegid(account.gid)
            os.seteuid(account.uid)
        except OSError as error:
            raise _cannot_become(account, error) from error
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def give(account: Account, paths: Iterable[str | os.PathLike[str]]) -> None:
    """Make the account the owner of `paths`, and of all below those that are directories; absent ones are passed over.

    Only what is root's, or the account's already, changes hands. Symbolic links stay what they are and are not
    followed, and files with a second name are left: the account may have made that name, of a file that is not its own.

    Raises:
        ApplicationError: a path is a third user's, or cannot be given.
    """
    if sys.platform == "win32" or account.is_root or os.geteuid() != 0:
        return
    for path in paths:
        try:
            found = os.lstat(path)
            if found.st_uid not in (0, account.uid):
                raise ApplicationError(
                    f"{os.fspath(path)} belongs to {_user_name(found.st_uid)}, and {account.name} has to write it;"
                    f" run: chown -R {account.name} {os.fspath(path)}"
                )
            _give_one(account, os.fspath(path), None)
            if stat.S_ISDIR(found.st_mode):
                for _, directories, files, descriptor in os.fwalk(path, follow_symlinks=False):
                    for name in (*directories, *files):
                        with contextlib.suppress(FileNotFoundError):
                            _give_one(account, name, descriptor)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ApplicationError(
                f"{os.fspath(path)} cannot be given to {account.name}: {error.strerror or error}; run as that user,"
                " or let Duck keep it elsewhere."
            ) from error


def adapt(account: Account, environ: MutableMapping[str, str]) -> None:
    """HOME, USER and LOGNAME become the account's, and directories of root's own are no longer named.

    Before directories are chosen by the environment; may be said again.
    """
    before = environ.get("HOME", "")
    environ.update(HOME=account.home, USER=account.name, LOGNAME=account.name)
    if account.is_root or before == account.home:
        return
    environ.pop("XDG_RUNTIME_DIR", None)  # of a login session of root's
    for variable in _HOMES:
        if before and (environ.get(variable, "") + "/").startswith(before.rstrip("/") + "/"):
            del environ[variable]


def drop(account: Account, environ: MutableMapping[str, str] | None = None) -> None:
    """Become the account for good, in all threads, and make sure that there is no way back.

    `environ` (by default the process's) is adapted. No program that is started from now on gets more rights by itself
    (PR_SET_NO_NEW_PRIVS): sudo, and a `sendmail` of setgid, do not work for views. Where this process is the account
    already these two are all that is done, and for root itself the first.

    Raises:
        ApplicationError: the system does not let it, or root could be had back; the process has to end then.
    """
    if sys.platform == "win32":
        return
    if not account.is_root:
        if os.geteuid() == 0:
            try:
                os.setgroups(account.groups)
                _set_ids(account)
            except OSError as error:
                raise _cannot_become(account, error) from error
        _check(account)
        _forbid_more()
    adapt(account, os.environ if environ is None else environ)


# -- who ----------------------------------------------------------------------------------------------------------


def _look_up(named: str) -> Account:
    user, colon, group = named.partition(":")
    if not user or (colon and not group):
        raise ApplicationError(f"--user {named!r} names nobody: give a user, or user:group, as in www-data:www-data.")
    entry: pwd.struct_passwd | None = None
    with contextlib.suppress(KeyError, OverflowError):
        # A name may be made of digits; then the name counts, as it does for chown.
        entry = pwd.getpwnam(user)
    if entry is None and _is_number(user):
        with contextlib.suppress(KeyError, OverflowError):
            entry = pwd.getpwuid(int(user))
        if entry is None:
            if not group:
                raise ApplicationError(f"The user id {user} has no entry on this system: name its group, too, as in"
                                       f" --user {user}:{user}.")  # fmt: skip
            gid = _look_up_group(group)
            return Account(user, int(user), gid, (gid,), "/")
    if entry is None:
        raise ApplicationError(
            f"There is no user {user!r} on this system: name one that there is with --user, or make it, as in"
            f" `useradd --system {user}`."
        )
    gid = _look_up_group(group) if group else entry.pw_gid
    groups = tuple(sorted({gid, *os.getgrouplist(entry.pw_name, gid)}))
    return Account(entry.pw_name, entry.pw_uid, gid, groups, entry.pw_dir or "/")


def _look_up_group(group: str) -> int:
    with contextlib.suppress(KeyError, OverflowError):
        return grp.getgrnam(group).gr_gid
    if _is_number(group):
        return int(group)
    raise ApplicationError(
        f"There is no group {group!r} on this system: name one that there is after the colon of --user, or none."
    )


def _is_number(text: str) -> bool:
    # The last one means "leave it as it is" to the calls of the system.
    return text.isascii() and text.isdecimal() and int(text) < (1 << 32) - 1


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


# -- what stands in the way ---------------------------------------------------------------------------------------


def _way_to(path: str | os.PathLike[str], real: str) -> list[str]:
    """The directories above `path` as it is written, those above where its links lead, and that."""
    ways: list[str] = []
    for end in (os.path.abspath(path), real):
        above = end
        way = []
        while (parent := os.path.dirname(above)) != above:
            above = parent
            way.append(above)
        ways += reversed(way)
    return [*dict.fromkeys(ways), real]


def _may_pass(place: str, *, is_end: bool) -> bool:
    mode = os.X_OK
    if is_end:
        mode = os.R_OK | os.X_OK if os.path.isdir(place) else os.R_OK
    return os.access(place, mode, effective_ids=os.access in os.supports_effective_ids)


def _who_may(place: str) -> str:
    try:
        found = os.stat(place)
    except OSError:
        return ""
    return f" (mode {stat.S_IMODE(found.st_mode):04o}, owner {_user_name(found.st_uid)})"


# -- what is given ------------------------------------------------------------------------------------------------


def _give_one(account: Account, name: str, directory: int | None) -> None:
    if not hasattr(os, "O_PATH"):
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if _is_to_give(account, found):
            os.chown(name, account.uid, account.gid, dir_fd=directory, follow_symlinks=False)
        return
    # What was looked at is what changes hands, whatever has taken its name meanwhile.
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if _is_to_give(account, os.fstat(descriptor)):
            os.chown(f"/proc/self/fd/{descriptor}", account.uid, account.gid)
    finally:
        os.close(descriptor)


def _is_to_give(account: Account, found: os.stat_result) -> bool:
    if stat.S_ISLNK(found.st_mode) or found.st_uid not in (0, account.uid):
        return False
    return stat.S_ISDIR(found.st_mode) or found.st_nlink == 1


# -- for good -----------------------------------------------------------------------------------------------------


def _set_ids(account: Account) -> None:
    if hasattr(os, "setresuid"):
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    else:  # macOS: for root these set the saved ones, too
        os.setgid(account.gid)
        os.setuid(account.uid)


def _check(account: Account) -> None:
    ids = os.getresuid() if hasattr(os, "getresuid") else (os.getuid(), os.geteuid())
    if set(ids) == {account.uid}:
        try:
            os.seteuid(0)
        except OSError:
            return
    raise ApplicationError(
        f"Duck became {account.name}, and could become root again: it does not serve like that;"
        " start it without the capability CAP_SETUID, or as that user."
    )


def _forbid_more() -> None:
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        logger.warning("Views could start programs with more rights than theirs: this Python has no ctypes.")
        return
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        logger.warning("Views could start programs with more rights than theirs: the kernel does not forbid it.")
    # A change of ids has made /proc/self root's, and core dumps and stacks for a debugger impossible. nginx does the
    # same. What root has read before, the account could read from memory now: keys are read after it, or are its own.
    prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def _cannot_become(account: Account, error: OSError) -> ApplicationError:
    return ApplicationError(
        f"Duck cannot become {account.name} (user id {account.uid}): {error.strerror or error}; root without"
        " CAP_SETUID and CAP_SETGID, as in some containers, has to be started as that user."
    )

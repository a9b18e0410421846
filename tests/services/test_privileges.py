"""From root to the user that serves: who that is, what it is given, and that there is no way back.

What needs root runs in a process of its own, which is root's at first and ends as somebody else's.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from duck.exceptions import ApplicationError
from duck.services.privileges import Account, acting_as, adapt, give, obstacles, serving_account

if sys.platform == "win32":
    pytest.skip("users and groups are POSIX", allow_module_level=True)

import grp
import pwd

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

NOBODY = pwd.getpwnam("nobody")
GROUP = grp.getgrgid(NOBODY.pw_gid).gr_name
OTHER = grp.getgrnam("daemon")

BECOME = """
import ctypes, json, os, subprocess, sys
from duck.services.privileges import drop, serving_account
account = serving_account(sys.argv[1])
drop(account)

def refused(call, *arguments):
    try:
        call(*arguments)
    except PermissionError:
        return True
    return False

status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "user": os.getresuid(),
    "group": os.getresgid(),
    "groups": sorted(os.getgroups()),
    "home": [os.environ[name] for name in ("HOME", "USER", "LOGNAME")],
    "session": os.environ.get("XDG_RUNTIME_DIR"),
    "capabilities": [int(status[name], 16) for name in ("CapPrm", "CapEff")],
    "no_new": int(status["NoNewPrivs"]),
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "refused": [refused(os.setuid, 0), refused(os.seteuid, 0), refused(os.setgid, 0), refused(os.setgroups, [0])],
    "child": subprocess.run(["/bin/sh", "-c", "id -u; id -G"], capture_output=True, text=True, cwd="/").stdout.split(),
}))
"""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """One that everybody may enter: pytest's own are their maker's."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


def run_as_root(script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env={**os.environ, **environ}
    )


def become(named: str, **environ: str) -> dict[str, Any]:
    done = run_as_root(BECOME, named, **environ)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


class TestWho:
    def test_root_has_to_say_who_serves(self) -> None:
        with pytest.raises(ApplicationError, match=r"started by root.*--user www-data"):
            serving_account(None, euid=0)

    def test_root_itself_serves_when_it_is_named(self) -> None:
        account = serving_account("root", euid=0)
        assert account is not None and account.is_root

    def test_others_serve_as_themselves(self) -> None:
        assert serving_account(None, euid=1000) is None
        account = serving_account("nobody", euid=NOBODY.pw_uid)
        assert account is not None and account.uid == NOBODY.pw_uid

    def test_others_cannot_name_somebody_else(self) -> None:
        with pytest.raises(ApplicationError, match=r"runs as nobody and cannot become root: only root can"):
            serving_account("root", euid=NOBODY.pw_uid)

    @pytest.mark.skipif(OTHER.gr_gid in {os.getegid(), *os.getgroups()}, reason="who runs the tests is in that group")
    def test_others_cannot_name_a_group_that_is_not_theirs(self) -> None:
        with pytest.raises(ApplicationError, match="who is not in the group daemon"):
            serving_account("nobody:daemon", euid=NOBODY.pw_uid)

    @pytest.mark.parametrize(
        ("named", "group"),
        [
            ("nobody", NOBODY.pw_gid),
            (str(NOBODY.pw_uid), NOBODY.pw_gid),
            ("nobody:daemon", OTHER.gr_gid),
            (f"nobody:{OTHER.gr_gid}", OTHER.gr_gid),
        ],
    )
    def test_users_and_groups_have_names_and_numbers(self, named: str, group: int) -> None:
        account = serving_account(named, euid=0)
        assert account is not None
        assert (account.name, account.uid, account.gid, account.home) == ("nobody", NOBODY.pw_uid, group, NOBODY.pw_dir)
        assert group in account.groups

    def test_a_number_without_an_entry_needs_its_group(self) -> None:
        with pytest.raises(ApplicationError, match=r"user id 54321 has no entry.*--user 54321:54321"):
            serving_account("54321", euid=0)
        assert serving_account("54321:54322", euid=0) == Account("54321", 54321, 54322, (54322,), "/")

    @pytest.mark.parametrize(
        ("named", "sentence"),
        [
            ("no-such-user", "There is no user 'no-such-user'"),
            ("nobody:no-such-group", "There is no group 'no-such-group'"),
            ("nobody:", "names nobody"),
            (":daemon", "names nobody"),
            ("", "names nobody"),
            (str((1 << 32) - 1), "There is no user"),  # -1 for the system: "as it is", which is root
            ("nobody:-1", "There is no group"),
        ],
    )
    def test_who_is_not_there_is_told(self, named: str, sentence: str) -> None:
        with pytest.raises(ApplicationError, match=sentence):
            serving_account(named, euid=0)


@as_root
@pytest.mark.skipif(sys.platform != "linux", reason="what a process may do is read from Linux's /proc")
class TestDropping:
    def test_nothing_of_root_is_left(self) -> None:
        said = become("nobody", HOME="/root", XDG_RUNTIME_DIR="/run/user/0")
        assert said == {
            "user": [NOBODY.pw_uid] * 3,
            "group": [NOBODY.pw_gid] * 3,
            "groups": sorted({NOBODY.pw_gid, *os.getgrouplist("nobody", NOBODY.pw_gid)}),
            "home": [NOBODY.pw_dir, "nobody", "nobody"],
            "session": None,
            "capabilities": [0, 0],
            "no_new": 1,
            "dumpable": 1,
            "refused": [True, True, True, True],
            "child": [str(NOBODY.pw_uid), str(NOBODY.pw_gid)],
        }

    def test_a_group_that_is_named_is_the_first(self) -> None:
        said = become("nobody:daemon")
        assert said["group"] == [OTHER.gr_gid] * 3
        assert said["child"][1] == str(OTHER.gr_gid)

    def test_a_number_without_an_entry_serves(self) -> None:
        said = become("54321:54322")
        assert said["user"] == [54321] * 3 and said["groups"] == [54322]
        assert said["home"] == ["/", "54321", "54321"]

    def test_root_that_is_named_stays_root(self) -> None:
        said = become("root")
        assert said["user"] == [0] * 3 and said["no_new"] == 0

    def test_a_second_drop_does_no_harm(self) -> None:
        # As after an exec, when Duck starts again as the user that it has become.
        script = BECOME.replace("drop(account)", "drop(account)\ndrop(serving_account(sys.argv[1]))", 1)
        done = run_as_root(script, "nobody")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["user"] == [NOBODY.pw_uid] * 3

    def test_root_that_may_not_become_another_is_told(self) -> None:
        if shutil.which("setpriv") is None:
            pytest.skip("there is no setpriv here to take a capability away")
        done = subprocess.run(
            ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-setuid,-setgid", sys.executable, "-c", BECOME,
             "nobody"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1
        assert "ApplicationError: Duck cannot become nobody" in done.stderr

    def test_a_way_back_is_found(self) -> None:
        # With this bit the kernel leaves root's capabilities to whoever root becomes.
        script = BECOME.replace("drop(account)", "ctypes.CDLL(None).prctl(28, 4, 0, 0, 0)\ndrop(account)", 1)
        done = run_as_root(script, "nobody")
        assert done.returncode == 1
        assert "could become root again" in done.stderr


@as_root
class TestObstacles:
    def test_a_project_below_a_closed_directory_is_told_with_that_directory(self, open_directory: Path) -> None:
        account = serving_account("nobody")
        assert account is not None
        closed = open_directory / "closed"
        (closed / "site").mkdir(parents=True)
        closed.chmod(0o700)
        (sentence,) = obstacles(account, {"the project": closed / "site"})
        assert sentence.startswith(f"The user nobody may not enter the directory {closed} (mode 0700, owner root)")
        assert f"where the project {closed / 'site'} is" in sentence
        closed.chmod(0o711)
        assert obstacles(account, {"the project": closed / "site"}) == []

    def test_a_directory_that_cannot_be_listed_and_a_file_that_cannot_be_read_are_told(
        self, open_directory: Path
    ) -> None:
        account = serving_account("nobody")
        assert account is not None
        site = open_directory / "site"
        site.mkdir(mode=0o711)
        manage = site / "manage.py"
        manage.touch(mode=0o600)
        first, second = obstacles(account, {"the project": site, "its manage.py": manage})
        assert first.startswith(f"The user nobody may not enter the project {site} (mode 0711, owner root);")
        assert second.startswith(f"The user nobody may not read its manage.py {manage} (mode 0600, owner root);")

    def test_an_interpreter_is_followed_to_where_it_lies(self, open_directory: Path) -> None:
        account = serving_account("nobody")
        assert account is not None
        home = open_directory / "home"
        home.mkdir(mode=0o700)
        (home / "python3").touch(mode=0o755)
        (open_directory / "python").symlink_to(home / "python3")
        (sentence,) = obstacles(account, {"the interpreter": open_directory / "python"})
        assert f"may not enter the directory {home}" in sentence

    def test_rights_by_a_group_count(self, open_directory: Path) -> None:
        site = open_directory / "site"
        site.mkdir()
        site.chmod(0o750)
        os.chown(site, 0, OTHER.gr_gid)
        account, member = serving_account("nobody"), serving_account("nobody:daemon")
        assert account is not None and member is not None
        assert len(obstacles(account, {"the project": site})) == 1
        assert obstacles(member, {"the project": site}) == []

    def test_what_is_absent_is_for_others_to_tell(self, open_directory: Path) -> None:
        account = serving_account("nobody")
        assert account is not None
        assert obstacles(account, {"the project": open_directory / "absent"}) == []
        assert os.getresuid() == (0, 0, 0)


@as_root
class TestGiving:
    def test_what_is_made_meanwhile_is_the_accounts(self, open_directory: Path) -> None:
        account = serving_account("nobody:daemon")
        assert account is not None
        open_directory.chmod(0o777)
        groups = os.getgroups()
        with acting_as(account):
            (open_directory / "run").mkdir()
            with pytest.raises(PermissionError):
                os.chown(open_directory / "run", 0, 0)
        found = (open_directory / "run").stat()
        assert (found.st_uid, found.st_gid) == (NOBODY.pw_uid, OTHER.gr_gid)
        assert (os.getresuid(), os.getgroups()) == ((0, 0, 0), groups)

    def test_a_directory_is_given_with_all_in_it(self, open_directory: Path) -> None:
        account = serving_account("nobody")
        assert account is not None
        run = open_directory / "run"
        (run / "deep").mkdir(parents=True)
        (run / "deep" / "lock").touch()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(run / "web.sock"))
        give(account, [run, open_directory / "absent"])
        owners = {path: path.lstat().st_uid for path in (run, *run.rglob("*"))}
        assert len(owners) == 4
        assert set(owners.values()) == {NOBODY.pw_uid}
        assert open_directory.stat().st_uid == 0
        listener.close()

    def test_links_are_not_followed_and_second_names_are_left(self, open_directory: Path) -> None:
        # Who served before may have put these there, for root to give away at the next start.
        account = serving_account("nobody")
        assert account is not None
        shadow = open_directory / "shadow"
        shadow.touch(mode=0o600)
        run = open_directory / "run"
        run.mkdir()
        (run / "soft").symlink_to(shadow)
        os.link(shadow, run / "hard")
        (run / "outside").symlink_to(open_directory)
        give(account, [run])
        give(account, [run / "soft"])
        assert shadow.stat().st_uid == 0
        assert open_directory.stat().st_uid == 0
        assert run.stat().st_uid == NOBODY.pw_uid

    def test_what_is_a_third_users_is_not_taken(self, open_directory: Path) -> None:
        account = serving_account("nobody")
        assert account is not None
        theirs = open_directory / "theirs"
        theirs.mkdir()
        os.chown(theirs, 1, 1)
        with pytest.raises(ApplicationError, match=r"belongs to daemon.*chown -R nobody"):
            give(account, [theirs])
        assert theirs.stat().st_uid == 1
        assert stat.S_IMODE(theirs.stat().st_mode) & 0o700 == 0o700


class TestEnvironment:
    def test_directories_in_roots_home_are_no_longer_named(self) -> None:
        environ = {
            "HOME": "/root",
            "USER": "root",
            "XDG_STATE_HOME": "/root/.local/state",
            "XDG_CACHE_HOME": "/rooted",
            "XDG_RUNTIME_DIR": "/run/user/0",
            "PATH": "/bin",
        }
        adapt(Account("web", 1000, 1000, (1000,), "/home/web"), environ)
        expected = {"HOME": "/home/web", "USER": "web", "LOGNAME": "web", "XDG_CACHE_HOME": "/rooted", "PATH": "/bin"}
        assert environ == expected
        environ |= {"XDG_STATE_HOME": "/home/web/state", "XDG_RUNTIME_DIR": "/run/user/1000"}
        again = dict(environ)
        adapt(Account("web", 1000, 1000, (1000,), "/home/web"), again)
        assert again == environ

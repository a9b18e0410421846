"""That changes are seen, however they are made, and nothing else."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from duck.services.ducksight import Burst, ChangeFilter, DuckSight, Places
from duck.services.ducksight.seen import What
from duck.services.mounts import Mounts
from tests.services.ducksight.conftest import Watched

Watch = Callable[..., Watched]

ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path in ("site/app", "site/node_modules/x", "site/.git", "site/ve", "shared/sub"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "shared" / "old.html").write_text("x")
    (tmp_path / "site" / "app" / "views.py").write_text("x = 1\n")
    (tmp_path / "site" / "app" / "urls.py").write_text("x = 1\n")
    (tmp_path / "site" / "ve" / "pyvenv.cfg").touch()
    return tmp_path / "site"


@pytest.fixture(params=[0.0, 0.05], ids=["told", "polling"])
def watched(request: pytest.FixtureRequest, watch: Watch, tree: Path) -> Watched:
    return watch(tree, poll_s=request.param)


# -- how editors save -------------------------------------------------------------------------------------------------


def in_place(path: Path) -> None:
    path.write_text("x = 22\n")


def renamed_into_place(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.x8Kd2")
    temporary.write_text("x = 333\n")
    os.replace(temporary, path)


def backup_and_rename(path: Path) -> None:
    """As Vim does by default."""
    path.with_name("4913").touch()
    path.with_name("4913").unlink()
    path.rename(f"{path}~")
    path.write_text("x = 4444\n")
    path.chmod(0o644)
    Path(f"{path}~").unlink()


def safe_write(path: Path) -> None:
    """As PyCharm does by default."""
    path.with_name(f"{path.name}___jb_tmp___").write_text("x = 55555\n")
    path.rename(f"{path}___jb_old___")
    path.with_name(f"{path.name}___jb_tmp___").rename(path)
    Path(f"{path}___jb_old___").unlink()


def with_a_lock_beside_it(path: Path) -> None:
    """As Emacs does."""
    path.with_name(f".#{path.name}").symlink_to("me@here.4711:1")
    path.with_name(f"#{path.name}#").write_text("x = 1")
    path.write_text("x = 999999999\n")
    path.with_name(f"#{path.name}#").unlink()
    path.with_name(f".#{path.name}").unlink()


def deleted_and_created(path: Path) -> None:
    path.unlink()
    path.write_text("x = 666666\n")


def from_another_directory(path: Path) -> None:
    temporary = path.parent.parent.parent / "elsewhere.tmp"
    temporary.write_text("x = 7777777\n")
    os.replace(temporary, path)


def by_a_link(path: Path) -> None:
    target = path.parent.parent.parent / "target.py"
    target.write_text("x = 88888888\n")
    path.with_name(".link").symlink_to(target)
    os.replace(path.with_name(".link"), path)


WAYS = [
    in_place,
    renamed_into_place,
    backup_and_rename,
    safe_write,
    with_a_lock_beside_it,
    deleted_and_created,
    from_another_directory,
    by_a_link,
]


@pytest.mark.parametrize("save", WAYS, ids=[save.__name__ for save in WAYS])
def test_a_file_is_seen_once_however_an_editor_saves_it(watched: Watched, save: Callable[[Path], None]) -> None:
    save(watched.root / "app" / "views.py")
    watched.until_seen("app/views.py")
    watched.settle()
    assert watched.calls == [[str(watched.root / "app" / "views.py")]]


def test_a_file_is_seen_when_it_is_new_renamed_and_removed(watched: Watched) -> None:
    new = watched.root / "app" / "new.py"
    new.write_text("x")
    watched.until_seen("app/new.py")
    watched.calls.clear()
    new.rename(watched.root / "app" / "other.py")
    watched.until_seen("app/new.py", "app/other.py")
    watched.calls.clear()
    (watched.root / "app" / "other.py").unlink()
    watched.until_seen("app/other.py")


def test_other_files_and_ignored_directories_are_not_seen(watched: Watched) -> None:
    assert watched.sight.directories == 2
    (watched.root / "node_modules" / "x.py").write_text("x")
    (watched.root / "ve" / "x.py").write_text("x")
    (watched.root / ".git" / "x.py").write_text("x")
    (watched.root / "app" / "notes.txt").write_text("x")
    watched.settle()
    assert watched.calls == []


@ON_LINUX
def test_an_ignored_directory_costs_no_watch_of_the_kernels(watch: Watch, tree: Path) -> None:
    def watches() -> int:
        found = 0
        for entry in os.scandir("/proc/self/fd"):
            if os.readlink(entry.path) == "anon_inode:inotify":
                found += Path(f"/proc/self/fdinfo/{entry.name}").read_text().count("inotify wd:")
        return found

    watched = watch(tree)
    assert watches() == watched.sight.directories == 2
    (tree / "node_modules" / "y").mkdir()
    (tree / ".cache").mkdir()
    watched.settle()
    assert watches() == 2


@ON_LINUX
def test_many_directories_cost_one_thread_and_one_instance(watch: Watch, tmp_path: Path) -> None:
    import threading

    for number in range(300):
        (tmp_path / f"d{number % 20}" / f"e{number}").mkdir(parents=True)
    before = threading.active_count()
    watched = watch(tmp_path)
    assert watched.sight.directories == 321
    assert threading.active_count() - before <= 1
    assert not watched.inbox._timers  # nothing is looked at, and nobody woken, until something is told


def test_a_new_directory_is_watched_and_what_it_held_already_is_seen(watched: Watched) -> None:
    (watched.root / "new" / "deep").mkdir(parents=True)
    (watched.root / "new" / "deep" / "first.py").write_text("x = 1\n")
    watched.until_seen("new/deep/first.py")
    (watched.root / "new" / "deep" / "second.py").write_text("x = 1\n")
    watched.until_seen("new/deep/second.py")


def test_a_directory_that_is_moved_is_seen_at_both_places_and_watched_at_the_new_one(watched: Watched) -> None:
    (watched.root / "app").rename(watched.root / "shop")
    watched.until_seen("app/views.py", "app/urls.py", "shop/views.py", "shop/urls.py")
    watched.calls.clear()
    (watched.root / "shop" / "views.py").write_text("x = 22\n")
    watched.until_seen("shop/views.py")
    assert watched.seen == {"shop/views.py"}


def test_a_directory_that_is_moved_out_or_removed_is_seen(watched: Watched) -> None:
    (watched.root / "app").rename(watched.root.parent / "gone")
    watched.until_seen("app/views.py", "app/urls.py")
    watched.calls.clear()
    (watched.root.parent / "gone").rename(watched.root / "app")
    watched.until_seen("app/views.py", "app/urls.py")
    watched.calls.clear()
    shutil.rmtree(watched.root / "app")
    watched.until_seen("app/views.py", "app/urls.py")
    assert watched.sight.directories == 1


def test_a_root_that_is_moved_away_is_seen_again_when_it_is_back(watch: Watch, tree: Path) -> None:
    watched = watch(tree)
    tree.rename(tree.parent / "away")
    watched.until_seen("app/views.py")
    watched.calls.clear()
    (tree.parent / "away" / "app" / "views.py").write_text("x = 22\n")
    (tree.parent / "away").rename(tree)
    watched.until_seen("app/views.py")
    watched.calls.clear()
    (tree / "app" / "views.py").write_text("x = 333\n")
    watched.until_seen("app/views.py")


def test_a_new_time_is_a_change_and_a_new_mode_is_none(watch: Watch, tree: Path) -> None:
    os.utime(tree / "app" / "views.py", (1, 1))
    watched = watch(tree)
    (tree / "app" / "views.py").chmod(0o600)
    watched.settle()
    assert watched.calls == []
    os.utime(tree / "app" / "views.py")
    watched.until_seen("app/views.py")


def test_what_an_editor_does_after_a_save_is_no_second_change(watch: Watch, tree: Path) -> None:
    watched = watch(tree)
    views = tree / "app" / "views.py"
    views.write_text("x = 22\n")
    watched.until_seen("app/views.py")
    views.chmod(0o600)
    with views.open("a"):
        pass  # opened to write, and closed as it was
    watched.settle()
    assert watched.calls == [[str(views)]]


# -- many at once -----------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Of 300 modules, with another branch where a third of them differs, and one package is gone."""
    root = tmp_path / "site"

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-C", str(root), "-c", "user.name=x", "-c", "user.email=x@x", "-c", "gc.auto=0", *arguments],
            check=True,
            capture_output=True,
        )

    for number in range(300):
        path = root / f"app{number % 10}" / f"m{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "other")
    for number in range(100):
        (root / f"app{number % 10}" / f"m{number}.py").write_text("x = 22\n")
    shutil.rmtree(root / "app9")
    git("commit", "-qam", "two")
    git("checkout", "-q", "main")
    return root


def test_a_branch_that_is_switched_is_one_change(watch: Watch, repository: Path) -> None:
    watched = watch(repository, burst=Burst())
    for branch in ("other", "main"):
        subprocess.run(["git", "-C", str(repository), "checkout", "-q", branch], check=True)
        watched.until(lambda: len(watched.calls) > 0)
        watched.settle()
        assert len(watched.calls) == 1
        # 90 differ; of the package that comes and goes there are 30 more.
        assert len(watched.calls.pop()) == 120


def test_git_is_waited_for_while_it_holds_its_lock(watch: Watch, repository: Path) -> None:
    watched = watch(repository, burst=Burst(0.0, busy_quiet_s=0.0))
    lock = repository / ".git" / "index.lock"
    lock.touch()
    (repository / "app1" / "m1.py").write_text("x = 22\n")
    written = time.monotonic()
    watched.until(lambda: time.monotonic() - written > 0.2)
    assert watched.calls == []
    (repository / "app1" / "m11.py").write_text("x = 22\n")
    watched.until(lambda: time.monotonic() - written > 0.3)
    lock.unlink()
    watched.until_seen("app1/m1.py", "app1/m11.py")
    assert len(watched.calls) == 1


def test_a_formatter_over_two_thousand_files_is_one_change(watch: Watch, tmp_path: Path) -> None:
    for number in range(2000):
        path = tmp_path / f"app{number % 40}" / f"m{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("x   =   1\n")
    watched = watch(tmp_path, burst=Burst())
    subprocess.run(
        [sys.executable, "-m", "ruff", "format", "-q", "--no-cache", "--isolated", str(tmp_path)], check=True
    )
    watched.until(lambda: len(watched.calls) > 0)
    watched.settle()
    assert [len(call) for call in watched.calls] == [2000]


def test_events_that_the_kernel_drops_are_made_up_for(
    watch: Watch, tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "duck.services")
    watched = watch(tree)
    told = watched.sight._told
    assert told is not None
    watched.sight._told = None
    told.stop()  # from here on nothing is told
    (tree / "app" / "views.py").write_text("x = 22\n")
    (tree / "app" / "urls.py").unlink()
    (tree / "new").mkdir()
    (tree / "new" / "a.py").write_text("x")
    watched.sight._tell(What.LOST, "")
    watched.until_seen("app/views.py", "app/urls.py", "new/a.py")
    assert "all files are looked at" in caplog.text


# -- what is left out, and what is named ------------------------------------------------------------------------------


def test_a_changed_gitignore_counts_from_then_on(watch: Watch, tree: Path) -> None:
    (tree / "build").mkdir()
    watched = watch(tree)
    (tree / ".gitignore").write_text("build/\n")
    watched.until(lambda: watched.sight.directories == 2)
    (tree / "build" / "a.py").write_text("x")
    (tree / ".gitignore").write_text("")
    watched.until(lambda: watched.sight.directories == 3)
    assert watched.calls == []
    (tree / "build" / "a.py").write_text("xy")
    watched.until_seen("build/a.py")


def test_what_django_names_is_watched_once_it_is_known(watched: Watched) -> None:
    shared = watched.root.parent / "shared"
    (watched.root / "media").mkdir()
    places = Places(django=str(watched.root)).told(
        {"template_dirs": [str(shared)], "media": {"root": str(watched.root / "media")}}
    )
    watched.sight.look_for(ChangeFilter(places=places), places.roots())
    watched.until(watched.sight.watching.is_set)
    watched.settle()
    assert watched.calls == []
    (shared / "sub" / "page.html").write_text("x")
    watched.until(lambda: bool(watched.calls))
    assert watched.calls == [[str(shared / "sub" / "page.html")]]
    watched.calls.clear()
    (watched.root / "media" / "upload.py").write_text("x")
    watched.settle()
    assert watched.calls == []


def test_a_file_that_a_module_is_a_link_to_is_seen_and_nothing_else_beside_it(watch: Watch, tree: Path) -> None:
    elsewhere = tree.parent / "shared"
    (elsewhere / "below").mkdir(parents=True)
    linked = elsewhere / "names.py"
    linked.write_text("x")
    watched = watch(tree, ChangeFilter(places=Places(django=str(tree), linked=(str(linked),))))
    (elsewhere / "other.py").write_text("x")
    (elsewhere / "below" / "names.py").write_text("x")
    watched.settle()
    assert watched.calls == []
    linked.write_text("y")
    watched.until_seen("../shared/names.py")
    watched.calls.clear()
    (elsewhere / "new").write_text("z")
    (elsewhere / "new").replace(linked)
    watched.until_seen("../shared/names.py")
    assert watched.seen == {"../shared/names.py"}


def test_an_environment_file_above_the_project_is_seen_and_nothing_else_there(watch: Watch, tree: Path) -> None:
    above = tree.parent
    (above / "other").mkdir()
    watched = watch(tree, ChangeFilter(places=Places(django=str(tree), above=(str(above),))))
    (above / "setup.py").write_text("x")
    (above / "other" / "a.py").write_text("x")
    (above / "new").mkdir()
    watched.settle()
    assert watched.calls == []
    (above / ".env").write_text("A=1\n")
    watched.until_seen("../.env")
    assert watched.seen == {"../.env"}


# -- who is told, and who looks ---------------------------------------------------------------------------------------


def test_a_file_system_that_tells_of_nothing_is_looked_at_and_that_is_said(
    watch: Watch, tree: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "duck.services")
    monkeypatch.setattr("duck.services.ducksight.sight.INTERVAL_S", 0.05)
    mounts = Mounts(f"/dev/x / ext4 rw 0 0\nserver:/x {tree}/app nfs4 rw 0 0\n")
    watched = watch(tree, mounts=mounts)
    said = f"The system does not tell of changes in {tree}/app (nfs4); they are looked for every 0.05 s."
    assert caplog.messages.count(said) == 1
    (tree / "app" / "views.py").write_text("x = 22\n")  # looked at
    (tree / "urls.py").write_text("x = 22\n")  # told of
    watched.until_seen("app/views.py", "urls.py")
    assert watched.sight.directories == 2


SILENT = """
import logging, os, sys, time
from duck.services.ducksight import ChangeFilter, DuckSight
from duck.services.ducksight import sight as module
from duck.services.mounts import Mounts
from duck.services.inbox import Inbox

logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
module.INTERVAL_S = 0.05
below, merged = sys.argv[1] + "/below", sys.argv[1] + "/merged"
for kind in ("overlay", "9p"):
    inbox, seen = Inbox(), []
    sight = DuckSight(inbox, [merged], ChangeFilter(), seen.extend, mounts=Mounts(f"x {merged} {kind} rw 0 0\\n"))
    sight.start()
    end = time.monotonic() + 20
    while not sight.watching.is_set() and time.monotonic() < end:
        inbox.run_once(0.02)
    with open(below + "/a.py", "a") as file:
        file.write("# more\\n")  # as by a host, behind the back of who looks at `merged`
    end = time.monotonic() + (20 if kind == "9p" else 0.5)
    while not seen and time.monotonic() < end:
        inbox.run_once(0.02)
    print(kind, seen == [merged + "/a.py"], flush=True)
    sight.stop()
    inbox.close()
"""


@ON_LINUX
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_change_that_the_kernel_does_not_tell_of_is_seen_all_the_same(tmp_path: Path) -> None:
    """Of a layer below an overlay inotify is silent, as it is of a host's changes of what it shares."""
    for name in ("below", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    (tmp_path / "below" / "a.py").write_text("x = 1\n")
    command = (
        f"mount -t overlay overlay -o lowerdir={tmp_path}/below,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        f' {tmp_path}/merged || exit 77; exec "$@"'
    )
    inner = [sys.executable, "-W", "error", "-c", SILENT, str(tmp_path)]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command, "sh", *inner],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no overlay can be mounted here: {done.stderr.strip()}")
    lines = done.stdout.splitlines()
    assert lines[0] == "overlay False", done.stderr  # whoever is only told sees nothing
    assert "(9p); they are looked for every 0.05 s." in lines[1]
    assert lines[2] == "9p True"


def test_who_wants_to_be_told_only_is_not_looked_for(watch: Watch, tree: Path) -> None:
    watched = watch(tree, poll_s=0.0, mounts=Mounts(f"server:/x {tree} nfs4 rw 0 0\n"))
    assert watched.sight._polling is None
    (tree / "app" / "views.py").write_text("x = 22\n")
    watched.until_seen("app/views.py")


LIMITED = """
import logging, sys, time
from duck.services.ducksight import ChangeFilter, DuckSight
from duck.services.ducksight import sight as module
from duck.services.inbox import Inbox

logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
module.INTERVAL_S = 0.05
inbox, seen = Inbox(), []
sight = DuckSight(inbox, [sys.argv[1]], ChangeFilter(), seen.extend, poll_s=float(sys.argv[2]) if sys.argv[2] else None)
sight.start()
end = time.monotonic() + 20
while not sight.watching.is_set() and time.monotonic() < end:
    inbox.run_once(0.02)
for name in ("first.py", "app/last.py"):
    path = sys.argv[1] + "/" + name
    open(path, "w").close()
    while path not in seen and time.monotonic() < end and not sys.argv[2]:
        inbox.run_once(0.02)
print("seen", len(seen), flush=True)
sight.stop()
"""


def limited(tree: Path, setting: str, value: int, poll: str = "") -> list[str]:
    """The lines of a process that may ask the kernel for no more than that."""
    command = f'echo {value} > /proc/sys/user/{setting} && exec "$@"'
    inner = [sys.executable, "-W", "error", "-c", LIMITED, str(tree), poll]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", command, "sh", *inner],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if done.returncode and "seen" not in done.stdout:
        if "unshare" in done.stderr or "annot" in done.stderr:
            pytest.skip(f"no user namespace is to be had here: {done.stderr.strip()}")
        raise AssertionError(done.stdout + done.stderr)
    return done.stdout.splitlines()


@ON_LINUX
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [("max_inotify_watches", 1, "max_user_watches"), ("max_inotify_instances", 0, "max_user_instances")],
)
def test_where_the_kernels_limit_is_reached_all_is_looked_at_and_one_sentence_says_so(
    tree: Path, setting: str, value: int, name: str
) -> None:
    said, seen = limited(tree, setting, value)
    assert said.startswith("The limit of what the kernel watches for this user is reached")
    assert f"`sysctl fs.inotify.{name}=" in said
    assert said.endswith("changes are looked for every 0.05 s instead.")
    assert seen == "seen 2"


@ON_LINUX
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_who_wants_to_be_told_only_hears_what_is_not_seen(tree: Path) -> None:
    (tree / "more").mkdir()
    said, end = limited(tree, "max_inotify_watches", 1, poll="0")  # once, not for each directory
    assert " and more are not seen, since AUTO_RELOAD_POLL is 0." in said
    assert end.startswith("seen ")


UNREADABLE = """
import logging, os, sys, time
from duck.services.ducksight import ChangeFilter, DuckSight
from duck.services.inbox import Inbox

logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
root = sys.argv[1]
import duck.services.ducksight.inotify  # while its libraries may be read
os.setuid(65534) if os.getuid() == 0 else None
inbox, seen = Inbox(), []
sight = DuckSight(inbox, [root], ChangeFilter(), seen.extend)
end = time.monotonic() + 20

def until(true):
    while not true():
        assert time.monotonic() < end, seen
        inbox.run_once(0.02)

sight.start()
until(sight.watching.is_set)
os.chmod(root + "/app/views.py", 0)
open(root + "/a.py", "w").close()
until(lambda: root + "/a.py" in seen)
print("unreadable", root + "/app/views.py" in seen)
os.chmod(root + "/app/views.py", 0o600)
until(lambda: root + "/app/views.py" in seen)
print("readable", sight.directories)
os.chmod(root + "/app", 0)
os.mkdir(root + "/closed", 0)
open(root + "/b.py", "w").close()
until(lambda: root + "/b.py" in seen)
os.chmod(root + "/app", 0o700)
os.chmod(root + "/closed", 0o700)
until(lambda: sight.directories == 3)
open(root + "/closed/c.py", "w").close()
until(lambda: root + "/closed/c.py" in seen)
print("open", sight.directories, flush=True)
sight.stop()
"""


@ON_LINUX
def test_a_file_or_directory_that_may_not_be_read_is_seen_when_it_may_again(tree: Path) -> None:
    root = Path("/tmp") / f"duck-unreadable-{os.getpid()}"  # where another user may come to
    shutil.copytree(tree, root)
    try:
        if os.getuid() == 0:
            for path in [root, *root.rglob("*")]:
                os.chown(path, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", UNREADABLE, str(root)],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.stdout.splitlines() == ["unreadable False", "readable 2", "open 3"], done.stderr
    finally:
        shutil.rmtree(root)


# -- the end ----------------------------------------------------------------------------------------------------------


def test_nothing_is_said_after_stop(watched: Watched) -> None:
    watched.sight.stop()
    (watched.root / "app" / "views.py").write_text("x = 3333\n")
    watched.inbox.run_once(0.1)
    assert watched.calls == []


def test_nothing_of_the_watcher_is_left_for_a_process_that_follows(watch: Watch, tree: Path) -> None:
    watch(tree)
    left = [
        entry.name
        for entry in os.scandir("/proc/self/fd")
        if os.readlink(entry.path) == "anon_inode:inotify" and os.get_inheritable(int(entry.name))
    ]
    assert left == []


def test_a_directory_that_cannot_be_watched_is_logged_and_the_others_are_watched(
    watch: Watch, tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tree / "zoo").mkdir()
    watches = DuckSight._watch

    def broken(self: DuckSight, directory: str, is_news: bool) -> None:
        if directory.endswith("app"):
            raise RuntimeError("quack")
        watches(self, directory, is_news)

    monkeypatch.setattr(DuckSight, "_watch", broken)
    watched = watch(tree)
    (tree / "zoo" / "models.py").write_text("x = 1\n")
    watched.until_seen("zoo/models.py")
    assert "RuntimeError: quack" in caplog.text

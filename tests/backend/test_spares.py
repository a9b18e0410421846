"""Spares: a process that goes on from one serves what is written now, and is otherwise as one that was spawned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from duck.services.reaper import Reaper
from tests.backend.conftest import BARE
from tests.backend.link_client import TIMEOUT_S, LinkClient
from tests.backend.pond import MODELS, SETTINGS, URLS, VIEWS, MakePond
from tests.backend.test_debugger import APP as APP_AT_TERMINAL
from tests.backend.test_debugger import User
from tests.backend.test_process import Recorder

if TYPE_CHECKING:
    from duck.services.inbox import Inbox
    from tests.backend.conftest import MakeProject

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="spares are copies of processes, on Linux alone")


def test_what_changed_decides_from_which_spare_a_process_goes_on(make_warm_pond: MakePond) -> None:
    pond = make_warm_pond()
    pond.start()
    first = pond.state()
    assert first["loaded_by"] == first["pid"]
    before = {pond.spare("setup"), pond.spare("urls")}

    # A view: the settings were loaded by the first process, and by no other since.
    pond.replace(pond.change("pond/views.py", "MARK = 'one'", "MARK = 'two'"))
    second = pond.state()
    assert pond.used == "setup"
    assert (second["views"], second["counted"], second["loaded_by"]) == ("two", 1, first["pid"])
    assert second["pid"] != first["pid"]
    assert second["random"] != first["random"]
    # It is what a spawned process is: a child of this one that leads its group.
    assert second["group"] == second["pid"]
    assert second["parent"] == os.getpid()
    assert pond.spare("setup") in before
    assert pond.spare("urls") not in before

    # The URLconf.
    pond.replace(pond.change("mysite/urls.py", "views.state", "lambda request: views.state(request)"))
    assert pond.used == "setup"
    third = pond.state()
    assert (third["views"], third["counted"], third["loaded_by"]) == ("two", 1, first["pid"])

    # A module that is imported by a view, when it is first asked.
    urls = pond.spare("urls")
    pond.replace(pond.change("pond/late.py", "one", "two"))
    assert pond.used == "urls"
    assert pond.spare("urls") == urls
    assert (pond.state()["late"], pond.state()["counted"]) == ("two", 2)

    # Models, and settings: everything of the project is loaded again, and leaves new spares.
    for path in ("pond/models.py", "mysite/settings.py"):
        pond.replace(pond.change(path, "MARK = 'one'", "MARK = 'two'"))
        assert pond.used is None
        told = pond.state()
        assert told["loaded_by"] == told["pid"]
        assert told[Path(path).stem] == "two"
        pond.spare("urls")

    # Nobody knows what has changed.
    pond.backend.replace()
    count = len(pond.generations)
    pond.until(lambda: len(pond.generations) > count)
    told = pond.state()
    assert told["loaded_by"] == told["pid"]
    pond.stop()
    assert pond.backend.spare_pids == []


def test_what_no_import_shows_is_seen_all_the_same(make_warm_pond: MakePond) -> None:
    settings = """
import glob, pathlib
EXTRA = (BASE_DIR / "extra.json").read_text()
for path in sorted(glob.glob(str(BASE_DIR / "settings.d" / "*.py"))):
    exec(open(path).read())
try:
    from mysite.local import *
except ImportError:
    pass
if (BASE_DIR / "more.py").exists():
    EXTRA += "more"
"""
    pond = make_warm_pond(settings, {"extra.json": "json", "settings.d/a.py": "EXTRA += ' a'\n"})
    pond.start()
    assert pond.state()["extra"] == "json a"

    def seen(change: Callable[[], object], extra: str) -> None:
        """The change is of a file that no start has imported, and is told of as one of a view."""
        pond.spare("setup")
        change()
        pond.replace(pond.change("pond/views.py", "COUNTED = []", "COUNTED = [] "))
        assert pond.used is None
        assert pond.state()["extra"] == extra

    seen(lambda: pond.write("extra.json", "JSON"), "JSON a")
    seen(lambda: pond.write("settings.d/a.py", "EXTRA += ' A'\n"), "JSON A")
    seen(lambda: pond.write("settings.d/b.py", "EXTRA += ' b'\n"), "JSON A b")
    seen(lambda: pond.write("mysite/local.py", "EXTRA = 'local'\n"), "local")
    seen(lambda: pond.write("more.py", ""), "localmore")
    # And what may be read by a library that nobody can look into.
    pond.spare("setup")
    pond.replace(pond.write(".env.unknown", "A=1"))
    assert pond.used is None


def test_what_a_file_holds_back_is_written_once(make_warm_pond: MakePond, tmp_path: Path) -> None:
    path = tmp_path / "held.csv"
    code = f"HELD = open({str(path)!r}, 'a')\nHELD.write('once ')\n"
    pond = make_warm_pond(files={"pond/models.py": MODELS + code})
    pond.start()
    for mark in ("two", "three"):
        pond.spare("urls")
        pond.replace(pond.write("pond/late.py", f"MARK = {mark!r}\n"))
        assert pond.used == "urls"
        assert pond.state()["late"] == mark
    assert path.read_text() == "once "


def test_what_a_file_holds_back_since_the_spare_before_is_written_once(
    make_warm_pond: MakePond, tmp_path: Path
) -> None:
    path = tmp_path / "held.csv"
    pond = make_warm_pond(files={"pond/models.py": MODELS + f"HELD = open({str(path)!r}, 'a')\n"})
    pond.change("pond/views.py", "COUNTED = []", "COUNTED = []\nmodels.HELD.write('once ')")
    pond.start()
    pond.spare("urls")
    pond.replace(pond.write("pond/late.py", "MARK = 'two'\n"))
    assert pond.used == "urls"
    pond.stop()
    assert path.read_text() == "once "


def test_a_spare_that_was_killed_is_done_without(make_warm_pond: MakePond) -> None:
    pond = make_warm_pond()
    pond.start()
    for stage in ("setup", "urls"):
        pid = pond.spare(stage)
        os.kill(pid, signal.SIGKILL)
        if stage == "urls":
            # Also where its end is not known yet.
            break
        pond.until(lambda pid=pid: not psutil.pid_exists(pid))
    pond.replace(pond.change("pond/views.py", "MARK = 'one'", "MARK = 'two'"))
    assert pond.used is None
    assert pond.state()["views"] == "two"
    pond.spare("setup")
    pond.replace(pond.change("pond/views.py", "MARK = 'two'", "MARK = 'three'"))
    assert pond.used == "setup"
    assert pond.downs == 0


def test_a_spare_that_does_not_answer_is_done_without(
    make_warm_pond: MakePond, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duck.backend.django.spares._ANSWER_S", 0.2)
    pond = make_warm_pond()
    pond.start()
    for stage in ("setup", "urls"):
        os.kill(pond.spare(stage), signal.SIGSTOP)
    pond.replace(pond.change("pond/views.py", "MARK = 'one'", "MARK = 'two'"))
    assert pond.used is None
    assert pond.state()["views"] == "two"


def test_as_many_processes_are_left_as_there_were(make_warm_pond: MakePond) -> None:
    pond = make_warm_pond()
    pond.start()
    pond.spare("urls")
    own = psutil.Process()
    # Checks that were cut short are orphans, and reaped as such.
    reaper = Reaper(pond.inbox, lambda pid: pid in (*pond.pids(), *pond.backend.spare_pids), patience_s=0.0)
    pond.until(lambda: reaper.reap() == [])
    before = len(own.children()), own.num_fds()
    for number in range(5):
        mark = "views.state" if number % 2 else "lambda request: views.state(request)"
        other = "lambda request: views.state(request)" if number % 2 else "views.state"
        pond.replace(pond.change("mysite/urls.py", other, mark))
        pond.spare("urls")
    pond.until(lambda: len(pond.backend.spare_pids) == 2)
    pond.until(lambda: reaper.reap() == [] and (len(own.children()), own.num_fds()) == before)


def test_a_failure_is_told_as_by_a_process_that_was_spawned(make_warm_pond: MakePond) -> None:
    pond = make_warm_pond()
    pond.start()
    pond.spare("urls")
    path = pond.write("pond/views.py", "def broken():\n    return 1 / 0\nbroken()\n")
    pond.backend.replace(changed=[path])
    pond.until(lambda: pond.failures)
    pond.backend.replace()
    pond.until(lambda: len(pond.failures) == 2)
    copied, spawned = pond.failures
    assert copied.message == spawned.message == "ZeroDivisionError: division by zero"
    assert copied.files[0] == spawned.files[0] == path
    # A process that was spawned meets it in the checks, one that was copied as it loads the URLconf.
    assert copied.stage == "urls"
    assert copied.traceback.splitlines()[-8:] == spawned.traceback.splitlines()[-8:]
    assert pond.state()["views"] == "one"  # what ran before goes on
    pond.failures.clear()
    pond.replace(pond.write("pond/views.py", VIEWS.replace("'one'", "'two'")))
    assert pond.state()["views"] == "two"


def test_an_exit_is_told_as_of_a_process_that_was_spawned(
    make_warm_pond: MakePond, caplog: pytest.LogCaptureFixture
) -> None:
    pond = make_warm_pond(urls=URLS.replace("views.fault", "lambda request: __import__('os')._exit(9)"))
    pond.start()
    pond.spare("urls")
    pond.replace(pond.change("pond/views.py", "MARK = 'one'", "MARK = 'two'"))
    assert pond.used == "setup"
    pid = pond.state()["pid"]
    with LinkClient(pond.generations[-1].pages[0].address) as client:
        client.wait_hello()
        client.send("GET", "/fault")
        count = len(pond.generations)
        pond.until(lambda: len(pond.generations) > count)
    assert f"The Django process {pid} ended by itself with exit code 9. It is started again." in caplog.messages
    assert pond.state()["views"] == "two"


def test_a_library_that_does_not_bear_copies_ends_them_for_this_run(make_warm_pond: MakePond) -> None:
    pond = make_warm_pond()
    pond.start()
    pond.spare("urls")
    pond.replace(pond.change("pond/views.py", "MARK = 'one'", "MARK = 'two'"))
    with LinkClient(pond.generations[-1].pages[0].address) as client:
        client.wait_hello()
        client.send("GET", "/fault?signal=SIGSEGV")
        count = len(pond.generations)
        pond.until(lambda: len(pond.generations) > count)
    assert pond.spares == {"why": "a process that was copied from a spare was ended by SIGSEGV"}
    pond.replace(pond.change("pond/views.py", "MARK = 'two'", "MARK = 'three'"))
    told = pond.state()
    assert told["loaded_by"] == told["pid"]
    assert pond.backend.spare_pids == []


PACKAGES = {
    "stone.py": "import os\nLOADED_BY = os.getpid()\n",
    "lagoon/__init__.py": "import os\nDEPTH = os.environ.get('LAGOON', 'unknown')\n",
    "islet.py": "import os\nLOADED_BY = os.environ.get('LOADED_BY')\n",
    "lagoon/shore.py": "from lagoon import DEPTH\n",
    "brook.py": "from django.conf import settings\nFLOW = settings.MARK\n",
    "marsh.py": "try:\n    import brook\nexcept Exception:\n    brook = None\nFLOW = brook and brook.FLOW\n",
    "reed.py": "from pond import MARK\n",
}
USING = """
import islet, lagoon.shore, marsh, reed, stone
from pond import packages
packages.update(stone=stone.LOADED_BY, depth=lagoon.DEPTH, islet=islet.LOADED_BY, marsh=marsh.FLOW, reed=reed.MARK)
"""


def test_packages_are_imported_early_where_they_bear_it(
    make_pond: MakePond, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    for name, text in PACKAGES.items():
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setattr("duck.backend.django.spares._LIBRARIES_AFTER_S", 0.0)
    pond = make_pond(
        files={
            "pond/__init__.py": "MARK = 'one'\npackages = {}\n",
            "pond/models.py": MODELS + USING,
            "pond/views.py": VIEWS.replace(
                '"extra": getattr(settings, "EXTRA", None)', '"extra": __import__("pond").packages'
            ),
        }
    )
    pond.start()
    first = pond.state()
    libraries = pond.spare("libraries")
    pond.replace(pond.change("pond/models.py", "MARK = 'one'", "MARK = 'two'"))
    assert pond.used == "libraries"
    told = pond.state()
    assert (told["models"], told["loaded_by"]) == ("two", told["pid"])
    extra = told["extra"]
    # Only what is the same in any order was imported by the spare.
    assert extra == {
        "stone": libraries, "depth": "unknown", "islet": str(told["pid"]), "marsh": "one", "reed": "one",
    }  # fmt: skip
    assert first["extra"]["stone"] == first["pid"]

    # What a package has read is not what it would read now, as turns out when the settings are loaded.
    pond.spare("urls")
    pond.replace(pond.change("mysite/settings.py", "MARK = 'one'", "MARK = 'two'\nos.environ['LAGOON'] = 'deep'"))
    told = pond.state()
    assert (told["settings"], told["loaded_by"]) == ("two", told["pid"])
    assert (told["extra"]["depth"], told["extra"]["marsh"], told["extra"]["stone"]) == ("deep", "two", told["pid"])
    assert pond.spare("setup")

    # Nobody knows what has changed: perhaps a package.
    pond.backend.replace()
    count = len(pond.generations)
    pond.until(lambda: len(pond.generations) > count)
    pond.until(lambda: pond.spare("libraries") != libraries)


DEBUGGED = """
from django.http import HttpResponse
from django.urls import path
def stop(request):
    value = 41
    breakpoint()
    return HttpResponse(f"value {value}")
urlpatterns = [path("stop", stop)]
"""
TWICE = """
def came(generation):
    if generation.number == 1:
        urls.write_text(urls.read_text().replace("41", "42"))
        inbox.call_later(0.1, lambda: backend.replace(changed=[str(urls)]))
    else:
        say("used", backend.snapshot()["spares"]["used"])
        say("ready", generation.pages[0].address)
urls = Path({project!r}) / "mysite" / "urls.py"
backend = DjangoBackend("""


@pytest.fixture
def user(
    make_project: MakeProject, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], User]]:
    """A user at the terminal of an App whose process is a copied one."""
    source = APP_AT_TERMINAL.replace("threads=2", "threads=2, spares=True").replace("backend = DjangoBackend(", TWICE)
    before = 'on_generation=lambda generation: say("ready", generation.pages[0].address)'
    assert before in source
    monkeypatch.setattr("tests.backend.test_debugger.APP", source.replace(before, "on_generation=came"))
    users: list[User] = []

    def make(urls: str) -> User:
        users.append(User(make_project(urls=urls, settings=BARE), run_directory))
        return users[-1]

    yield make
    for one in users:
        one.close()


def test_breakpoint_works_in_a_copied_process(user: Callable[[str], User]) -> None:
    one = user(DEBUGGED)
    one.wait("used setup")
    address = one.wait("sock").split("ready ")[1]
    with LinkClient(address) as client:
        client.wait_hello()
        client.send("GET", "/stop")
        one.wait("(Pdb) ")
        one.type("value\n")
        assert "42" in one.wait("(Pdb) ")
        one.type("continue\n")
        assert client.read_answer().body == b"value 42"
        one.wait("debugger False")
        assert os.tcgetpgrp(one.master) == one.process.pid
        one.type("\x03")
        one.wait("over")
    assert one.process.wait(TIMEOUT_S) == 0


def test_breakpoint_works_while_a_copied_process_starts(user: Callable[[str], User]) -> None:
    one = user(DEBUGGED + "number = 41\nif number == 42:\n    breakpoint()\n    number += 1\n")
    one.wait("(Pdb) ")
    one.type("number\n")
    assert "42" in one.wait("(Pdb) ")
    one.type("continue\n")
    one.wait("used setup")
    one.wait("sock")
    one.type("\x03")
    one.wait("over")
    assert one.process.wait(TIMEOUT_S) == 0


CHECKS = """
from django.core import checks
from mysite.settings import BASE_DIR
@checks.register()
def pond(app_configs, **kwargs):
    text = open(BASE_DIR / 'pond' / 'verdict').read()
    return [checks.Error(text, id='pond.E001')] if text else []
"""


def test_checks_come_after_the_page_and_what_fails_is_told(make_warm_pond: MakePond) -> None:
    pond = make_warm_pond(files={"pond/verdict": "", "pond/models.py": MODELS + CHECKS})
    pond.start()
    assert sum("System check" in line for line in pond.output) == 1
    pond.spare("urls")
    pond.replace(pond.change("pond/views.py", "MARK = 'one'", "MARK = 'two'"))
    pond.until(lambda: pond.checked)
    assert pond.checked == [None]
    assert sum("System check" in line for line in pond.output) == 2
    pond.write("pond/verdict", "the pond is dry")
    pond.replace(pond.change("pond/views.py", "MARK = 'two'", "MARK = 'three'"))
    pond.until(lambda: len(pond.checked) == 2)
    failure = pond.checked[1]
    assert failure is not None
    assert failure.stage == "checks"
    assert "the pond is dry" in failure.message + failure.traceback
    assert pond.state()["views"] == "three"


def test_a_start_can_be_stopped_while_it_has_no_thread_to_hear_of_it(make_warm_pond: MakePond) -> None:
    pond = make_warm_pond(files={"pond/models.py": "import time\nprint('sleeps', flush=True)\ntime.sleep(60)\n"})
    pond.backend.start()
    pond.until(lambda: "sleeps\n" in pond.output)
    pond.stop(20.0)


def test_a_replacement_that_is_replaced_leaves_nothing(make_warm_pond: MakePond) -> None:
    servers_of_other_tests = {child.pid for child in psutil.Process().children()}
    pond = make_warm_pond()
    pond.start()
    pond.spare("urls")
    for number in range(3):
        path = pond.change("pond/views.py", f"MARK = '{number or 'one'}'", f"MARK = '{number + 1}'")
        pond.backend.replace(changed=[path])
        if number == 1:
            pond.inbox.run_once(0.05)
    pond.until(lambda: len(pond.generations) == 2)
    assert pond.state()["views"] == "3"
    pond.backend.acknowledged(pond.generations[-1].number)
    pond.backend.left(pond.generations[-1].number)
    pond.until(lambda: len(pond.pids()) == 1 and len(pond.backend.spare_pids) == 2)
    children = {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}
    assert children - servers_of_other_tests == {*pond.pids(), *pond.backend.spare_pids}


def test_who_saves_faster_than_a_process_is_copied_waits_for_the_spare(make_warm_pond: MakePond) -> None:
    pond = make_warm_pond()
    first = pond.start()
    assert first.number == 1
    loaded_by = pond.state()["loaded_by"]
    pond.spare("urls")
    for mark in ("two", "three", "four"):
        path = pond.write("pond/views.py", VIEWS.replace("MARK = 'one'", f"MARK = '{mark}'"))
        pond.backend.replace(changed=[path])
    pond.until(lambda: len(pond.generations) == 2)
    assert pond.used == "setup"
    told = pond.state()
    assert (told["views"], told["loaded_by"]) == ("four", loaded_by)
    # And so does who saves before the spare that was just left has said that it is there.
    path = pond.write("pond/late.py", "MARK = 'two'\n")
    pond.backend.replace(changed=[path])
    pond.until(lambda: len(pond.generations) == 3)
    assert pond.used == "urls"
    assert pond.state()["late"] == "two"


APP = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from duck.backend.django.discover import Interpreter, find_project
from duck.backend.django.process import BackendOptions, DjangoBackend
from duck.services.inbox import Inbox
inbox = Inbox()
views = Path({project!r}) / "pond" / "views.py"
def came(generation):
    if generation.number == 1:
        views.write_text(views.read_text() + "TWO = 2")
        inbox.call_later(0.2, lambda: backend.replace(changed=[str(views)]))
    else:
        pids = [entry["pid"] for entry in backend.snapshot()["processes"]]
        print(*pids, *backend.spare_pids, backend.snapshot()["spares"]["used"], flush=True)
backend = DjangoBackend(
    find_project(Path({project!r})), Interpreter(sys.executable, "", "", ""),
    BackendOptions(run_directory={directory!r}, threads=2, spares=True), inbox,
    on_generation=came, on_failed=lambda failure: print("failed", failure, flush=True),
)
backend.start()
inbox.run()
"""


def test_with_the_app_killed_spares_and_copies_end(make_project: MakeProject, run_directory: Path) -> None:
    files = {"pond/__init__.py": "", "pond/models.py": MODELS, "pond/views.py": VIEWS, "pond/late.py": ""}
    project = make_project(urls=URLS, settings=SETTINGS, files=files)
    source = APP.format(root=str(Path(__file__).parents[2]), project=str(project), directory=str(run_directory))
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        try:
            *pids, used = app.stdout.readline().split()
            family = [psutil.Process(int(pid)) for pid in pids]
        finally:
            app.kill()
        app.wait()
        assert used == "setup"
        assert len(family) >= 4  # the old process, the new one, and two spares at least
        # Its orphans go to whoever takes them above this process, or to this one.
        assert psutil.wait_procs(family, timeout=5)[1] == [] or all(_is_dead(one) for one in family)


def _is_dead(process: psutil.Process) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_where_nobody_wants_them_there_are_none(make_project: MakeProject, inbox: Inbox, run_directory: Path) -> None:
    recorder = Recorder(inbox, make_project(urls="urlpatterns = []", settings=BARE), run_directory)
    recorder.start()
    assert recorder.backend.snapshot()["spares"] == {"why": "they are not wanted"}
    recorder.backend.replace(changed=["/a/b.py"])
    recorder.until(lambda: len(recorder.generations) == 2)
    assert recorder.backend.spare_pids == []
    recorder.stop()


def test_another_system_has_none(
    make_project: MakeProject, inbox: Inbox, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duck.backend.django.spares.sys.platform", "darwin")
    recorder = Recorder(inbox, make_project(urls="urlpatterns = []", settings=BARE), run_directory, spares=True)
    monkeypatch.undo()
    recorder.start()
    assert recorder.backend.snapshot()["spares"] == {"why": "this system cannot copy processes safely"}
    recorder.stop()

"""Which starts can be copied: what keeps others from it is found out and said, and what can be made anew is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import duck
from tests.backend.pond import MODELS, MakePond

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="spares are copies of processes, on Linux alone")


UNFIT = [
    (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True, name='bat').start()",
        "started threads while it was loaded: bat",
    ),
    (
        "import threading, time\ndef fly():\n    time.sleep(60)\n"
        "threading.Thread(target=fly, daemon=True, name='bat').start()",
        "bat (by pond.models)",
    ),
    ("import _thread, time\n_thread.start_new_thread(time.sleep, (60,))", "a library has started threads"),
    ("import socket\nPAIR = socket.socketpair()", "a connection was made while the project was loaded (by pond."),
    ("import os\nENDS = os.pipe()\nos.write(ENDS[1], b'x')", "a pipe was made"),
    ("import os\nENDS = os.pipe()\nos.close(ENDS[0])", "a pipe was made"),
    (
        "import os, pathlib\nif not pathlib.Path('fifo').exists():\n    os.mkfifo('fifo')\n"
        "ENDS = open('fifo', 'rb+', buffering=0)",
        "a pipe was made",
    ),
    ("import os, select\nLOOP = select.epoll()\nLOOP.register(os.openpty()[0])", "an event loop was made"),
    ("import ctypes\nEVENT = ctypes.CDLL(None).eventfd(0, 0)", "an event descriptor was made"),
    ("import ctypes\nWATCH = ctypes.CDLL(None).inotify_init()", "a watch of files was made"),
    ("import multiprocessing\nLOCK = multiprocessing.Lock()", "a lock between processes was made"),
    ("import multiprocessing\nQUEUE = multiprocessing.Queue()", "(by pond.models)"),
    ("import mmap\nMEMORY = mmap.mmap(-1, 100)", "memory that processes share was mapped"),
    # To be had by more than one, else each start would wait for the one that serves.
    ("import fcntl\nHELD = open('lock', 'w+')\nfcntl.flock(HELD, fcntl.LOCK_SH)", "lock' is locked"),
    ("import fcntl\nHELD = open('lock', 'w+')\nfcntl.lockf(HELD, fcntl.LOCK_SH)", "lock' is locked"),
    (
        "import sqlite3\nOWN = sqlite3.connect('own.sqlite3')\nOWN.execute('CREATE TABLE IF NOT EXISTS t (n)')",
        "own.sqlite3",
    ),
    ("import subprocess\nCHILD = subprocess.Popen(['sleep', '60'])", "a process"),
    ("import sys, types\nsys.modules['gevent.monkey'] = types.SimpleNamespace(saved={'os': {}})", "gevent"),
]
LOADED = """
import sys
from duck.backend.django.worker.fitness import why_unfit
import pond.models
print(why_unfit([]), flush=True)
import os; os._exit(0)
"""


@pytest.mark.parametrize(("code", "why"), UNFIT)
def test_what_keeps_a_process_from_being_copied_is_named(tmp_path: Path, code: str, why: str) -> None:
    (tmp_path / "pond").mkdir()
    (tmp_path / "pond" / "models.py").write_text(MODELS + code + "\n")
    path = os.pathsep.join((str(tmp_path), str(Path(duck.__file__).parent.parent)))
    said = tmp_path / "said"
    with open(said, "w") as output:
        environ = {**os.environ, "PYTHONPATH": path}
        process = subprocess.Popen(
            [sys.executable, "-c", LOADED], cwd=tmp_path, env=environ, stdout=output, process_group=0
        )
        process.wait(60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it has started
    assert why in said.read_text()


def of(text: str) -> tuple[str, str]:
    """The one of those that has `text` in its code or its reason."""
    (found,) = (one for one in UNFIT if text in "".join(one))
    return found


# A thread, what Python knows an object of, and what only the system knows of; one that the database's own close leaves.
@pytest.mark.parametrize(("code", "why"), [of("bat (by pond.models)"), of("socketpair"), of("mmap"), of("own.sqlite3")])
def test_a_project_that_cannot_be_copied_is_spawned_and_it_is_said_why_once(
    make_pond: MakePond, caplog: pytest.LogCaptureFixture, code: str, why: str
) -> None:
    caplog.set_level("INFO", "duck.django")
    pond = make_pond(files={"pond/models.py": MODELS + code + "\n"})
    pond.start()
    stages = pond.spares["stages"]
    assert why in stages["setup"]["why"]
    assert why in stages["urls"]["why"]
    pond.replace(pond.change("pond/views.py", "MARK = 'one'", "MARK = 'two'"))
    assert pond.used is None
    assert pond.state()["views"] == "two"
    assert any("System check" in line for line in pond.output)
    said = [message for message in caplog.messages if "A change will load the whole project again" in message]
    assert len(said) == 1 and why in said[0]


# What is there in each process; what is asked of the loop has to come by this very process.
OWN = """
import asyncio, os, select
LOOP = asyncio.new_event_loop()
LOOP.call_soon_threadsafe(lambda: None)  # which waits in its socket, as it does not run
ENDS = os.pipe()
OUTER = select.epoll()
OUTER.register(ENDS[0], select.EPOLLIN)
OUTER.register(LOOP._selector.fileno(), select.EPOLLIN)
def numbers():
    return [*ENDS, OUTER.fileno(), LOOP._selector.fileno(), LOOP._ssock.fileno(), LOOP._csock.fileno()]
"""
STATE = """
from pond import own
def seen():
    import asyncio, os, threading
    ended = own.LOOP.create_future()
    threading.Timer(0.01, lambda: own.LOOP.call_soon_threadsafe(ended.set_result, "woken")).start()
    woken = own.LOOP.run_until_complete(asyncio.wait_for(ended, 20))
    os.write(own.ENDS[1], b"x")
    return {
        "woken": woken, "numbers": own.numbers(), "ready": own.OUTER.poll(0) == [(own.ENDS[0], 1)],
        "links": [os.readlink(f"/proc/self/fd/{n}") for n in own.numbers()],
        "plain": [os.get_blocking(n) for n in own.numbers()] + [os.get_inheritable(n) for n in own.numbers()],
    }
"""


def test_a_loop_and_a_pipe_that_nothing_goes_through_yet_are_made_anew_in_each_copy(make_pond: MakePond) -> None:
    extra = '"extra": getattr(settings, "EXTRA", None)'
    pond = make_pond(files={"pond/own.py": OWN, "pond/models.py": MODELS + "from pond import own\n"})
    views = (pond.project / "pond" / "views.py").read_text()
    assert extra in views
    pond.write("pond/views.py", STATE + views.replace(extra, '"extra": seen()'))
    pond.start()
    told = [pond.state()["extra"]]
    for used in ("setup", "setup"):
        pond.spare("urls")
        pond.replace(pond.change("pond/views.py", "COUNTED = []", "COUNTED = [] "))
        assert pond.used == used
        told.append(pond.state()["extra"])
    pond.spare("urls")
    pond.replace(pond.write("pond/late.py", "MARK = 'two'\n"))
    assert pond.used == "urls"
    told.append(pond.state()["extra"])
    for one in told:
        assert (one["woken"], one["ready"]) == ("woken", True)
        assert (one["numbers"], one["plain"]) == (told[0]["numbers"], told[0]["plain"])
    # No two of them have the same pipe or sockets; that of an epoll cannot be told by its name.
    for index in (0, 4, 5):
        assert len({one["links"][index] for one in told}) == len(told)


COPIED = """
import asyncio, os, select, sys
from duck.backend.django.worker.fitness import Fitness
loop = asyncio.new_event_loop()
reader, writer = os.pipe()
outer = select.epoll()
outer.register(reader, select.EPOLLIN)
fitness = Fitness([])
assert fitness.why == "", fitness.why
pid = os.fork()
if pid == 0:
    fitness.renewal.carry_out()
    os.write(writer, b"x")
    assert outer.poll(1) == [(reader, select.EPOLLIN)]
    loop.call_soon_threadsafe(os.write, 1, b"heard in the copy\\n")
    outer.unregister(reader)
    loop.call_soon(loop.stop)
    loop.run_forever()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
# What the copy has done is nothing to this process.
assert outer.poll(0) == []
assert select.select([reader, loop._ssock], [], [], 0)[0] == []
os.write(writer, b"x")
assert outer.poll(1) == [(reader, select.EPOLLIN)]
"""


def test_what_a_copy_does_with_its_own_is_nothing_to_the_first() -> None:
    done = subprocess.run([sys.executable, "-c", COPIED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "heard in the copy\n"), done.stderr


def test_an_object_that_is_made_when_it_is_looked_at_is_not_made_by_the_look(
    make_pond: MakePond, tmp_path: Path
) -> None:
    """Django's lazy objects answer for their class with that of what they stand for, which may ask the database."""
    lazy = "from django.utils.functional import SimpleLazyObject\nLAZY = SimpleLazyObject(lambda: print('made'))\n"
    held = f"HELD = open({str(tmp_path / 'held')!r}, 'a')\n"
    sockets = "import socket, asyncio\nLOOP = asyncio.new_event_loop()\nPAIR = socket.socketpair()\n"
    for more in (held, held + sockets):
        pond = make_pond(files={"pond/models.py": MODELS + lazy + more}, name=f"project{len(more)}")
        pond.start()
        assert "pid" in pond.spares["stages"]["setup"] or "(by pond." in pond.spares["stages"]["setup"]["why"]
        assert not any("made" in line for line in pond.output)
        pond.stop()

"""What systemd hands over and is told, over real datagrams and with real descriptors."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from duck.exceptions import ApplicationError
from duck.services.inbox import Inbox
from duck.services.systemd import InheritedSocket, Notifier, Watchdog, take_sockets

if sys.platform == "win32":
    pytest.skip("systemd is Linux's", allow_module_level=True)


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.socket.settimeout(10)

    def heard(self) -> list[str]:
        return self.socket.recv(65536).decode().split("\n")

    def hears_nothing_more(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(65536)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(10)
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract names are Linux's")
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        name = f"{directory}/notify"
        made = Manager(name if request.param == "path" else f"@{name}")
        yield made
        made.socket.close()


class TestNotifying:
    def test_each_state_is_one_datagram(self, manager: Manager) -> None:
        notifier = Notifier.take({"NOTIFY_SOCKET": manager.address})
        notifier.ready("Serving http://127.0.0.1:8000.")
        assert manager.heard() == ["READY=1", "STATUS=Serving http://127.0.0.1:8000."]
        notifier.stopping()
        assert manager.heard() == ["STOPPING=1"]
        notifier.status("one\nREADY=1")
        assert manager.heard() == ["STATUS=one READY=1"]
        notifier.watchdog()
        assert manager.heard() == ["WATCHDOG=1"]
        notifier.extend(12.5)
        assert manager.heard() == ["EXTEND_TIMEOUT_USEC=12500000"]

    def test_a_reload_carries_the_time_of_the_monotonic_clock(self, manager: Manager) -> None:
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        Notifier.take({"NOTIFY_SOCKET": manager.address}).reloading("Loading.")
        first, second, third = manager.heard()
        assert (first, third) == ("RELOADING=1", "STATUS=Loading.")
        name, _, microseconds = second.partition("=")
        assert name == "MONOTONIC_USEC"
        assert before <= int(microseconds) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    def test_the_variables_are_not_left_to_children(self) -> None:
        environ = {"NOTIFY_SOCKET": "/absent", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
        Notifier.take(environ)
        assert environ == {"PATH": "/bin"}

    def test_what_this_process_becomes_by_an_exec_finds_them_again(self, manager: Manager) -> None:
        environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000"}
        again = dict(Notifier.take(environ).hand_over())
        assert again["NOTIFY_SOCKET"] == manager.address
        assert Notifier.take(again).watchdog_s == 1.5
        assert again == {}
        assert Notifier.take({}).hand_over() == {}

    def test_without_systemd_nothing_is_said(self) -> None:
        notifier = Notifier.take({})
        assert not notifier.is_wanted
        notifier.ready()

    def test_a_manager_that_is_gone_is_warned_about_once(
        self, manager: Manager, caplog: pytest.LogCaptureFixture
    ) -> None:
        notifier = Notifier.take({"NOTIFY_SOCKET": manager.address})
        manager.socket.close()
        if manager.address[0] == "/":
            os.unlink(manager.address)
        notifier.ready()
        notifier.watchdog()
        assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
            f"systemd cannot be told READY=1 at {manager.address}"
        ]

    def test_an_address_of_another_kind_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        assert not Notifier.take({"NOTIFY_SOCKET": "vsock:2:1234"}).is_wanted
        assert "NOTIFY_SOCKET is 'vsock:2:1234'" in caplog.text


class TestWatchdog:
    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({"WATCHDOG_USEC": "30000000"}, 15),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 15),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, None),  # a parent's, which is watched itself
            ({"WATCHDOG_USEC": "soon"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({}, None),
        ],
    )
    def test_life_is_said_at_half_the_time(self, environ: dict[str, str], expected: float | None) -> None:
        assert Notifier.take({"NOTIFY_SOCKET": "/n", **environ}, pid=77).watchdog_s == expected

    def test_life_is_said_while_it_is_well(self, manager: Manager) -> None:
        inbox = Inbox()
        asked: list[bool] = []

        def is_well() -> bool:
            asked.append(len(asked) != 1)  # not at the second time
            if len(asked) == 3:
                inbox.stop()
            return asked[-1]

        notifier = Notifier.take({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000"})
        watchdog = Watchdog(inbox, notifier, is_well)
        watchdog.start()
        inbox.run()
        watchdog.stop()
        inbox.run_once(0.05)
        assert [manager.heard(), manager.heard()] == [["WATCHDOG=1"]] * 2
        assert manager.hears_nothing_more()
        assert asked == [True, False, True]
        inbox.close()

    def test_where_nobody_watches_nothing_is_said(self, manager: Manager) -> None:
        inbox = Inbox()
        Watchdog(inbox, Notifier.take({"NOTIFY_SOCKET": manager.address})).start()
        inbox.run_once(0)
        assert manager.hears_nothing_more()
        inbox.close()


# As systemd does it: the sockets are 3 and 4, and the process id is that of who runs in the end.
HAND_OVER = """
import os, socket, sys
first = socket.create_server(("127.0.0.1", 0))
second = socket.create_server(("127.0.0.1", 0))
os.dup2(os.dup(first.fileno()), 20)
os.dup2(os.dup(second.fileno()), 21)
first.detach(), second.detach()
os.dup2(20, 3), os.dup2(21, 4)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"}
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""

ADOPT = """
import os, subprocess
from duck.net.listener import open_listeners
from duck.services.systemd import take_sockets
taken = take_sockets(os.environ)
listeners = open_listeners([one.address for one in taken])
children = [os.get_inheritable(one.fd) for one in taken], [name for name in os.environ if name.startswith("LISTEN_")]
print([one.name for one in taken], *(one.getsockname()[1] for one in listeners), *children, sep="|", flush=True)
listeners[0].setblocking(True)
listeners[0].accept()[0].sendall(b"adopted")
"""


class TestSockets:
    def test_descriptors_become_listeners(self) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", HAND_OVER, ADOPT], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        ) as process:
            assert process.stdout is not None
            names, first, second, inheritable, left = process.stdout.readline().strip().split("|")
            assert (names, inheritable, left) == ("['web', 'admin']", "[False, False]", "[]")
            assert first != second
            with socket.create_connection(("127.0.0.1", int(first)), timeout=10) as client:
                assert client.recv(100) == b"adopted"
        assert process.returncode == 0

    def test_systemds_own_activation_hands_them_over(self) -> None:
        program = shutil.which("systemd-socket-activate")
        if program is None:
            pytest.skip("there is no systemd-socket-activate here")
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            path = f"{directory}/web.sock"
            adopt = ADOPT.replace("getsockname()[1]", "getsockname()")
            with subprocess.Popen(
                [program, "-l", path, "--fdname=web", f"--setenv=PYTHONPATH={Path.cwd()}", sys.executable, "-c", adopt],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            ) as process:  # fmt: skip
                assert process.stdout is not None and process.stderr is not None
                assert "Listening on" in process.stderr.readline()
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(10)
                    client.connect(path)
                    assert client.recv(100) == b"adopted"
                assert process.stdout.readline() == f"['web']|{path}|[False]|[]\n"

    @pytest.mark.parametrize("environ", [{}, {"LISTEN_FDS": "2"}, {"LISTEN_PID": "1", "LISTEN_FDS": "2"}])
    def test_what_was_meant_for_another_process_is_left_alone(self, environ: dict[str, str]) -> None:
        environ["LISTEN_FDNAMES"] = "web:admin"
        assert take_sockets(environ, pid=77) == []
        assert environ == {}

    @pytest.mark.parametrize("name", ["LISTEN_PID", "LISTEN_FDS"])
    def test_what_is_no_number_is_told(self, name: str) -> None:
        environ = {"LISTEN_PID": "77", "LISTEN_FDS": "1", name: "many"}
        with pytest.raises(ApplicationError, match=f"{name} is 'many'"):
            take_sockets(environ, pid=77)

    @pytest.mark.parametrize(
        ("kind", "sentence"),
        [
            ("datagram", r"The socket 3 \(web\) .* use ListenStream="),
            ("accepted", r"The socket 3 \(web\) .* Accept=no"),
            ("file", r"The socket 3 \(web\) .* is none"),
        ],
    )
    def test_what_cannot_be_listened_on_is_told(self, kind: str, sentence: str) -> None:
        script = (
            "import os, socket\n"
            "pair = socket.socketpair()\n"
            "kinds = {'datagram': lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(),\n"
            "         'accepted': lambda: pair[0].detach(), 'file': lambda: os.open(os.devnull, os.O_RDONLY)}\n"
            f"made = os.dup2(os.dup(kinds[{kind!r}]()), 30)\n"
            "os.dup2(30, 3)\n"
            "from duck.services.systemd import take_sockets\n"
            "take_sockets({'LISTEN_PID': '7', 'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'web'}, pid=7)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 1
        assert re.search(f"ApplicationError: {sentence}", done.stderr)

    def test_an_inherited_socket_is_what_listen_names(self) -> None:
        assert InheritedSocket(5, "web").address.url == "fd:5"

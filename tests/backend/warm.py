"""Workers forked from a process that has imported Django: whole workers, at a third of the cost.

What they import of Django is there before them. Everything else they do as one that was started: manage.py, settings,
applications, checks, URLconf, sockets. A test of what is imported, or of how a worker is started, has one started.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

from tests.waiting import DEADLINE_S, wait_until

_SET_SUBREAPER = 36
_GET_SUBREAPER = 37

# The copy is forked twice: its parent becomes the process that asked, as it is for a worker that was started.
_SOURCE = """
import fcntl, gc, json, os, socket, sys
import django.conf, django.contrib.admin, django.contrib.staticfiles.finders, django.contrib.staticfiles.handlers
import django.core.checks, django.core.management.commands.check, django.core.wsgi, django.core.handlers.wsgi
import django.contrib.auth.hashers, django.contrib.messages.middleware, django.contrib.sessions.middleware
import django.db.backends.sqlite3.base, django.db.migrations.executor, django.forms, django.http, django.urls
import django.middleware.clickjacking, django.middleware.common, django.middleware.csrf, django.middleware.security
import django.template.backends.django, django.views.debug, django.views.generic, django.views.static

gc.collect()
gc.freeze()  # else the first collection in a copy would copy all of its memory
channel = socket.socket(fileno=int(sys.argv[1]))
while True:
    data, descriptors, _, _ = socket.recv_fds(channel, 1_000_000, 64)
    if not data:
        sys.exit()
    child = os.fork()
    if child == 0:
        if os.fork():
            os._exit(0)
        break
    os.waitpid(child, 0)
    for descriptor in descriptors:
        os.close(descriptor)
told = json.loads(data)
while os.getppid() != told["parent"]:
    os.sched_yield()
os.setpgid(0, 0)
channel.send(str(os.getpid()).encode())
channel.close()
# First out of the way of each other's numbers.
for place, descriptor in enumerate(descriptors):
    descriptors[place] = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 1000)
    os.close(descriptor)
for number, descriptor in zip(told["numbers"], descriptors):
    os.dup2(descriptor, number)
    os.close(descriptor)
os.chdir(told["cwd"])
os.environ.clear()
os.environ.update(told["environ"])
sys.argv = [told["worker"]]
sys.path[0] = os.path.dirname(told["worker"])
with open(told["worker"]) as file:
    source = file.read()
exec(compile(source, told["worker"], "exec"), {"__name__": "__main__", "__file__": told["worker"]})
"""


class Forked:
    """A child that something else has made: the part of `subprocess.Popen` that is asked for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = DEADLINE_S) -> int:
        wait_until(lambda: self.poll() is not None, timeout)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class Warm:
    """The process that workers are forked from; while it is there, this process takes orphans as its children."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._libc = ctypes.CDLL(None)
        before = ctypes.c_int()
        self._libc.prctl(_GET_SUBREAPER, ctypes.byref(before), 0, 0, 0)
        self._before = before.value
        self._libc.prctl(_SET_SUBREAPER, 1, 0, 0, 0)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")}
        command = [sys.executable, "-c", _SOURCE, str(theirs.fileno())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd="/", env=environ
        )
        theirs.close()

    def popen(
        self,
        command: list[str],
        *,
        stdout: IO[bytes] | int,
        env: dict[str, str],
        pass_fds: Sequence[int],
        cwd: str = "/",
        stdin: int | None = None,
        stderr: int = subprocess.STDOUT,
        process_group: int = 0,
    ) -> Forked:
        """What `subprocess.Popen` would be for a worker; without a terminal to read from."""
        _python, worker = command
        assert process_group == 0
        output = stdout if isinstance(stdout, int) else stdout.fileno()
        told = {
            "worker": worker,
            "environ": env,
            "cwd": cwd,
            "numbers": [1, 2, *pass_fds],
            "parent": os.getpid(),
        }
        with self._lock:
            socket.send_fds(self._channel, [json.dumps(told).encode()], [output, output, *pass_fds])
            return Forked(int(self._channel.recv(64)))

    def close(self) -> None:
        self._channel.close()
        self._process.wait()
        self._libc.prctl(_SET_SUBREAPER, self._before, 0, 0, 0)

"""Kills a process, and says what was inside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import psutil

from tests.load.attribution import Kill, Role

_GONE_S = 5.0


async def kill(role: Role, pid: int, server_port: int) -> Kill | None:
    """SIGKILL; None where it was gone already.

    A front process is stopped first, for the instant in which the connections that it holds are read: so none is
    accepted between that and its end.
    """
    try:
        process = psutil.Process(pid)
        ports: frozenset[int] = frozenset()
        if role is Role.FRONT:
            os.kill(pid, signal.SIGSTOP)
            while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):  # noqa: ASYNC110
                await asyncio.sleep(0)
            ports = client_ports(process, server_port)
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None
    end = at + _GONE_S
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > end:
                raise AssertionError(f"process {pid} outlives SIGKILL")
            await asyncio.sleep(0.001)
    return Kill(role, pid, at, time.monotonic(), ports)


def client_ports(process: psutil.Process, server_port: int) -> frozenset[int]:
    """The clients' ports of the connections that `process` has accepted at `server_port`."""
    return frozenset(
        each.raddr.port for each in process.net_connections("tcp") if each.raddr and each.laddr.port == server_port
    )

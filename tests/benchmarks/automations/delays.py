"""How late jobs start, with Duck and with other schedulers, one after the other so that each has the machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.automations.marks import MARKS, Mark, read_marks
from tests.benchmarks.automations.node import CALLS, Node
from tests.benchmarks.automations.results import DUCK, Delays
from tests.benchmarks.servers import Failed, Server

if TYPE_CHECKING:
    from tests.benchmarks.automations.peers import Peer

_SPARE_S: Final = 60.0


def of_duck(directory: Path, firings: int, warm_ups: int) -> list[Delays]:
    """An automation each second in each lane, all on one node; the first few do not count.

    Raises:
        Failed: they do not start.
    """
    lanes = {lane: {"call": call, "run_in": lane, "every": "1s"} for lane, call in CALLS.items()}
    node = Node(directory / "duck", lanes)
    try:
        node.start()
        marks = _wait(node.server, node.marks, firings * len(lanes), firings)
    finally:
        node.server.stop()
    return [_delays(DUCK, lane, [mark for mark in marks if mark.name == lane], warm_ups) for lane in lanes]


def of_peer(directory: Path, peer: Peer, firings: int, warm_ups: int) -> list[Delays]:
    """The same of another scheduler.

    Raises:
        Failed: its jobs do not start.
        Missing: it cannot be had.
    """
    place = directory / peer.name.replace(" ", "-")
    place.mkdir()
    for name, text in {"marks.py": MARKS, **peer.files}.items():
        (place / name).write_text(text)
    marks = place / "marks"
    with contextlib.ExitStack() as ends:
        environment = {"BENCH_MARKS": str(marks), **peer.prepare(place, ends)}
        servers = [
            Server(f"{peer.name}-{number}", command, place, environment=environment)
            for number, command in enumerate(peer.commands)
        ]
        for server in servers:
            ends.callback(server.stop)
            server.start()
        found = _wait(servers[-1], lambda: read_marks(marks), firings * len(peer.hows), firings)
    return [_delays(peer.name, how, [mark for mark in found if mark.name == how], warm_ups) for how in peer.hows]


def _wait(server: Server, read: Callable[[], list[Mark]], count: int, seconds: int) -> list[Mark]:
    deadline = time.monotonic() + seconds + _SPARE_S
    while len(found := read()) < count:
        server.check()
        if time.monotonic() > deadline:
            raise Failed(f"{len(found)} of {count} jobs started\n{server.output()}")
        time.sleep(0.2)
    return found


def _delays(name: str, how: str, marks: list[Mark], warm_ups: int) -> Delays:
    ordered = sorted(marks, key=lambda mark: mark.planned)
    return Delays(name, how, [mark.delay_s for mark in ordered[warm_ups:]])

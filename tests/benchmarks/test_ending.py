"""A benchmark that is ended leaves no server behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.alive import still_alive
from tests.benchmarks.stacks import ROOT

ROW = ["static-1k", "--seconds", "1", "--stack", "duck", "--rounds", "50", "--access-log", "off"]
FAULTS = ["faults", "--seconds", "50", "--workers", "1", "--django-workers", "1"]
RELOADS = [*FAULTS, "--reloads", "200", "--django-every", "0"]
KILLS = [*FAULTS, "--reloads", "0", "--self-reloads", "0", "--django-every", "0.3"]


@pytest.mark.parametrize(
    ("number", "arguments", "under_way"),
    [
        (signal.SIGINT, ROW, "round 1 of"),
        (signal.SIGTERM, ROW, "round 1 of"),
        (signal.SIGTERM, RELOADS, "duck reload: "),
        (signal.SIGINT, KILLS, "killed the"),
    ],
    ids=["SIGINT", "SIGTERM", "reloads, SIGTERM", "kills, SIGINT"],
)
def test_a_benchmark_that_is_ended_leaves_no_process(
    tmp_path: Path, number: signal.Signals, arguments: list[str], under_way: str
) -> None:
    bench = subprocess.Popen(
        [sys.executable, "manage_duck.py", "bench", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert bench.stdout is not None
    try:
        for line in bench.stdout:
            if under_way in line:
                break
        children = psutil.Process(bench.pid).children(recursive=True)
        assert len(children) >= 2  # the backend and Duck
        bench.send_signal(number)
        assert bench.wait(30) == 128 + number
    finally:
        bench.kill()
        bench.stdout.close()
    assert still_alive(children, 5) == []
    assert list(tmp_path.glob("duck-bench-*")) == []

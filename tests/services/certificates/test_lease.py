"""One writer among processes and machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from duck.exceptions import CertificateError
from duck.services.certificates.lease import STALE_S, Lease


class Time:
    """Passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.meanwhile = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()

    def __call__(self) -> float:
        return self.now


def lease(path: Path, time: Time | None = None) -> Lease:
    time = time or Time()
    return Lease(path, sleep=time.sleep, now=time)


def of_another_machine(path: Path, pid: int = 7) -> None:
    path.with_name("lock.lease").write_text(
        json.dumps({"holder": "elsewhere", "host": "elsewhere", "pid": pid, "token": f"t{pid}"})
    )


def test_it_is_given_back(state: Path) -> None:
    path = state / "acme" / "lock"
    for _ in range(2):
        with lease(path).held():
            assert path.with_name("lock.lease").exists()
        assert not path.with_name("lock.lease").exists()


def test_another_process_of_this_machine_has_to_wait_and_a_kill_gives_it_back(state: Path) -> None:
    path = state / "lock"
    script = (
        "import sys, pathlib, time\n"
        "from duck.services.certificates.lease import Lease\n"
        "with Lease(pathlib.Path(sys.argv[1])).held():\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(CertificateError, match="Another process holds") as caught, lease(path).held():
            pass
        assert caught.value.kind == "busy"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert path.with_name("lock.lease").exists()
    with lease(path).held():
        pass


def test_another_machine_is_believed_while_it_touches_its_lease(state: Path) -> None:
    path = state / "lock"
    of_another_machine(path)
    time = Time()
    beats = [0]

    def beat() -> None:
        beats[0] += 1
        os.utime(path.with_name("lock.lease"), ns=(beats[0], beats[0]))

    time.meanwhile = beat
    with pytest.raises(CertificateError, match=r"elsewhere is writing to .* .process id 7.") as caught:
        with lease(path, time).held(wait_s=3 * STALE_S):
            pass
    assert caught.value.kind == "busy"
    assert time.now >= 3 * STALE_S


def test_one_that_was_not_touched_for_long_is_taken(state: Path) -> None:
    path = state / "lock"
    of_another_machine(path)
    time = Time()
    with lease(path, time).held(wait_s=3 * STALE_S):
        assert STALE_S <= time.now < STALE_S + 1
        assert json.loads(path.with_name("lock.lease").read_text())["pid"] == os.getpid()
    assert sorted(file.name for file in state.iterdir()) == ["lock"]


def test_it_is_waited_for_until_the_other_machine_gives_it_back(state: Path) -> None:
    path = state / "lock"
    of_another_machine(path)
    time = Time()
    time.meanwhile = lambda: path.with_name("lock.lease").unlink() if time.now > 1 and time.now < 1.15 else None
    with lease(path, time).held(wait_s=5):
        assert time.now < 2


def test_a_lease_that_another_one_has_taken_is_not_removed_at_the_end(state: Path) -> None:
    path = state / "lock"
    with lease(path).held():
        of_another_machine(path, 8)
    assert json.loads(path.with_name("lock.lease").read_text())["pid"] == 8

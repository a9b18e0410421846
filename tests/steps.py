"""Commands of a check, one after the other or in lanes beside each other. Standard library only."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# A name, and the command.
Step = tuple[str, list[str]]
Say = Callable[[str], None]


def run_steps(directory: Path, steps: Sequence[Step], say: Say) -> list[str]:
    """Run each in `directory`, saying how long it took; the names of those that failed."""
    return [name for name, command in steps if not _run(directory, name, command, say)]


def run_lanes(directory: Path, lanes: Sequence[Sequence[Step]], say: Say) -> list[str]:
    """Run lanes of steps beside each other; what a step that failed has written is shown once it has ended."""

    def run_lane(steps: Sequence[Step]) -> list[str]:
        return [name for name, command in steps if not _run(directory, name, command, say, is_beside_others=True)]

    with ThreadPoolExecutor(len(lanes)) as threads:
        return [name for failed in threads.map(run_lane, lanes) for name in failed]


def _run(directory: Path, name: str, command: list[str], say: Say, *, is_beside_others: bool = False) -> bool:
    say(f"{name} ...")
    started = time.monotonic()
    stdout, stderr = (subprocess.PIPE, subprocess.STDOUT) if is_beside_others else (None, None)
    done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
    outcome = "passed" if done.returncode == 0 else f"failed with exit code {done.returncode}"
    text = done.stdout.decode("utf-8", "replace") if done.stdout and done.returncode else ""
    say(f"{name}: {outcome} in {time.monotonic() - started:.1f} s\n{text}".rstrip())
    return done.returncode == 0

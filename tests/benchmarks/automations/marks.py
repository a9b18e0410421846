"""What a job leaves behind: a line with its name, the time that it was planned for, and its own clock at its start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# For the projects that are measured: the file is named by the environment, and a line is one write.
MARKS: Final = '''\
import os
import time


def mark(name, planned):
    """Leave a line; the clock is read first."""
    now = time.time()
    descriptor = os.open(os.environ["BENCH_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{name} {planned!r} {now!r}\\n".encode())
    os.close(descriptor)
'''


@dataclass(frozen=True)
class Mark:
    """One start; seconds since 1970-01-01."""

    name: str
    planned: float
    at: float

    @property
    def delay_s(self) -> float:
        """How late."""
        return self.at - self.planned


def read_marks(path: Path) -> list[Mark]:
    """All whole lines that are there."""
    return list(_lines(path)) if path.exists() else []


def _lines(path: Path) -> Iterator[Mark]:
    whole, _, _ = path.read_text().rpartition("\n")
    for line in whole.splitlines():
        name, planned, at = line.split(" ")
        yield Mark(name, float(planned), float(at))

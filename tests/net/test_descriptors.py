"""Room for connections under the system's limit of open files; each in a process of its own, since a limit is one's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="limits of open files are POSIX's")

SOURCE = """
import resource, sys
sys.path.insert(0, {root!r})
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from duck.net.descriptors import make_room
print(make_room(1000), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "room", "raised"),
    [
        (256, 4096, 1000, 2256),  # raised as far as is needed
        (3000, 4096, 1000, 3000),  # enough already
        (256, 1024, 384, 1024),  # as far as it goes: what does not fit is refused in words
        (64, 64, 16, 64),
    ],
)
def test_the_limit_is_raised_as_far_as_it_goes_and_what_fits_is_told(
    soft: int, hard: int, room: int, raised: int
) -> None:
    source = SOURCE.format(root=str(Path(__file__).parents[2]), soft=soft, hard=hard)
    said = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(room), str(raised), str(hard)]

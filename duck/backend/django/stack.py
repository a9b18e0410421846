"""Where a Django process stands, as `faulthandler` wrote it: parsed, and shown as a traceback."""

from __future__ import annotations

import linecache
import os
import re
import signal
import traceback
from collections.abc import Sequence
from pathlib import Path
from traceback import FrameSummary
from typing import Final

# Few programs use it; the highest one is the worker's own (backend.django.worker.control).
SIGNAL: Final[int] = signal.SIGRTMAX - 1 if hasattr(signal, "SIGRTMAX") else getattr(signal, "SIGUSR2", 0)
# The same for all threads.
SIGNAL_OF_ALL: Final[int] = signal.SIGRTMAX - 2 if hasattr(signal, "SIGRTMAX") else getattr(signal, "SIGUSR1", 0)
# As a process is told of them (backend.django.worker.spec).
SIGNALS: Final = {"stack_signal": SIGNAL, "stacks_signal": SIGNAL_OF_ALL}

_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
_DUCK = str(Path(__file__).resolve().parents[2]) + os.sep


def parse_stack(text: str) -> list[FrameSummary]:
    """The frames that `text` names, the innermost last, without those of Duck and of the import system."""
    frames = []
    for line in text.splitlines():
        match = _FRAME.fullmatch(line)
        if match is None:
            continue
        path = _ESCAPED.sub(lambda escaped: chr(int(escaped[1] or escaped[2] or escaped[3], 16)), match[1])
        if not path.startswith(("<frozen ", _DUCK)):
            frames.append(FrameSummary(path, int(match[2]), match[3], lookup_line=False))
    return frames[::-1]


def place_of(frames: Sequence[FrameSummary], root: Path) -> str:
    """`path:line` of the innermost frame in the project at `root`, else of the innermost; `""` where there is none."""
    inside = [frame for frame in frames if _is_of_project(frame.filename, root)]
    found = (inside or list(frames))[-1:]
    return "".join(f"{frame.filename}:{frame.lineno}" for frame in found)


def files_of(frames: Sequence[FrameSummary], root: Path) -> tuple[str, ...]:
    """Files of the project at `root`, the innermost first, each once."""
    names = [frame.filename for frame in reversed(frames) if _is_of_project(frame.filename, root)]
    return tuple(dict.fromkeys(names))


def shown(frames: Sequence[FrameSummary]) -> str:
    """The frames as a traceback shows them; `""` where there are none."""
    if not frames:
        return ""
    linecache.checkcache()
    return "".join(["Where it stands (most recent call last):\n", *traceback.format_list(list(frames))])


def _is_of_project(path: str, root: Path) -> bool:
    return path.startswith(str(root) + os.sep) and "site-packages" not in path

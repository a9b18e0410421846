"""The standard output of a process that carries out one run after the other: whose what is printed is, and to where."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO


class JobOutput:
    """Of this process, as it is when this is made."""

    def __init__(self) -> None:
        # Whatever a run makes of 1 and 2. What a run starts does not inherit it.
        self._descriptor = os.dup(1)
        self._streams = (sys.stdout, sys.stderr)

    def end(self, run: int) -> None:
        """All that `run` has printed is out: say so behind it, and have the next one print as this one could.

        A run may have closed its output, or have it go elsewhere.
        """
        for stream in (sys.stdout, sys.stderr, *self._streams):
            _flush(stream)
        # It begins a line, whether or not the output ended one; the reader leaves the line end out.
        try:
            os.set_blocking(self._descriptor, True)  # a run may have made it otherwise, for all that share it
            os.write(self._descriptor, b"\n\0duck ended %d\n" % run)
            for number in (1, 2):
                if not _is_same(self._descriptor, number):
                    os.dup2(self._descriptor, number)
        except OSError:
            pass  # its end is told all the same, and believed without this word
        self._streams = (_usable(self._streams[0], 1), _usable(self._streams[1], 2))
        sys.stdout, sys.stderr = self._streams


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except Exception:
        pass  # it was closed, or is none at all


def _is_same(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _usable(stream: TextIO, number: int) -> TextIO:
    if not stream.closed:
        return stream
    return open(number, "w", buffering=1, encoding=stream.encoding, errors=stream.errors, closefd=False)

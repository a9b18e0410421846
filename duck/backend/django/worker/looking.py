"""Looking at a start that serves already, in a copy of a spare that does nothing else, at low priority.

    spare ──fork──> copy: each look in turn ──a line of JSON each, as soon as it is known──> spare ──> App

One at a time: what is asked for meanwhile is left out, since a newer start is looked at by its own spare.
"""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from .flushing import flush

_NICE = 10  # whoever waits for a page comes first

Look = Callable[[], Dict[str, Any]]


class Looking:
    """What a spare has under way.

    Args:
        looks: by name; each gives what is to be said of it.
        begin: called in the copy, before anything else.

    Attributes:
        descriptor: what the copy says comes here; None while there is none.
    """

    def __init__(self, looks: Mapping[str, Look], begin: Callable[[], None]) -> None:
        self._looks = looks
        self._begin = begin
        self._pid = 0
        self._buffer = b""
        self.descriptor: Optional[int] = None

    def start(self, names: Sequence[str]) -> None:
        """Look at `names` in a copy, where none is under way."""
        if self.descriptor is not None:
            return
        out, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(out)
                self._begin()
                os.nice(_NICE)
                with open(told, "wb", buffering=0) as file:
                    for name in names:
                        said = {"event": name, **self._looks[name]()}
                        flush()
                        file.write(json.dumps(said, default=str).encode() + b"\n")
                code = 0
            finally:
                os._exit(code)
        os.close(told)
        self._pid, self._buffer, self.descriptor = pid, b"", out

    def take(self) -> List[Dict[str, Any]]:
        """`descriptor` can be read: what the copy has said."""
        assert self.descriptor is not None
        data = os.read(self.descriptor, 65536)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if not data:
            self.forget()
            os.waitpid(self._pid, 0)
        return [json.loads(line) for line in lines]

    def forget(self) -> None:
        """In another copy of the spare, that of a process: this is none of its own."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

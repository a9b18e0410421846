"""The id of a request, by which log lines of Duck, of Django and of other servers are found together. Hot code.

`3f9a0c17be42` `00012c`: which process, at random, and the how manieth of it. Made only where somebody sees it: 0.1 us,
where a random one of 128 bits takes 1.5.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from typing import Final

# The characters of an HTTP token (RFC 9110 §5.6.2): it can stand in a field, in quotes, and in a column.
_VALID: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_is_valid: Final = _VALID.fullmatch

_ENDS: Final = [b"%03x" % number for number in range(4096)]
_blocks: Final = itertools.count()


class _Ids:
    """Where the next ids come from: 4096 at a time, so that none has to be formatted."""

    __slots__ = ("prefix", "some")

    def __init__(self) -> None:
        self.prefix = os.urandom(6).hex().encode()
        self.some: Iterator[bytes] = iter(())

    def begin_again(self) -> None:
        """In a process that was forked: another prefix."""
        self.prefix = os.urandom(6).hex().encode()
        self.some = iter(())


_ids: Final = _Ids()


def new_request_id() -> bytes:
    """An id that no other request of this process has, and hardly one of another. For any thread."""
    made = next(_ids.some, None)
    if made is None:
        # Two threads may come here at once: each begins a block of its own, and one is left unused.
        some = map((_ids.prefix + b"%03x" % next(_blocks)).__add__, _ENDS)
        made = next(some)
        _ids.some = some
    return made


def is_request_id(value: bytes) -> bool:
    """Whether `value`, from a trusted proxy, can be taken for the id of a request."""
    return _is_valid(value) is not None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.begin_again)

"""Requests of one connection that were understood before: the same again, or the same but for their path.

What a block says depends on the dynamic table alone; while that stays, equal bytes say equal things. Browsers send
`:path` as a literal that changes no table, and all else by indexes once it was sent: so what stands around the path is
known again by its bytes, and only the path is looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from duck.wire.h2_head import is_target
from duck.wire.head import HTTP_2, RequestHead
from duck.wire.huffman import decode

if TYPE_CHECKING:
    from duck.wire.hpack import Field

MAX_BLOCK_BYTES: Final = 1024
MAX_KNOWN: Final = 8
_LITERAL_PATH: Final = 4  # a literal without indexing, whose name is the static table's fourth
_indexes: Final = re.compile(rb"[\x81-\xfe]*").match


class Repeats:
    """Of one connection; for requests without a body.

    Args:
        max_target_bytes, max_head_bytes: a request that exceeds them is not found.
    """

    __slots__ = ("_changes", "_known", "_last_block", "_last_head", "_max_head_bytes", "_max_target_bytes", "_path_at")

    def __init__(self, max_target_bytes: int, max_head_bytes: int) -> None:
        self._max_target_bytes = max_target_bytes
        self._max_head_bytes = max_head_bytes
        self._changes = -1  # of the table, for which all of this holds
        self._last_block = b""
        self._last_head: RequestHead | None = None
        self._path_at = 0
        # By the block without its path: a request with another one, and the size of its fields but for that.
        self._known: dict[bytes, tuple[RequestHead, int]] = {}

    def find(self, block: bytes, changes: int) -> RequestHead | None:
        """The request that `block` makes, if that is known; `changes` of the table so far."""
        if changes != self._changes:
            return None
        if block == self._last_block:
            return self._last_head
        # Where the path begins, the bytes before it decide: where they are known, it begins where it did.
        at = self._path_at
        if len(block) < at + 2:
            return None
        first = block[at + 1]
        end = at + 2 + (first & 127)
        known = self._known.get(block[: at + 1] + block[end:])
        if known is None or first & 127 == 127 or end > len(block):
            return None
        path: bytes | None = block[at + 2 : end]
        if path and first >= 128:
            path = decode(path)  # not remembered: most are asked for once
        head, size = known
        if (
            not path
            or path[0] != 47  # "/"
            or len(path) > self._max_target_bytes
            or size + len(path) > self._max_head_bytes
            or is_target(path) is None
        ):
            return None  # its error is told by whoever reads it
        return RequestHead(
            head.method,
            path,
            head.block,
            head.cookie,
            scheme=head.scheme,
            authority=head.authority,
            version=HTTP_2,
        )

    def keep(self, block: bytes, changes: int, fields: list[Field], head: RequestHead) -> None:
        """`block` has made `head`; `changes` of the table, this block's included."""
        if changes != self._changes:
            # The table has changed since, perhaps by this very block: its bytes say something else the next time.
            self._changes = changes
            self._last_block = b""
            self._known.clear()
            return
        if len(block) > MAX_BLOCK_BYTES:
            return
        self._last_block = block
        self._last_head = head
        begun = _indexes(block)
        assert begun is not None
        at = begun.end()
        if at < len(block) and block[at] == _LITERAL_PATH and block[at + 1] & 127 != 127:
            if len(self._known) >= MAX_KNOWN or at != self._path_at:
                self._known.clear()  # what stands around a path is known only by where that begins
            self._path_at = at
            around = block[: at + 1] + block[at + 2 + (block[at + 1] & 127) :]
            self._known[around] = head, sum([field.size for field in fields]) - len(head.target)

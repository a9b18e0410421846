"""The Huffman code of HPACK (RFC 7541 §5.2, Appendix B), decoded; Duck's own answers are sent without it.

The code is canonical: the lengths of the codes tell the codes. Decoding walks its tree a byte a step; strings that come
again are looked up, for the same bytes always say the same.
"""

from __future__ import annotations

from typing import Final

from duck.wire.memory import Memory

# How many bits the code of each byte has, 0 to 255, and at last that of the end of string, which no string may hold.
_ENDS: Final = 256
_SHORT: Final = (
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b'!"()?'),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, b"\\\xc3\xd0"),
    (20, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (21, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (22, b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9"),
    (
        23,
        b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf"
        b"\xc5\xe7\xef",
    ),
    (24, b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (25, b"\xc7\xcf\xea\xeb"),
    (26, b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff"),
    (27, b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe"),
    (
        28,
        b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
        b"\xdc\xf9",
    ),
    (30, b"\n\r\x16"),
)

# Of a state: it may be the last one, for what led to it since the last byte is less than eight bits, all of them ones.
_MAY_END: Final = 1 << 16
_FAILED: Final = -1


def _codes() -> list[tuple[int, int, int]]:
    """Code, its length in bits, and what it stands for, of all bytes and the end of string."""
    codes: list[tuple[int, int, int]] = []
    code = length = 0
    for bits, symbols in _SHORT:
        for symbol in [*symbols, *([_ENDS] if bits == 30 else [])]:
            code <<= bits - length
            length = bits
            codes.append((code, bits, symbol))
            code += 1
    return codes


def _fill() -> None:
    """For each state and four bits: the next state, with `_MAY_END`, or `_FAILED`; and the byte that became complete.

    A state is a node within the tree, 0 its root.
    """
    children: list[list[int]] = [[0, 0]]
    leaf_of: dict[tuple[int, int], int] = {}
    depth_of_ones = [0]  # bits from the root, where all of them are ones; else 99
    for code, bits, symbol in _codes():
        node = 0
        for shift in range(bits - 1, 0, -1):
            bit = code >> shift & 1
            if not children[node][bit]:
                children[node][bit] = len(children)
                depth_of_ones.append(depth_of_ones[node] + 1 if bit else 99)
                children.append([0, 0])
            node = children[node][bit]
        leaf_of[node, code & 1] = symbol
    nexts: list[int] = []
    outs: list[bytes] = []
    for state in range(len(children)):
        for nibble in range(16):
            node, out = state, b""
            for shift in (3, 2, 1, 0):
                bit = nibble >> shift & 1
                symbol = leaf_of.get((node, bit), -1)
                if symbol < 0:
                    node = children[node][bit]
                elif symbol == _ENDS:
                    node = _FAILED
                    break
                else:
                    out += bytes((symbol,))
                    node = 0
            if node >= 0 and depth_of_ones[node] < 8:
                node |= _MAY_END
            nexts.append(node)
            outs.append(out)
    _NEXT[:] = nexts  # two threads that both do this do the same
    _OUT[:] = outs  # at last: it says that they are filled


# Filled by the first string: most processes that import this never get one.
_NEXT: Final[list[int]] = []
_OUT: Final[list[bytes]] = []


class _State:
    """The same for eight bits at once, each step made when it is first taken: text takes a few hundred of 65,536."""

    __slots__ = ("_number", "may_end", "nexts", "outs")

    def __init__(self, number: int) -> None:
        self._number = number & 0xFFFF
        self.may_end = number & _MAY_END != 0
        self.nexts: list[_State | None] = [None] * 256
        self.outs: list[bytes] = [b""] * 256

    def step(self, byte: int) -> _State:
        """Make the step for `byte`."""
        if not _OUT:
            _fill()
        first = self._number << 4 | byte >> 4
        number = _NEXT[first]
        out = _OUT[first]
        if number >= 0:
            second = (number & 0xFFFF) << 4 | byte & 15
            number = _NEXT[second]
            out += _OUT[second]
        state = _states.get(number)
        if state is None:
            # The state of a failure has no steps of its own: nothing leads out of it.
            state = _states[number] = _State(number) if number >= 0 else _failure
        self.outs[byte] = out
        self.nexts[byte] = state
        return state


def _make_failure() -> _State:
    failure = _State(0)
    failure.nexts = [failure] * 256
    return failure


_failure: Final = _make_failure()
_begin: Final = _State(_MAY_END)
_states: Final[dict[int, _State]] = {_MAY_END: _begin}

_strings: Final[Memory[bytes]] = Memory(1024, 256)


def huffman_decode(data: bytes) -> bytes | None:
    """What `data` stands for; None where it holds the end of string, or its padding is not fewer than eight ones.

    Strings of some length come again and again, and are remembered.
    """
    known = _strings.young.get(data)
    if known is not None:
        return known
    known = _strings.recall(data)
    if known is None:
        known = decode(data)
        if known is not None:
            _strings.keep(data, known)
    return known


def decode(data: bytes) -> bytes | None:
    """`huffman_decode` without its memory."""
    state = _begin
    found: list[bytes] = []
    for byte in data:
        following = state.nexts[byte]
        if following is None:
            following = state.step(byte)
        found.append(state.outs[byte])
        state = following
    return b"".join(found) if state.may_end else None

"""HPACK (RFC 7541): the field blocks of HTTP/2, read with a dynamic table, written without one.

Reading: every field is checked once, when its bytes come; what a block says by an index was checked before. A block
that changes no table says the same as an equal one before it, so that whoever repeats a request is known by its bytes.

Writing: fields are literals, named by the static table where it has the name, never Huffman-coded. So a block is a pure
function of its fields, remembered for all connections, and whatever a client says of table sizes has no effect.
"""

from __future__ import annotations

import re
from typing import Final

from duck.exceptions import Http2Error
from duck.wire.fields import LINE_BYTES
from duck.wire.h2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM
from duck.wire.huffman import huffman_decode
from duck.wire.memory import Memory

TABLE_BYTES: Final = 4096  # SETTINGS_HEADER_TABLE_SIZE, its default: what a client's table may have here
FIELD_OVERHEAD: Final = 32  # RFC 7541 §4.1, RFC 9113 §6.5.2
BOMB: Final = 8  # so many times the fields that are allowed nobody sends by mistake

# What a field is to whoever makes a request of it.
PLAIN: Final = 0
METHOD: Final = 1
SCHEME: Final = 2
AUTHORITY: Final = 3
PATH: Final = 4
PROTOCOL: Final = 5
COOKIE: Final = 6
HOST: Final = 7
TE: Final = 8
STATUS: Final = 9  # known, and never a request's
UNKNOWN: Final = 10  # another name with a colon
HOP: Final = 11  # belongs to one connection of HTTP/1 (RFC 9113 §8.2.2)
BAD_NAME: Final = 12
BAD_VALUE: Final = 13

_KINDS: Final = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":authority": AUTHORITY,
    b":path": PATH,
    b":protocol": PROTOCOL,
    b":status": STATUS,
    b"cookie": COOKIE,
    b"host": HOST,
    b"te": TE,
    b"connection": HOP,
    b"proxy-connection": HOP,
    b"keep-alive": HOP,
    b"transfer-encoding": HOP,
    b"upgrade": HOP,
}
# A token without capitals (RFC 9113 §8.2.1).
_is_name: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch


class Field:
    """One field line, checked; shared by all that speak of it by an index.

    Attributes:
        kind: PLAIN and so on; BAD_NAME, BAD_VALUE where a message with it is malformed.
        line: as HTTP/1 has it, with its CRLF; empty where it is no such line by itself.
        size: as tables and limits count it, in bytes.
    """

    __slots__ = ("kind", "line", "name", "size", "value")

    def __init__(self, name: bytes, value: bytes, kind: int) -> None:
        self.name = name
        self.value = value
        self.size = len(name) + len(value) + FIELD_OVERHEAD
        if value.translate(None, LINE_BYTES) or value != value.strip(b" \t"):
            kind = BAD_VALUE if kind != BAD_NAME else kind
        self.kind = kind
        if kind == PLAIN or kind == HOST or kind == TE:
            self.line = b"%b: %b\r\n" % (name, value)
        elif kind == AUTHORITY:
            self.line = b"host: %b\r\n" % value
        else:
            self.line = b""


def kind_of_name(name: bytes) -> int:
    """Which kind a field with this name is of."""
    kind = _KINDS.get(name)
    if kind is None:
        if _is_name(name) is not None:
            return PLAIN
        return UNKNOWN if name[:1] == b":" else BAD_NAME
    return kind


# RFC 7541, Appendix A.
_STATIC_FIELDS: Final = (
    ":authority\n:method GET\n:method POST\n:path /\n:path /index.html\n:scheme http\n:scheme https\n:status 200\n"
    ":status 204\n:status 206\n:status 304\n:status 400\n:status 404\n:status 500\naccept-charset\n"
    "accept-encoding gzip, deflate\naccept-language\naccept-ranges\naccept\naccess-control-allow-origin\nage\nallow\n"
    "authorization\ncache-control\ncontent-disposition\ncontent-encoding\ncontent-language\ncontent-length\n"
    "content-location\ncontent-range\ncontent-type\ncookie\ndate\netag\nexpect\nexpires\nfrom\nhost\nif-match\n"
    "if-modified-since\nif-none-match\nif-range\nif-unmodified-since\nlast-modified\nlink\nlocation\nmax-forwards\n"
    "proxy-authenticate\nproxy-authorization\nrange\nreferer\nrefresh\nretry-after\nserver\nset-cookie\n"
    "strict-transport-security\ntransfer-encoding\nuser-agent\nvary\nvia\nwww-authenticate"
)


def _static_table() -> list[Field]:
    fields = [Field(b"", b"", BAD_NAME)]  # index 0 is used by nobody
    for line in _STATIC_FIELDS.encode().split(b"\n"):
        name, _, value = line.partition(b" ")
        fields.append(Field(name, value, kind_of_name(name)))
    return fields


STATIC_TABLE: Final = _static_table()
_STATIC_SIZE: Final = len(STATIC_TABLE)  # 62: the first index of the dynamic table


class Decoder:
    """One connection's blocks, in their order.

    Attributes:
        changes: how often the dynamic table was changed: while it stays, equal blocks say equal things.
    """

    __slots__ = ("_dynamic", "_max_size", "_size", "changes")

    def __init__(self) -> None:
        self._dynamic: list[Field] = []  # the newest last
        self._size = 0
        self._max_size = TABLE_BYTES
        self.changes = 0

    def decode(self, block: bytes, max_bytes: int) -> list[Field] | None:
        """The fields of `block`; None where they are more than `max_bytes`, by their `size`: the table is kept even so.

        Raises:
            Http2Error: COMPRESSION_ERROR: the block is malformed, and nothing after it can be understood.
                ENHANCE_YOUR_CALM: they are `BOMB` times as many.
        """
        fields: list[Field] = []
        static = STATIC_TABLE
        dynamic = self._dynamic
        total = 0
        at = 0
        size = len(block)
        sizes = 2  # that the table may still be given: no more is ever needed, and none behind a field (§4.2)
        while at < size:
            first = block[at]
            at += 1
            if first >= 128:
                index = first & 127
                if index == 127:
                    index, at = self._integer(block, at, 127)
                if index >= _STATIC_SIZE:
                    if index >= _STATIC_SIZE + len(dynamic):
                        raise Http2Error("an index that no table has", COMPRESSION_ERROR)
                    field = dynamic[_STATIC_SIZE - 1 - index]
                elif index:
                    field = static[index]
                else:
                    raise Http2Error("an index that no table has", COMPRESSION_ERROR)
            elif first >= 64 or first < 32:
                index = first & 63 if first >= 64 else first & 15
                prefix = 63 if first >= 64 else 15
                if index == prefix:
                    index, at = self._integer(block, at, prefix)
                if index == 0:
                    name, at = self._string(block, at)
                    kind = kind_of_name(name)
                else:
                    if index < _STATIC_SIZE:
                        named = static[index]
                    elif index < _STATIC_SIZE + len(dynamic):
                        named = dynamic[_STATIC_SIZE - 1 - index]
                    else:
                        raise Http2Error("an index that no table has", COMPRESSION_ERROR)
                    name = named.name
                    kind = named.kind
                    if kind == BAD_VALUE:
                        kind = kind_of_name(name)
                value, at = self._string(block, at)
                field = Field(name, value, kind)
                if first >= 64:
                    self._add(field)
            else:
                if not sizes:
                    raise Http2Error("a table size within a block, or a third one", COMPRESSION_ERROR)
                sizes -= 1
                index = first & 31
                if index == 31:
                    index, at = self._integer(block, at, 31)
                if index > TABLE_BYTES:
                    raise Http2Error("a table larger than allowed", COMPRESSION_ERROR)
                self._resize(index)
                continue
            sizes = 0
            total += field.size
            if total <= max_bytes:
                fields.append(field)
            elif total > BOMB * max_bytes:
                raise Http2Error("fields without an end", ENHANCE_YOUR_CALM)
        return fields if total <= max_bytes else None

    def _add(self, field: Field) -> None:
        self.changes += 1
        self._size += field.size
        self._dynamic.append(field)
        if self._size > self._max_size:
            self._evict()

    def _resize(self, size: int) -> None:
        self.changes += 1
        self._max_size = size
        self._evict()

    def _evict(self) -> None:
        count = 0
        dynamic = self._dynamic
        while self._size > self._max_size:
            self._size -= dynamic[count].size
            count += 1
        del dynamic[:count]

    def _integer(self, block: bytes, at: int, prefix: int) -> tuple[int, int]:
        """The integer that goes on at `at`, and where it ends (§5.1); nothing here needs more than three such bytes."""
        value = prefix
        for shift in (0, 7, 14):
            if at >= len(block):
                raise Http2Error("a block that ends within a number", COMPRESSION_ERROR)
            byte = block[at]
            at += 1
            value += (byte & 127) << shift
            if byte < 128:
                return value, at
        raise Http2Error("a number too large", COMPRESSION_ERROR)

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        if at >= len(block):
            raise Http2Error("a block that ends within a field", COMPRESSION_ERROR)
        first = block[at]
        length = first & 127
        at += 1
        if length == 127:
            length, at = self._integer(block, at, 127)
        end = at + length
        if end > len(block):
            raise Http2Error("a block that ends within a string", COMPRESSION_ERROR)
        data = block[at:end]
        if first >= 128:
            decoded = huffman_decode(data)
            if decoded is None:
                raise Http2Error("a string whose Huffman code is malformed", COMPRESSION_ERROR)
            return decoded, end
        return data, end


# -- writing ----------------------------------------------------------------------------------------------------------

_STATIC_NAMES: Final = {field.name: index for index, field in reversed(list(enumerate(STATIC_TABLE)))}
_STATIC_STATUS: Final = {200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}
# What others on the way shall not keep in their tables either (§7.1.3).
_NEVER_INDEXED: Final = frozenset((b"set-cookie", b"authorization", b"proxy-authenticate", b"www-authenticate"))

_lines: Final[Memory[bytes]] = Memory(512, 512)
_blocks: Final[Memory[bytes]] = Memory(256, 4096)


def encode_status(status: int) -> bytes:
    """`:status`, as a block begins with it."""
    index = _STATIC_STATUS.get(status)
    return bytes((128 | index,)) if index is not None else b"\x08\x03%03d" % status


def encode_lines(block: bytes) -> bytes:
    """The field lines of HTTP/1 in `block`, each with its CRLF, as HPACK has them; names become lower-case.

    Fields of an HTTP/1 connection are left out.
    """
    known = _blocks.young.get(block)
    if known is None:
        known = _blocks.recall(block)
        if known is None:
            lines = block.split(b"\r\n")
            lines.pop()
            known = b"".join([_encode_line(line) for line in lines])
            _blocks.keep(block, known)
    return known


def _encode_line(line: bytes) -> bytes:
    known = _lines.young.get(line)
    if known is None:
        known = _lines.recall(line)
        if known is None:
            name, _, value = line.partition(b":")
            known = encode_field(name.lower(), value.strip(b" \t"))
            _lines.keep(line, known)
    return known


def encode_field(name: bytes, value: bytes) -> bytes:
    """One field with a lower-case name; nothing where it belongs to a connection of HTTP/1."""
    if _KINDS.get(name) == HOP:
        return b""
    index = _STATIC_NAMES.get(name, 0)
    first = 16 if name in _NEVER_INDEXED else 0
    if index:
        return b"%b%b%b" % (_encode_integer(first, 15, index), _encode_integer(0, 127, len(value)), value)
    return b"%c%b%b%b%b" % (first, _encode_integer(0, 127, len(name)), name, _encode_integer(0, 127, len(value)), value)


def _encode_integer(first: int, prefix: int, value: int) -> bytes:
    if value < prefix:
        return bytes((first | value,))
    rest = value - prefix
    out = bytearray((first | prefix,))
    while rest >= 128:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)

"""What to answer for a file: conditions (RFC 9110 §13), ranges (§14) and codings (§12.5.3). Values in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from duck.http.dates import parse_date

# Every field that can change the answer for a file, in lower case.
DECIDING: Final = frozenset(
    (
        b"accept-encoding",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"range",
    )
)

# A multipart answer costs a head and a read for each part. Readers of PDF and archives ask for a handful.
MAX_RANGES: Final = 32

IDENTITY: Final = b""

_ENTITY_TAG: Final = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE_UNIT: Final = re.compile(rb"bytes=(.*)", re.IGNORECASE)
_RANGE: Final = re.compile(rb"(\d*)-(\d*)")
_CODING: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?")
_ALIASES: Final = {b"x-gzip": b"gzip"}
_BEYOND_ANY_FILE: Final = 1 << 63

Ranges = tuple[tuple[int, int], ...]


class Facts:
    """What the rules need to know of the representation that would be sent.

    Attributes:
        size: in bytes.
        etag: a strong entity tag with its quotes.
        modified: seconds since 1970 as `Last-Modified` says them, or None where that is not sent.
        max_ranges: of a multipart answer.
    """

    __slots__ = ("etag", "max_ranges", "modified", "size")

    def __init__(self, size: int, etag: bytes, modified: int | None, max_ranges: int = MAX_RANGES) -> None:
        self.size = size
        self.etag = etag
        self.modified = modified
        self.max_ranges = max_ranges


class Plan:
    """What to answer.

    Attributes:
        status: 200, 206, 304, 412 or 416.
        ranges: for 206: (offset, count) of each part, in the order asked for; none of them empty.
    """

    __slots__ = ("ranges", "status")

    def __init__(self, status: int, ranges: Ranges = ()) -> None:
        self.status = status
        self.ranges = ranges

    def __repr__(self) -> str:
        return f"<Plan {self.status} {self.ranges}>"


def negotiate(method: bytes, fields: Iterable[tuple[bytes, bytes]], facts: Facts) -> Plan:
    """The answer to a GET or HEAD for a file, in the order of RFC 9110 §13.2.2.

    Args:
        fields: of the request: all of them, or those in `DECIDING`.
    """
    asked: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        name = name.lower()
        if name in DECIDING:
            asked.setdefault(name, []).append(value)
    if not asked:
        return Plan(200)
    if not precondition_holds(asked, facts):
        return Plan(412)
    if is_not_modified(asked, facts):
        return Plan(304)
    # Range is defined for GET only (§14.2). An empty file has no byte to give a range of: all of it is the answer.
    if method != b"GET" or b"range" not in asked or not facts.size or not range_condition_holds(asked, facts):
        return Plan(200)
    ranges = parse_ranges(asked[b"range"], facts.size, facts.max_ranges)
    if ranges is None:
        return Plan(200)
    return Plan(206, ranges) if ranges else Plan(416)


# -- conditions (§13.1) -----------------------------------------------------------------------------------------------


def precondition_holds(asked: Mapping[bytes, list[bytes]], facts: Facts) -> bool:
    """Steps 1 and 2: `If-Match`, and in its absence `If-Unmodified-Since`."""
    tags = asked.get(b"if-match")
    if tags is not None:
        return _is_star(tags) or any(not weak and tag == facts.etag for weak, tag in entity_tags(tags))
    date = _one_date(asked.get(b"if-unmodified-since"), facts)
    return date is None or facts.modified is None or facts.modified <= date


def is_not_modified(asked: Mapping[bytes, list[bytes]], facts: Facts) -> bool:
    """Steps 3 and 4: `If-None-Match`, and in its absence `If-Modified-Since`."""
    tags = asked.get(b"if-none-match")
    if tags is not None:
        return _is_star(tags) or any(tag == facts.etag for _, tag in entity_tags(tags))
    date = _one_date(asked.get(b"if-modified-since"), facts)
    return date is not None and facts.modified is not None and facts.modified <= date


def range_condition_holds(asked: Mapping[bytes, list[bytes]], facts: Facts) -> bool:
    """Step 5: whether `If-Range` is absent, or names exactly what the file is now (§13.1.5)."""
    values = asked.get(b"if-range")
    if values is None:
        return True
    if len(values) != 1:
        return False
    value = values[0]
    if value[:1] == b'"':
        return value == facts.etag
    # A weak tag is no date either. A date must be the very one, since an older copy has other bytes.
    return facts.modified is not None and parse_date(value) == facts.modified


def entity_tags(values: Iterable[bytes]) -> list[tuple[bool, bytes]]:
    """The (weak, tag) pairs of `values`; a tag keeps its quotes, and may hold commas (§8.8.3)."""
    return [(bool(weak), tag) for value in values for weak, tag in _ENTITY_TAG.findall(value)]


def _is_star(values: list[bytes]) -> bool:
    return values == [b"*"]


def _one_date(values: list[bytes] | None, facts: Facts) -> int | None:
    """The date of a conditional field; None where it is to be ignored: absent, several, or no date (§13.1.3)."""
    if values is None or len(values) != 1 or facts.modified is None:
        return None
    return parse_date(values[0])


# -- ranges (§14.1) ---------------------------------------------------------------------------------------------------


def parse_ranges(values: list[bytes], size: int, max_ranges: int = MAX_RANGES) -> Ranges | None:
    """The (offset, count) pairs that `Range` asks for of `size` bytes.

    Returns:
        None where the field is to be ignored: another unit, a syntax error, several fields, more than `max_ranges`, or
        ranges that overlap, which nobody needs and which multiply the bytes of an answer (§14.2).
        () where no range can be satisfied (416).
    """
    if len(values) != 1:
        return None
    match = _RANGE_UNIT.fullmatch(values[0])
    if match is None:
        return None
    specs = [spec for spec in (item.strip(b" \t") for item in match[1].split(b",")) if spec]
    if not specs or len(specs) > max_ranges:
        return None
    ranges: list[tuple[int, int]] = []
    for spec in specs:
        parts = _RANGE.fullmatch(spec)
        if parts is None or spec == b"-":
            return None
        first, last = parts[1], parts[2]
        if first:
            start = _position(first)
            end = _position(last) if last else size - 1
            if last and end < start:
                return None
            end = min(end, size - 1)
        else:
            start = max(0, size - _position(last))
            end = size - 1
        if start <= end:
            ranges.append((start, end - start + 1))
    reached = 0
    for start, count in sorted(ranges):
        if start < reached:
            return None
        reached = start + count
    return tuple(ranges)


def _position(digits: bytes) -> int:
    """A position in a file; one of hundreds of digits costs no more than one beyond every file."""
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) < 19 else _BEYOND_ANY_FILE


# -- codings (§12.5.3) ------------------------------------------------------------------------------------------------


def choose_coding(values: list[bytes], sizes: Mapping[bytes, int]) -> bytes:
    """The coding to send, among those a file exists in.

    The client's weights decide, then the smaller file. Where nothing is acceptable, not even no coding at all, the
    plain file is sent all the same: an answer serves better than a 406 (§12.4.1).

    Args:
        values: of every `Accept-Encoding` field; empty for none.
        sizes: coding -> bytes; `IDENTITY` is among them.
    """
    weights: dict[bytes, float] = {}
    for value in values:
        for item in value.split(b","):
            match = _CODING.fullmatch(item.strip(b" \t"))
            if match is not None:
                name = match[1].lower()
                weights[_ALIASES.get(name, name)] = 1.0 if match[2] is None else float(match[2])
    star = weights.get(b"*")
    best, best_rank = IDENTITY, (0.0, 0)
    for coding, size in sizes.items():
        if coding:
            weight = weights.get(coding, star or 0.0)
        else:
            # Unless it is named, no coding is acceptable but never preferred; `*;q=0` refuses it with the rest.
            weight = weights.get(b"identity", 0.0 if star == 0 else 0.0005)
        rank = (weight, -size)
        if weight > 0 and (best_rank[0] == 0 or rank > best_rank):
            best, best_rank = coding, rank
    return best

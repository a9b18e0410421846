"""Insertion: where the client's tag goes in a page, decided while the page streams by.

    SEEKING ──a place, or so much seen──> HEAD ──</head>, <body>, or so much seen──> PASSING
       └───────no page after all──────────────────────────────────────────────────────┘

The tag stands right behind `<head>`, so that it runs before anything of the page's; where there is no such tag, behind
`<html>`, the doctype, or at the very begin: a browser makes a head of it then (HTML §13.2.6.4). What comes before it
is looked at, at most MAX_AHEAD bytes, and nothing is held back that is known to come before it or after.

In the head a policy may stand (`<meta http-equiv=Content-Security-Policy>`): it is widened as one in a field is.
The same bytes come out however the page is cut into pieces.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_AHEAD: Final = 16_384
MAX_HEAD: Final = 262_144

_BOM: Final = b"\xef\xbb\xbf"
_ATTRIBUTES: Final = rb"(?:\"[^\"]*\"|'[^']*'|[^\"'>])*"
_DELIMITERS: Final = b" \t\r\n\f/>"
# What may stand before the head: each part once, in this order, with spaces, comments and XML's declaration between.
_LEAD: Final = re.compile(rb"(?:[ \t\r\n\f]|<!--(?:>|->|.*?--!?>)|<\?[^>]*>)*", re.DOTALL)
_DOCTYPE: Final = re.compile(rb"<!doctype%b>" % _ATTRIBUTES, re.IGNORECASE)
_HTML: Final = re.compile(rb"<html(?=[\s/>])%b>" % _ATTRIBUTES, re.IGNORECASE)
_HEAD: Final = re.compile(rb"<head(?=[\s/>])%b>" % _ATTRIBUTES, re.IGNORECASE)
_PARTS: Final = ((b"<!doctype", _DOCTYPE), (b"<html", _HTML), (b"<head", _HEAD))

# In the head: what is looked at, and what ends it.
_OPENINGS: Final = (b"<meta", b"</head", b"<body", b"<!--")
_OPENING: Final = re.compile(rb"<(?:meta|/head|body|!--)", re.IGNORECASE)
_META: Final = re.compile(rb"<meta%b>" % _ATTRIBUTES, re.IGNORECASE)
_IS_POLICY: Final = re.compile(rb"http-equiv\s*=\s*[\"']?\s*content-security-policy\s*(?:[\"'\s/>]|$)", re.IGNORECASE)
_CONTENT: Final = re.compile(rb"(\scontent\s*=\s*)(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)

SEEKING: Final = "seeking"
IN_HEAD: Final = "in the head"
PASSING: Final = "passing"

# What `point` finds.
MORE: Final = "more is to come"
OTHER: Final = "nothing of the kind"
META: Final = "meta"
COMMENT: Final = "comment"
END: Final = "end"


class Insertion:
    """Puts `tag` into one page.

    Args:
        tag: ASCII.
        is_document: a browser has said that it takes the answer as a page; else one that does not begin like a page is
            left as it is.
        widen: of a policy that stands in the page.

    Attributes:
        state: see the diagram above.
        inserted: whether the tag is in.
    """

    __slots__ = ("_ahead", "_is_document", "_seen", "_tag", "_widen", "inserted", "state")

    def __init__(self, tag: bytes, widen: Callable[[str], str], *, is_document: bool) -> None:
        self.state = SEEKING
        self.inserted = False
        self._tag = tag
        self._widen = widen
        self._is_document = is_document
        self._ahead = b""
        self._seen = 0

    @property
    def is_decided(self) -> bool:
        """Whether it is known if there will be a tag."""
        return self.state is not SEEKING

    def feed(self, data: bytes) -> bytes:
        """What is to be sent now that `data` has come; may be empty."""
        if self.state is SEEKING:
            return self._seek(self._ahead + data, is_last=False)
        if self.state is IN_HEAD:
            return self._look(self._ahead + data, is_last=False)
        return data

    def end(self) -> bytes:
        """What is still to be sent once all has come."""
        if self.state is SEEKING:
            return self._seek(self._ahead, is_last=True)
        if self.state is IN_HEAD:
            return self._look(self._ahead, is_last=True)
        return b""

    # -- before the head ------------------------------------------------------------------------------------------

    def _seek(self, data: bytes, *, is_last: bool) -> bytes:
        # What lies further counts for nothing, also where it has come already.
        place, is_sure, looks_like_one = find_place(data[:MAX_AHEAD])
        if not is_sure and not is_last and len(data) < MAX_AHEAD:
            self._ahead = data
            return b""
        self._ahead = b""
        if not data or not (looks_like_one or self._is_document):
            self.state = PASSING
            return data
        self.inserted = True
        self.state = IN_HEAD
        return data[:place] + self._tag + self._look(data[place:], is_last=is_last)

    # -- within the head ------------------------------------------------------------------------------------------

    def _look(self, data: bytes, *, is_last: bool) -> bytes:
        """`data` with its policies widened, up to where something may be cut that is to be looked at as a whole."""
        done: list[bytes] = []
        at = 0  # up to here it is in `done`
        search_at = 0
        while True:
            match = _OPENING.search(data, search_at)
            if match is None:
                cut = len(data) if is_last else len(data) - _open_length(data, search_at)
                break
            start = match.start()
            if self._seen + start >= MAX_HEAD:
                return self._pass(done, data[at:])
            kind, length = point(data[start : start + MAX_AHEAD])
            if kind is END:
                return self._pass(done, data[at:])
            if kind is MORE:
                if is_last or len(data) - start >= MAX_AHEAD:
                    return self._pass(done, data[at:])
                cut = start
                break
            search_at = start + length
            if kind is META:
                done.append(data[at:start])
                done.append(self._widened(data[start:search_at]))
                at = search_at
        done.append(data[at:cut])
        self._seen += cut
        self._ahead = data[cut:]
        return b"".join(done)

    def _pass(self, done: list[bytes], rest: bytes) -> bytes:
        self.state = PASSING
        self._ahead = b""
        done.append(rest)
        return b"".join(done)

    def _widened(self, meta: bytes) -> bytes:
        if _IS_POLICY.search(meta) is None:
            return meta
        return _CONTENT.sub(self._replace, meta, count=1)

    def _replace(self, match: re.Match[bytes]) -> bytes:
        value = match[2] if match[2] is not None else match[3]
        widened = self._widen(unescape(value.decode("utf-8", "surrogateescape")))
        return match[1] + b'"' + escape(widened).encode("utf-8", "surrogateescape") + b'"'


def find_place(data: bytes) -> tuple[int, bool, bool]:
    """Where the tag goes in a page that begins with `data`; whether more could not change that; whether it is a page.

    A page is what begins, after spaces and comments, with a doctype or `<html>`.
    """
    if _BOM.startswith(data):
        return 0, False, False
    at = place = len(_BOM) if data.startswith(_BOM) else 0
    looks_like_one = False
    for opening, pattern in _PARTS:
        lead = _LEAD.match(data, at)
        assert lead is not None
        at = lead.end()
        match = pattern.match(data, at)
        if match is not None:
            at = place = match.end()
            looks_like_one = looks_like_one or opening != b"<head"
        elif _may_become(data[at:], opening):
            return place, False, looks_like_one
    return place, True, looks_like_one


def _may_become(rest: bytes, opening: bytes) -> bool:
    """Whether `rest`, which is neither the tag nor something to skip, may be one of these once more has come."""
    if rest.startswith((b"<!--", b"<?")) or b"<!--".startswith(rest):
        return True
    name = rest[: len(opening)].lower()
    if name != opening[: len(name)]:
        return False
    # `<header>` is no head.
    return len(rest) <= len(opening) or opening == b"<!doctype" or rest[len(opening)] in _DELIMITERS


def point(piece: bytes) -> tuple[str, int]:
    """What stands at the begin of `piece`, which matches `_OPENING`, and how long it is (OTHER: its name)."""
    if piece.startswith(b"<!--"):
        end = piece.find(b"-->", 2)
        return (MORE, 0) if end < 0 else (COMMENT, end + 3)
    name = _OPENING.match(piece)
    assert name is not None
    length = name.end()
    if len(piece) == length:
        return MORE, 0
    if piece[length] not in _DELIMITERS:
        return OTHER, length
    if length != len(b"<meta") or piece[1:2] not in b"mM":
        return END, length
    match = _META.match(piece)
    return (MORE, 0) if match is None else (META, match.end())


def _open_length(data: bytes, at: int) -> int:
    """How many of the last bytes of `data`, from `at` on, may be the begin of an opening."""
    for count in range(min(5, len(data) - at), 0, -1):
        tail = data[-count:].lower()
        if any(opening.startswith(tail) for opening in _OPENINGS):
            return count
    return 0

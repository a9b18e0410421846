"""One file as it can be answered: its facts, and the fields that follow from them, rendered once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from duck.http.dates import render_date
from duck.http.file_rules import IDENTITY, MAX_RANGES, Facts, Plan, choose_coding
from duck.wire.head import ResponseHead

if TYPE_CHECKING:
    from duck.http.file_roots import Signature
    from duck.http.file_sender import Part

# Codings in which a file may lie beside the plain one, and the ends of their names.
SIDECARS: Final = ((b"br", ".br"), (b"zstd", ".zst"), (b"gzip", ".gz"))

# name -> (lines of every answer, lines of answers with content); rendered, each with its CRLF.
Dress = Callable[[str], tuple[bytes, bytes]]

_MAX_REMEMBERED: Final = 64


class Representation(Facts):
    """One coding of one file.

    Attributes:
        name: of the file that holds it, below its root; a sidecar's own.
        body: its bytes where it is small, None where they are read for each answer.
        block: the fields of a 200 answer.
        head: of such an answer, shared by all.
    """

    __slots__ = (
        "block",
        "body",
        "coding",
        "content_fields",
        "content_type",
        "head",
        "lasting_fields",
        "name",
        "signature",
    )

    def __init__(
        self,
        name: str,
        coding: bytes,
        signature: Signature,
        body: bytes | None,
        *,
        content_type: bytes,
        lasting_fields: bytes,
        content_fields: bytes,
        varies: bool,
        now: float,
    ) -> None:
        """
        Args:
            lasting_fields: rendered lines that a 304 repeats.
            content_fields: rendered lines that only an answer with content has, `Content-Type` not among them.
            varies: there are other codings of this file.
            now: wall time, in seconds since 1970.
        """
        # Tags differ from one coding to the next, even where two sidecars have the same size and time (§8.8.3.3).
        mark = b"-" + coding if coding else b""
        etag = b'"%x-%x%b"' % (signature.mtime_ns, signature.size, mark)
        # A time to come may not be sent (§8.8.2.1), and one before 1970 is an archive's way to say "none".
        modified = signature.mtime_ns // 1_000_000_000
        super().__init__(
            signature.size,
            etag,
            modified if 0 <= modified <= now else None,
            # Parts of a coded file are of use to those who resume a download; several at once to nobody.
            1 if coding else MAX_RANGES,
        )
        self.name = name
        self.coding = coding
        self.signature = signature
        self.body = body
        self.content_type = content_type
        lines = [lasting_fields, b"ETag: %b\r\n" % etag]
        if self.modified is not None:
            lines.append(b"Last-Modified: %b\r\n" % render_date(self.modified))
        if varies:
            lines.append(b"Vary: Accept-Encoding\r\n")
        self.lasting_fields = b"".join(lines)
        if coding:
            content_fields += b"Content-Encoding: %b\r\n" % coding
        self.content_fields = b"Accept-Ranges: bytes\r\n" + content_fields
        self.block = b"Content-Type: %b\r\n%b%b" % (content_type, self.content_fields, self.lasting_fields)
        self.head = head = ResponseHead(200, block=self.block, content_length=self.size)
        head.has_date = head.has_length = False
        head.is_shared = True

    @property
    def weight(self) -> int:
        """Roughly what it costs in memory, in bytes."""
        return 2048 + (0 if self.body is None else self.size)

    def answer(self, plan: Plan, boundary: bytes) -> tuple[ResponseHead, list[Part]]:
        """The head that `plan` asks for, and the parts of its body; no parts where there is no content.

        Args:
            boundary: between the parts of a multipart answer; must not be foreseeable, since files may hold anything.
        """
        status = plan.status
        if status == 200:
            whole: list[Part] = [(0, self.size)] if self.size else []
            return ResponseHead(200, block=self.block, content_length=self.size), whole
        if status == 304:
            return ResponseHead(304, block=self.lasting_fields), []
        if status == 412:
            return ResponseHead(412, [], content_length=0), []
        if status == 416:
            block = b"Accept-Ranges: bytes\r\nContent-Range: bytes */%d\r\n" % self.size
            return ResponseHead(416, block=block, content_length=0), []
        if len(plan.ranges) == 1:
            offset, count = plan.ranges[0]
            block = b"%bContent-Range: %b\r\n" % (self.block, _content_range(offset, count, self.size))
            return ResponseHead(206, block=block, content_length=count), [plan.ranges[0]]
        return self._multipart(plan.ranges, boundary)

    def _multipart(self, ranges: Sequence[tuple[int, int]], boundary: bytes) -> tuple[ResponseHead, list[Part]]:
        """Several ranges (§14.6): in the order asked for, the length known beforehand."""
        parts: list[Part] = []
        length = 0
        separator = b"--%b\r\n" % boundary
        for offset, count in ranges:
            lead = b"%bContent-Type: %b\r\nContent-Range: %b\r\n\r\n" % (
                separator,
                self.content_type,
                _content_range(offset, count, self.size),
            )
            parts += (lead, (offset, count))
            length += len(lead) + count
            separator = b"\r\n--%b\r\n" % boundary
        end = b"\r\n--%b--\r\n" % boundary
        parts.append(end)
        block = b"Content-Type: multipart/byteranges; boundary=%b\r\n%b%b" % (
            boundary,
            self.content_fields,
            self.lasting_fields,
        )
        return ResponseHead(206, block=block, content_length=length + len(end)), parts


class Entry:
    """One file in all its codings.

    Attributes:
        plain: the file itself.
        coded: its sidecars, by coding.
        by_accept: what was chosen for a value of `Accept-Encoding`; None stands for a request without it.
        fresh_until: loop time up to which the files are not looked at again, in seconds.
        dress_age: which state of the manifest its fields were made from.
    """

    __slots__ = ("by_accept", "coded", "dress_age", "fresh_until", "name", "plain", "weight")

    def __init__(self, name: str, plain: Representation, coded: dict[bytes, Representation], dress_age: int) -> None:
        self.name = name
        self.plain = plain
        self.coded = coded
        self.dress_age = dress_age
        self.by_accept: dict[bytes | None, Representation] = {None: plain}
        self.fresh_until = 0.0
        self.weight = plain.weight + sum(representation.weight for representation in coded.values())

    def choose(self, values: list[bytes]) -> Representation:
        """The representation for a request with these `Accept-Encoding` fields."""
        chosen = self.plain
        if self.coded and values:
            sizes = {IDENTITY: chosen.size}
            for coding, representation in self.coded.items():
                sizes[coding] = representation.size
            chosen = self.coded.get(choose_coding(values, sizes), chosen)
        if len(values) == 1 and len(self.by_accept) < _MAX_REMEMBERED:
            self.by_accept[values[0]] = chosen
        return chosen


def _content_range(offset: int, count: int, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (offset, offset + count - 1, size)

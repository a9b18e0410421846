"""A body as somebody wants to read it: decoded, taken apart, its secrets hidden, and never longer than asked. Pure."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote_to_bytes

from duck.http.ducksight.masking import HIDDEN, is_secret, mask_json, mask_pairs, mask_text
from duck.wire.fields import get

if TYPE_CHECKING:
    from duck.http.ducksight.recording import Captured
    from duck.wire.fields import Fields

NONE: Final = "none"
JSON: Final = "json"
FORM: Final = "form"
TEXT: Final = "text"
BINARY: Final = "binary"
# It came, and none of it is kept.
GONE: Final = "gone"

# What a compressed body may become; a small one can become anything.
MAX_DECODED_BYTES: Final = 1_048_576
MAX_FORM_FIELDS: Final = 1000
_MAX_VALUE: Final = 4096
_DUMPED_BYTES: Final = 256

_TEXT_TYPES: Final = re.compile(r"text/.*|.*[/+](json|xml|javascript|ecmascript|yaml|x-yaml|toml|graphql|x-ndjson|sql)")
# Of Python's many codecs some take quadratic time, and some are none of text.
_CHARSETS: Final = re.compile(
    r"(utf-?(8|16|32)|us-ascii|ascii|iso-?8859|latin|windows|cp\d|shift|sjis|euc|gb|big5|koi8|iso-2022|tis)[\w-]*"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PARAMETER: Final = re.compile(r";\s*([\w*-]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\s]*)")
_PAIR: Final = re.compile(rb"(?<![^&])([^=&]{1,200})=([^&]+)")


@dataclass(frozen=True)
class ShownBody:
    """What is shown of one body.

    Attributes:
        kind: NONE, JSON, FORM, TEXT, BINARY or GONE.
        type: its media type, in lower case, without parameters.
        size: bytes that came.
        coding: how they were coded (`gzip`), where it was undone.
        text: of JSON and TEXT; of BINARY its first bytes in hexadecimal.
        fields: of FORM: names and values; a file is told of in words.
        note: what is not shown, as a sentence; empty where all is.
    """

    kind: str
    type: str = ""
    size: int = 0
    coding: str = ""
    text: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    note: str = ""


def show(captured: Captured, fields: Fields, limit: int) -> ShownBody:
    """What is shown of a body with these `fields` around it: at most `limit` characters."""
    kind, parameters = media_type(fields)
    size = captured.size
    if size == 0:
        return ShownBody(NONE, kind)
    if captured.kept == 0:
        return ShownBody(GONE, kind, size, note="It was sent from a file, and is not kept here.")
    data, coding, is_cut = _decoded(captured.data, fields)
    if data is None:
        return ShownBody(BINARY, kind, size, text=_dump(captured.data), note=f"It is coded as {coding}.")
    whole = captured.is_whole and not is_cut
    note = "" if whole else _note(captured, is_cut)
    if kind == "application/x-www-form-urlencoded":
        pairs = _urlencoded(data, parameters)
        if pairs is not None:
            return _form(pairs, kind, size, coding, note, limit)
    if kind == "multipart/form-data":
        parts = list(_multipart(data, parameters.get("boundary", "")))
        if parts:
            return _form([part.pair() for part in parts], kind, size, coding, note, limit)
    text = as_text(data, kind, parameters)
    if text is None:
        return ShownBody(BINARY, kind, size, coding, _dump(data), note=note)
    if whole and _is_json(kind, text):
        try:
            pretty = json.dumps(mask_json(json.loads(text)), indent=2, ensure_ascii=False)
            return _text(JSON, kind, size, coding, pretty, note, limit)
        except (ValueError, RecursionError):
            pass  # it only says so
    return _text(TEXT, kind, size, coding, mask_text(text), note, limit)


def media_type(fields: Fields) -> tuple[str, dict[str, str]]:
    """What `Content-Type` says: type in lower case, and parameters."""
    said = (get(fields, b"content-type") or b"").decode("latin-1")
    kind = said.partition(";")[0].strip().lower()
    return kind, {name.lower(): value.strip('"') for name, value in _PARAMETER.findall(said)}


def as_text(data: bytes, kind: str, parameters: dict[str, str]) -> str | None:
    """`data` as text; None where it is none."""
    charset = parameters.get("charset", "").lower()
    if not _CHARSETS.fullmatch(charset):
        charset = "utf-8"
    if _TEXT_TYPES.fullmatch(kind):
        try:
            return data.decode(charset, "replace")
        except LookupError:
            return data.decode("utf-8", "replace")
    if kind and kind not in ("application/x-www-form-urlencoded", "multipart/form-data", "application/octet-stream"):
        return None
    try:
        text = _as_utf8(data)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def _as_utf8(data: bytes) -> str:
    """Strictly, but that what was cut may end within a character.

    Raises:
        UnicodeDecodeError: it is no UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(data) - 3:
            raise
        return data[: error.start].decode("utf-8") + "\ufffd"


def mask_body(data: bytes, fields: Fields) -> bytes:
    """A request's whole body with its secrets hidden, in the form in which it came."""
    kind, parameters = media_type(fields)
    if kind == "application/x-www-form-urlencoded":
        return _PAIR.sub(_hide_pair, data)
    if kind == "multipart/form-data":
        return _mask_multipart(data, parameters.get("boundary", ""))
    text = as_text(data, kind, parameters)
    if text is None:
        return data
    if _is_json(kind, text):
        try:
            value = json.loads(text)
            masked = mask_json(value)
            return data if masked == value else json.dumps(masked, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            pass
    masked_text = mask_text(text)
    return data if masked_text == text else masked_text.encode()


# -- codings ------------------------------------------------------------------------------------------------------


def _decoded(data: bytes, fields: Fields) -> tuple[bytes | None, str, bool]:
    """The bytes, what was undone, and whether some are missing; None for a coding that is not known here."""
    coding = (get(fields, b"content-encoding") or b"").decode("latin-1").strip().lower()
    if coding in ("", "identity"):
        return data, "", False
    if coding in ("gzip", "x-gzip", "deflate"):
        for window in (47, -15):  # deflate is sent in both ways
            unpacker = zlib.decompressobj(window)
            try:
                found = unpacker.decompress(data, MAX_DECODED_BYTES)
            except zlib.error:
                continue
            return found, coding, not unpacker.eof
    elif coding == "br":
        unpacked = _brotli(data)
        if unpacked is not None:
            return unpacked[:MAX_DECODED_BYTES], coding, len(unpacked) > MAX_DECODED_BYTES
    return None, coding, False


def _brotli(data: bytes) -> bytes | None:
    """Where a library for it is installed, which Duck does not need otherwise."""
    try:
        import brotli  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return None
    try:
        unpacker, found, size = brotli.Decompressor(), [], 0
        for at in range(0, len(data), 1024):  # bounded, for the older ones know no limit of their own
            piece = unpacker.process(data[at : at + 1024])
            found.append(piece)
            size += len(piece)
            if size > MAX_DECODED_BYTES:
                break
    except brotli.error:
        return None
    return b"".join(found)


# -- forms --------------------------------------------------------------------------------------------------------


class _Part:
    """One part of a multipart form."""

    def __init__(self, block: bytes, body: bytes) -> None:
        self.block = block
        self.body = body
        disposition = next(
            (line for line in block.split(b"\r\n") if line.lower().startswith(b"content-disposition:")), b""
        ).decode("utf-8", "replace")
        parameters = {name.lower(): value.strip('"') for name, value in _PARAMETER.findall(disposition)}
        self.name = parameters.get("name", "")
        self.file = parameters.get("filename", parameters.get("filename*"))

    def pair(self) -> tuple[str, str]:
        if self.file is not None:
            return self.name, f"file {self.file or 'without a name'}, {len(self.body)} bytes"
        text = self.body.decode("utf-8", "replace")
        return self.name, "bytes" if _CONTROL.search(text) else text


def _multipart(data: bytes, boundary: str) -> Iterator[_Part]:
    if not boundary:
        return
    pieces = (b"\r\n" + data).split(b"\r\n--" + boundary.encode("latin-1", "replace"), MAX_FORM_FIELDS + 1)
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            return
        block, gap, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if gap:
            yield _Part(block, body)


def _mask_multipart(data: bytes, boundary: str) -> bytes:
    if not boundary:
        return data
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + data).split(mark)
    for index, piece in enumerate(pieces):
        block, gap, body = piece.partition(b"\r\n\r\n")
        if index and gap:
            part = _Part(block, body)
            if part.file is None and body and is_secret(part.name):
                pieces[index] = block + gap + HIDDEN.encode()
    return mark.join(pieces)[2:]


def _urlencoded(data: bytes, parameters: dict[str, str]) -> list[tuple[str, str]] | None:
    text = as_text(data, "text/plain", parameters) or ""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        return None


def _hide_pair(match: re.Match[bytes]) -> bytes:
    name = unquote_to_bytes(match[1].replace(b"+", b" ")).decode("utf-8", "replace")
    return match[1] + b"=" + HIDDEN.encode() if is_secret(name) else match[0]


# -- how it is told -----------------------------------------------------------------------------------------------


def _form(pairs: list[tuple[str, str]], kind: str, size: int, coding: str, note: str, limit: int) -> ShownBody:
    shown: list[tuple[str, str]] = []
    left = limit
    for name, value in mask_pairs(pairs):
        if left <= 0:
            note = note or f"Of its {len(pairs)} fields {len(shown)} are shown."
            break
        longest = min(_MAX_VALUE, left)
        shown.append((name[:200], value if len(value) <= longest else f"{value[:longest]}…"))
        left -= len(shown[-1][0]) + len(shown[-1][1])
    return ShownBody(FORM, kind, size, coding, fields=tuple(shown), note=note)


def _text(what: str, kind: str, size: int, coding: str, text: str, note: str, limit: int) -> ShownBody:
    if len(text) > limit:
        note = note or f"Of its {len(text)} characters {limit} are shown."
        text = text[:limit]
    return ShownBody(what, kind, size, coding, text, note=note)


def _note(captured: Captured, is_cut: bool) -> str:
    if not captured.ended:
        return f"It did not come to its end; {captured.kept} bytes are kept."
    if captured.kept < captured.size:
        return f"Of its {captured.size} bytes {captured.kept} are kept."
    return "It ends early, or becomes too long to be shown." if is_cut else ""


def _is_json(kind: str, text: str) -> bool:
    return kind.endswith(("/json", "+json")) or (not kind and text.lstrip()[:1] in ("{", "["))


def _dump(data: bytes) -> str:
    """The first bytes as hexadecimal numbers and characters, sixteen in a line."""
    lines = []
    for at in range(0, min(len(data), _DUMPED_BYTES), 16):
        row = data[at : at + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:04x}  {row.hex(' '):<47}  {shown}")
    return "\n".join(lines)

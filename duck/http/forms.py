"""Queries and forms: text pairs out of a target or a body, and uploaded files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import IO, Any, Final, Generic, TypeVar, overload
from urllib.parse import parse_qsl

from duck.exceptions import LimitExceeded, ProtocolError
from duck.http.engine import configure_django

MAX_FORM_FIELDS: Final = 1000  # as Django's DATA_UPLOAD_MAX_NUMBER_FIELDS: each costs far more than its bytes
MAX_URLENCODED_BYTES: Final = 2_621_440  # as Django's DATA_UPLOAD_MAX_MEMORY_SIZE

Value = TypeVar("Value")
Default = TypeVar("Default")


class MultiDict(Mapping[str, Value], Generic[Value]):
    """Names with one or more values, as forms have them; `values[name]` is the last, as in Django."""

    __slots__ = ("_lists",)

    def __init__(self, pairs: Iterable[tuple[str, Value]] = ()) -> None:
        self._lists: dict[str, list[Value]] = {}
        for name, value in pairs:
            self._lists.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> Value:
        return self._lists[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lists)

    def __len__(self) -> int:
        return len(self._lists)

    def getlist(self, name: str) -> list[Value]:
        """Every value of `name`, in order."""
        return list(self._lists.get(name, ()))

    def lists(self) -> list[tuple[str, list[Value]]]:
        """Each name with all of its values."""
        return [(name, list(values)) for name, values in self._lists.items()]

    @overload
    def get(self, name: str, /) -> Value | None: ...
    @overload
    def get(self, name: str, /, default: Value | Default) -> Value | Default: ...
    def get(self, name: str, /, default: Any = None) -> Any:
        """The last value of `name`, or `default`."""
        values = self._lists.get(name)
        return values[-1] if values else default

    def __repr__(self) -> str:
        return f"<MultiDict {self._lists!r}>"


def parse_query(query: bytes, max_fields: int = MAX_FORM_FIELDS) -> MultiDict[str]:
    """The pairs of a query or an urlencoded body; percent-decoded, UTF-8, what is not becomes U+FFFD.

    Raises:
        ProtocolError: 400, more than `max_fields` pairs.
    """
    try:
        pairs = parse_qsl(
            query.decode("utf-8", "replace"), keep_blank_values=True, errors="replace", max_num_fields=max_fields
        )
    except ValueError as error:
        raise ProtocolError(f"a form with more than {max_fields} fields") from error
    return MultiDict(pairs)


def parse_form(content_type: str, length: int, body: IO[bytes]) -> tuple[MultiDict[str], MultiDict[Any]]:
    """The fields and the files of a form; empty ones for a body that is no form.

    Blocks while it reads `body` and writes large files to temporary ones: not for a loop's thread.

    Args:
        content_type: as the request says it, with its parameters.
        length: bytes that `body` holds.

    Returns:
        Text fields, and `django.core.files.uploadedfile.UploadedFile`s, which the caller closes.

    Raises:
        ProtocolError: a body that is not what `content_type` says, or has too many fields.
        LimitExceeded: 413, text fields larger than Django accepts.
    """
    if not length:
        return MultiDict(), MultiDict()
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        if length > MAX_URLENCODED_BYTES:
            raise LimitExceeded(f"an urlencoded form of {length} bytes; {MAX_URLENCODED_BYTES} are accepted", 413)
        return parse_query(body.read(length)), MultiDict()
    if kind == "multipart/form-data":
        return _parse_multipart(content_type, length, body)
    return MultiDict(), MultiDict()


def _parse_multipart(content_type: str, length: int, body: IO[bytes]) -> tuple[MultiDict[str], MultiDict[Any]]:
    configure_django()
    parsers = import_module("django.http.multipartparser")
    handlers = import_module("django.core.files.uploadhandler")
    refusals = import_module("django.core.exceptions")
    upload_handlers = [handlers.MemoryFileUploadHandler(), handlers.TemporaryFileUploadHandler()]
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(length)}
    try:
        post, files = parsers.MultiPartParser(meta, body, upload_handlers, "utf-8").parse()
    except refusals.RequestDataTooBig as error:
        raise LimitExceeded(f"a form with too much text: {error}", 413) from error
    except (parsers.MultiPartParserError, refusals.SuspiciousOperation) as error:
        raise ProtocolError(f"a multipart form that cannot be read: {error}") from error
    return (
        MultiDict((name, value) for name, values in post.lists() for value in values),
        MultiDict((name, value) for name, values in files.lists() for value in values),
    )

"""Headers: fields as text, looked up without regard to case, with duplicates and order kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from duck.wire.fields import Fields, is_name, is_value

# Lists of these are not comma-separated, so their lines are never joined with commas (RFC 9110 §5.3, RFC 6265 §5.4).
_SEPARATORS = {b"cookie": "; ", b"set-cookie": "\n"}


class Headers:
    """The fields of one message.

    `headers["Accept"]` is every line of that name joined as RFC 9110 §5.3 says; `getlist` gives them one by one.
    Assigning replaces all lines of a name in the first one's place; `add` appends a line.

    Text is Latin-1, as in WSGI and Django: what a client sends in UTF-8 is got back by
    `value.encode("latin-1").decode()`.

    Attributes:
        changed: something was assigned, added or deleted since the headers were made.
    """

    __slots__ = ("_fields", "changed")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] | Mapping[str, str] = ()) -> None:
        self._fields: Fields = []
        if isinstance(fields, Mapping):
            for name, value in fields.items():
                self.add(name, value)
        else:
            self._fields.extend(fields)
        self.changed = False

    @property
    def fields(self) -> Fields:
        """The pairs, in order; a new list each time."""
        return list(self._fields)

    def __getitem__(self, name: str) -> str:
        values = self.getlist(name)
        if not values:
            raise KeyError(name)
        return values[0] if len(values) == 1 else _SEPARATORS.get(_key(name), ", ").join(values)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of `name`, its lines joined, or `default`."""
        try:
            return self[name]
        except KeyError:
            return default

    def getlist(self, name: str) -> list[str]:
        """Every line of `name`, in order."""
        key = _key(name)
        return [value.decode("latin-1") for present, value in self._fields if present.lower() == key]

    def __setitem__(self, name: str, value: str) -> None:
        pair = _pair(name, value)
        key = pair[0].lower()
        fields: Fields = []
        placed = False
        for present in self._fields:
            if present[0].lower() != key:
                fields.append(present)
            elif not placed:
                placed = True
                fields.append(pair)
        if not placed:
            fields.append(pair)
        self._fields = fields
        self.changed = True

    def add(self, name: str, value: str) -> None:
        """Append one line, whatever lines of that name are there.

        Raises:
            ValueError: `name` is no token, or `value` holds a control byte, as CR and LF.
        """
        self._fields.append(_pair(name, value))
        self.changed = True

    def setdefault(self, name: str, value: str) -> str:
        """The value of `name`, after setting it to `value` where it is missing."""
        present = self.get(name)
        if present is not None:
            return present
        self[name] = value
        return value

    def update(self, values: Mapping[str, str]) -> None:
        """Assign each of `values`."""
        for name, value in values.items():
            self[name] = value

    def __delitem__(self, name: str) -> None:
        """Delete every line of `name`; missing ones are ignored, as in Django's responses."""
        key = _key(name)
        fields = [pair for pair in self._fields if pair[0].lower() != key]
        if len(fields) != len(self._fields):
            self._fields = fields
            self.changed = True

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(present.lower() == _key(name) for present, _ in self._fields)

    def __iter__(self) -> Iterator[str]:
        """Each name once, spelled as its first line spells it."""
        seen: set[bytes] = set()
        for name, _ in self._fields:
            key = name.lower()
            if key not in seen:
                seen.add(key)
                yield name.decode("latin-1")

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._fields})

    def items(self) -> list[tuple[str, str]]:
        """Each line as a pair, duplicates included."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._fields]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(n.lower(), v) for n, v in self._fields] == [(n.lower(), v) for n, v in other._fields]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Headers {self.items()!r}>"


def _key(name: str) -> bytes:
    return name.lower().encode("latin-1", "replace")


def _pair(name: str, value: str) -> tuple[bytes, bytes]:
    try:
        pair = name.encode("ascii"), str(value).strip(" \t").encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the field {name!r}: {value!r} is not Latin-1 text; encode it, as with urllib's quote"
        ) from error
    if not is_name(pair[0]):
        raise ValueError(f"{name!r} is not a field name; names are letters, digits and hyphens")
    if not is_value(pair[1]):
        raise ValueError(f"the value of {name} holds a control character: {value!r}; remove line breaks from it")
    return pair

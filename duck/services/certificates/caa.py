"""What the DNS says of who may issue for a name (RFC 8659, and the parameters of RFC 8657)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_CRITICAL: Final = 128
_KNOWN: Final = {"issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone", "issuevmc"}


@dataclass(frozen=True)
class Caa:
    """One record."""

    flags: int
    tag: str
    value: str


def relevant(name: str, ask: Callable[[str], Sequence[Caa]]) -> tuple[str, Sequence[Caa]]:
    """The records that count for `name`: its own, else those of the nearest name above it (RFC 8659 §3).

    Returns:
        Where they are, and them; `""` and none where nobody says anything.
    """
    labels = name.removeprefix("*.").split(".")
    for depth in range(len(labels)):
        above = ".".join(labels[depth:])
        found = ask(above)
        if found:
            return above, found
    return "", ()


def why_forbidden(records: Sequence[Caa], identities: Sequence[str], *, wildcard: bool, method: str) -> str:
    """Why an authority of these `identities` must not issue, by `records`; empty where it may.

    `method` is how names are proved, `http-01` or `dns-01`.
    """
    for record in records:
        if record.flags & _CRITICAL and record.tag.lower() not in _KNOWN:
            return f"there is a critical record of the unknown kind {record.tag!r}"
    named = [record for record in records if record.tag.lower() == "issue"]
    if wildcard:
        named = [record for record in records if record.tag.lower() == "issuewild"] or named
    if not named:
        return ""
    others = []
    for record in named:
        issuer, _, parameters = record.value.partition(";")
        issuer = issuer.strip().lower()
        if issuer not in identities:
            others.append(issuer or "nobody")
            continue
        methods = re.search(r"(?:^|[;\s])validationmethods\s*=\s*([^\s;]+)", parameters)
        if methods is None or method in methods[1].split(","):
            return ""
        others.append(f"{issuer} by {methods[1]}")
    return f"{', '.join(dict.fromkeys(others))} may issue"

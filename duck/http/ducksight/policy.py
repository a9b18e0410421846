"""Content-Security-Policy, widened so that DuckSight's client works and nothing else does (CSP Level 3).

A policy is a list of directives, `name source source; name ...`; of those with one name the first counts. What is
restricted by several policies has to be allowed by each of them. Only development's answers are ever widened.
"""

from __future__ import annotations

import re
from typing import Final

# CSP3 §2.3.1: an ABNF that no attribute value can break out of.
_NONCE: Final = re.compile(r"'nonce-([A-Za-z0-9+/_-]+={0,2})'", re.IGNORECASE)
_HASH: Final = re.compile(r"'sha(256|384|512)-", re.IGNORECASE)

TRUSTED_TYPES: Final = "duck-sight"

Directives = dict[str, list[str]]


def widen(policies: list[str], script: str, socket: str, fresh: str) -> tuple[list[str], str]:
    """`policies` with what the client needs, and the nonce that its tag has to have; empty for none.

    A nonce that a policy has is used. A source of its own is what else lets the client in: its URL; or, where
    `'strict-dynamic'` counts no URLs, the nonce `fresh`. A nonce beside `'unsafe-inline'` would shut the page's own
    scripts out, so there is none where it would be the first.

    Args:
        policies: the values of a field, each may hold several policies, separated by commas.
        script: URL of the client.
        socket: origin of the channel, as `ws://localhost:8000`.
        fresh: a nonce that nobody can guess, to be used where one is missing.
    """
    parsed = [parse(policy) for value in policies for policy in value.split(",")]
    parsed = [directives for directives in parsed if directives]
    nonce = next((found for directives in parsed if (found := _nonce_of(directives))), "")
    if not nonce and any(_is_strict(directives) for directives in parsed):
        nonce = fresh
    for directives in parsed:
        _allow_script(directives, script, nonce)
        _allow(directives, "connect-src", ["'self'", socket])
        types = directives.get("trusted-types")
        if types is not None and "*" not in types:
            directives["trusted-types"] = [one for one in types if one != "'none'"] + [TRUSTED_TYPES]
    return [write(directives) for directives in parsed], nonce


def is_sandboxed(policies: list[str]) -> bool:
    """Whether a page is kept from running scripts, or from being of its own origin: the client could do nothing."""
    for value in policies:
        for policy in value.split(","):
            tokens = parse(policy).get("sandbox")
            if tokens is not None and not {"allow-scripts", "allow-same-origin"} <= {one.lower() for one in tokens}:
                return True
    return False


def parse(policy: str) -> Directives:
    """The directives of one policy by their names, in lower case (CSP3 §2.2.1)."""
    directives: Directives = {}
    for part in policy.split(";"):
        name, *values = part.split() or [""]
        if name:
            directives.setdefault(name.lower(), values)
    return directives


def write(directives: Directives) -> str:
    """One policy as it is sent."""
    return "; ".join(" ".join([name, *values]) for name, values in directives.items())


def _script_sources(directives: Directives) -> list[str] | None:
    """What decides on a script element (CSP3 §6.8.3); None for nothing."""
    for name in ("script-src-elem", "script-src", "default-src"):
        if name in directives:
            return directives[name]
    return None


def _nonce_of(directives: Directives) -> str:
    for source in _script_sources(directives) or ():
        match = _NONCE.fullmatch(source)
        if match is not None:
            return match[1]
    return ""


def _is_strict(directives: Directives) -> bool:
    return any(source.lower() == "'strict-dynamic'" for source in _script_sources(directives) or ())


def _allow_script(directives: Directives, script: str, nonce: str) -> None:
    sources = _script_sources(directives)
    if sources is None:
        return
    own = _nonce_of(directives)
    if own:
        if own != nonce:  # of another policy: a tag has one nonce
            _allow(directives, "script-src-elem", [f"'nonce-{nonce}'"], ("script-src", "default-src"))
    elif _is_strict(directives):
        _allow(directives, "script-src-elem", [f"'nonce-{nonce}'"], ("script-src", "default-src"))
    else:
        _allow(directives, "script-src-elem", [script], ("script-src", "default-src"))


def _allow(directives: Directives, name: str, more: list[str], instead: tuple[str, ...] = ("default-src",)) -> None:
    """Add sources to the directive that decides; one that only stands in for it is left as it is."""
    if name not in directives:
        present = next((other for other in instead if other in directives), None)
        if present is None:
            return
        if present == "script-src":
            name = present
        else:
            directives[name] = list(directives[present])
    kept = [source for source in directives[name] if source.lower() != "'none'"]
    directives[name] = kept + [source for source in more if source not in kept]

"""Targets: what an automation can run, what goes with each, and what is wrong with one. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

# What can be run, and what goes with it.
TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "command": ("args",),
    "shell": ("cwd", "env"),
    "url": ("method", "headers", "body"),
    "task": ("args", "kwargs"),
    "call": ("args", "kwargs"),
}
# RFC 9110 section 9, RFC 5789; behind them those of WebDAV and its extensions, RFC 10008, and of caches.
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_OTHER_METHODS: Final = tuple("PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT SEARCH QUERY PURGE BAN".split())
_DOTTED: Final = re.compile(r"[A-Za-z_][\w.]*[:.][A-Za-z_][\w.]*")
# RFC 9110 section 5.1 and 5.5.
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_KINDS: Final = (
    ("args", list, '["--verbosity", "0"]'),
    ("kwargs", Mapping, "{days = 3}"),
    ("env", Mapping, '{LANG = "C"}'),
    ("headers", Mapping, '{Accept = "application/json"}'),
    ("cwd", str, '"jobs"'),
    ("method", str, '"POST"'),
    ("body", str, '"{}"'),
)
# What stands there may be a password, and is not repeated.
SECRET_DETAILS: Final = ("env", "headers", "body")


def check_target(kind: str, target: Any, details: Mapping[str, Any]) -> None:
    """Refuse a target, or what goes with it, that could not be run.

    Args:
        kind: one of TARGETS.

    Raises:
        ValueError: the text names the key, its value where that is no secret, and what is right.
    """
    if not isinstance(target, str) or not target.strip():
        raise ValueError(f"{kind} is {target!r}: give a text")
    if kind in ("call", "task") and not _DOTTED.fullmatch(target):
        raise ValueError(f'{kind} is "{target}": give a dotted name such as "shop.jobs.nightly"')
    if kind == "url":
        _check_url(target)
    for key, right, example in _KINDS:
        if key in details and not isinstance(details[key], right):
            said = "of another kind" if key in SECRET_DETAILS else repr(details[key])
            raise ValueError(f"{key} is {said}: give {example}")
    if "method" in details:
        _check_method(details["method"])
    for name, value in details.get("headers", {}).items():
        if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
            raise ValueError(f"headers holds {name!r}, which is no name of a header: give {_KINDS[3][2]}")
        if isinstance(value, Mapping | list | tuple) or not _FIELD_VALUE.fullmatch(str(value)):
            raise ValueError(f"the header {name} is no line of text: give {_KINDS[3][2]}")
    for name, value in details.get("env", {}).items():
        if isinstance(value, Mapping | list | tuple) or "=" in str(name) or "\0" in f"{name}{value}" or not name:
            raise ValueError(f"env holds {name!r}, which cannot be a variable of a command: give {_KINDS[2][2]}")


def shown_target(kind: str, target: str) -> str:
    """`target` as everybody may read it: of a URL without the password."""
    if kind != "url" or "@" not in target:
        return target
    scheme, _, rest = target.partition("://")
    authority, slash, path = rest.partition("/")
    who, at, host = authority.rpartition("@")
    return f"{scheme}://{who.partition(':')[0]}{at}{host}{slash}{path}"


def directory_of(root: Path, details: Mapping[str, Any]) -> Path:
    """Where a shell command runs: its `cwd`, from `root` on, with `~` as a shell reads it."""
    said = Path(str(details.get("cwd", "")))
    try:
        return root / said.expanduser()
    except RuntimeError:  # nobody is called so
        return root / said


def _check_url(target: str) -> None:
    if target.startswith("/") and not target.startswith("//"):
        what = "holds a blank" if re.search(r"\s", target) else ""
    elif not target.startswith(("http://", "https://")):
        said = f'url is "{shown_target("url", target)}"'
        raise ValueError(f"{said}: give one that begins with http://, https://, or / for the project itself")
    else:
        what = _fault_of(target)
    if what:
        said = shown_target("url", target)
        raise ValueError(f'url is "{said}", which {what}: give one such as "https://example.org/ping"')


def _fault_of(target: str) -> str:
    """What is wrong with a whole URL, as the end of a clause; empty where nothing is."""
    if re.search(r"\s", target):
        return "holds a blank"
    try:
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        return "has a host or port that cannot be"
    return "" if parts.hostname else "has no host"


def _check_method(said: str) -> None:
    method = said.upper()
    if method in METHODS or method in _OTHER_METHODS:
        return
    near = difflib.get_close_matches(method, (*METHODS, *_OTHER_METHODS), 1)
    right = f'give "{near[0]}", if you mean that' if near else f"give one of {', '.join(METHODS)}"
    raise ValueError(f"method is {said!r}, which is no method of HTTP: {right}")

"""From the path of a URL to the name of a file below a root, and back. Refuses whatever could mean another file.

A name is relative, its segments joined by `/`; none is empty or begins with a dot, so it can neither leave the root
nor name a hidden file. The path is percent-decoded once: what is still encoded after that is part of the name.
"""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

# Control bytes and the other separator of Windows. A control byte in a name would also end up in logs and fields.
_NEVER: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
# Windows: streams (`a.txt::$DATA`), what is dropped from the end of a name, short names (`ENV~1` is `.env`), devices.
_NEVER_ON_WINDOWS: Final = re.compile(
    r"[:<>\"|?*]|[ .](?:/|$)|~\d|(?:^|/)(?:con|prn|aux|nul|com\d|lpt\d)(?:[. ][^/]*)?(?:/|$)", re.IGNORECASE
)

# What may stand in a path as it is (RFC 3986 §3.3: pchar and "/").
_PLAIN: Final = "/!$&'()*+,;=:@~-._"


def file_name(path: bytes, prefix: str, *, windows: bool = os.name == "nt") -> str | None:
    """The name that `path` has below `prefix`, or None where it has none that may be looked for.

    Args:
        path: of the request's target, as received.
        prefix: the decoded path under which the files are; begins and ends with `/`.
        windows: refuse what Windows would take for another name.
    """
    if b"%" in path:
        path = unquote_to_bytes(path)
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not text.startswith(prefix) or _NEVER.search(text):
        return None
    name = text[len(prefix) :]
    # One look for all of: empty name, absolute, empty segment, directory, `.`, `..`, hidden.
    if not name or name[0] in "/." or name[-1] == "/" or "/." in name or "//" in name or _DRIVE.match(name):
        return None
    if windows and _NEVER_ON_WINDOWS.search(name):
        return None
    return name


def file_path(name: str, prefix: str) -> bytes:
    """The one canonical path of `name` below `prefix`: decoding it gives `prefix + name`, and nothing else does."""
    return quote(prefix + name, safe=_PLAIN).encode("ascii")


def url_prefix(url: str) -> str | None:
    """The decoded path of STATIC_URL or MEDIA_URL, or None where it is not a local path that Duck may take.

    An absolute URL is another server's, and `/` would take every page of the project.
    """
    if not url.startswith("/") or url.startswith("//") or "?" in url or "#" in url:
        return None
    prefix = unquote_to_bytes(url).decode("utf-8", "replace")
    if not prefix.endswith("/"):
        prefix += "/"
    return prefix if prefix.strip("/") else None


def attachment(name: str) -> bytes:
    """The value of `Content-Disposition` that has a browser save `name` instead of opening it (RFC 6266, RFC 8187)."""
    base = name.rpartition("/")[2]
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in base)
    value = f'attachment; filename="{plain}"'
    if plain != base:
        value += f"; filename*=UTF-8''{quote(base, safe='!#$&+-.^_`|~')}"
    return value.encode("ascii")

"""What a file is, by its name: the same on every machine, whatever its /etc/mime.types says."""

from __future__ import annotations

import mimetypes
import os.path
from typing import Final

UNKNOWN: Final = "application/octet-stream"

# What the web uses and the standard library lacks, names differently from one version to the next, or takes for a
# coding: a `.gz` that is asked for by its name is an archive to keep, not a coding to undo.
_TYPES: Final = {
    ".7z": "application/x-7z-compressed",
    ".aac": "audio/aac",
    ".apng": "image/apng",
    ".appcache": "text/cache-manifest",
    ".atom": "application/atom+xml",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".br": "application/x-brotli",
    ".bz2": "application/x-bzip2",
    ".cjs": "text/javascript",
    ".css": "text/css",
    ".csv": "text/csv",
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".eot": "application/vnd.ms-fontobject",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".gif": "image/gif",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".ics": "text/calendar",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonld": "application/ld+json",
    ".jxl": "image/jxl",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4a": "audio/mp4",
    ".m4v": "video/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mov": "video/quicktime",
    ".mpd": "application/dash+xml",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".otf": "font/otf",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rar": "application/vnd.rar",
    ".rss": "application/rss+xml",
    ".rtf": "application/rtf",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".tgz": "application/gzip",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".ttc": "font/collection",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".vtt": "text/vtt",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xht": "application/xhtml+xml",
    ".xhtml": "application/xhtml+xml",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    # Not text/xml: its charset would override what the document declares of itself.
    ".xml": "application/xml",
    ".xsl": "application/xslt+xml",
    ".xslt": "application/xslt+xml",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}
_NAMES: Final = {
    "apple-app-site-association": "application/json",
    "crossdomain.xml": "text/x-cross-domain-policy",
}

# An instance of one's own holds the table within Python, without what the machine's files have added to the module's.
_more: Final = mimetypes.MimeTypes().types_map[True]

# What a browser shows without running anything of it. All else is active or unknown: HTML, XML with its style sheets,
# SVG, scripts, web archives, and what a later browser learns to run.
_INERT_KINDS: Final = ("audio/", "font/", "image/", "video/")
_INERT: Final = frozenset(
    (
        "application/json",
        "application/geo+json",
        "application/ld+json",
        # Browsers show PDF in a viewer whose scripts do not reach the site, and people expect to read it in place.
        "application/pdf",
        "text/calendar",
        "text/csv",
        "text/markdown",
        "text/plain",
        "text/vtt",
    )
)


def media_type(name: str) -> str:
    """The media type of a file called `name`, without parameters."""
    base = name.rpartition("/")[2]
    special = _NAMES.get(base)
    if special is not None:
        return special
    extension = os.path.splitext(base)[1].lower()
    return _TYPES.get(extension) or _more.get(extension, UNKNOWN)


def content_type(name: str) -> bytes:
    """The value of `Content-Type` for a file called `name`; text is UTF-8."""
    kind = media_type(name)
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return kind.encode("ascii")


def is_inert(kind: str) -> bool:
    """Whether a browser that opens a file of media type `kind` runs nothing of what it holds."""
    return kind in _INERT or (kind.startswith(_INERT_KINDS) and not kind.endswith("+xml"))

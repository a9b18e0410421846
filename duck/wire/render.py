"""Pages that Duck itself has to show: plain values in, one complete answer out. No template engine, no other file.

What stands here is enough for the proxy, which has nothing but a status and a sentence; `http.errors` builds the
application's pages on the same frame.
"""

from __future__ import annotations

from html import escape
from typing import Final

from duck.wire.fields import Fields, get_all
from duck.wire.head import REASONS, RequestHead, ResponseHead

# Colours follow the reader's scheme; nothing is fetched, so the page also shows where nothing else can be reached.
_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--paper:#fff;--line:#d1d9e0;--mark:#9a6700}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--paper:#0d1117;--line:#3d444d;--mark:#e3b341}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:44rem;margin:0 auto;padding:12vh 1.5rem 3rem}
main.wide{max-width:72rem;padding-top:3rem}
.status{margin:0;color:var(--mark);font-weight:600;font-variant-numeric:tabular-nums}
h1{margin:.25rem 0 1rem;font-size:1.75rem;line-height:1.25}
h2{margin:2rem 0 .5rem;font-size:1.1rem}
p{margin:0 0 1rem;overflow-wrap:anywhere}
pre{overflow:auto;padding:1rem;border:1px solid var(--line);border-radius:6px;font:13px/1.5 ui-monospace,monospace}
table{border-collapse:collapse;width:100%;font-size:.875rem}
td,th{padding:.375rem .75rem .375rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td{overflow-wrap:anywhere;font-family:ui-monospace,monospace}
th{color:var(--soft);font-weight:500;white-space:nowrap}
footer{margin-top:2.5rem;color:var(--soft);font-size:.875rem}
"""

HTML: Final = b"text/html; charset=utf-8"
TEXT: Final = b"text/plain; charset=utf-8"

# An error page may hold what came from the client: it is never stored, sniffed, or allowed to run anything.
_PAGE_FIELDS: Final[Fields] = [
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
]


def reason(status: int) -> str:
    """The phrase for `status` (RFC 9110 §15)."""
    return REASONS.get(status, b"Error").decode("ascii")


def page(title: str, body: str, *, wide: bool = False) -> str:
    """A complete HTML page. `title` is escaped here; `body` is HTML already."""
    shape = ' class="wide"' if wide else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main{shape}>\n{body}\n</main></body></html>\n"
    )


def error_heading(status: int, title: str) -> str:
    """The heading of an error page, as HTML."""
    return f'<p class="status">{status}</p>\n<h1>{escape(title)}</h1>'


def answer_head(status: int, content_type: bytes, body: bytes, *, fields: Fields | None = None) -> ResponseHead:
    """The head of a page of Duck's own: never stored, never sniffed; `fields` are added to it."""
    return ResponseHead(
        status, [(b"Content-Type", content_type), *_PAGE_FIELDS, *(fields or ())], content_length=len(body)
    )


def plain_error(
    status: int, sentence: str, accepts_html: bool = False, *, fields: Fields | None = None
) -> tuple[ResponseHead, bytes]:
    """A complete error answer that says `sentence`; `fields` (`Retry-After`, `Allow`) are added to its head.

    Args:
        sentence: plain text for the client; it is escaped where that matters.
        accepts_html: `accepts_html(request)`, or False when there is no request that could be parsed.
    """
    title = reason(status)
    if accepts_html:
        body = page(f"{status} {title}", f"{error_heading(status, title)}\n<p>{escape(sentence)}</p>").encode()
        return answer_head(status, HTML, body, fields=fields), body
    body = f"{status} {title}\n{sentence}\n".encode()
    return answer_head(status, TEXT, body, fields=fields), body


def accepts_html(request: RequestHead | None) -> bool:
    """Whether the client asks for `text/html` by name, as browsers do; `*/*` (curl) is content with text."""
    if request is None:
        return False
    for value in get_all(request.fields, b"accept"):
        lowered = value.lower()
        if b"text/html" in lowered or b"application/xhtml+xml" in lowered:
            return True
    return False

"""An address as a picture that the camera of a phone reads."""

from __future__ import annotations

import io
import sys

MARGIN = 2  # modules; the standard wants four, which cameras do not need on a screen


def qr_code(url: str, encoding: str | None = None) -> str:
    """`url` as lines of half blocks, dark on light whatever the terminal's colours are; empty where the console
    (`encoding`, by default that of standard error) cannot show them.
    """
    import segno

    out = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(out, border=MARGIN, compact=True)
    text = out.getvalue()
    try:
        text.encode(encoding or sys.stderr.encoding or "ascii")
    except UnicodeEncodeError:
        return ""
    return text

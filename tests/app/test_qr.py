"""The QR code of an address, read back from what is printed."""

from __future__ import annotations

import re

import segno

from duck.app.qr import MARGIN, qr_code

URL = "http://192.168.1.7:8000/"


def modules(picture: str) -> list[list[bool]]:
    """Whether each module is dark, as somebody sees it who looks at the terminal."""
    rows: list[list[bool]] = []
    for line in picture.splitlines():
        upper: list[bool] = []
        lower: list[bool] = []
        for escape, character in re.findall(r"\x1b\[([0-9;]*)m|(.)", line):
            if character:
                light = {" ": (False, False), "\u2580": (True, False), "\u2584": (False, True), "\u2588": (True, True)}
                above, below = light[character]
                upper.append(not above)
                lower.append(not below)
            assert escape or character
        if upper:
            rows += [upper, lower]
    return rows


def test_what_is_shown_is_the_code_of_the_address() -> None:
    code = segno.make(URL, error="l", micro=False)
    wanted = [[bool(module) for module in row] for row in code.matrix_iter(border=MARGIN)]
    shown = modules(qr_code(URL, "utf-8"))
    assert [row[: len(wanted[0])] for row in shown[: len(wanted)]] == wanted


def test_a_console_without_blocks_is_shown_nothing() -> None:
    assert qr_code(URL, "ascii") == ""

"""The end of an output."""

from __future__ import annotations

from duck.services.automations.tail import CUT, Tail


def test_what_is_cut_says_so_in_however_many_parts_it_came() -> None:
    for size in (1, 7, 100):
        tail = Tail(10)
        text = "abcdefgh\nijklm\n" * 3
        for start in range(0, len(text), size):
            tail.add(text[start : start + size])
        assert (str(tail), tail.count) == (f"{CUT}ijklm\n", 45)


def test_what_fits_is_whole() -> None:
    tail = Tail(10)
    tail.add("abc\n")
    tail.add("defghi")
    assert str(tail) == "abc\ndefghi"
    tail.add("j")
    assert str(tail) == f"{CUT}defghij"

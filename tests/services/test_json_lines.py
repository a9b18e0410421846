"""Messages out of bytes: however they were split, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from duck.services.json_lines import JsonLines


class Read:
    def __init__(self, max_bytes: int = 1000) -> None:
        self.garbled = 0
        self.lines = JsonLines(max_bytes, self.count)

    def count(self) -> None:
        self.garbled += 1

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        return list(self.lines.feed(data))


def test_messages_are_whole_at_every_split() -> None:
    messages = [{"event": "one"}, {"event": "two", "text": "é"}, {}]
    data = b"".join(json.dumps(message, ensure_ascii=False).encode() + b"\n" for message in messages)
    for at in range(len(data) + 1):
        read = Read()
        assert read.feed(data[:at]) + read.feed(data[at:]) == messages
        assert read.lines.unread == b""
        assert not read.garbled


@pytest.mark.parametrize("line", [b"", b"no JSON", b"[1]", b"7", b"null", b"\xff", b'{"a": 1} {"b": 2}'])
def test_a_line_that_is_no_object_is_told_of_and_the_next_is_read(line: bytes) -> None:
    read = Read()
    assert read.feed(line + b'\n{"event": "next"}\n') == [{"event": "next"}]
    assert read.garbled == 1


def test_a_line_that_is_too_long_costs_no_memory_and_is_no_message() -> None:
    read = Read(max_bytes=20)
    read.feed(b'{"text": "')
    for _ in range(100):
        assert read.feed(b"x" * 10) == []
        assert len(read.lines.unread) <= 21
    assert read.feed(b'"}\n{"event": "next"}\n') == [{"event": "next"}]
    assert read.garbled == 1


def test_what_was_read_before_goes_on_elsewhere() -> None:
    first, second = Read(), Read()
    first.feed(b'{"event":')
    second.lines.unread = first.lines.unread
    assert second.feed(b' "one"}\n') == [{"event": "one"}]

"""Processes as an aligned table, for `duck status` and `duck top`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

GAP: Final = "  "


@dataclass(frozen=True)
class Column:
    """One column: its title, the key of its value, how that is written, and whether it is a number.

    A column is shown where any process has a value for it: which figures a process tells depends on its role.
    """

    title: str
    key: str
    text: Callable[[Any], str] = str
    is_number: bool = True


def duration(seconds: float) -> str:
    """`0.4 ms`, `12 s`, `3 min`, `2 h 05`, `4 d 03 h`: as exact as somebody looks at it."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms" if seconds else "0"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d}"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h"


def uptime(seconds: float) -> str:
    """A duration in whole seconds at the finest."""
    return duration(seconds) if seconds >= 1 else "0 s"


def memory(size: float) -> str:
    """Bytes as `42.1 MB`, `1.3 GB`."""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def _rate(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _cpu(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 100 else uptime(seconds)


COLUMNS: Final = (
    Column("role", "role", is_number=False),
    Column("pid", "pid"),
    Column("gen", "generation"),
    Column("state", "state", is_number=False),
    Column("up", "uptime_s", uptime),
    Column("memory", "memory_bytes", memory),
    Column("CPU", "cpu_s", _cpu),
    Column("CPU %", "cpu_percent", _rate),
    Column("requests", "requests"),
    Column("req/s", "requests_per_s", _rate),
    Column("connections", "connections"),
    Column("in flight", "in_flight"),
    Column("queued", "waiting"),
    Column("queue wait", "queue_wait_s", duration),
    Column("busy", "busy"),
    Column("oldest view", "oldest_view_s", duration),
    Column("credits", "credits"),
    Column("slots", "slots"),
)


def table(processes: Iterable[Mapping[str, Any]], without: Sequence[str] = ()) -> list[str]:
    """Titles, and a line for each process; columns that no process fills, and those of `without`, are left out."""
    rows = [_with_state(process) for process in processes]
    columns = [
        column
        for column in COLUMNS
        if column.key not in without and any(row.get(column.key) is not None for row in rows)
    ]
    cells = [[column.title for column in columns]]
    cells += [
        ["-" if row.get(column.key) is None else column.text(row[column.key]) for column in columns] for row in rows
    ]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return [
        GAP.join(
            text.rjust(width) if column.is_number else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in cells
    ]


def _with_state(process: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**process, "state": "at a debugger's prompt"} if process.get("debugging") else process

"""Processes as a table."""

from __future__ import annotations

from typing import Any

import pytest

from duck.cli.processes import duration, memory, table, uptime


def test_columns_are_aligned_and_those_that_nobody_fills_are_left_out() -> None:
    assert table(
        [
            {"role": "app", "pid": 7, "state": "running", "requests": 12, "memory_bytes": 22_150_000},
            {"role": "django pages", "pid": 12345, "state": "serving", "generation": 3, "memory_bytes": 1_300_000_000},
        ]
    ) == [
        "role            pid  gen  state     memory  requests",
        "app               7    -  running  22.1 MB        12",
        "django pages  12345    3  serving  1.30 GB         -",
    ]


@pytest.mark.parametrize(
    ("key", "value", "title", "text"),
    [
        ("in_flight", 3, "in flight", "3"),
        ("waiting", 0, "queued", "0"),
        ("queue_wait_s", 0.0123, "queue wait", "12.3 ms"),
        ("busy", 3, "busy", "3"),
        ("oldest_view_s", 62.5, "oldest view", "62 s"),
        ("credits", 8, "credits", "8"),
        ("cpu_percent", 99.44, "CPU %", "99.4"),
        ("requests_per_s", 1234.5, "req/s", "1234"),
    ],
)
def test_a_figure_that_is_told_has_a_column(key: str, value: Any, title: str, text: str) -> None:
    titles, row = table([{"role": "front", key: value}])
    assert titles == f"role   {title:>{len(text)}}"
    assert row == f"front  {text:>{len(title)}}"


def test_a_process_at_a_prompt_says_so() -> None:
    assert table([{"role": "django pages", "state": "serving", "debugging": True}])[1].endswith(
        "at a debugger's prompt"
    )


def test_a_column_can_be_left_out() -> None:
    assert table([{"role": "app", "cpu_s": 1.0}], without=("cpu_s",)) == ["role", "app"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (0.0004, "0.4 ms"),
        (1, "1 s"),
        (119.9, "120 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7500, "2 h 05"),
        (200_000, "2 d 07 h"),
    ],
)
def test_a_duration_is_as_exact_as_somebody_looks_at_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_uptime_has_whole_seconds() -> None:
    assert uptime(0.4) == "0 s"
    assert memory(999_949_999) == "999.9 MB"

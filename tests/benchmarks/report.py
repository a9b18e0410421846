"""Outcomes as Markdown tables and as JSON."""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.benchmarks.measure import Outcome, Ratio

MAIN = "measured"


def marks(table: str = MAIN) -> tuple[str, str]:
    """The lines of a page between which a table stands."""
    return f"<!-- {table}: begin -->", f"<!-- {table}: end -->"


def markdown(outcomes: Sequence[Outcome], facts: dict[str, str]) -> str:
    """Facts of the run, a table of CPU time for each state of the access log, one of memory, and the wanted values."""
    parts = ["".join(f"- {name}: {value}.\n" for name, value in facts.items())]
    for access_log in (False, True):
        chosen = [outcome for outcome in outcomes if outcome.row.load and outcome.access_log is access_log]
        if chosen:
            parts.append(f"Access log {'on' if access_log else 'off'}:\n")
            parts.append(_cpu_table(chosen))
    chosen = [outcome for outcome in outcomes if outcome.row.grow]
    if chosen:
        parts.append("Memory:\n")
        parts.append(_memory_table(chosen))
    ratios = [(outcome, ratio) for outcome in outcomes for ratio in outcome.ratios]
    if ratios:
        parts.append("Wanted, and reached:\n")
        parts.append(_ratio_table(ratios))
    missing = {f"- {name}: {why}.\n" for outcome in outcomes for name, why in outcome.missing.items()}
    if missing:
        parts.append("Left out:\n")
        parts.append("".join(sorted(missing)))
    failed = {f"- {outcome.row.name}: {name}.\n" for outcome in outcomes for name in outcome.failed}
    if failed:
        parts.append("Failed:\n")
        parts.append("".join(sorted(failed)))
    return "\n".join(parts)


def as_json(outcomes: Sequence[Outcome], facts: dict[str, str]) -> dict[str, Any]:
    """Every figure of every round."""
    return {
        "facts": facts,
        "rows": [
            {
                "row": outcome.row.name,
                "title": outcome.row.title,
                "unit": "CPU us per request" if outcome.row.load else "bytes",
                "access_log": outcome.access_log,
                "stacks": {name: dataclasses.asdict(series) for name, series in outcome.stacks.items()},
                "missing": outcome.missing,
                "failed": outcome.failed,
                "wanted": [
                    {**dataclasses.asdict(ratio), "median": ratio.median, "met": ratio.is_met}
                    for ratio in outcome.ratios
                ],
            }
            for outcome in outcomes
        ],
    }


def write_into(page: Path, text: str, table: str = MAIN) -> None:
    """Put `text` between the marks of `page`, in the place of what stood there."""
    begin, end = marks(table)
    content = page.read_text("utf-8")
    pattern = re.compile(re.escape(begin) + ".*" + re.escape(end), re.DOTALL)
    if not pattern.search(content):
        raise ValueError(f"{page} has no lines {begin} and {end}")
    page.write_text(pattern.sub(lambda _: f"{begin}\n\n{text}\n{end}", content), "utf-8")


def _cpu_table(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "| what | stack | CPU us a request (least to most) | requests/s | p50 ms | p99 ms | memory MiB | errors |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for outcome in outcomes:
        for name, series in outcome.stacks.items():
            lines.append(
                f"| {outcome.row.title} | {name} | {_spread(series.value, '{:,.1f}')} "
                f"| {statistics.median(series.per_second):,.0f} | {statistics.median(series.p50_us) / 1000:.2f} "
                f"| {statistics.median(series.p99_us) / 1000:.2f} | {series.peak / (1 << 20):.0f} | {series.errors} |"
            )
    return "\n".join(lines) + "\n"


def _memory_table(outcomes: Sequence[Outcome]) -> str:
    lines = ["| what | stack | bytes (least to most) |", "|---|---|--:|"]
    for outcome in outcomes:
        for name, series in outcome.stacks.items():
            lines.append(f"| {outcome.row.title} | {name} | {_spread(series.value, '{:,.0f}')} |")
    return "\n".join(lines) + "\n"


def _ratio_table(ratios: Sequence[tuple[Outcome, Ratio]]) -> str:
    lines = ["| what | of | median (least to most) | wanted | reached |", "|---|---|--:|--:|---|"]
    for outcome, ratio in ratios:
        style = "{:.2f}" if ratio.beside else "{:,.0f}"
        of = f"{ratio.stack} / {ratio.beside}" if ratio.beside else f"{ratio.stack}, bytes"
        of += ", requests/s" if ratio.of_rate else ""
        bound = f"at {'least' if ratio.of_rate else 'most'} {style.format(ratio.wanted)}"
        log = ", access log on" if outcome.access_log else ""
        lines.append(
            f"| {outcome.row.title}{log} | {of} | {_spread(ratio.rounds, style)} | {bound} "
            f"| {'yes' if ratio.is_met else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float], style: str) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{style.format(middle)} ({style.format(low)} to {style.format(high)})"

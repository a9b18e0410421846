"""The results as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.benchmarks.automations.results import Burst, Delays, Results

TABLE = "automations"  # its marks on the page


def markdown(results: Results, facts: Mapping[str, str]) -> str:
    """Facts of the run, its tables, and the wanted values."""
    parts = ["".join(f"- {name}: {value}.\n" for name, value in facts.items())]
    if results.loads:
        parts.append("Many schedules:\n")
        parts.append(_loads(results))
    if results.bursts:
        parts.append("Due at one moment, seconds after it:\n")
        parts.append(_bursts(results.bursts))
    if results.delays:
        parts.append("From the planned time to the job's own clock, one job a second:\n")
        parts.append(_delays(results.delays))
    if results.faults:
        parts.append("Three nodes on one store, a planned time each second, with faults:\n")
        parts.append(_faults(results))
    if results.wanted():
        parts.append("Wanted, and reached:\n")
        parts.append(_wanted(results))
    for title, names in (("Left out", results.missing), ("Failed", results.failed)):
        if names:
            parts.append(f"{title}:\n")
            parts.append("".join(f"- {name}: {why.splitlines()[0]}.\n" for name, why in sorted(names.items())))
    return "\n".join(parts)


def _loads(results: Results) -> str:
    lines = [
        "| schedules | from the start of a node to its first look, s | with one | CPU s more | idle, % of a core |",
        "|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {each.schedules:,} | {each.took_s:.2f} | {each.alone_s:.2f} | {each.cpu_s:.2f} | {each.idle * 100:.2f} |"
        for each in results.loads
    ]
    return "\n".join(lines) + "\n"


def _bursts(bursts: Sequence[Burst]) -> str:
    lines = ["| lane | due | last claimed | started: first | median | last |", "|---|--:|--:|--:|--:|--:|"]
    for each in bursts:
        started = each.started
        lines.append(
            f"| {each.lane} | {each.jobs} | {max(each.claimed):.3f} | {min(started):.3f} "
            f"| {statistics.median(started):.3f} | {max(started):.3f} |"
        )
    return "\n".join(lines) + "\n"


def _delays(delays: Sequence[Delays]) -> str:
    lines = [
        "| scheduler | carried out in | median ms | 99th percentile | least to most | starts |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for each in delays:
        ms = [seconds * 1000 for seconds in each.each_s]
        lines.append(
            f"| {each.name} | {each.how} | {each.median_ms:.1f} | {each.percentile_ms:.1f} "
            f"| {min(ms):.1f} to {max(ms):.1f} | {len(ms)} |"
        )
    return "\n".join(lines) + "\n"


def _faults(results: Results) -> str:
    lines = ["| store | planned | started | faults | delay: median ms | most, s |", "|---|--:|--:|---|--:|--:|"]
    for name, each in results.faults.items():
        faults = ", ".join(f"{count} {fault}" for fault, count in each.faults.items())
        lines.append(
            f"| {name} | {each.planned} | {each.started} | {faults} "
            f"| {statistics.median(each.late_s) * 1000:.0f} | {max(each.late_s):.1f} |"
        )
    return "\n".join(lines) + "\n"


def _wanted(results: Results) -> str:
    lines = ["| what | found | spread | wanted | reached |", "|---|--:|---|--:|---|"]
    lines += [
        f"| {each.what} | {each.found:.2f}{each.unit} | {each.spread} | at most {each.bound:g}{each.unit} "
        f"| {'yes' if each.is_met else 'no'} |"
        for each in results.wanted()
    ]
    return "\n".join(lines) + "\n"

"""The results as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tests.benchmarks.reload.results import percentile

if TYPE_CHECKING:
    from tests.benchmarks.reload.results import Results, Row

TABLE = "reload"  # its marks on the page


def markdown(results: Results, facts: Mapping[str, str]) -> str:
    """Facts of the run, its tables, and the wanted values."""
    parts = ["".join(f"- {name}: {value}.\n" for name, value in facts.items())]
    if any(row.edits for row in results.rows):
        parts.append("From the save to the first answer of the new code:\n")
        parts.append(_edits(results.rows))
    told = [row for row in results.rows if row.told_s]
    if told:
        parts.append("From the save to the message that has a browser load the page again:\n")
        parts.append(_told(told))
    if results.idle:
        parts.append("Idle:\n")
        parts.append(_idle(results))
    if results.loaded:
        parts.append("Reloads under load:\n")
        parts.append(_loaded(results))
    if results.wanted():
        parts.append("Wanted, and reached:\n")
        parts.append(_wanted(results))
    for title, names in (("Left out", results.missing), ("Failed", results.failed)):
        if names:
            parts.append(f"{title}:\n")
            parts.append("".join(f"- {name}: {why.splitlines()[0]}.\n" for name, why in sorted(names.items())))
    return "\n".join(parts)


def _edits(rows: Sequence[Row]) -> str:
    lines = [
        "| site | edit | server | median ms | 95th percentile | least to most | CPU ms | edits | never seen |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        if row.edits:
            figures = _figures(row.took_s) if row.took_s else "| | |"
            cpu_ms = statistics.median(edit.cpu_s for edit in row.edits) * 1000
            lines.append(
                f"| {row.site} | {row.kind} | {row.name} {figures} | {cpu_ms:,.0f} | {len(row.edits)} | {row.missed} |"
            )
    return "\n".join(lines) + "\n"


def _told(rows: Sequence[Row]) -> str:
    lines = [
        "| site | edit | server | median ms | 95th percentile | least to most |",
        "|---|---|---|--:|--:|--:|",
    ]
    lines += [f"| {row.site} | {row.kind} | {row.name} {_figures(row.told_s)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _figures(seconds: Sequence[float]) -> str:
    ms = [each * 1000 for each in seconds]
    return f"| {statistics.median(ms):,.0f} | {percentile(ms, 0.95):,.0f} | {min(ms):,.0f} to {max(ms):,.0f}"


def _idle(results: Results) -> str:
    lines = ["| site | server | % of a core | processes | memory MiB |", "|---|---|--:|--:|--:|"]
    for (site, name), each in results.idle.items():
        mib = each.memory / (1 << 20)
        lines.append(f"| {site} | {name} | {each.part * 100:.2f} | {each.processes} | {mib:.0f} |")
    return "\n".join(lines) + "\n"


def _loaded(results: Results) -> str:
    lines = [
        "| server | reloads | never seen | requests | failed | a reload | how | longest ms | processes | descriptors |",
        "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|",
    ]
    for name, each in results.loaded.items():
        how = ", ".join(f"{count} {kind}" for kind, count in sorted(each.failed.items()))
        edits = each.reloads + each.missed
        lines.append(
            f"| {name} | {edits} | {each.missed} | {each.asked:,} | {each.failures:,} | {each.failures / edits:.1f} "
            f"| {how} | {each.longest_s * 1000:,.0f} | {each.before.processes} to {each.after.processes} "
            f"| {each.before.descriptors} to {each.after.descriptors} |"
        )
    return "\n".join(lines) + "\n"


def _wanted(results: Results) -> str:
    lines = ["| what | found | spread | wanted | reached |", "|---|--:|---|--:|---|"]
    for each in results.wanted():
        is_count = isinstance(each.found, int)
        style = "{:,.0f}" if is_count else "{:.2f}"
        lines.append(
            f"| {each.what} | {style.format(each.found)}{each.unit} | {each.spread} "
            f"| at most {each.bound:g}{each.unit} | {'yes' if each.is_met else 'no'} |"
        )
    return "\n".join(lines) + "\n"

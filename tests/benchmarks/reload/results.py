"""What one run found."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.reload.edits import URLS, VIEW
from tests.benchmarks.reload.peers import DUCK, GRANIAN, RUNSERVER

if TYPE_CHECKING:
    from tests.benchmarks.reload.idle import Idle
    from tests.benchmarks.reload.loaded import Loaded
    from tests.benchmarks.reload.waiting import Edit

WANTED_OF: Final = {GRANIAN: 0.5, RUNSERVER: 0.2}  # the most that Duck may take of their medians
WANTED_IDLE: Final = 0.005  # of a core


@dataclass
class Row:
    """The edits of one kind, on one site, with one server, one a round."""

    site: str
    kind: str
    name: str
    edits: list[Edit] = field(default_factory=list)

    @property
    def took_s(self) -> list[float]:
        """Of those whose answer came."""
        return [edit.took_s for edit in self.edits if edit.took_s is not None]

    @property
    def told_s(self) -> list[float]:
        """Of those of which a browser was told."""
        return [edit.told_s for edit in self.edits if edit.told_s is not None]

    @property
    def missed(self) -> int:
        """Edits that were never seen."""
        return sum(edit.took_s is None for edit in self.edits)


@dataclass(frozen=True)
class Wanted:
    """A bar, and what was found."""

    what: str
    found: float
    spread: str
    bound: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether what was found is not above the bound."""
        return self.found <= self.bound


@dataclass
class Results:
    """All of it.

    Attributes:
        idle: by site and server.
        versions: by server.
        missing: why a server was left out, by its name.
        failed: how a server failed, by its name.
    """

    rows: list[Row] = field(default_factory=list)
    idle: dict[tuple[str, str], Idle] = field(default_factory=dict)
    loaded: dict[str, Loaded] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def row(self, site: str, kind: str, name: str) -> Row:
        """The row of these, made where there is none."""
        for row in self.rows:
            if (row.site, row.kind, row.name) == (site, kind, name):
                return row
        self.rows.append(Row(site, kind, name))
        return self.rows[-1]

    def wanted(self) -> list[Wanted]:
        """Every bar for which both sides were measured."""
        found = []
        for site, kind in dict.fromkeys((row.site, row.kind) for row in self.rows):
            for peer, bound in WANTED_OF.items():
                own, other = self.row(site, kind, DUCK), self.row(site, kind, peer)
                if kind in (VIEW, URLS) and own.took_s and other.took_s:
                    ratio = statistics.median(own.took_s) / statistics.median(other.took_s)
                    # Whatever was never seen took longer than all that was.
                    ratio = ratio if not own.missed else float("inf")
                    found.append(Wanted(f"{site}, {kind}: {DUCK} / {peer}", ratio, _ratios(own, other), bound))
        for (site, name), each in self.idle.items():
            if name == DUCK:
                found.append(Wanted(f"{site}, idle, of a core", each.part * 100, "", WANTED_IDLE * 100, " %"))
        if DUCK in self.loaded:
            own_load = self.loaded[DUCK]
            found.append(Wanted("failed requests", own_load.failures, f"of {own_load.asked:,}", 0))
            found.append(Wanted("edits never seen under load", own_load.missed, f"of {own_load.reloads}", 0))
            more = own_load.after.processes - own_load.before.processes
            found.append(Wanted("processes left", more, f"{own_load.before.processes} before", 0))
            more = own_load.after.descriptors - own_load.before.descriptors
            found.append(Wanted("descriptors left", more, f"{own_load.before.descriptors} before", 0))
        return found

    def as_json(self) -> dict[str, Any]:
        """Every figure."""
        return {
            "versions": self.versions,
            "missing": self.missing,
            "failed": self.failed,
            "edits": [dataclasses.asdict(row) for row in self.rows],
            "idle": [
                {"site": site, "name": name, **dataclasses.asdict(each)} for (site, name), each in self.idle.items()
            ],
            "loaded": {name: dataclasses.asdict(each) for name, each in self.loaded.items()},
            "wanted": [{**dataclasses.asdict(each), "met": each.is_met} for each in self.wanted()],
        }


def _ratios(own: Row, other: Row) -> str:
    pairs = zip(own.edits, other.edits, strict=False)
    each = [a.took_s / b.took_s for a, b in pairs if a.took_s is not None and b.took_s is not None]
    return f"{min(each):.2f} to {max(each):.2f} in a round" if each else ""


def percentile(values: Sequence[float], part: float) -> float:
    """The least of `values` that so large a part of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(part * 1000) // 1000) - 1)]

"""An export: the files that were made, and what could not be said in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """How the other scheduler calls Duck.

    Attributes:
        duck: the program, with its first arguments.
        directory: where it is called.
        options: behind `duck automations run NAME --wait`.
    """

    duck: tuple[str, ...]
    directory: Path
    options: tuple[str, ...] = ()

    def of(self, name: str) -> tuple[str, ...]:
        """The whole call for one automation."""
        return (*self.duck, "automations", "run", name, "--wait", *self.options)


@dataclass(frozen=True, slots=True)
class Export:
    """What was made.

    Attributes:
        files: their texts by their names.
        left: sentences on what could not be said, which stand in the files as comments, too.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()


# Of every kind of export, before all else.
BESIDE = (
    "Written by `duck automations export`. Each calls `duck automations run NAME --wait`, which keeps timeout,",
    "retries, overlap and history as declared. Run no dispatcher of Duck beside them, or automations are run by both.",
    "A run started so is one by hand: it has the moment of its start for ctx.scheduled_for, and no ctx.interval.",
)

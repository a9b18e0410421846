"""Edits of a project: each changes one file so that the answer at one path changes with it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

VIEW: Final = "view"
URLS: Final = "urls"
TEMPLATE: Final = "template"
KINDS: Final = (VIEW, URLS, TEMPLATE)

FILES: Final = {VIEW: "probe/views.py", URLS: "mysite/urls.py", TEMPLATE: "probe/templates/probe/page.html"}
TARGETS: Final = {VIEW: "/probe/view", URLS: "/probe/urls", TEMPLATE: "/probe/page"}

# Lengths differ from one number to the next: a .pyc file knows its source by the second and the length.
_LENGTHS: Final = 37
_MARK = re.compile(r"(\w+) (\d+) \.*;")


def mark(kind: str, number: int) -> str:
    """What stands in the file, and in the answer, after the edit of that number."""
    return f"{kind} {number} {'.' * (number % _LENGTHS)};"


def number_in(body: bytes) -> int:
    """The number of the edit that an answer comes from; -1 where it is the answer of something else."""
    found = _MARK.search(body.decode("latin-1"))
    return int(found[2]) if found else -1


@dataclass
class Editor:
    """Saves files of the project in `directory`; by a rename and in place in turn, as one editor or another does.

    Attributes:
        files: of each kind, relative to `directory`.
        renames: whether a file is ever saved by a rename.
    """

    directory: Path
    files: Mapping[str, str] = field(default_factory=lambda: FILES)
    renames: bool = True
    number: int = 0
    _saves: Counter[str] = field(default_factory=Counter)

    def change(self, kind: str) -> Save:
        """Prepare the next edit of a kind; nothing is written yet."""
        self.number += 1
        path = self.directory / self.files[kind]
        before = path.read_text("utf-8")
        after = re.sub(rf"\b{kind} \d+ \.*;", mark(kind, self.number), before, count=1)
        if after == before:
            raise ValueError(f"{path} has no text `{mark(kind, 0)}` to be changed")
        self._saves[kind] += 1
        in_place = not self.renames or self._saves[kind] % 2 == 1
        return Save(path, after.encode(), self.number, in_place)


@dataclass(frozen=True)
class Save:
    """One file to be written, now."""

    path: Path
    content: bytes
    number: int
    in_place: bool

    def write(self) -> None:
        """Write it."""
        if self.in_place:
            self.path.write_bytes(self.content)
            return
        beside = self.path.with_name(f".{self.path.name}.tmp")
        beside.write_bytes(self.content)
        os.replace(beside, self.path)

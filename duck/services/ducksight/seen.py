"""What an observer sees: the vocabulary between those who see and DuckSight."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class What(Enum):
    """What has happened to the path that is told with it."""

    WRITTEN = "written"  # a file, and whole: closed after writing, or renamed into place
    WRITING = "being written"  # a file, about whose end nothing is known
    GONE = "gone"  # a file: removed, or renamed
    TOUCHED = "touched"  # a file's time, mode or owner was set
    DIRECTORY = "new directory"  # it is there, and may hold anything already
    DIRECTORY_GONE = "directory gone"
    LOST = "events lost"  # of all that is watched; the path is empty

    @property
    def is_of_file(self) -> bool:
        """Whether the path is a file's."""
        return self in (What.WRITTEN, What.WRITING, What.GONE, What.TOUCHED)


# Called on a thread of the observer's.
Tell = Callable[[What, str], None]

"""Versions: those of one project that are there: with a living process, coming, or serving."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from duck.backend.django.child import EXITED, STOPPING
from duck.backend.django.version import COMING, GONE, RETIRING, SERVING

if TYPE_CHECKING:
    from duck.backend.django.version import Member, Version


class Versions:
    """In the order in which they were begun; may be changed while it is gone through."""

    def __init__(self, versions: Iterable[Version] = ()) -> None:
        self._all = list(versions)

    def __iter__(self) -> Iterator[Version]:
        return iter(tuple(self._all))

    def add(self, version: Version) -> None:
        """One begins."""
        self._all.append(version)

    def drop_if_over(self, version: Version) -> None:
        """Forget `version` where nothing of it is left, nor will be."""
        if not version.members and version.state in (RETIRING, GONE) and version in self._all:
            self._all.remove(version)

    @property
    def current(self) -> Version | None:
        """What serves now: a version with a process for pages at least."""
        return next((one for one in reversed(self._all) if one.state == SERVING and one.answers), None)

    @property
    def is_coming(self) -> bool:
        """Whether one is."""
        return any(version.state == COMING for version in self._all)

    @property
    def is_waiting(self) -> bool:
        """Whether a process will be started again in a while."""
        return any(place.restart for version in self._all for place in version.places)

    @property
    def is_debugging(self) -> bool:
        """Whether somebody is at a debugger's prompt."""
        return any(version.is_debugging for version in self._all)

    def members(self) -> list[Member]:
        """All living processes."""
        return [member for version in self._all for member in version.members]

    def serving(self) -> Iterator[Member]:
        """The processes that serve."""
        for version in self:
            if version.state == SERVING:
                yield from (member for member in version.members if member.state == SERVING)

    def serving_with(self, member: Member) -> Version | None:
        """The version that serves and has `member`."""
        return next((one for one in self._all if one.state == SERVING and member in one.members), None)

    def unused(self, number: int) -> list[Member]:
        """The processes that generation `number` does without, and that were not told to end yet."""
        return [
            member
            for version in self._all
            for member in version.members
            if ((version.state == RETIRING and version.number < number) or 0 < member.until <= number)
            and member.process.state not in (STOPPING, EXITED)
        ]

    def snapshot(self) -> list[dict[str, Any]]:
        """One entry for each living process, for `duck status`."""
        return [entry for version in self._all for entry in version.snapshot()]

"""RollCall: what several processes are asked, and who is told once all of them have answered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Generic, TypeVar

Member = TypeVar("Member")


class RollCall(Generic[Member]):
    """Questions by their numbers, which ascend; each is over once. What is said to one that is over is ignored."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[set[Member], Callable[[], None]]] = {}

    def ask(self, number: int, members: Collection[Member], done: Callable[[], None]) -> None:
        """`members` were asked; `done` is called when the last of them has answered, here where there are none."""
        self._open[number] = (set(members), done)
        self._check(number)

    def answered(self, number: int, member: Member) -> None:
        """`member` has answered this one."""
        if number in self._open:
            self._open[number][0].discard(member)
            self._check(number)

    def answered_up_to(self, number: int, member: Member) -> None:
        """`member` has answered this one, and with it those before."""
        for each in [each for each in self._open if each <= number]:
            self.answered(each, member)

    def gone(self, member: Member) -> None:
        """`member` answers no more."""
        for number in list(self._open):
            self.answered(number, member)

    def end(self, number: int) -> None:
        """Nobody is waited for any longer."""
        _, done = self._open.pop(number, (None, None))
        if done is not None:
            done()

    def _check(self, number: int) -> None:
        if number in self._open and not self._open[number][0]:
            self.end(number)

"""What a client may cost without getting anything for it: an account that its frames draw on (RFC 9113 §10.5).

A token bucket, twice: one for frames that carry nothing (PING, SETTINGS, PRIORITY, empty DATA and CONTINUATION, small
windows), which are cheap; one for streams that end before their time, whose requests may have cost a view. Time fills
both, and useful frames fill the first, so that whoever transfers much may send the many WINDOW_UPDATEs that this takes.
"""

from __future__ import annotations

from typing import Final

from duck.exceptions import Http2Error
from duck.wire.h2_frames import ENHANCE_YOUR_CALM

FRAMES: Final = 1000  # at once
FRAMES_PER_S: Final = 100
RESETS: Final = 300
RESETS_PER_S: Final = 30


class Account:
    """Of one connection.

    Attributes:
        frames, resets: what is left of each.
    """

    __slots__ = ("_since", "frames", "resets")

    def __init__(self, now: float) -> None:
        self._since = now
        self.frames = FRAMES
        self.resets = RESETS

    def refill(self, now: float) -> None:
        """Time has passed; call it now and then, seconds apart."""
        seconds = int(now - self._since)
        if seconds > 0:
            self._since += seconds
            self.frames = min(FRAMES, self.frames + seconds * FRAMES_PER_S)
            self.resets = min(RESETS, self.resets + seconds * RESETS_PER_S)

    def useful(self, count: int) -> None:
        """So many frames more may be needed for what was carried."""
        frames = self.frames + count
        self.frames = frames if frames < FRAMES else FRAMES

    def frame(self, count: int = 1) -> None:
        """A frame that carries nothing, or one that costs as much as `count` of them.

        Raises:
            Http2Error: ENHANCE_YOUR_CALM: too many.
        """
        self.frames -= count
        if self.frames < 0:
            raise Http2Error("too many frames that carry nothing", ENHANCE_YOUR_CALM)

    def reset(self, count: int = 1) -> None:
        """A stream that the client ended before its time, or made Duck end; or as much work as `count` of them.

        Raises:
            Http2Error: ENHANCE_YOUR_CALM: too many.
        """
        self.resets -= count
        if self.resets < 0:
            raise Http2Error("too many streams that end before their time", ENHANCE_YOUR_CALM)

"""What time it is in the sandbox."""

from __future__ import annotations

import threading
from collections.abc import Callable

Clock = Callable[[], float]
"""Answers the time in Unix seconds, as `time.time` does."""


class ManualClock:
    """A clock that stands still until it is told to move.

    ``now`` is in Unix seconds; the default is 2026-03-02 12:00:00 UTC, a Monday, when the data of Sunday is
    complete.
    """

    def __init__(self, now: float = 1_772_452_800) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Read the time."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Move forward; a clock does not run backwards."""
        if seconds < 0:
            raise ValueError(f"a clock moves forward only, not by {seconds} seconds")
        with self._lock:
            self._now += seconds

"""Decides when to look again at something that is not there yet, and when to give up: without I/O or a clock."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_PAUSE = 300.0


@dataclass(frozen=True)
class Watch:
    """A pending thing that is looked at until a deadline.

    With the default growth the pause is a quarter of the age of what is waited for, at most five minutes, so that
    a run of minutes is noticed within seconds and one of hours costs few requests.

    :param since: epoch seconds at which the waiting began to count, such as a report run's ``created``.
    :param deadline: epoch seconds after which to give up; there is always one last look at it.
    :param poll_interval: seconds between looks at first, and never fewer.
    :param growth: the pause as a part of the age; 0 keeps it at ``poll_interval``.
    """

    since: float
    deadline: float
    poll_interval: float
    growth: float = 0.25

    def pause(self, now: float) -> float | None:
        """Return the seconds until the next look, or None when the look just made was the last.

        :param now: epoch seconds.
        """
        if now >= self.deadline:
            return None
        grown = min(self.growth * (now - self.since), LONGEST_PAUSE)
        return min(max(grown, self.poll_interval), self.deadline - now)

"""Decides when to look again at something that is not there yet, and when to give up: without I/O or a clock."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_PAUSE = 300.0

SHORTEST_SHARED_PAUSE = 6.5
SHARED_GROWTH = 1 / 12
"""The shortest pause, and its part of the age, of looks that serve many: quicker than one alone would look."""


@dataclass(frozen=True)
class Watch:
    """A pending thing that is looked at until a deadline.

    With the default growth the pause is a quarter of the age of what is waited for, at most five minutes, so that
    a run of minutes is noticed within seconds and one of hours costs few requests.

    :param since: epoch seconds at which the waiting began to count, such as a report run's ``created``.
    :param deadline: epoch seconds after which to give up; there is always one last look at it.
    :param poll_interval: seconds between looks at first, and never fewer for one who looks alone.
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
        return min(self.own_pause(now), self.deadline - now)

    def own_pause(self, now: float) -> float:
        """Return the seconds between looks of one who looks alone, whatever the deadline."""
        return max(min(self.growth * (now - self.since), LONGEST_PAUSE), self.poll_interval)

    def shared_pause(self, now: float, looks_a_second: float) -> float:
        """Return the seconds between looks that serve others, too: never more than alone.

        All give what each would spend on looks of its own, up to where quicker looks are of no use.

        :param looks_a_second: of all that the look serves, this one included, if each looked alone.
        """
        quick = max(SHORTEST_SHARED_PAUSE, SHARED_GROWTH * (now - self.since))
        return max(1 / looks_a_second, min(quick, self.own_pause(now)))

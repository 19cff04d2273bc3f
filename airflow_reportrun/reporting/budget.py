"""How often a process may ask in the name of one account, and what it learns where Stripe refuses: without I/O.

Stripe allows an account so many requests a second: in all, to each endpoint, and about files. A process takes a
share of each, evenly spaced, so that others who use the account have room. A refusal says which limit it is about:
what that governs is halved, once for all requests that were under way by then, and grows back slowly.

A request waits for its turn among those to its endpoint and then among all of the account's, so that a thousand
creates don't keep a retrieve waiting. To wait is the caller's part, and holds no lock.

Source: https://docs.stripe.com/rate-limits.
"""

from __future__ import annotations

import os
import random
from hashlib import sha256
from math import inf
from threading import Lock

LIVE_LIMIT, TEST_LIMIT = 100, 25
"""Requests a second that Stripe allows an account, for live and for test data."""

ENDPOINT_LIMIT = 25
"""Requests a second that Stripe allows to one endpoint, and a quarter of what it allows in all beyond that."""

FILES_LIMIT = 20
"""Requests a second that Stripe allows about files."""

SHARE = 0.6
"""What a process takes of each limit. A burst comes on top, so that a fifth is left in the fullest second."""

LARGEST_BURST = 5
"""Requests after a pause that don't wait: a small task makes no more."""

LOWEST_RATE = 1 / 16
"""What refusals leave at least, as a part of the full rate."""

RECOVERY = 120.0
"""Seconds in which a rate would grow from nothing to the full one."""

ROOM_RECOVERY = 10.0
"""Seconds after which one more request may be under way again."""

LONGEST_LOOK = 2.0
"""Seconds at most between two looks whether fewer requests are under way."""


ROUNDING = 1e-6
"""Seconds that are none."""


class _Spacing:
    """Requests at a distance, a few of them at once: the generic cell rate algorithm.

    :param tolerance: seconds that a request may come before it is due.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.due = -inf

    def earliest(self, now: float) -> float:
        """Return when one more fits."""
        return max(now, self.due - self._tolerance)

    def take(self, at: float, distance: float) -> None:
        """Count one."""
        self.due = max(self.due, at) + distance


class _Bucket:
    """What one of Stripe's limits governs.

    :param limit: requests a second that Stripe allows.
    :param share: the part of them to take.
    """

    def __init__(self, limit: float, share: float) -> None:
        self._full = limit * share
        burst = max(1, min(LARGEST_BURST, int(limit * (1 - share) / 2)))
        self._tolerance = (burst - 1) / self._full + ROUNDING
        self._low, self._slowed_at = self._full, -inf
        self._room, self._narrowed_at = inf, -inf
        self.under_way = 0
        self.promised, self.granted = _Spacing(self._tolerance), _Spacing(self._tolerance)

    def distance(self, now: float) -> float:
        """Return the seconds between two requests."""
        return 1 / self._rate(now)

    def _rate(self, now: float) -> float:
        return min(self._full, self._low + self._full * max(0.0, now - self._slowed_at) / RECOVERY)

    def has_room(self, now: float) -> bool:
        """Tell whether one more request may be under way."""
        return self.under_way + 1 <= self._room + max(0.0, now - self._narrowed_at) / ROOM_RECOVERY

    def slow_down(self, sent_at: float, now: float) -> bool:
        """Halve the rate, unless that was done after the request that was refused had been sent."""
        if sent_at < self._slowed_at:
            return False
        self._low, self._slowed_at = max(self._rate(now) / 2, self._full * LOWEST_RATE), now
        self.granted.due = max(self.granted.due, now + self._tolerance + 1 / self._low)
        return True

    def narrow(self, sent_at: float, beside: int, now: float) -> None:
        """Halve how many requests may be under way, of so many that were, unless that was done since."""
        if sent_at >= self._narrowed_at:
            self._room, self._narrowed_at = max(1, beside // 2), now


class Budget:
    """What a process may ask of one account; safe for threads. Its instants are seconds of one clock.

    :param limit: requests a second that Stripe allows the account.
    :param share: the part of each limit to take.
    """

    def __init__(self, limit: float, share: float = SHARE) -> None:
        self._limit, self._share = limit, share
        self._of_all = _Bucket(limit, share)
        self._others: dict[str, _Bucket] = {}
        self.lock = Lock()
        self.queues = 0
        """How often those who wait had to join the queues anew."""

    def turn(self, operation: str) -> Turn:
        """Return the turn of one request.

        :param operation: see :attr:`Request.operation <airflow_reportrun.reporting.endpoints.Request.operation>`.
        """
        with self.lock:
            # Nearly all calls are to two endpoints, so whoever is allowed more in all is allowed more there.
            endpoint = max(ENDPOINT_LIMIT, self._limit * ENDPOINT_LIMIT / LIVE_LIMIT)
            narrow = [self._other(operation, endpoint)]
            if operation.endswith("_file"):
                narrow.append(self._other("files", FILES_LIMIT))
        return Turn(self, operation, [*narrow, self._of_all])

    def _other(self, name: str, limit: float) -> _Bucket:
        if name not in self._others:
            self._others[name] = _Bucket(limit, self._share)
        return self._others[name]

    def queue_anew(self) -> None:
        """Forget what was promised at a rate that is no more."""
        self.queues += 1
        for bucket in (self._of_all, *self._others.values()):
            bucket.promised.due = bucket.granted.due


class Turn:
    """One request's way through a budget: waited for by :meth:`pause`, sent, and :meth:`ended`.

    :param operation: what is asked.
    :param buckets: what it counts for, from its endpoint's to the account's.
    """

    def __init__(self, budget: Budget, operation: str, buckets: list[_Bucket]) -> None:
        self.operation = operation
        self._budget = budget
        self._buckets = buckets
        self._queues, self._queued = 0, 0
        self._looks = 0
        self._sent_at = -inf
        self._beside: list[int] = []
        self._under_way = False

    def pause(self, now: float) -> float:
        """Return the seconds to wait before asking again; after 0 the request is to be sent."""
        with self._budget.lock:
            if self._queues != self._budget.queues:
                self._queues, self._queued = self._budget.queues, 0
            while self._queued < len(self._buckets):
                bucket = self._buckets[self._queued]
                at = bucket.promised.earliest(now)
                bucket.promised.take(at, bucket.distance(now))
                self._queued += 1
                if at > now:
                    return at - now
            # Each queue promised for itself; here all have to be right at once.
            if (at := max(bucket.granted.earliest(now) for bucket in self._buckets)) > now:
                return at - now
            if not all(bucket.has_room(now) for bucket in self._buckets):
                self._looks += 1
                longest = min(LONGEST_LOOK, 0.05 * 2.0 ** min(self._looks, 8))
                return random.uniform(0.01, longest)  # noqa: S311 - spreads load, guards nothing
            for bucket in self._buckets:
                bucket.granted.take(now, bucket.distance(now))
                bucket.under_way += 1
            self._beside = [bucket.under_way for bucket in self._buckets]
            self._sent_at, self._under_way = now, True
        return 0.0

    def ended(self) -> None:
        """Tell that the answer has begun, or that there will be none."""
        with self._budget.lock:
            if self._under_way:
                self._under_way = False
                self._beside = [
                    max(was, it.under_way) for was, it in zip(self._beside, self._buckets, strict=True)
                ]
                for bucket in self._buckets:
                    bucket.under_way -= 1

    def refused(self, reason: str, now: float) -> None:
        """Tell that Stripe answered with a rate limit.

        :param reason: ``Stripe-Rate-Limited-Reason``; one that is not known is about all requests.
        """
        which = {"endpoint-rate": 0, "endpoint-concurrency": 0, "resource-specific": -2}.get(reason, -1)
        with self._budget.lock:
            if reason.endswith("-concurrency"):
                self._buckets[which].narrow(self._sent_at, self._beside[which], now)
            elif self._buckets[which].slow_down(self._sent_at, now):
                self._budget.queue_anew()


_BUDGETS: dict[object, Budget] = {}
# A lock that another thread holds while a process is forked is never released in the child.
os.register_at_fork(after_in_child=_BUDGETS.clear)


def budget_of(api_base_url: str, api_key: str, acting_as: str | None, limit: float) -> Budget:
    """Return the budget that all who ask so share in this process.

    :param api_base_url: where.
    :param api_key: the secret key.
    :param acting_as: the account or the context that is acted as.
    :param limit: requests a second that Stripe allows the account.
    """
    who = (api_base_url, sha256(api_key.encode()).digest(), acting_as, limit)
    return _BUDGETS.get(who) or _BUDGETS.setdefault(who, Budget(limit, SHARE))

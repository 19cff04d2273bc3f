"""How often a client may ask: limits of its own, as Stripe has them, where a sandbox is given some."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import errors

if TYPE_CHECKING:
    from .messages import Call


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests in any second of the sandbox's clock, for each account, live and test apart.

    The defaults are those that Stripe documents. How many requests may be under way at a time is not documented:
    None is any number.

    :param live: all requests with a live key.
    :param test: all requests with a test key.
    :param endpoint: those to one endpoint.
    :param files: those about files.
    :param concurrent: requests under way, that is until their answer begins.
    :param endpoint_concurrent: requests under way to one endpoint.
    """

    live: int = 100
    test: int = 25
    endpoint: int = 25
    files: int = 20
    concurrent: int | None = None
    endpoint_concurrent: int | None = None


class Limiter:
    """Counts requests; not thread-safe: it lives on the event loop."""

    def __init__(self) -> None:
        self._recent: dict[object, deque[float]] = defaultdict(deque)
        self._under_way: Counter[object] = Counter()

    @contextmanager
    def admit(self, call: Call, limits: RateLimits | None) -> Iterator[None]:
        """Count a request for as long as it is under way; raises `ApiError` for one too many."""
        if limits is None:
            yield
            return
        of_all: object = call.scope
        of_endpoint: object = (call.scope, call.operation)
        files = call.operation in ("retrieve_file", "contents")
        for key, most, reason in (
            (of_all, limits.concurrent, "global-concurrency"),
            (of_endpoint, limits.endpoint_concurrent, "endpoint-concurrency"),
        ):
            if most is not None and self._under_way[key] >= most:
                raise errors.rate_limited(reason)
        rates: list[tuple[object, int, str]] = [
            (of_all, limits.live if call.scope.livemode else limits.test, "global-rate"),
            (of_endpoint, limits.endpoint, "endpoint-rate"),
            *([((call.scope, "files"), limits.files, "resource-specific")] if files else []),
        ]
        for key, most, reason in rates:
            recent = self._recent[key]
            while recent and recent[0] <= call.at - 1:
                recent.popleft()
            if len(recent) >= most:
                raise errors.rate_limited(reason)
        for key, _, _ in rates:
            self._recent[key].append(call.at)
        self._under_way.update((of_all, of_endpoint))
        try:
            yield
        finally:
            self._under_way.subtract((of_all, of_endpoint))

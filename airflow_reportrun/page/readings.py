"""Reads in threads of its own what may take long: who asks waits for a moment, and sees what is known by then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from airflow_reportrun.reporting.errors import ReportingError

log = logging.getLogger(__name__)

T = TypeVar("T")

FRESH = 60.0
"""Seconds for which what was read is shown without reading it again."""

KEPT = 900.0
"""Seconds for which what nobody asks for is kept."""


@dataclass
class Reading(Generic[T]):
    """What is known of something that is read.

    :param value: as it was read last, None while nothing was.
    :param error: why it could not be read, None where it was.
    :param read_at: epoch seconds at which that was.
    :param under_way: whether it is being read.
    """

    value: T | None = None
    error: str | None = None
    read_at: float | None = None
    under_way: bool = False
    asked_at: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)


class Readings(Generic[T]):
    """What was read, by key; each is read by one thread at a time, which no other one waits for.

    :param read: takes a key and yields what is known, better and better; the last one stays.
    """

    def __init__(self, read: Callable[[Hashable], Iterable[T]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._known: dict[Hashable, Reading[T]] = {}

    def of(
        self, keys: Iterable[Hashable], *, patience: float, anew: bool = False
    ) -> Mapping[Hashable, Reading[T]]:
        """Return what is known, after so many seconds at the most where nothing was read yet.

        :param patience: seconds.
        :param anew: read again what is known.
        """
        deadline, now = time.monotonic() + patience, time.time()
        with self._lock:
            self._known = {key: it for key, it in self._known.items() if it.under_way or it.asked_at > now - KEPT}
            found = {key: self._known.setdefault(key, Reading()) for key in keys}
            for key, it in found.items():
                it.asked_at = now
                if not it.under_way and (anew or it.read_at is None or it.read_at < now - FRESH):
                    it.under_way = True
                    it.done.clear()
                    # A daemon: a store that hangs keeps no API server from its end.
                    threading.Thread(target=self._run, args=(key, it), daemon=True).start()
        for it in (it for it in found.values() if anew or it.read_at is None):
            it.done.wait(max(0.0, deadline - time.monotonic()))
        return found

    def _run(self, key: Hashable, it: Reading[T]) -> None:
        latest, error = it.value, None
        try:
            for latest in self._read(key):
                it.value = latest if it.value is None else it.value
        except ReportingError as failure:  # ours say what is wrong and what to do
            error = str(failure)
        except Exception as failure:
            log.exception("%s could not be read", key)
            error = f"{type(failure).__name__}: the log of the API server says more"
        it.value, it.error, it.read_at, it.under_way = latest, error, time.time(), False
        it.done.set()

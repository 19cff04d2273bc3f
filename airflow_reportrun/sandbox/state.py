"""Everything the sandbox knows between two resets."""

from __future__ import annotations

import random
import string
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import errors
from .business import Books
from .catalogue import Availability, data_available_end_at
from .faults import RequestFault, RunFault, Script
from .idempotency import IdempotencyKeys
from .reports import write_report
from .runs import ReportRun, ResultFile, Transition

if TYPE_CHECKING:
    from .clock import Clock
    from .messages import Call, RequestRecord
    from .parameters import RunRequest

_ALPHANUMERIC = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Settings:
    """How the sandbox behaves; the times are in Unix seconds.

    A ``data_available_end`` of None follows the clock. ``served_file`` stands in for generated reports.
    """

    clock: Clock
    transition: Transition
    data_available_start: int
    data_available_end: int | None
    served_file: Path | None = None


class State:
    """Runs and their files, idempotency keys, faults and the request log.

    ``over`` tells the requests that are being delayed to wait no longer.

    The event loop and the tests' threads both come here: whoever touches an attribute holds ``lock``, but
    for `end`, which takes its time and must not hold it.
    """

    def __init__(self, settings: Settings, *, livemode: bool, seed: int | None) -> None:
        self.settings = settings
        self.over = False
        self.lock = threading.RLock()
        self.runs: dict[str, ReportRun] = {}
        self.idempotency = IdempotencyKeys()
        self.request_faults: Script[RequestFault] = Script()
        self.run_faults: Script[RunFault] = Script()
        self.requests: list[RequestRecord] = []
        self.livemode = livemode
        self._rng = random.Random(seed)  # noqa: S311 - ids need to differ, not to be secret

    def now(self) -> float:
        """Read the clock."""
        return self.settings.clock()

    def new_id(self, prefix: str, length: int) -> str:
        """Draw an id such as ``frr_`` and 24 letters and digits."""
        with self.lock:
            return prefix + "".join(self._rng.choices(_ALPHANUMERIC, k=length))

    def availability(self) -> Availability:
        """Answer how far the data reaches now."""
        end = self.settings.data_available_end
        return Availability(
            self.settings.data_available_start, data_available_end_at(self.now()) if end is None else end
        )

    def books(self, account: str | None) -> Books:
        """Answer the books that an account can ask about."""
        return Books(self.settings.data_available_start, account)

    def begin_run(self, call: Call, request: RunRequest) -> ReportRun:
        """Commit a new run."""
        with self.lock:
            run = ReportRun(
                self.new_id("frr_", 24),
                request,
                now=call.at,
                livemode=self.livemode,
                account=call.account,
                idempotency_key=call.idempotency_key,
                transition=self.settings.transition,
                fault=self.run_faults.take("create"),
            )
            self.runs[run.id] = run
            return run

    def end(self, run: ReportRun) -> None:
        """Bring a run that is due to its end; this may generate a report, which blocks."""
        with self.lock:
            settings = self.settings

        def generate() -> bytes | Path:
            if settings.served_file is not None:
                return settings.served_file
            books = self.books(run.account)
            return b"".join(write_report(books, run.request.report_type, run.request.parameters))

        run.end(settings.clock(), generate, lambda: self.new_id("file_", 24))

    def runs_of(self, account: str | None) -> list[ReportRun]:
        """List an account's runs, newest first."""
        with self.lock:
            return [run for run in reversed(self.runs.values()) if run.account == account]

    def find_run(self, call: Call) -> ReportRun:
        """Look up the run that a request names, among those of its account."""
        with self.lock:
            run = self.runs.get(call.id)
        if run is None or run.account != call.account:
            raise errors.no_such("report run", call.id)
        return run

    def find_file(self, call: Call) -> ResultFile:
        """Look up the file that a request names, among those of its account."""
        for run in self.runs_of(call.account):
            if run.file is not None and run.file.id == call.id:
                return run.file
        raise errors.no_such("file", call.id)

"""Everything the sandbox knows between two resets."""

from __future__ import annotations

import hashlib
import random
import re
import string
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import errors
from .business import Books
from .catalogue import CATALOGUE, HALF_DAY, Availability, ReportType, data_available_end_at
from .events import KEPT_SECONDS, Event
from .faults import RequestFault, RunFault, Script, SharesFile, WrongSize
from .idempotency import IdempotencyKeys
from .limits import Limiter, RateLimits
from .reports import write_report, zipped
from .runs import ReportRun, ResultFile, Transition

if TYPE_CHECKING:
    from .clock import Clock
    from .messages import Call, Json, RequestRecord, Scope
    from .parameters import RunRequest

_ALPHANUMERIC = string.ascii_letters + string.digits
_ACCOUNT = re.compile(r"acct_\w+", re.ASCII)

CONNECTED_ACCOUNTS = ("acct_berlin", "acct_lisbon", "acct_oslo")
"""Those whose business a platform reports on where none are named."""

FILE_LIFETIME = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Settings:
    """How the sandbox behaves; see `StripeSandbox`. Times are in Unix seconds, lengths of time in seconds.

    ``served_file`` stands in for generated reports.
    """

    clock: Clock
    transition: Transition
    data_available_start: int
    data_available_end: int | None = None
    keys: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    connected_accounts: Sequence[str] | None = None
    report_types: Sequence[str] | None = None
    rate_limits: RateLimits | None = None
    file_lifetime: int = FILE_LIFETIME
    served_file: Path | None = None
    strict: bool = True


class State:
    """Runs, their files and events, idempotency keys, faults and the request log.

    ``over`` tells the requests that are being delayed to wait no longer; ``ahead`` is how many seconds the time is
    ahead of the clock.

    The event loop and the tests' threads both come here: whoever changes something that both see holds ``lock``,
    but for `end`, which takes its time and must not hold it.
    """

    def __init__(self, settings: Settings, *, seed: int | None) -> None:
        self.settings = settings
        self.over = False
        self.ahead = 0.0
        self.lock = threading.RLock()
        self.runs: dict[str, ReportRun] = {}
        self.idempotency = IdempotencyKeys()
        self.limiter = Limiter()
        self.request_faults: Script[RequestFault] = Script()
        self.run_faults: Script[RunFault] = Script()
        self.requests: list[RequestRecord] = []
        self._runs_by_scope: defaultdict[Scope, list[ReportRun]] = defaultdict(list)
        self._files: dict[tuple[Scope, str], ResultFile] = {}
        self._run_events: list[Event] = []
        self._rng = random.Random(seed)  # noqa: S311 - ids need to differ, not to be secret
        self._reached = self.availability().end
        self._moves: list[tuple[float, int]] = []

    def change(self, settings: Settings) -> None:
        """Behave otherwise from now on; data that is thereby elsewhere has moved now."""
        with self.lock:
            self._follow_data()
            other_clock = settings.clock is not self.settings.clock
            self.settings = settings
            if other_clock:
                self.limiter, self._moves = Limiter(), []
            elif self.availability().end != self._reached:
                self._moves.append((self.now(), self.availability().end))
            self._reached = self.availability().end

    def _follow_data(self) -> None:
        """Write down when the data moved on by the clock since the last look, as long ago as events are kept."""
        since, end = self.now() - KEPT_SECONDS, self.availability().end
        if self.settings.data_available_end is None:
            first = max(self._reached // HALF_DAY + 1, int(since) // HALF_DAY - 1)
            halves = range(first * HALF_DAY, end + 1, HALF_DAY)
            self._moves += [(half + HALF_DAY, half) for half in halves]
            self._reached = end
        self._moves = [move for move in self._moves if move[0] >= since]

    def now(self) -> float:
        """Tell the time."""
        return self.settings.clock() + self.ahead

    def new_id(self, prefix: str, length: int) -> str:
        """Draw an id such as ``frr_`` and 24 letters and digits."""
        with self.lock:
            return prefix + "".join(self._rng.choices(_ALPHANUMERIC, k=length))

    # Whom it knows, and what it offers

    def knows_account(self, account: str) -> bool:
        """Tell whether an account is connected: any is, unless some are named."""
        named = self.settings.connected_accounts
        return _ACCOUNT.fullmatch(account) is not None if named is None else account in named

    def availability(self) -> Availability:
        """Answer how far the data reaches now."""
        end = self.settings.data_available_end
        return Availability(
            self.settings.data_available_start, data_available_end_at(self.now()) if end is None else end
        )

    def report_types(self, scope: Scope) -> dict[str, ReportType]:
        """Answer the types on offer, by id."""
        named = self.settings.report_types
        return {
            report_type.id: report_type
            for report_type in CATALOGUE.values()
            if (named is None or report_type.id in named) and (scope.livemode or not report_type.live_only)
        }

    def books(self, account: str | None) -> Books:
        """Answer the books that an account can ask about; only the platform has connected accounts."""
        named = self.settings.connected_accounts
        connected = () if account else CONNECTED_ACCOUNTS if named is None else named
        return Books(self.settings.data_available_start, account, connected)

    # Runs and their files

    def begin_run(self, call: Call, request: RunRequest) -> ReportRun:
        """Commit a new run."""
        with self.lock:
            run = ReportRun(
                self.new_id("frr_", 24),
                request,
                now=call.at,
                scope=call.scope,
                idempotency_key=call.idempotency_key,
                transition=self.settings.transition,
                fault=self.run_faults.take("create"),
            )
            self.runs[run.id] = run
            self._runs_by_scope[run.scope].append(run)
            return run

    def end(self, run: ReportRun) -> None:
        """Bring a run that is due to its end; this may generate a report, which blocks."""
        ended = run.end(self.now(), partial(self._make_file, run))
        if ended is not None and run.status in ("succeeded", "failed"):
            kind = f"reporting.report_run.{run.status}"
            with self.lock:
                self._run_events.append(Event(self.new_id("evt_", 24), kind, ended, run.scope, run.body))

    def runs_of(self, scope: Scope) -> list[ReportRun]:
        """List an account's runs, newest first."""
        with self.lock:
            return self._runs_by_scope[scope][::-1]

    def find_run(self, call: Call) -> ReportRun:
        """Look up the run that a request names, among those of its account and mode."""
        with self.lock:
            run = self.runs.get(call.id)
        if run is None or run.scope.account != call.account:
            raise errors.no_such("report run", call.id)
        if run.scope != call.scope:
            raise errors.no_such("report run", call.id, elsewhere="live" if run.scope.livemode else "test")
        return run

    def find_file(self, call: Call) -> ResultFile:
        """Look up the file that a request names, among those of its account and mode, unless it has expired."""
        with self.lock:
            file = self._files.get((call.scope, call.id))
        if file is None or self.now() >= file.expires_at:
            raise errors.no_such("file", call.id)
        return file

    def _make_file(self, run: ReportRun, created: int) -> ResultFile:
        run_id, settings = run.id, self.settings
        if isinstance(run.fault, SharesFile):
            if earlier := self._same_report(run):
                return earlier
            run_id, created = self.new_id("frr_", 24), run.created - 3600
        compress = run.request.parameters.compress_file
        contents: bytes | Path
        if settings.served_file is not None:
            contents, size = settings.served_file, settings.served_file.stat().st_size
        else:
            books, livemode = self.books(run.scope.account), run.scope.livemode
            contents = b"".join(
                write_report(books, run.request.report_type, run.request.parameters, livemode=livemode)
            )
            if compress:
                contents = zipped(f"{run.request.report_type.id}.csv", contents)
            size = len(contents)
        file = ResultFile(
            id=self.new_id("file_", 24),
            run_id=run_id,
            created=created,
            expires_at=created + settings.file_lifetime,
            contents=contents,
            size=size,
            announced_size=size + (run.fault.by if isinstance(run.fault, WrongSize) else 0),
            type="zip" if compress else "csv",
        )
        with self.lock:
            self._files[run.scope, file.id] = file
        return file

    def _same_report(self, run: ReportRun) -> ResultFile | None:
        """Find the file of the account's last run that asked for the same."""
        asked = (run.request.report_type.id, run.request.sent)
        for earlier in self.runs_of(run.scope):
            if earlier.file and (earlier.request.report_type.id, earlier.request.sent) == asked:
                return earlier.file
        return None

    # Events

    def events_of(self, scope: Scope) -> list[Event]:
        """List what happened to an account within the last 30 days, newest first."""
        since = self.now() - KEPT_SECONDS
        with self.lock:
            events = [event for event in self._run_events if event.scope == scope]
        events += self._data_events(scope)
        kept = [event for event in reversed(events) if event.created >= since]
        return sorted(kept, key=lambda event: event.created, reverse=True)

    def _data_events(self, scope: Scope) -> Iterator[Event]:
        """Make the events of the data that moved on, one for each report type."""
        with self.lock:
            self._follow_data()
            moves = list(self._moves)
        for at, reached in moves:
            available = Availability(self.settings.data_available_start, reached)
            for report_type in self.report_types(scope).values():
                seed = f"{report_type.id} {scope} {at} {reached}"
                yield Event(
                    f"evt_{hashlib.sha256(seed.encode()).hexdigest()[:24]}",
                    "reporting.report_type.updated",
                    int(at),
                    scope,
                    partial(_shown, report_type, available, scope),
                )


def _shown(report_type: ReportType, available: Availability, scope: Scope, base_url: str) -> Json:
    return report_type.body(available, livemode=scope.livemode)

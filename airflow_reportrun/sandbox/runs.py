"""Report runs and their files, from pending to an end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .faults import EndsAtOnce, RunFails, RunFault, RunNeverEnds, UnknownStatus

if TYPE_CHECKING:
    from .messages import Json, Scope
    from .parameters import RunParameter, RunRequest


class Transition(Protocol):
    """When a pending run comes to its end."""

    def is_due(self, *, reads: int, age: float) -> bool:
        """Tell by how often the run was retrieved, this time included, and its age in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class AtOnce:
    """The create answers with a run that has ended already."""

    def is_due(self, *, reads: int, age: float) -> bool:
        """Tell that it is."""
        return True


@dataclass(frozen=True, slots=True)
class AfterReads:
    """The first ``reads`` looks show a pending run, the next one its end.

    A look is whatever would show it: a retrieve, a page of the list that has it, or events, which tell of its end.
    """

    reads: int

    def is_due(self, *, reads: int, age: float) -> bool:
        """Tell by the looks."""
        return reads > self.reads


@dataclass(frozen=True, slots=True)
class AfterSeconds:
    """The run ends when ``seconds`` have passed on the sandbox's clock."""

    seconds: float

    def is_due(self, *, reads: int, age: float) -> bool:
        """Tell by the age."""
        return age >= self.seconds


@dataclass(frozen=True, slots=True)
class ResultFile:
    """The file of a run: ``contents`` in memory, or the path of a file on disk that stands in for it.

    ``created`` and ``expires_at`` are in Unix seconds. ``type`` is ``csv``, or ``zip`` for one that was to be
    compressed.
    """

    id: str
    run_id: str
    created: int
    expires_at: int
    contents: bytes | Path
    size: int
    announced_size: int
    type: str = "csv"

    @property
    def etag(self) -> str:
        """Name this version of the contents."""
        return f'"{self.id}-{self.size}"'

    def body(self, base_url: str) -> Json:
        """Show the file as Stripe does; its URL leads to the address that the client used."""
        return {
            "id": self.id,
            "object": "file",
            "created": self.created,
            "expires_at": self.expires_at,
            "filename": f"{self.run_id}.{self.type}",
            "links": {
                "object": "list",
                "data": [],
                "has_more": False,
                "url": f"/v1/file_links?file={self.id}",
            },
            "purpose": "finance_report_run",
            "size": self.announced_size,
            "title": f"FinanceReportRun {self.run_id}",
            "type": self.type,
            "url": f"{base_url}/v1/files/{self.id}/contents",
        }


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it was last shown: what `StripeSandbox.report_runs` lists.

    Nobody looked, nothing happened: a run stays pending until a request finds it due.
    ``created`` is in Unix seconds; ``reads`` counts looks, see `AfterReads`; ``idempotency_key`` is that of the
    create; ``unknown_columns`` are those that were let pass though the report type lacks them;
    ``file_expires_at`` is None as long as there is no file.
    """

    id: str
    report_type: str
    parameters: dict[str, RunParameter]
    status: str
    created: int
    account: str | None
    idempotency_key: str | None
    reads: int
    unknown_columns: tuple[str, ...] = ()
    file_expires_at: int | None = None


class ReportRun:
    """A run; whoever looks at it first once it is due also ends it."""

    def __init__(
        self,
        run_id: str,
        request: RunRequest,
        *,
        now: float,
        scope: Scope,
        idempotency_key: str | None,
        transition: Transition,
        fault: RunFault | None,
    ) -> None:
        self.id = run_id
        self.request = request
        self.created = int(now)
        self.scope = scope
        self.reads = 0
        self.status = "pending"
        self.error: str | None = None
        self.succeeded_at: int | None = None
        self.file: ResultFile | None = None
        self.fault = fault
        self._began = now
        self._idempotency_key = idempotency_key
        self._transition = AtOnce() if isinstance(fault, EndsAtOnce) else transition
        self._lock = threading.Lock()

    def is_due(self, now: float) -> bool:
        """Tell whether the run is still shown as pending but has come to its end."""
        return (
            self.status == "pending"
            and not isinstance(self.fault, RunNeverEnds)
            and self._transition.is_due(reads=self.reads, age=now - self._began)
        )

    def end(self, now: float, make_file: Callable[[int], ResultFile]) -> int | None:
        """Bring the run to its end, and tell when that was, or None if it had ended before.

        Making the file, given the second it was created in, may take seconds: hence not on the event loop.
        """
        with self._lock:
            if self.status != "pending":
                return None
            # By the clock it may have ended long before anybody looked.
            how = self._transition
            ended = int(self._began + how.seconds if isinstance(how, AfterSeconds) else now)
            if isinstance(self.fault, RunFails):
                self.error = self.fault.error
                self.status = "failed"
            elif isinstance(self.fault, UnknownStatus):
                self.status = self.fault.status
            else:
                self.file = make_file(ended)
                self.succeeded_at = ended
                self.status = "succeeded"
            return ended

    def body(self, base_url: str) -> Json:
        """Show the run as Stripe does."""
        return {
            "id": self.id,
            "object": "reporting.report_run",
            "created": self.created,
            "error": self.error,
            "livemode": self.scope.livemode,
            "parameters": dict(self.request.sent),
            "report_type": self.request.report_type.id,
            "result": self.file.body(base_url) if self.file else None,
            "status": self.status,
            "succeeded_at": self.succeeded_at,
        }

    def record(self) -> RunRecord:
        """Show the run to a test."""
        return RunRecord(
            self.id,
            self.request.report_type.id,
            dict(self.request.sent),
            self.status,
            self.created,
            self.scope.account,
            self._idempotency_key,
            self.reads,
            self.request.unknown_columns,
            self.file.expires_at if self.file else None,
        )

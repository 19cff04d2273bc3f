"""A real Airflow and a sandbox, and what the tests do with the two."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from airflow_reportrun.sandbox import AfterReads, RateLimits, RequestRecord, RunRecord, StripeSandbox
from demo.airflow import Airflow
from system_tests.plan import account

ROOT = Path(__file__).parent.parent
log = logging.getLogger(__name__)

ONE_LOOK = AfterReads(1)
"""The task sees a pending run and defers; the trigger's first look, ten seconds later, sees the end."""

TAKEN_FOR_DEAD_AFTER = 10
"""Seconds without a heartbeat."""


class Gate:
    """Keeps report runs pending until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        """Open it for good."""
        self._open.set()

    def is_due(self, *, reads: int, age: float) -> bool:
        """Tell whether the gate is open."""
        return self._open.is_set()


class Stop:
    """Holds back the answer to an account's first request of a kind, and with it the sandbox."""

    def __init__(self, owner: str, operation: str) -> None:
        self.reached, self.over = threading.Event(), threading.Event()
        self._wanted = (owner, operation)

    def __call__(self, request: RequestRecord) -> None:
        """See a request, and wait if it is the one."""
        if (request.account, request.operation) == self._wanted:
            self.reached.set()
            self.over.wait(60)


class Stage:
    """What the tests share. The report runs of a DAG are told by their account.

    :param home: Airflow's folder.
    :param dags: the folder of the DAGs, beside this file.
    :param database: Airflow's, for SQLAlchemy; SQLite where there is none.
    :param rate_limits: Stripe's; none by default.
    """

    def __init__(
        self,
        home: Path,
        dags: str = "dags",
        *,
        database: str | None = None,
        rate_limits: RateLimits | None = None,
    ) -> None:
        self.sandbox = StripeSandbox(
            on_request=self._watch,
            rate_limits=rate_limits,
            # Yesterday is complete at every hour of the day.
            data_available_end=int(time.time()) + 86_400,
        )
        self.most_pending: Counter[str | None] = Counter()
        self.reports = home / "reports"
        self._home, self._dags, self._database = home, dags, database
        self._stop: Stop | None = None
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        """Start the sandbox; Airflow is started by the one who has prepared it."""
        self.sandbox.start()
        connection = {"conn_type": "stripe", "host": self.sandbox.url, "password": self.sandbox.api_key}
        environment = {
            "AIRFLOW_CONN_STRIPE_DEFAULT": json.dumps(connection),
            "AIRFLOW_VAR_STRIPE_REPORTS": str(self.reports),
            # For assets and catch-up; no schedule here reaches the present.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
            # A loop of the scheduler looks at 20 running DAG runs, a backfill's in its order. Where those are all
            # deferred, it never comes to the others.
            "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "200",
            # After how many seconds a new one takes over what was a dead one's.
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": str(TAKEN_FOR_DEAD_AFTER),
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TAKEN_FOR_DEAD_AFTER),
            "PYTHONPATH": str(ROOT),
        }
        if self._database:
            environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = self._database
        self.airflow = Airflow(self._home, ROOT / "system_tests" / self._dags, environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.airflow.stop()
        self.sandbox.stop()

    def say(self, what: str) -> None:
        """Show that it goes on: the preparation takes minutes."""
        log.info("%3.0f s  %s", time.monotonic() - self._begun, what)

    # Stripe's side

    def runs(self, *owners: str | None) -> list[RunRecord]:
        """Return the report runs of accounts, oldest first."""
        return [run for run in self.sandbox.report_runs if run.account in owners]

    def creates(self, *owners: str) -> list[RequestRecord]:
        """Return what accounts sent to create report runs, oldest first."""
        return [request for request in self.sandbox.requests_to("create") if request.account in owners]

    def intervals(self, *owners: str | None) -> list[tuple[int, int]]:
        """Return the intervals of accounts' report runs, in epoch seconds and by their start."""
        bounds = ((run.parameters["interval_start"], run.parameters["interval_end"]) for run in self.runs(*owners))
        return sorted((int(str(start)), int(str(end))) for start, end in bounds)

    def requests(self, *owners: str) -> list[RequestRecord]:
        """Return all that accounts asked, oldest first."""
        return [request for request in self.sandbox.requests if request.account in owners]

    def hold(self) -> Gate:
        """Keep the report runs that are created from now on pending."""
        gate = Gate()
        self.sandbox.configure(transition=gate)
        return gate

    def release(self, gate: Gate) -> None:
        """Let report runs that were held end at the next look, and new ones after one look."""
        gate.open()
        self.sandbox.configure(transition=ONE_LOOK)

    @contextmanager
    def stop_at(self, owner: str, operation: str) -> Iterator[Stop]:
        """Hold back the answer to an account's first request of a kind until the end of the block."""
        self._stop = stop = Stop(owner, operation)
        try:
            yield stop
        finally:
            self._stop = None
            stop.over.set()

    def _watch(self, request: RequestRecord) -> None:
        if request.operation == "create":
            # Asked at each create, this is the most that there ever were.
            self.most_pending |= Counter(
                run.account for run in self.sandbox.report_runs if run.status == "pending"
            )
        if self._stop is not None:
            self._stop(request)

    # Airflow's side

    def backfill(self, dag_id: str, first: datetime, last: datetime, *, at_once: int) -> None:
        """Create a backfill, as ``airflow backfill create`` does."""
        dates = {"from_date": first.isoformat(), "to_date": last.isoformat()}
        self.airflow.post("backfills", {"dag_id": dag_id, "max_active_runs": at_once, **dates})

    def trigger(self, dag_id: str, *, logical_date: datetime | None = None, **body: Any) -> None:
        """Ask for a DAG run."""
        date = logical_date and logical_date.isoformat()
        self.airflow.post(f"dags/{dag_id}/dagRuns", {"logical_date": date, **body})

    def dag_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return a DAG's runs, oldest first."""
        found: list[dict[str, Any]] = self.airflow.get(f"dags/{dag_id}/dagRuns", limit=1000)["dag_runs"]
        return found

    def count_dag_runs(self, *states: str) -> int:
        """Return how many runs there are of all DAGs, in these states or in any."""
        return int(self.airflow.get("dags/~/dagRuns", limit=1, state=list(states))["total_entries"])

    def task_instances(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the task instances of all runs of a DAG."""
        path = f"dags/{dag_id}/dagRuns/~/taskInstances"
        found: list[dict[str, Any]] = self.airflow.get(path, limit=1000)["task_instances"]
        return found

    def count_task_instances(self, dag_id: str, state: str) -> int:
        """Return how many task instances of a DAG are in a state, which is cheaper than to see them all."""
        path = f"dags/{dag_id}/dagRuns/~/taskInstances"
        return int(self.airflow.get(path, limit=1, state=state)["total_entries"])

    def states(self, dag_id: str) -> list[str | None]:
        """Return the states of a DAG's task instances."""
        return [instance["state"] for instance in self.task_instances(dag_id)]

    # Waiting, and telling why it was in vain

    def until(self, done: Callable[[], bool], what: str, *dag_ids: str, timeout: float = 120) -> None:
        """Wait for something, or fail with what became of DAGs meanwhile."""
        if not self.within(done, timeout):
            pytest.fail(f"{what} did not come in {timeout:.0f} s\n{self.story(*dag_ids)}")

    def within(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait for something, and tell whether it came."""
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline:
                return False
            time.sleep(1)
        return True

    def story(self, *dag_ids: str) -> str:
        """Tell what became of DAGs, of all by default, with the end of the log of tasks that did not succeed."""
        found = [it for dag_id in dag_ids or "~" for it in self.task_instances(dag_id)]
        lines = [f"task instances: {dict(Counter((it['dag_id'], it['state']) for it in found))}"]
        lines += [f"{run}" for dag_id in dag_ids for run in self.runs(account(dag_id))[:10]]
        for it in [it for it in found if it["state"] != "success"][:3]:
            logs = self._home.glob(f"logs/dag_id={it['dag_id']}/run_id={it['dag_run_id']}/**/*.log")
            for path in sorted(logs, key=lambda path: path.stat().st_mtime)[-1:]:
                tail = path.read_text(errors="replace").splitlines()[-15:]
                lines += [f"--- {path.relative_to(self._home)}", *tail]
        return "\n".join(lines)

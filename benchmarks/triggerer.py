"""A live triggerer full of waiting tasks, and a backfill on a live Airflow, beside tasks that only sleep.

By name alone (``make live``), since they take long. Smaller numbers in the environment make them shorter.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlencode, urlsplit

from airflow_reportrun.sandbox import AfterSeconds, RateLimits, RequestRecord, StripeSandbox
from benchmarks.measuring import Comparison, Figures
from benchmarks.servers import INTERVAL
from demo.airflow import Airflow

WAITING = int(os.environ.get("WAITING", "2000"))
"""Triggers that wait, for `run_waiting`."""
MINUTES = float(os.environ.get("MINUTES", "5"))
"""How long they are watched, once all have begun."""
PENDING = int(os.environ.get("PENDING", "1000"))
"""Triggers whose triggerer is killed, for `run_restart`."""
INTERVALS = int(os.environ.get("INTERVALS", "365"))
"""Days that `run_backfill` takes."""
REPORT_SECONDS = float(os.environ.get("REPORT_SECONDS", "60"))
"""How long each of their reports takes."""

FEW = 20
"""Triggers of which the memory is what any number has at least."""
SETTLING = float(os.environ.get("SETTLING", "60"))
"""Seconds between the first look at each report run and the watching."""
WARMING = 20
"""Days before these, of which nothing counts: what processes load at first is neither side's."""
AT_ONCE = 200
"""DAG runs of a backfill at a time, and how many of them a loop of the scheduler looks at."""
PATIENCE = 1800.0
"""Seconds after which what is waited for does not come any more."""

ROOT = Path(__file__).parent.parent
_ASKED = {"requests": "asked", "refused": "429s", "peak": "requests/s"}
_CALLS = {"calls": "of a worker", "failed": "of them"}
Stored = tuple[str, dict[str, Any]]
"""A trigger as Airflow stores it: its class path and its arguments."""

_TICKS = os.sysconf("SC_CLK_TCK")


def run_waiting() -> Iterator[Comparison]:
    """Watch both processes of a triggerer while nothing happens: what waiting itself costs."""
    if WAITING <= FEW:
        raise SystemExit(f"WAITING is more than {FEW}, whose memory is left out of account, and not {WAITING}.")
    with live(capacity=2 * WAITING) as it:
        few = _watched(it, _sleepers(FEW), 0.0), _watched_waiting(it, FEW, 0.0)
        sleeping = _watched(it, _sleepers(WAITING), MINUTES * 60)
        ours = _watched_waiting(it, WAITING, MINUTES * 60)
    more = ours["memory"] - sleeping["memory"] - (few[1]["memory"] - few[0]["memory"])
    contenders = {"that only sleep": sleeping, "ours": {**ours, "a trigger": more * 1024 / (WAITING - FEW)}}
    title = f"{WAITING:,} triggers wait for {MINUTES:g} minutes"
    yield Comparison(
        f"{title}: what they take",
        {
            "cpu": "% of a core",
            "supervisor's": "% of a core",
            "memory": "MiB",
            "a trigger": "KiB",
            "descriptors": "open",
            "transactions": "a second",
            "requests": "a second",
            "refused": "429s",
        },
        contenders,
        "CPU and memory are both processes', of which the supervisor asks the database. A trigger's memory is "
        f"what it adds to {FEW} others, above one that sleeps. {_load()}",
    )
    yield Comparison(
        f"{title}: the event loop",
        {
            "begun": "s",
            "lag p50": "ms",
            "lag p99": "ms",
            "lag": "ms at most",
            "blocked": "times",
            "at start": "times",
        },
        contenders,
        "Begun is from the triggerer's start until it had all its triggers. Blocked is when Airflow says so, once "
        "all have begun and before.",
    )


def run_restart() -> Iterator[Comparison]:
    """Kill a triggerer with pending reports, start another at once, and let all reports end in the end."""
    with live(capacity=2 * PENDING) as it:
        runs = it.report_runs(PENDING)
        (of_worker,) = it.report_runs(1)
        it.fill([it.waiter(run) for run in runs])
        began = time.time()
        it.airflow.start("triggerer")
        it.until_looked(runs, began)
        time.sleep(SETTLING)
        dead = it.triggerer()
        with it.worker(of_worker) as calls:
            it.airflow.kill("triggerer")
            killed = time.time()
            it.airflow.start("triggerer")
            it.until(lambda: it.triggerer() != dead and it.assigned() == PENDING, "the new triggerer's triggers")
            moved = time.time()
            it.until_looked(runs, killed)
            time.sleep(SETTLING)
            ended = time.time()
            for run in runs:
                run.transition.over = True
            it.until(lambda: it.count("scheduled") == PENDING, "each task's event")
            done = time.time()
            delays = sorted(at - ended for at in it.went_on())
    seen = sorted(run.transition.first_since(killed) for run in runs)
    yield Comparison(
        f"a triggerer is killed (-9) with {PENDING:,} pending reports",
        {"moved": "s", "first": "s", "half": "s", "each": "s", "since first": "s", **_ASKED, **_CALLS},
        {
            "ours": {
                "moved": moved - killed,
                "first": seen[0] - killed,
                "half": seen[len(seen) // 2] - killed,
                "each": seen[-1] - killed,
                "since first": seen[-1] - seen[0],
                **_asked(it.requests_between(killed, ended)),
                **_called(calls, killed, ended),
            }
        },
        "From the kill until another triggerer has all triggers, which Airflow moves after 30 s, and until the"
        " first report, half of them and each were looked at again. Requests and a worker's calls are until "
        f"{SETTLING:g} s after that. {_load()}",
    )
    yield Comparison(
        f"{PENDING:,} reports end at once, after that",
        {"half": "s", "95 %": "s", "each": "s", **_ASKED, **_CALLS},
        {
            "ours": {
                "half": statistics.median(delays),
                "95 %": delays[int(len(delays) * 0.95)],
                "each": delays[-1],
                **_asked(it.requests_between(ended, done)),
                **_called(calls, ended, done),
            }
        },
        "Until half, 95 % and each of the tasks may go on, as Airflow's database has it.",
    )


def run_backfill() -> Iterator[Comparison]:
    """Backfill days of reports, and as many tasks that defer once for as long as a report takes."""
    with live(capacity=1000) as it:
        it.sandbox.configure(transition=AfterSeconds(REPORT_SECONDS))
        with it.airflow:
            for dag_id in ("waits", "reports"):
                _backfilled(it, dag_id, 1 - WARMING, 0)
            waits = _backfilled(it, "waits", 1, INTERVALS)
            reports = _backfilled(it, "reports", 1, INTERVALS)
        it.airflow.environment["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'benchmarks' / 'live' / 'settings'}"
        with it.airflow:
            _backfilled(it, "preloaded", 1 - WARMING, 0)
            preloaded = _backfilled(it, "preloaded", 1, INTERVALS)
        if (created := len(it.sandbox.report_runs)) != (wanted := 2 * (WARMING + INTERVALS)):
            raise RuntimeError(f"{created} report runs were created for {wanted} intervals")
    yield Comparison(
        f"backfill of {INTERVALS} days",
        {"wall": "s", **_ASKED},
        {
            f"tasks that defer once for {REPORT_SECONDS:g} s": waits,
            "ours, reports of as long": reports,
            "ours, with what tasks import loaded beforehand": preloaded,
        },
        f"At most {AT_ONCE} DAG runs at a time, four workers, and {WARMING} days of each before. {_load()}",
    )


def _sleepers(number: int) -> list[Stored]:
    from airflow_reportrun.triggers import StripeReportRunTrigger
    from benchmarks.live.triggers import EmptyTrigger

    _, arguments = StripeReportRunTrigger(report_run_id=f"frr_{'0' * 24}", since=0, deadline=0).serialize()
    return [EmptyTrigger(seconds=12 * 3600, **arguments).serialize()] * number


def _watched_waiting(it: Live, number: int, seconds: float) -> dict[str, float]:
    runs = it.report_runs(number)
    return _watched(it, [it.waiter(run) for run in runs], seconds, runs)


def _watched(
    it: Live, triggers: Sequence[Stored], seconds: float, runs: Sequence[Pending] = ()
) -> dict[str, float]:
    path = it.folder / "lag"
    path.unlink(missing_ok=True)
    it.fill([*triggers, ("benchmarks.live.triggers.LagTrigger", {"path": str(path)})])
    log, before = it.airflow.log("triggerer"), _blocked(it.airflow.log("triggerer"))
    began = time.time()
    it.airflow.start("triggerer")
    it.until(lambda: it.assigned() == len(triggers) + 1 and path.exists(), "the triggerer's triggers")
    begun = time.time() - began
    it.until_looked(runs, began)  # which loads what all share
    time.sleep(SETTLING)
    pids = it.airflow.pid("triggerer"), int(path.read_text().partition("\n")[0])
    blocked, since = _blocked(log), time.time()
    used, transactions = [_cpu(pid) for pid in pids], it.transactions()
    time.sleep(max(seconds, 1.0))
    until = time.time()
    lasted = until - since
    cpu = [(_cpu(pid) - then) * 100 / lasted for pid, then in zip(pids, used, strict=True)]
    lags = sorted(lag for at, lag in _lags(path) if since <= at < until)
    requests = it.requests_between(since, until)
    figures = {
        "cpu": sum(cpu),
        "supervisor's": cpu[0],
        "memory": sum(_memory(pid) for pid in pids),
        "descriptors": float(sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)),
        "transactions": (it.transactions() - transactions) / lasted,
        "requests": len(requests) / lasted,
        "refused": _asked(requests)["refused"],
        "begun": begun,
        "lag p50": statistics.median(lags) * 1e3,
        "lag p99": lags[int(len(lags) * 0.99)] * 1e3,
        "lag": lags[-1] * 1e3,
        "blocked": float(_blocked(log) - blocked),
        "at start": float(blocked - before),
    }
    if (waiting := it.count("deferred")) != len(triggers) + 1:
        raise RuntimeError(f"{waiting} of {len(triggers) + 1} tasks still wait:\n{it.tail('triggerer')}")
    it.airflow.stop()
    return figures


def _backfilled(it: Live, dag_id: str, first: int, last: int) -> Figures:
    it.until(lambda: it.count_rows("SELECT count(*) FROM dag WHERE dag_id = %s", dag_id) == 1, "the DAGs")
    ended = "SELECT count(*) FROM dag_run WHERE dag_id = %s AND state IN ('success', 'failed')"
    all_of_it = it.count_rows(ended, dag_id) + last - first + 1
    # Airflow looks each 30 s whether the one before is over.
    under_way = "SELECT count(*) FROM backfill WHERE dag_id = %s AND completed_at IS NULL"
    it.until(lambda: it.count_rows(under_way, dag_id) == 0, "the end of the backfill before")
    dates = {"from_date": _day(first), "to_date": _day(last), "max_active_runs": AT_ONCE}
    began = time.time()
    it.airflow.post("backfills", {"dag_id": dag_id, **dates})
    it.until(lambda: it.count_rows(ended, dag_id) == all_of_it, f"the end of {dag_id}")
    wall = time.time() - began
    succeeded = "SELECT count(*) FROM task_instance WHERE dag_id = %s AND state = 'success'"
    if (good := it.count_rows(succeeded, dag_id)) != all_of_it:
        raise RuntimeError(f"{good} of {all_of_it} tasks of {dag_id} succeeded:\n{it.tail('scheduler')}")
    return {"wall": wall, **(_asked(it.requests_between(began, began + wall)) if dag_id != "waits" else {})}


class Looked:
    """Keeps a run pending until it is ``over``, and notes each time (``looks``) that an answer showed it."""

    def __init__(self) -> None:
        self.over = False
        self.looks: list[float] = []

    def first_since(self, instant: float) -> float:
        """Return the first time after an instant."""
        return next(at for at in self.looks if at > instant)

    def is_due(self, *, reads: int, age: float) -> bool:
        """Tell whether it is over."""
        self.looks.append(time.time())
        return self.over


@dataclass(frozen=True)
class Pending:
    """A report run that was created; ``created`` is in Unix seconds."""

    id: str
    created: int
    transition: Looked


@dataclass
class Live:
    """PostgreSQL, the sandbox, and an Airflow whose components are started by who measures."""

    folder: Path
    sandbox: StripeSandbox
    airflow: Airflow
    database: Any = field(repr=False)

    def report_runs(self, number: int) -> list[Pending]:
        """Create report runs that stay pending; the limits don't count for these."""
        self.sandbox.configure(rate_limits=None)
        connection = http.client.HTTPConnection(urlsplit(self.sandbox.url).netloc)
        headers = {
            "Authorization": f"Bearer {self.sandbox.api_key}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        form = urlencode({"report_type": "balance.summary.1", **INTERVAL})
        created = []
        for _ in range(number):
            transition = Looked()
            self.sandbox.configure(transition=transition)
            connection.request("POST", "/v1/reporting/report_runs", form, headers)
            run = json.load(connection.getresponse())
            created.append(Pending(run["id"], run["created"], transition))
        connection.close()
        self.sandbox.configure(rate_limits=RateLimits())
        return created

    def waiter(self, run: Pending) -> Stored:
        """Return the trigger of a task that has just deferred, as Airflow stores it."""
        from airflow_reportrun.triggers import StripeReportRunTrigger

        return StripeReportRunTrigger.waiting_from_now(
            report_run_id=run.id, since=run.created, deadline=time.time() + 12 * 3600, resume={"adopted": False}
        ).serialize()

    def fill(self, triggers: Sequence[Stored]) -> None:
        """Make tasks wait for triggers, and for nothing else."""
        program = [sys.executable, "-m", "benchmarks.live.rows"]
        done = subprocess.run(
            program, env=self.airflow.environment, input=json.dumps(triggers), text=True, capture_output=True
        )
        if done.returncode:
            raise RuntimeError(f"the rows were not made:\n{done.stderr}")

    @contextmanager
    def worker(self, run: Pending) -> Iterator[list[dict[str, Any]]]:
        """Retrieve a run each second; the list has the calls after the block."""
        connection = {"conn_type": "stripe", "host": self.sandbox.url, "password": self.sandbox.api_key}
        environment = {**self.airflow.environment, "AIRFLOW_CONN_STRIPE_DEFAULT": json.dumps(connection)}
        program = [sys.executable, "-m", "benchmarks.live.worker", run.id]
        calls: list[dict[str, Any]] = []
        with (self.folder / "worker").open("w+") as output:
            process = subprocess.Popen(program, env=environment, stdout=output)
            try:
                yield calls
            finally:
                process.kill()
                process.wait()
                output.seek(0)
                for line in output:
                    with suppress(ValueError):  # the last one, where it was cut
                        calls.append(json.loads(line))

    # What the database says

    def count_rows(self, query: LiteralString, *values: object) -> int:
        """Return the one number that a query gives."""
        return int(self.database.execute(query, values).fetchone()[0])

    def count(self, state: str) -> int:
        """Return how many of the tasks that `fill` made are in a state."""
        return self.count_rows("SELECT count(*) FROM task_instance WHERE state = %s", state)

    def triggerer(self) -> int:
        """Return the newest triggerer's id, 0 before the first one's."""
        return self.count_rows("SELECT coalesce(max(id), 0) FROM job WHERE job_type = 'TriggererJob'")

    def assigned(self) -> int:
        """Return how many triggers the newest triggerer has."""
        return self.count_rows("SELECT count(*) FROM trigger WHERE triggerer_id = %s", self.triggerer())

    def went_on(self) -> list[float]:
        """Return when events let tasks go on, in Unix seconds."""
        query = "SELECT extract(epoch FROM scheduled_dttm) FROM task_instance WHERE state = 'scheduled'"
        return [float(at) for (at,) in self.database.execute(query)]

    def transactions(self) -> int:
        """Return how many transactions there were, our own look at it left out by the next."""
        return self.count_rows(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )

    # What the sandbox says

    def requests_between(self, since: float, until: float) -> list[RequestRecord]:
        """Return what was asked meanwhile."""
        return [request for request in self.sandbox.requests if since <= request.at < until]

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for something that has to come."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            self.airflow.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not come in {PATIENCE:.0f} s:\n{self.tail('triggerer')}")
            time.sleep(0.25)

    def until_looked(self, runs: Sequence[Pending], instant: float) -> None:
        """Wait for a look at each run after an instant."""
        self.until(lambda: all(run.transition.looks[-1] > instant for run in runs), "a look at each run")

    def tail(self, component: str) -> str:
        """Return the end of a component's log."""
        return "\n".join(self.airflow.log(component).read_text(errors="replace").splitlines()[-30:])


@contextmanager
def live(*, capacity: int) -> Iterator[Live]:
    """Make a database and an Airflow on it, of which nothing runs yet.

    :param capacity: of a triggerer; one that is full says so in each of its loops.
    """
    import psycopg

    from tests.databases import programs, running_postgres

    if programs() is None:
        raise SystemExit("A live Airflow is measured on PostgreSQL: apt-get install postgresql")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-live-")))
        server = stack.enter_context(running_postgres())
        sandbox = stack.enter_context(StripeSandbox(rate_limits=RateLimits()))
        report = folder / "report.csv"
        report.write_text("category,net,currency\r\n")
        sandbox.serve_file(report)
        environment = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.url,
            "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": str(AT_ONCE),
            "AIRFLOW__TRIGGERER__CAPACITY": str(capacity),
            "PYTHONPATH": str(ROOT),
            "REPORT_SECONDS": str(REPORT_SECONDS),
        }
        airflow = Airflow(folder / "airflow", ROOT / "benchmarks" / "live" / "dags", environment)
        stack.callback(airflow.stop)
        airflow.run("db", "migrate")
        airflow.run("dags", "reserialize")
        # In the database, as most people have it: a look-up there is what it costs them.
        where = ("--conn-host", sandbox.url, "--conn-password", sandbox.api_key)
        airflow.run("connections", "add", "stripe_default", "--conn-type", "stripe", *where)
        database = stack.enter_context(
            psycopg.connect(host=str(server.folder), user=server.user, dbname="postgres", autocommit=True)
        )
        yield Live(folder, sandbox, airflow, database)


def _asked(requests: Sequence[RequestRecord]) -> dict[str, float]:
    a_second = Counter(int(request.at) for request in requests)
    refused = sum(request.status == 429 for request in requests)
    return {
        "requests": float(len(requests)),
        "refused": float(refused),
        "peak": float(max(a_second.values(), default=0)),
    }


def _called(calls: Sequence[dict[str, Any]], since: float, until: float) -> dict[str, float]:
    within = [call for call in calls if since <= call["at"] < until]
    return {"calls": float(len(within)), "failed": float(sum(call["error"] is not None for call in within))}


def _cpu(pid: int) -> float:
    """Return the seconds of CPU of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int) -> float:
    """Return the memory of a process without files, in MiB.

    What a forked process shares with its parent counts for both: what it has for itself grows when either is
    written to, which says nothing about what was added.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def _lags(path: Path) -> Iterator[tuple[float, float]]:
    for line in path.read_text().splitlines()[1:]:
        at, _, lag = line.partition(" ")
        with suppress(ValueError):  # the last line, while it is written
            yield float(at), float(lag)


def _blocked(log: Path) -> int:
    return log.read_text(errors="replace").count("async thread was blocked") if log.exists() else 0


def _day(number: int) -> str:
    from datetime import date, timedelta

    return f"{date(2025, 1, 1) + timedelta(days=number - 1)}T00:00:00+00:00"


def _load() -> str:
    return f"The machine's load was {os.getloadavg()[0]:.1f}."

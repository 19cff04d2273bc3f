"""``make chaos``: a backfill while everything breaks, and the proof that each day came once all the same.

Environment: ``CHAOS_SEED`` (1) draws the same kills and faults again, at the same points of the backfill, however
fast the machine is. After ``CHAOS_MINUTES`` (15) nothing breaks any more. ``CHAOS_INTERVALS`` (200) days are
backfilled.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psutil
import psycopg

from airflow_reportrun.sandbox import (
    ANY,
    AfterSeconds,
    CutBody,
    DataLate,
    Drips,
    Dropped,
    Fault,
    KeyInUse,
    LockTimeout,
    ProxyPage,
    RateLimited,
    Refused,
    RunFails,
    ServerError,
    ShortContents,
    Slow,
    Stalls,
    StripeSandbox,
    Unavailable,
)
from cluster.days import DAG_ID, DAY, DAYS, END, FIRST, REPORT_TYPE, STARTS, TABLE
from cluster.engine import ROOT, WAREHOUSE, Cluster
from cluster.proof import Proof, books_of, is_expired, prove_files, prove_runs, prove_table

SEED = int(os.environ.get("CHAOS_SEED") or 1)
SECONDS = 60 * float(os.environ.get("CHAOS_MINUTES") or 15)
PATIENCE = 600 + 3 * DAYS
"""Seconds that the backfill may take once nothing breaks any more."""

TIMEOUT = 5
"""Seconds of the connection; what is slow below takes longer."""
BURST = 15
REACHED = STARTS[2 * DAYS // 3]
"""How far Stripe's data reaches at first; it comes to the end when half of the backfill is done."""
KILLS, TIMES = max(12, DAYS // 6), max(40, DAYS)
"""How many kills are drawn, and how many times a fault; each of the latter may be of several requests."""
FILE_LIFETIME = 86_400

FAULTS: tuple[tuple[Fault, str, int], ...] = (
    (RateLimited(), ANY, BURST),
    (RateLimited("endpoint-concurrency"), "create", BURST),
    (LockTimeout(), "retrieve", 2),
    (KeyInUse(), "create", 1),
    (Unavailable(), ANY, 3),
    (ServerError(), "create", 1),
    (ServerError(committed=True), "create", 1),
    (ServerError(), "list", 2),
    (ProxyPage(502), ANY, 2),
    (Dropped(reset=True), ANY, 2),
    (Dropped(committed=True), "create", 1),
    (Refused(2.0), ANY, 1),
    (Slow(TIMEOUT + 3), "create", 1),
    (Slow(TIMEOUT + 3), "retrieve", 1),
    (Stalls(TIMEOUT + 3, after=4000), "contents", 1),
    (Drips(0.01, after=15_000), "contents", 1),
    (CutBody(5000), "contents", 1),
    (ShortContents(3000), "contents", 1),
    (DataLate(), "create", 1),
    (RunFails(), "create", 1),
)

SETTINGS = {
    # After how many seconds without a sign of life somebody is taken for dead; Airflow's own are 30, 30 and 300.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    # How often that is looked for: 300 and 10.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # After how many seconds a queued task is taken for lost, as all are when Redis is: 600, looked for each 120.
    # Airflow fails it for good when that has happened three times, whatever its retries.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "50",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",  # 5
    # After how many seconds Celery delivers again what a worker has taken and not done: 86,400.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "60",
}

T = TypeVar("T")
Plan = list[tuple[float, Callable[[], None]]]
"""Which part of the backfill is done, and what happens then."""


def main() -> int:
    """Break a backfill, and print what happened; 0 when each day came once."""
    home = ROOT / "build" / "chaos"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    say(f"seed {SEED}, {SECONDS / 60:g} minutes, {DAYS} days; logs are in {home}")
    sandbox = StripeSandbox(transition=AfterSeconds(5), data_available_end=REACHED)
    with sandbox, backfilling(home, sandbox) as cluster:
        chaos = Chaos(cluster, sandbox, random.Random(SEED))  # noqa: S311 - chance
        chaos.rage()
        chaos.settle()
        say("looking at what is there")
        proof, landed = Proof(), {}
        books = books_of(REPORT_TYPE, [(start, start + DAY) for start in STARTS])
        landed["files"] = prove_files(proof, home / "lake", books)
        with cluster.connect(WAREHOUSE) as database:
            landed["the table"] = prove_table(proof, database, TABLE, books)
        runs, requests = sandbox.report_runs, sandbox.requests
        prove_runs(proof, runs, sandbox.requests_to("create"), *landed.values())
        stuck, tries = chaos.stuck(), chaos.tries()
    faults = Counter(f"{it.operation}: {it.fault}" for it in requests if it.fault)
    faults["run: RunFails()"] = sum(run.status == "failed" for run in runs)
    faults["run: its file expired"] = sum(map(is_expired, runs))
    show("faults by kind", dict(sorted(faults.items())))
    show("kills by kind", chaos.kills)
    show("ended by itself and started again", chaos.ended)
    end = {"intervals": DAYS, **{f"landed in {place}": len(told) for place, told in landed.items()}}
    end |= {"tasks' tries": tries, "report runs created": len(runs)}
    end["attached by idempotency key"] = sum(it.replayed and it.status == 200 for it in requests)
    end |= {f"superseded, {why}": number for why, number in proof.superseded.items()}
    end |= {"duplicates": len(proof.duplicates), "lost": len(proof.lost), "stuck": len(stuck)}
    show("in the end", {**end, "wrong otherwise": len(proof.wrong)})
    problems = [*proof.problems, *stuck]
    for problem in problems:
        say(f"NOT AS IT SHOULD BE: {problem}")
    return 1 if problems else 0


@contextmanager
def backfilling(home: Path, sandbox: StripeSandbox) -> Iterator[Cluster]:
    """Start a cluster, and a backfill on it. What its tasks need to know is in Airflow's database, as usual."""
    stripe = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
    stripe["extra"] = json.dumps({"timeout": TIMEOUT})
    cluster = Cluster(home, ROOT / "cluster" / "dags", SETTINGS)
    try:
        cluster.start_servers()
        cluster.run("connections", "add", "stripe_default", "--conn-json", json.dumps(stripe))
        cluster.run("variables", "set", "stripe_lake", str(home / "lake"))
        cluster.run("dags", "reserialize")
        say("the databases are ready")
        with cluster:
            dates = [(FIRST + timedelta(days=day)).isoformat() for day in (1, DAYS)]
            asked = {"dag_id": DAG_ID, "from_date": dates[0], "to_date": dates[1], "max_active_runs": 12}
            cluster.post("backfills", asked)
            say("the backfill has begun")
            yield cluster
    finally:
        cluster.stop()


class Chaos:
    """Breaks a cluster and its sandbox, and lets what died come back."""

    def __init__(self, cluster: Cluster, sandbox: StripeSandbox, chance: random.Random) -> None:
        self.kills: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self._cluster, self._sandbox, self._chance = cluster, sandbox, chance
        self._down: dict[str, tuple[float, Callable[[], object]]] = {}  # who, until when, and what brings it back
        self._begun, self._said, self._succeeded, self._expired = time.monotonic(), 0.0, 0, 0

    def rage(self) -> None:
        """Break things as planned, until the plan or the backfill has come to its end."""
        plan = self._plan()
        while not self._is_done() and self._now() < SECONDS:
            while plan and plan[0][0] <= self._part():
                plan.pop(0)[1]()
            self._tend()
            time.sleep(0.5)

    def settle(self) -> None:
        """Break nothing any more, and wait for the backfill's end."""
        say(f"nothing breaks any more; {self._now():.0f} s")
        self._down = {name: (0.0, back) for name, (_, back) in self._down.items()}
        deadline = self._now() + PATIENCE
        while self._down or not self._is_done():
            if self._now() > deadline:
                say("the backfill has not ended")
                return
            self._tend()
            time.sleep(1)

    def stuck(self) -> list[str]:
        """Tell of the tasks that did not succeed."""
        query = "SELECT run_id, task_id, state FROM task_instance WHERE state IS DISTINCT FROM 'success'"
        return [f"{task} of {run} is {state}" for run, task, state in self._ask(query)]

    def tries(self) -> int:
        """Return how often tasks were tried, all together."""
        return int(self._ask("SELECT sum(try_number) FROM task_instance")[0][0])

    # What happens, and when

    def _plan(self) -> Plan:
        """Draw it: each kind of kill and of fault comes before any comes again."""
        kills = [(name, False) for name in self._cluster.components]
        kills += [("worker:1", True), ("worker:2", True)]
        plan: Plan = []
        for at, (name, tasks) in self._drawn(kills, KILLS):
            plan.append((at, partial(self._kill, name, tasks, self._chance.uniform(0, 8))))
        for at, (fault, on, most) in self._drawn(FAULTS, TIMES):
            times = self._chance.randint(1, most)
            plan.append((at, partial(self._sandbox.inject, fault, on=on, times=times)))
        postgres, redis = self._cluster.postgres, self._cluster.redis
        servers: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "PostgreSQL": (partial(postgres.stop, signal.SIGQUIT), postgres.start),
            "Redis": (redis.kill, redis.start),
            "sandbox": (self._sandbox.stop, self._sandbox.start),
        }
        order = self._chance.sample(list(servers), len(servers))
        for number, name in enumerate(order):
            at = 0.25 + 0.2 * number + self._chance.uniform(0, 0.1)
            plan.append((at, partial(self._take_down, name, *servers[name], self._chance.uniform(3, 10))))
        plan += [(at, self._expire) for at in (0.15, 0.5, 0.8)]
        return sorted(plan, key=lambda step: step[0])

    def _drawn(self, kinds: Sequence[T], times: int) -> Iterator[tuple[float, T]]:
        """Draw kinds one after another, and again when all have come, with pauses in between."""
        left = list[T]()
        for number in range(times):
            left = left or self._chance.sample(list(kinds), len(kinds))
            yield (number + self._chance.random()) / times, left.pop()

    def _kill(self, name: str, tasks: bool, pause: float) -> None:
        if name in self._down:
            return
        try:
            self._cluster.kill(name, tasks=tasks)
        except psutil.NoSuchProcess:
            return  # it has ended by itself
        self.kills[f"{name.partition(':')[0]} and its tasks" if tasks else name.partition(":")[0]] += 1
        self._down[name] = self._now() + pause, partial(self._cluster.revive, name)

    def _take_down(self, name: str, stop: Callable[[], object], start: Callable[[], object], pause: float) -> None:
        stop()
        self.kills[name] += 1
        self._down[name] = self._now() + pause, start

    def _expire(self) -> None:
        """Let the next file be gone at once, with those that come at the same moment."""
        self._sandbox.configure(file_lifetime=0)
        self._expired += 1

    def _tend(self) -> None:
        """Let come back whose time has come, and whoever has ended by itself, as a supervisor does."""
        # The data moves on for those, too, that were told that it is late.
        moved = min(1.0, 2 * self._part()) * (END - REACHED) + int(self._now() / 20)
        self._sandbox.configure(data_available_end=int(REACHED + moved))
        if sum(map(is_expired, self._sandbox.report_runs)) >= self._expired:
            self._sandbox.configure(file_lifetime=FILE_LIFETIME)
        for name in self._cluster.buried():
            self.ended[name.partition(":")[0]] += 1
            self._down[name] = self._now() + 1, partial(self._cluster.revive, name)
        for name, (at, back) in list(self._down.items()):
            if at <= self._now():
                del self._down[name]
                back()

    # What is seen meanwhile

    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _part(self) -> float:
        """Return which part of the backfill is done: of the report runs, and of the two tasks of each day."""
        return (min(DAYS, len(self._sandbox.report_runs)) + self._succeeded) / (3 * DAYS)

    def _is_done(self) -> bool:
        """Tell whether all DAG runs have ended; says what tasks do, now and then."""
        if self._now() < self._said + 5:
            return False
        self._said = self._now()
        with suppress(psycopg.OperationalError):
            states = self._ask("SELECT coalesce(state, 'none'), count(*) FROM task_instance GROUP BY 1 ORDER BY 1")
            self._succeeded = dict(states).get("success", 0)
            say(f"{self._now():4.0f} s  {', '.join(f'{number} {state}' for state, number in states)}")
            ((ended,),) = self._ask("SELECT count(*) FROM dag_run WHERE state IN ('success', 'failed')")
            return int(ended) == DAYS
        return False

    def _ask(self, query: LiteralString) -> list[tuple[Any, ...]]:
        with self._cluster.connect() as database:
            return database.execute(query).fetchall()


def show(title: str, figures: Mapping[str, int]) -> None:
    """Print a table."""
    print(f"\n| {title} | |\n|---|---:|")
    for name, number in figures.items():
        print(f"| {name} | {number} |")
    print(flush=True)


def say(what: str) -> None:
    """Tell that it goes on."""
    print(what, flush=True)

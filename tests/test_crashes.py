"""Each crash point of the submit path: processes are really killed, and the report runs are counted."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.sandbox import AfterReads, RequestRecord, StripeSandbox
from tests.docs_tables import hold, table
from tests.task_runner import START, in_dag
from tests.versions import needs_airflow
from tests.workers import WORKERS, Killer, WorkerRunner

WORKERS.set_forkserver_preload([__name__])

PAGE = Path(__file__).parent.parent / "docs" / "exactly-once.md"
FILE_SIZE = 64 * 1024 * 1024
DAY = 86_400
MODES = ("sync", "deferrable")
STORES = {"state store": True, "no state store": False}


def make(*, deferrable: bool, mapped: bool, destination: str, currency: str = "usd") -> Any:
    """Return the task, as a worker makes it from its DAG file."""
    options: dict[str, Any] = {
        "report_type": "balance.summary.1",
        "destination": destination,
        "deferrable": deferrable,
        "poll_interval": 0.01,
    }
    if not mapped:
        return in_dag(StripeReportRunOperator, currency=currency, **options)
    with DAG("stripe", schedule=None, start_date=START):
        partial = StripeReportRunOperator.partial(task_id="report", retries=3, **options)
        return partial.expand(currency=[currency, currency])


@dataclass
class Stage:
    """Where everything happens: Stripe, a folder for files, and who is killed."""

    sandbox: StripeSandbox
    killer: Killer
    folder: Path
    days: int = 0

    def wait_for_a_part(self) -> None:
        """Wait until a download is under way."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if any(part.stat().st_size for part in self.folder.parent.rglob(".*.part")):
                return
            time.sleep(0.001)

    def a_day_passes(self) -> None:
        """Let Stripe forget the idempotency keys."""
        self.days += 1
        self.sandbox.configure(clock=lambda: time.time() + self.days * (DAY + 1))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A sandbox whose log is watched."""
    killer = Killer()

    def saw(request: RequestRecord) -> None:
        killer.saw(f"stripe {request.operation}")

    with StripeSandbox(on_request=saw) as sandbox:
        sandbox.configure(transition=AfterReads(2))
        yield Stage(sandbox, killer, tmp_path)


@dataclass(frozen=True)
class Point:
    """Where a process is killed.

    :param at: the message at which it dies; Airflow's have not taken effect then, Stripe's have.
    :param where: the process: the ``first`` one of the task, the ``trigger`` or the ``resumed`` one; a synchronous
        task has only the first.
    :param sync: whether a synchronous task comes to this point.
    :param hesitate: what to wait for before the kill.
    :param meanwhile: what happens before the retry.
    :param currency: what the template renders to in the retry.
    :param created: report runs, with and without the state store.
    """

    at: str | dict[bool, str]
    where: str = "first"
    sync: bool = True
    hesitate: Callable[[Stage], None] | None = None
    meanwhile: Callable[[Stage], None] | None = None
    currency: str = "usd"
    created: tuple[int, int] = (1, 1)


ANSWER = {True: "airflow store PUT answer", False: "airflow xcom POST report_run_id"}
POINTS = {
    "before the request": Point("stripe retrieve_type"),
    "request sent, no answer": Point("stripe create"),
    "answer there, not stored": Point(ANSWER),
    "stored, waiting (not yet deferred)": Point("stripe retrieve"),
    "deferred: the triggerer is killed": Point("stripe retrieve", where="trigger", sync=False),
    "event fired, task not resumed": Point("airflow run", where="resumed", sync=False),
    "resumed": Point("stripe retrieve", where="resumed", sync=False),
    "downloading": Point("stripe contents", where="resumed", hesitate=Stage.wait_for_a_part),
    "file in place, not reported": Point("airflow xcom POST return_value", where="resumed"),
    "answer there, not stored; the template renders differently": Point(ANSWER, currency="eur", created=(1, 2)),
    "stored, waiting; the template renders differently": Point("stripe retrieve", currency="eur", created=(1, 2)),
    "stored, waiting; the retry comes a day later": Point(
        "stripe retrieve", meanwhile=Stage.a_day_passes, created=(1, 2)
    ),
    "request sent, no answer; the retry comes a day later": Point(
        "stripe create", meanwhile=Stage.a_day_passes, created=(2, 2)
    ),
}
COUNTED: dict[tuple[str, bool, str, bool], tuple[int, int]] = {}


def run_to_its_end(runner: WorkerRunner, tried: Any, **how: Any) -> Any:
    """Let triggers and tries follow each other, as Airflow does."""
    while tried.state == "deferred":
        tried = runner.attempt(
            next_method=tried.deferral.next_method, next_kwargs={"event": runner.fire(tried)}, **how
        )
    return tried


def crash(stage: Stage, runner: WorkerRunner, point: Point, **how: Any) -> Any:
    """Run a task whose process is killed at a point, and what Airflow does then, to its end."""
    killer = stage.killer
    at = point.at if isinstance(point.at, str) else point.at[runner.store is not None]
    hesitate = point.hesitate and functools.partial(point.hesitate, stage)
    where = point.where if runner.build.keywords["deferrable"] else "first"
    if where == "first":
        killer.at, killer.hesitate = at, hesitate
    tried = runner.attempt(**how)
    if where == "trigger":
        assert tried.state == "deferred", tried.error
        killer.at = at
        assert runner.fire(tried) is None
        return run_to_its_end(runner, tried, **how)  # in another triggerer
    if where == "resumed":
        assert tried.state == "deferred", tried.error
        event = runner.fire(tried)
        killer.at, killer.hesitate = at, hesitate
        tried = runner.attempt(next_method=tried.deferral.next_method, next_kwargs={"event": event}, **how)
    assert tried is None, tried.error
    if point.meanwhile:
        point.meanwhile(stage)
    runner.build = functools.partial(runner.build, currency=point.currency)
    how["try_number"] = 2
    return run_to_its_end(runner, runner.attempt(**how), **how)


@pytest.mark.parametrize("mapped", [False, True], ids=["", "mapped"])
@pytest.mark.parametrize(
    "remembers",
    [
        pytest.param(remembers, marks=needs_airflow(3, 3, "state store") if remembers else (), id=store)
        for store, remembers in STORES.items()
    ],
)
@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name, point in POINTS.items() for mode in MODES if point.sync or mode != "sync"],
)
def test_a_killed_process_leaves_one_report_run_that_counts(
    stage: Stage, name: str, mode: str, remembers: bool, mapped: bool
) -> None:
    """Whatever dies on the way, and each mapped task by itself; where more were created, the docs say so."""
    point = POINTS[name]
    if point.hesitate:
        big = stage.folder / "big"
        with big.open("wb") as file:
            file.write(b'"category","description","net_amount","currency"\n')
            file.truncate(FILE_SIZE - 1)
            file.seek(FILE_SIZE - 1)
            file.write(b"\n")
        stage.sandbox.serve_file(big)
    connection = {"conn_type": "stripe", "host": stage.sandbox.url, "password": stage.sandbox.api_key}
    runner = WorkerRunner(
        build=functools.partial(make, deferrable=mode == "deferrable", mapped=mapped),
        environ={"AIRFLOW_CONN_STRIPE_DEFAULT": json.dumps(connection)},
        killer=stage.killer,
        store={} if remembers else None,
    )
    tries = []
    for map_index in (0, 1) if mapped else (-1,):
        landed = stage.folder / f"landed{map_index}.csv"
        runner.build = functools.partial(runner.build, currency="usd", destination=str(landed))
        tries.append(crash(stage, runner, point, map_index=map_index))
        assert landed.stat().st_size == tries[-1].returned["size"]
        assert tries[-1].xcoms["report_run_id"] == tries[-1].returned["report_run_id"]
        if mode == "sync" and not mapped:  # one try more is given the run that counts, and creates none
            again = run_to_its_end(runner, runner.attempt(try_number=3), try_number=3)
            assert again.returned == tries[-1].returned
    assert [tried.state for tried in tries] == ["success"] * len(tries), [tried.error for tried in tries]
    count = {tried.returned["report_run_id"] for tried in tries}
    created = {run.id for run in stage.sandbox.report_runs}
    assert count <= created
    assert len(count) == len(tries)
    assert len(created) == len(tries) * point.created[0 if remembers else 1]
    COUNTED[name, remembers, mode, mapped] = (len(created) // len(tries), len(count) // len(tries))


def test_the_docs_have_the_numbers() -> None:
    """Counted above, for mapped tasks the same as for others."""
    cells = [(store, mode) for store in STORES.values() for mode in MODES]
    rows = []
    for name, point in POINTS.items():
        row = [name]
        for remembers, mode in cells:
            if mode == "sync" and not point.sync:
                row.append("-")
                continue
            if (name, remembers, mode, True) not in COUNTED:
                pytest.skip("needs all the tests above")
            assert COUNTED[name, remembers, mode, True] == COUNTED[name, remembers, mode, False]
            row.append("{} / {}".format(*COUNTED[name, remembers, mode, True]))
        rows.append(row)
    header = ["what is killed, and when", *(f"{mode}, {store}" for store in STORES for mode in MODES)]
    hold(PAGE, "crashes", table(header, rows))

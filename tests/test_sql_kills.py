"""Landings in a table that are killed at each of their steps, and landings that meet."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect

from airflow_reportrun.landing.formats import typed
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.sql import loading
from airflow_reportrun.landing.sql.databases import open_database
from tests.databases import AND_DUCKDB, Warehouse
from tests.landings import day, land

pytestmark = pytest.mark.slow

POINTS = 4
"""Steps of a scenario at which a landing is killed; ``EVERY_POINT=1`` in the environment takes them all."""

FAILED = 255
"""Exit code of a landing that ended in an error."""

Job = tuple[Mapping[str, Any], int | None]
"""The arguments of `land`, and the number of the step to be killed at."""


class Landings:
    """A process that lands in children of its own, which begin with everything loaded."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def end(self, *jobs: Job) -> list[int]:
        """Run landings at once to their ends; exit codes are numbers of steps, or the signal, negative."""
        self._pipe.send(jobs)
        codes: list[int] = self._pipe.recv()
        return codes


@pytest.fixture(params=AND_DUCKDB)
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    """Each database."""
    found: Warehouse = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def landings(warehouse: Warehouse) -> Iterator[Landings]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, warehouse.environ))
    process.start()
    theirs.close()
    yield Landings(ours)
    ours.close()
    process.join()


def _serve(pipe: Connection, environ: Mapping[str, str]) -> None:
    os.environ.update(environ)
    with open_database(Warehouse("", {}).hook).connected():
        pass  # what it takes is loaded once for all
    while True:
        try:
            jobs = pipe.recv()
        except EOFError:
            return
        children = [_forked(job) for job in jobs]
        pipe.send([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])


def _forked(job: Job) -> int:
    if pid := os.fork():
        return pid
    try:
        arguments, kill_at = job
        steps = 0

        def step(*_: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        with counted(step), mock.patch.object(typed, "BLOCK_SIZE", 100):
            land(Warehouse("", {}).hook, **arguments)
        os._exit(steps)
    except BaseException:
        traceback.print_exc()
        os._exit(FAILED)


@contextmanager
def counted(step: Callable[..., None]) -> Iterator[None]:
    """Call ``step`` before and after each statement and each commit, and within what is copied."""
    commit, batches = DefaultDialect.do_commit, loading._Loading._batches

    def do_commit(self: Any, connection: Any) -> None:
        step()
        commit(self, connection)
        step()

    def stepping(self: Any, *args: Any) -> Iterator[Any]:
        for batch in batches(self, *args):
            step()
            yield batch

    for name in ("before_cursor_execute", "after_cursor_execute"):
        event.listen(Engine, name, step)
    with (
        mock.patch.object(DefaultDialect, "do_commit", do_commit),
        mock.patch.object(loading._Loading, "_batches", stepping),
    ):
        yield


OLD = [["1.00", f"old {number}"] for number in range(20)]
NEW = [["2.00", f"new {number}"] for number in range(30)]
OTHER = [["9.00", "other"]]

BEFORE: Sequence[Mapping[str, Any]] = (
    {"names": ["net", "what"], "rows": OLD, "run_id": "frr_old"},
    {"names": ["net", "what"], "rows": OTHER, "run_id": "frr_other", "start": day(2), "end": day(3)},
)
SCENARIOS: Mapping[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]] = {
    "into a new table": ((), {"names": ["net", "what"], "rows": NEW, "run_id": "frr_new"}),
    "in place of rows": (BEFORE, {"names": ["net", "what"], "rows": NEW, "run_id": "frr_new"}),
    "with a new column": (
        BEFORE,
        {"names": ["net", "what", "fee"], "rows": [[*row, "0.10"] for row in NEW], "run_id": "frr_new"},
    ),
    "over the days of a month": (
        BEFORE,
        {
            **{"names": ["net", "what"], "rows": NEW, "run_id": "frr_new"},
            **{"end": day(32), "on_overlap": "replace"},
        },
    ),
}


def whole(before: Sequence[Mapping[str, Any]], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what the table has before and after a landing, by the column that names its rows."""
    old = [row[1] for report in before for row in report["rows"]]
    replaced = {"frr_old"} | ({"frr_other"} if new.get("on_overlap") else set())
    kept = [row[1] for report in before if report["run_id"] not in replaced for row in report["rows"]]
    return sorted(old), sorted([*kept, *(row[1] for row in new["rows"])])


def what(warehouse: Warehouse) -> list[str]:
    """Return the rows of the table; none where there is no table."""
    catalogue = {
        "sqlite": "SELECT count(*) FROM sqlite_master WHERE name = 'activity'",
        "postgresql": "SELECT count(*) FROM pg_tables WHERE tablename = 'activity'",
    }
    others = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'activity'"
    if warehouse.query(catalogue.get(warehouse.name, others)) == [(0,)]:
        return []
    return sorted(row[0] for row in warehouse.query("SELECT what FROM activity"))


@contextmanager
def reading(warehouse: Warehouse) -> Iterator[list[list[str]]]:
    """Read the table all the time, and keep each state of it that was seen, and each error."""
    seen: list[list[str]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                state = what(warehouse)
            except Exception as error:
                state = [repr(error)]
            if state not in seen:
                seen.append(state)
            time.sleep(0.1 if warehouse.name == "duckdb" else 0.005)  # whose readers keep writers out

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        done.set()
        reader.join()


def emptied(warehouse: Warehouse) -> None:
    for table in ("activity", "stripe_report_landings"):
        warehouse.query(f"DROP TABLE IF EXISTS {table}")


def points(steps: int, seed: str, count: int = POINTS) -> Sequence[int]:
    """Choose steps to be killed at: all where the environment says so, and always the last ones."""
    every = range(1, steps + 1)
    if os.environ.get("EVERY_POINT"):
        return every
    chosen = random.Random(seed).sample(every[:-2], count - 2)  # noqa: S311 - no secret
    return [*sorted(chosen), *every[-2:]]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_step_a_retry_makes_it_right(
    warehouse: Warehouse, landings: Landings, scenario: str
) -> None:
    """Before and after a statement or commit, or within what is copied; no reader sees a part."""
    if scenario == "over the days of a month" and warehouse.name in ("postgresql", "duckdb"):
        pytest.skip("the steps are those of the scenario before")
    before, new = SCENARIOS[scenario]
    old_rows, new_rows = whole(before, new)
    steps = [landings.end((report, None)) for report in (*before, new)][-1][0]
    emptied(warehouse)
    assert 12 < steps < FAILED
    count = 3 if warehouse.name == "duckdb" else POINTS  # whose landings take longer
    for kill_at in points(steps, f"{scenario} {warehouse.name}", count):
        for report in before:
            land(warehouse.hook, **report)
        assert what(warehouse) == old_rows
        with reading(warehouse) as seen:
            assert landings.end((new, kill_at)) == [-signal.SIGKILL], f"step {kill_at}"
            assert what(warehouse) in (old_rows, new_rows)
            land(warehouse.hook, **new)
            assert what(warehouse) == new_rows, f"step {kill_at}"
        assert seen, "nobody looked"
        assert all(state in (old_rows, new_rows) for state in seen), f"step {kill_at}"
        runs = {row[0] for row in warehouse.query("SELECT _report_run_id FROM activity")}
        manifests = warehouse.query("SELECT manifest FROM stripe_report_landings WHERE landing <> ''")
        assert sorted(Manifest.from_json(text).report_run_id for (text,) in manifests) == sorted(runs)
        emptied(warehouse)


def test_landings_that_meet_wait_for_each_other(warehouse: Warehouse, landings: Landings) -> None:
    """Into a table that none of them finds: days, and twice the same day."""
    days = [
        {
            **{"names": ["net", "what"], "rows": [["1.00", f"day {number} row {row}"] for row in range(50)]},
            **{"run_id": f"frr_{number}", "start": day(number), "end": day(number + 1)},
        }
        for number in (1, 2, 3, 4, 1)
    ]
    for _ in range(1 if warehouse.name == "duckdb" else 3):
        codes = landings.end(*[(report, None) for report in days])
        assert all(0 < code < FAILED for code in codes)
        assert what(warehouse) == sorted(f"day {number} row {row}" for number in (1, 2, 3, 4) for row in range(50))
    emptied(warehouse)


def test_a_reader_never_waits_for_a_landing(postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL shows the old rows until the new ones are there."""
    before, new = SCENARIOS["in place of rows"]
    for report in before:
        land(postgres.hook, **report)
    seen = []
    insert = loading._Loading._row

    def looking(self: Any) -> Mapping[str, Any]:
        started = time.monotonic()
        seen.append(what(postgres))
        assert time.monotonic() - started < 5
        return insert(self)

    monkeypatch.setattr(loading._Loading, "_row", looking)
    land(postgres.hook, **new)
    assert seen == [whole(before, new)[0]]

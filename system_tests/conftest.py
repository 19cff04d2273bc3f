"""One Airflow for all tests: all backfills and starts run on it at once, and each test looks at its own."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from system_tests.plan import (
    BY_HAND,
    CLOCKS_CHANGE,
    DAG_RUNS,
    ESCAPING,
    FIRST_DAY,
    INTERVALS,
    LIMIT,
    POOLS,
    SOME_DATE,
    account,
)
from system_tests.stage import Stage

# As Ctrl-C does: what was started is stopped.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stage, after all backfills and starts have come to their end."""
    with Stage(tmp_path_factory.mktemp("airflow")) as it:
        gate = it.hold()
        prepare(it)
        with it.airflow:
            fill_up(it)
            it.release(gate)
            it.say("running")
            it.until(lambda: settled(it), "the end of all DAG runs", timeout=600)
            it.say("all DAG runs have ended")
            yield it


def prepare(it: Stage) -> None:
    """Ask for everything before the scheduler runs: on SQLite both would write at once."""
    it.say("migrating")
    it.airflow.run("db", "migrate")
    it.airflow.run("dags", "reserialize")
    it.airflow.run("dags", "trigger", "--logical-date", SOME_DATE.isoformat(), "start_from_command_line")
    it.airflow.start("api-server")
    for pool in POOLS:
        it.airflow.post("pools", pool)
    for season, (first, last) in CLOCKS_CHANGE.items():
        for kind in ("midnight", "night", "partition"):
            it.backfill(f"clocks_{kind}_{season}", first, last, at_once=8)
    last = FIRST_DAY + timedelta(days=INTERVALS - 1)
    it.backfill("limit_of_pool", FIRST_DAY, last, at_once=2 * LIMIT)
    it.backfill("limit_of_task", FIRST_DAY, last, at_once=2 * LIMIT)
    it.backfill("limit_of_backfill", FIRST_DAY, last, at_once=LIMIT)
    it.backfill("limit_of_other_pool", FIRST_DAY, FIRST_DAY + timedelta(days=ESCAPING - 1), at_once=ESCAPING)
    for dag_id, body in BY_HAND:
        it.trigger(dag_id, **body)


def fill_up(it: Stage) -> None:
    """Wait until no limit lets any more report runs be pending, or should not."""
    full = {account(f"limit_of_{what}"): LIMIT for what in ("pool", "task", "backfill")}
    full[account("limit_of_other_pool")] = ESCAPING
    it.say("filling up")
    it.within(lambda: all(it.most_pending[owner] >= most for owner, most in full.items()), 240)
    time.sleep(5)  # for what comes through nevertheless


def settled(it: Stage) -> bool:
    return it.count_dag_runs() >= DAG_RUNS and not it.count_dag_runs("queued", "running")

"""A real Airflow with books of all kinds, and a browser to look at them."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_reportrun.coverage.series import complete_by
from airflow_reportrun.sandbox import AfterReads, RunFails, StripeSandbox, WrongSize
from demo.airflow import Airflow
from ui_tests.books import days, land_in_lake, land_in_table, midnight, today
from ui_tests.plan import ACTIVITY, MONTHS, PAYOUTS

# As Ctrl-C does: what was started is stopped.
signal.signal(signal.SIGTERM, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
log = logging.getLogger(__name__)


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Airflow, after its DAGs have landed some days, failed on others, and wait for one more."""
    home = tmp_path_factory.mktemp("airflow")
    reports, warehouse, now = home / "reports", home / "warehouse.db", today()
    until = int(midnight(now).timestamp()) - 86_400
    with StripeSandbox(data_available_end=min(until, complete_by(time.time()))) as sandbox:
        connections = {
            "AIRFLOW_CONN_STRIPE_DEFAULT": json.dumps(
                {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
            ),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(warehouse)}),
        }
        os.environ |= connections
        environment = {"AIRFLOW_VAR_STRIPE_REPORTS": str(reports), "PYTHONPATH": str(ROOT), **connections}
        it = Airflow(home, ROOT / "ui_tests" / "dags", environment)
        write_history(reports)
        land_in_table("warehouse", warehouse, "history", now)
        it.run("db", "migrate")
        it.run("dags", "reserialize")
        sandbox.inject(RunFails(), times=2)
        with it:
            backfill(it, "stripe_payouts", 4, 3)
            until_done(it, "stripe_payouts", {"failed": 2})
            backfill(it, "stripe_activity", 9, 3)
            until_done(it, "stripe_activity", {"success": 7})
            land_anew(sandbox)
            sandbox.configure(transition=AfterReads(10_000))
            backfill(it, "stripe_activity", 2, 2)
            until_done(it, "stripe_activity", {"deferred": 1})
            log.info("Airflow is ready at %s", it.url)
            yield it


def write_history(reports: Path) -> None:
    """Land two years of days, a hundred days of payouts and a year of months."""
    now = today()
    rows = {f"{now - timedelta(days=age):d%Y%m%d}": 0 for age in (16, 17, 80, 300)}
    holes = [now - timedelta(days=age) for age in (23, 24, 25, 140, 500, 501)]
    spans = [
        (midnight(day), midnight(day) + timedelta(days=1))
        for day in days(now - timedelta(days=800), now - timedelta(days=5))
        if day not in holes
    ]
    land_in_lake(reports, ACTIVITY, spans[:-5], **rows)
    land_in_lake(reports, PAYOUTS, spans[-95:])
    firsts = [midnight(day) for day in days(now - timedelta(days=400), now) if day.day == 1]
    land_in_lake(reports, MONTHS, list(pairwise(firsts))[:-1])


def land_anew(sandbox: StripeSandbox) -> None:
    """Let Stripe have a newer report run of a day that is landed, with a file of another size."""
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.reporting.parameters import ReportParameters

    time.sleep(1.1)  # later, by Stripe's seconds
    run = next(it for it in sandbox.report_runs if it.report_type == ACTIVITY)
    hook = StripeReportingHook()
    sandbox.inject(WrongSize(1))  # nobody lands it
    created = hook.create_report_run(ACTIVITY, ReportParameters.from_dict(run.parameters), idempotency_key="anew")
    while not hook.retrieve_report_run(created.id).status.is_terminal:
        pass


def backfill(it: Airflow, dag_id: str, oldest: int, newest: int) -> None:
    """Create a backfill of days that many days ago."""
    tick = timedelta(hours=13)
    first, last = (midnight(today() - timedelta(days=age - 1)) + tick for age in (oldest, newest))
    # Not by the command line: on SQLite it and the scheduler would write at once.
    dates = {"from_date": first.isoformat(), "to_date": last.isoformat()}
    it.backfill({"dag_id": dag_id, "max_active_runs": 16, **dates})


def until_done(it: Airflow, dag_id: str, wanted: dict[str, int], timeout: float = 600) -> None:
    """Wait for so many task instances in these states."""
    states: list[Any] = []

    def is_done() -> bool:
        with suppress(requests.Timeout):  # of a machine that is busy
            found = it.get(f"dags/{dag_id}/dagRuns/~/taskInstances", limit=1000)["task_instances"]
            states[:] = [instance["state"] for instance in found]
        return all(states.count(state) >= count for state, count in wanted.items())

    within(is_done, timeout, lambda: states)


def within(done: Callable[[], bool], timeout: float, story: Callable[[], Any]) -> None:
    """Wait for something, or fail with what there is instead."""
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            pytest.fail(f"did not come in {timeout:.0f} s: {story()}")
        time.sleep(0.5)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("There is no chromium: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        it = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield it
        it.close()

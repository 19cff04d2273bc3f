"""Backfill days of Stripe reports with a real Airflow, and prove that each interval came exactly once.

Environment: ``DAYS`` (7) is how many; ``KEEP=1`` leaves Airflow's UI up; ``STRIPE_API_KEY`` does it all against
Stripe itself instead of the embedded sandbox.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.sandbox import AfterSeconds, StripeSandbox
from demo.airflow import Airflow
from demo.proof import Landed, prove

ROOT = Path(__file__).parent.parent
DAG_ID, TASK_ID = "stripe_daily_activity", "activity"
REPORT_TYPE = "balance_change_from_activity.itemized.3"
DAY = timedelta(days=1)
TICK = timedelta(hours=13)
"""When the DAG runs, counted from the midnight that ends its day."""

PENDING_SECONDS = 12
"""How long a report takes in the sandbox: longer than any task wants to hold a worker."""


def main() -> int:
    """Run the demo; 0 when everything added up."""
    # As Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    days, keep = int(os.environ.get("DAYS", "7")), os.environ.get("KEEP") == "1"
    home = ROOT / ".demo" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    reports = home / "reports"
    started = time.time()
    with ExitStack() as stack:
        connection = _connection(stack)
        # For the hook in this process as for the tasks.
        os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"] = json.dumps(connection)
        hook = StripeReportingHook()
        first, last = _window(hook, days)
        _say(f"{days} days of {REPORT_TYPE}: {first:%Y-%m-%d} to {last:%Y-%m-%d}, from {connection['host']}")

        airflow = Airflow(
            home,
            ROOT / "example_dags",
            {
                "AIRFLOW_CONN_STRIPE_DEFAULT": json.dumps(connection),
                "AIRFLOW_VAR_STRIPE_REPORTS": str(reports),
                "PYTHONPATH": str(ROOT),
            },
        )
        _say(f"Airflow in {home.relative_to(ROOT)}")
        # On SQLite a backfill is created before the scheduler runs: both would write at once.
        airflow.run("db", "migrate")
        airflow.run("dags", "reserialize")
        _say(f"airflow backfill create --dag-id {DAG_ID} …")
        airflow.run(
            *("backfill", "create", "--dag-id", DAG_ID, "--max-active-runs", str(min(days, 16))),
            *("--from-date", (first + DAY + TICK).isoformat(), "--to-date", (last + DAY + TICK).isoformat()),
        )
        with airflow:
            if keep:
                _say(f"Airflow's UI is at {airflow.url}")
            _watch(airflow, days, timeout=4 * 3600 if "STRIPE_API_KEY" in os.environ else 300 + 30 * days)
            landed = _landed(airflow)
            problems = prove(hook, landed, REPORT_TYPE, first, days, since=int(started) - 60)
            for problem in problems:
                _say(f"NOT AS IT SHOULD BE: {problem}")
            if keep:
                _say(f"Airflow's UI stays up at {airflow.url}; Ctrl-C stops it.")
                with suppress(KeyboardInterrupt):
                    signal.pause()
    _say(f"Done in {time.time() - started:.0f} s.")
    return 1 if problems else 0


def _connection(stack: ExitStack) -> dict[str, Any]:
    """Return the Airflow connection, to Stripe where there is a key, else to a sandbox.

    The scope makes the report runs of this demo its own: the DAG and its runs have the same ids each time.
    """
    extra = {"idempotency_scope": f"demo-{secrets.token_hex(8)}"}
    if key := os.environ.get("STRIPE_API_KEY"):
        return {"conn_type": "stripe", "host": "https://api.stripe.com", "password": key, "extra": extra}
    sandbox = stack.enter_context(StripeSandbox(transition=AfterSeconds(PENDING_SECONDS)))
    return {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key, "extra": extra}


def _window(hook: StripeReportingHook, days: int) -> tuple[datetime, datetime]:
    """Return the first and the last of the latest days that are complete, and whose DAG run is due."""
    available = hook.retrieve_report_type(REPORT_TYPE)
    end = min(datetime.fromtimestamp(available.data_available_end, UTC), datetime.now(UTC) - TICK)
    end = end.replace(hour=0, minute=0, second=0, microsecond=0)
    first = end - days * DAY
    if first.timestamp() < available.data_available_start:
        raise SystemExit(f"The account's data begins after {first:%Y-%m-%d}; take fewer days with DAYS=…")
    return first, end - DAY


def _watch(airflow: Airflow, days: int, *, timeout: float) -> None:
    """Follow the backfill until every task has ended."""
    shown, deadline, begun = "", time.monotonic() + timeout, time.monotonic()
    while time.monotonic() < deadline:
        tasks = airflow.get(f"dags/{DAG_ID}/dagRuns/~/taskInstances", limit=10_000)["task_instances"]
        states = [task["state"] or "none" for task in tasks]
        line = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or "not begun"
        if line != shown:
            _say(f"{time.monotonic() - begun:5.1f} s  {line}")
            shown = line
        runs = airflow.get(f"dags/{DAG_ID}/dagRuns", limit=10_000)["dag_runs"]
        if len(runs) >= days and {run["state"] for run in runs} <= {"success", "failed"}:
            return
        time.sleep(1)
    raise SystemExit("The backfill did not end in time.")


def _landed(airflow: Airflow) -> list[Landed]:
    """Return what the tasks returned, by interval."""
    path = f"dags/{DAG_ID}/dagRuns/{{}}/taskInstances/{TASK_ID}/xcomEntries/return_value"
    runs = airflow.get(f"dags/{DAG_ID}/dagRuns", limit=10_000)["dag_runs"]
    entries = [
        airflow.get(path.format(run["dag_run_id"]), deserialize="true")["value"]
        for run in runs
        if run["state"] == "success"
    ]
    return sorted((Landed.of(entry) for entry in entries), key=lambda landed: landed.start)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

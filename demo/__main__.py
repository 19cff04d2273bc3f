"""Backfill days of Stripe reports with a real Airflow, twice, and prove that each interval is there exactly once.

Environment: ``DAYS`` (7) is how many; ``KEEP=1`` leaves Airflow's UI up; ``STRIPE_API_KEY`` does it all against
Stripe itself instead of the embedded sandbox.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.sandbox import AfterSeconds, StripeSandbox
from demo.airflow import Airflow
from demo.proof import DAY, Landings, create_whole, land_whole, prove

ROOT = Path(__file__).parent.parent
DAG_ID = "stripe_everywhere"
REPORT_TYPE = "balance_change_from_activity.itemized.3"
TICK = timedelta(hours=13)
"""When the DAG runs, counted from the midnight that ends its day."""

PENDING_SECONDS = 8
"""How long a report takes in the sandbox: it is pending when its task looks, and there when the trigger does."""


def main() -> int:
    """Run the demo; 0 when everything added up."""
    # As Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    logging.getLogger("airflow_reportrun").setLevel(logging.WARNING)  # what this process lands is in the proof
    days, keep = int(os.environ.get("DAYS", "7")), os.environ.get("KEEP") == "1"
    if days < 2:
        raise SystemExit("DAYS is 2 at least: they are held against one report over all of them.")
    home = ROOT / ".demo" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    landings = Landings(home / "lake", home / "warehouse.db", home / "lakehouse")
    dags, whole = ROOT / "demo" / "dags", home / "whole.parquet"
    started = time.time()
    with ExitStack() as stack:
        connection = _connection(stack)
        # For the hook in this process as for the tasks.
        os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"] = json.dumps(connection)
        hook = StripeReportingHook()
        first, last = _window(hook, days)
        _say(f"{days} days of {REPORT_TYPE}: {first:%Y-%m-%d} to {last:%Y-%m-%d}, from {connection['host']}")
        starts = [int(first.timestamp()) + day * DAY for day in range(days)]
        proven = partial(prove, hook, landings, REPORT_TYPE, first, days, since=int(started) - 60, whole=whole)
        airflow = Airflow(
            home,
            dags,
            {
                "AIRFLOW_CONN_STRIPE_DEFAULT": json.dumps(connection),
                "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(landings.warehouse)}),
                "AIRFLOW_VAR_STRIPE_LAKE": str(landings.lake),
                "AIRFLOW_VAR_STRIPE_LAKEHOUSE": str(landings.lakehouse),
                # The DAG files don't change while this runs.
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
                "PYTHONPATH": f"{ROOT}:{ROOT / 'demo' / 'settings'}",
            },
        )
        patience = 4 * 3600 if "STRIPE_API_KEY" in os.environ else 300 + 60 * days
        with _saying(f"Airflow in {home.relative_to(ROOT)}: its database"):
            airflow.run("db", "migrate")
        with _saying("API server, DAG processor, triggerer, scheduler"):
            stack.enter_context(airflow)
            _wait_for_dags(airflow, len(list(dags.glob("*.py"))))

        _backfill(airflow, first, last)
        in_one = create_whole(hook, REPORT_TYPE, first, days)
        _watch(airflow, days, timeout=patience)
        land_whole(hook, in_one, whole)
        problems = proven(created=days)
        if not problems:
            _say("Each interval exactly once, and the days add up to the whole, to the row and to the cent.")
            before = [landings.state(start) for start in starts]
            _say("\nThe same days once more:")
            _backfill(airflow, first, last, reprocess_behavior="completed")
            _watch(airflow, days, timeout=patience)
            problems = proven(created=2 * days)
            if [landings.state(start) for start in starts] != before:
                problems.append("a second backfill changed what was landed")
        if not problems:
            _say("New report runs, the same figures: no file and no row has changed.")
            spoilt = days // 2
            day = first + timedelta(days=spoilt)
            _say(f"\nThe file of {day:%Y-%m-%d} is cut, many of its rows are deleted, and the day is cleared:")
            landings.spoil(starts[spoilt])
            _clear(airflow, day)
            _watch(airflow, days, timeout=patience)
            problems = proven(created=2 * days + 1)
            after = [landings.state(start) for start in starts]
            if [start for start in range(days) if after[start] != before[start]] != [spoilt]:
                problems.append("the clear did not replace that day alone")
        if not problems:
            _say("The day is whole again, and it alone was replaced.")
        for problem in problems:
            _say(f"NOT AS IT SHOULD BE: {problem}")
        if keep:
            _say(f"Airflow's UI stays up at {airflow.url}; Ctrl-C stops it.")
            with suppress(KeyboardInterrupt):
                signal.pause()
        with _saying("Stopping Airflow"):
            stack.close()
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
    first = end - timedelta(days=days)
    if first.timestamp() < available.data_available_start:
        raise SystemExit(f"The account's data begins after {first:%Y-%m-%d}; take fewer days with DAYS=…")
    return first, end - timedelta(days=1)


def _wait_for_dags(airflow: Airflow, count: int) -> None:
    """Wait until the DAG processor has stored all DAGs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if airflow.get("dags/~/dagVersions")["total_entries"] >= count:
            return
        time.sleep(0.5)
    raise SystemExit("Airflow did not find the DAGs in time.")


def _backfill(airflow: Airflow, first: datetime, last: datetime, **options: str) -> None:
    """Create a backfill, after the one before it: a DAG has one at a time."""
    ticks = [(day + timedelta(days=1) + TICK).isoformat() for day in (first, last)]
    asked = {"dag_id": DAG_ID, "from_date": ticks[0], "to_date": ticks[1], "max_active_runs": 16, **options}
    _say(f"POST /api/v2/backfills {json.dumps(asked)}")
    airflow.backfill(asked)


def _watch(airflow: Airflow, days: int, *, timeout: float) -> None:
    """Follow the DAG runs until all of them have ended."""
    begun = said = time.monotonic()
    shown = ""
    while (now := time.monotonic()) < begun + timeout:
        tasks = airflow.get(f"dags/{DAG_ID}/dagRuns/~/taskInstances", limit=10_000)["task_instances"]
        states = [task["state"] or "none" for task in tasks]
        line = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or "not begun"
        if line != shown or now > said + 5:
            _say(f"{now - begun:5.1f} s  {line}")
            shown, said = line, now
        if set(states) <= {"success", "failed", "upstream_failed"}:
            runs = airflow.get(f"dags/{DAG_ID}/dagRuns", limit=10_000)["dag_runs"]
            if len(runs) >= days and {run["state"] for run in runs} <= {"success", "failed"}:
                return
        time.sleep(2)
    raise SystemExit("The DAG runs did not end in time.")


def _clear(airflow: Airflow, day: datetime) -> None:
    """Clear all tasks of the DAG run of a day."""
    tick = day + timedelta(days=1) + TICK
    runs = airflow.get(f"dags/{DAG_ID}/dagRuns", limit=10_000)["dag_runs"]
    (run_id,) = (run["dag_run_id"] for run in runs if datetime.fromisoformat(run["run_after"]) == tick)
    airflow.post(
        f"dags/{DAG_ID}/clearTaskInstances",
        {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True},
    )


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Say what a block does, and every five seconds that it still does."""
    over, begun = threading.Event(), time.monotonic()

    def go_on() -> None:
        while not over.wait(5):
            _say(f"{time.monotonic() - begun:5.1f} s")

    _say(what)
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

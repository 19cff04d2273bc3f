"""The recipes that take a scheduler: a month over its days, a deadline, an approval; and OpenLineage."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any

import pytest

from airflow_reportrun.sandbox import AtOnce
from system_tests.stage import ONE_LOOK, Stage
from tests.evidence import files, hits

MONTH, DAYS = "2026-02", 28
CLOSE, AGAIN, DAILY, RESTATING = "stripe_month_close", "stripe_month_again", "stripe_days", "stripe_days_again"
DEADLINE, APPROVAL = "stripe_month_deadline", "stripe_restate_with_approval"


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An Airflow that lands the days of a month, tells OpenLineage's file, and starts no DAG by the clock."""
    home = tmp_path_factory.mktemp("recipes")
    with Stage(home, "dags_of_recipes") as it:
        transport = {"type": "file", "log_file_path": str(home / "lineage.jsonl"), "append": True}
        it.airflow.environment["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps(transport)
        it.airflow.environment["AIRFLOW__OPENLINEAGE__SELECTIVE_ENABLE"] = "True"
        it.sandbox.configure(transition=ONE_LOOK)
        it.airflow.run("db", "migrate")
        it.airflow.run("dags", "reserialize")
        it.airflow.start("api-server")
        it.backfill("lineage", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), at_once=1)
        first, last = datetime(2026, 2, 2, tzinfo=UTC), datetime(2026, 3, 1, 23, tzinfo=UTC)
        it.backfill(DAILY, first, last, at_once=8)
        with it.airflow:
            ended = lambda: it.states("lineage") == ["success"] * 2  # noqa: E731
            it.until(ended, "the end of the deferred tasks", "lineage", timeout=240)
            it.sandbox.configure(transition=AtOnce())
            it.until(lambda: len(runs(it, DAILY, "success")) == DAYS, "the end of the days", DAILY, timeout=400)
            yield it


def runs(stage: Stage, dag_id: str, *states: str) -> list[dict[str, Any]]:
    return [run for run in stage.dag_runs(dag_id) if run["state"] in (states or (run["state"],))]


def keys(stage: Stage, dag_id: str) -> Counter[str]:
    """Return how many runs of a DAG have succeeded, by their partition."""
    return Counter(run["partition_key"] for run in runs(stage, dag_id, "success"))


def read(stage: Stage, name: str) -> str:
    return (stage.reports / name).read_text()


def test_a_month_closes_when_all_its_days_have_come(recipes: Stage) -> None:
    """Once, with a report of the month that says what its days say."""
    recipes.until(lambda: keys(recipes, CLOSE) == {MONTH: 1}, "the close", CLOSE)
    assert len(list((recipes.reports / "days").glob(f"{MONTH}-*.csv"))) == DAYS
    days = [set(read(recipes, f"days/{MONTH}-{day:02}.csv").splitlines()[1:]) for day in range(1, DAYS + 1)]
    assert set(read(recipes, f"months/{MONTH}.csv").splitlines()[1:]) == set().union(*days)
    (compared,) = [it for it in recipes.task_instances(CLOSE) if it["task_id"] == "compare"]
    assert compared["state"] == "success"


def test_a_day_that_is_landed_again_does_not_close_its_month_again(recipes: Stage) -> None:
    """Airflow's roll-up waits for all days anew; a restated day has an asset of its own, which does."""
    recipes.until(lambda: keys(recipes, CLOSE) == {MONTH: 1}, "the close", CLOSE)
    day = next(it for it in recipes.dag_runs(DAILY) if it["logical_date"].startswith("2026-02-11"))
    body = {"dry_run": False, "dag_run_id": day["dag_run_id"], "only_failed": False, "reset_dag_runs": True}
    recipes.airflow.post(f"dags/{DAILY}/clearTaskInstances", body)
    before = len(recipes.runs(None))
    recipes.trigger(RESTATING, logical_date=datetime(2026, 3, 3, 14, tzinfo=UTC))
    restated = lambda: keys(recipes, AGAIN).keys() >= {MONTH, "2026-03"} and not runs(recipes, AGAIN, "running")  # noqa: E731
    recipes.until(restated, "the restated month", RESTATING, AGAIN, timeout=240)
    recipes.until(lambda: len(runs(recipes, DAILY, "success")) == DAYS, "the cleared day", DAILY)
    states = {(it["task_id"], it["state"]) for it in recipes.task_instances(AGAIN)}
    assert states >= {("compare", "success"), ("compare", "skipped")}, recipes.story(AGAIN)
    assert len(recipes.runs(None)) >= before + 5  # four days, and the month
    assert keys(recipes, CLOSE) == {MONTH: 1}


def test_a_month_that_is_late_is_told(recipes: Stage) -> None:
    """Its report is still pending when the deadline has passed; the triggerer sends the message."""
    told: list[Any] = []

    class Alerts(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Alerts) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_port, "schema": "http"}
        recipes.airflow.post("connections", {"connection_id": "finance_alerts", **where})
        gate = recipes.hold()
        recipes.trigger(DEADLINE, logical_date=datetime(2026, 2, 1, tzinfo=UTC))
        recipes.until(lambda: bool(told), "the message", DEADLINE)
        assert told == [{"text": "Stripe's report of the month is late."}]
        assert not runs(recipes, DEADLINE, "success")
        gate.open()
        recipes.sandbox.configure(transition=AtOnce())
        recipes.until(lambda: bool(runs(recipes, DEADLINE, "success")), "the report", DEADLINE)
        server.shutdown()


@pytest.mark.parametrize("answer", ["Reject", "Approve"])
def test_restated_figures_land_when_they_are_approved(recipes: Stage, answer: str) -> None:
    """Nobody's books change before, and a rejection leaves them as they are."""
    book = recipes.reports / "months" / "2026-01.csv"
    book.parent.mkdir(parents=True, exist_ok=True)
    recipes.trigger(APPROVAL, logical_date=datetime(2026, 2, 5, 13, 0, answer == "Approve", tzinfo=UTC))
    run_id = recipes.dag_runs(APPROVAL)[-1]["dag_run_id"]
    path = f"dags/{APPROVAL}/dagRuns/{run_id}"
    asked = lambda: recipes.airflow.get(f"{path}/hitlDetails")["hitl_details"]  # noqa: E731
    recipes.until(lambda: "awaiting_input" in recipes.states(APPROVAL), "the question", APPROVAL)
    # A person takes longer than the scheduler, which fails what goes on before it has heard of the pause (3.3.2).
    time.sleep(10)
    assert "eur: None in the books" in asked()[0]["body"]
    assert not book.exists()
    recipes.airflow.patch(
        f"{path}/taskInstances/approve/-1/hitlDetails", {"chosen_options": [answer], "params_input": {}}
    )
    recipes.until(lambda: len(runs(recipes, APPROVAL, "running", "queued")) == 0, "the end", APPROVAL)
    assert book.exists() == (answer == "Approve"), recipes.story(APPROVAL)


@pytest.mark.skipif(find_spec("openlineage") is None, reason="Airflow's provider of OpenLineage is not installed")
def test_openlineage_is_told_of_deferred_mapped_tasks_of_a_partition(recipes: Stage) -> None:
    """Two starts and one end each, of one run; at the end, the file and the interval."""
    lines = (recipes.reports.parent / "lineage.jsonl").read_text().splitlines()
    events = [event for event in map(json.loads, lines) if event["job"]["name"] == "lineage.report"]
    by_run: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_run.setdefault(event["run"]["runId"], []).append(event)
    assert [[it["eventType"] for it in told] for told in by_run.values()] == [["START", "START", "COMPLETE"]] * 2
    ends = sorted((told[-1] for told in by_run.values()), key=lambda it: it["outputs"][0]["name"])
    for currency, index, end in zip(("eur", "usd"), (0, 1), ends, strict=True):
        facets = end["run"]["facets"]
        assert end["outputs"][0]["name"] == str(recipes.reports / currency / "2026-02-01.csv")
        assert end["inputs"][0]["namespace"] == "stripe://acct_lineage"
        assert facets["stripe_reportRun"]["mapIndex"] == index
        assert facets["nominalTime"]["nominalStartTime"] == "2026-02-01T00:00:00Z"
        assert facets["nominalTime"]["nominalEndTime"] == "2026-02-02T00:00:00Z"
    assert recipes.sandbox.api_key not in "".join(lines)


def test_no_secret_is_in_the_database_and_the_logs(recipes: Stage) -> None:
    """After all that was run here: of Airflow's processes and of each task, and in what OpenLineage was told."""
    home = recipes.reports.parent
    evidence = list(files(home))
    names = [name for name, _ in evidence]
    assert any(name.endswith("airflow.db") for name in names)
    assert any("task_id=report" in name and name.endswith(".log") for name in names)
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        dump = "\n".join(database.iterdump())
    key, run = recipes.sandbox.api_key, recipes.sandbox.report_runs[0]
    found = hits([*evidence, ("the database", dump.encode())], {"the key": key, "a file's address": "/contents"})
    assert found == []
    assert hits([("the database", dump.encode())], {"a report run": run.id})

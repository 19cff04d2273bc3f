"""A connection that Airflow does not give: a try fails and no more, since a retry may be given it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException
from airflow.providers.sqlite.hooks.sqlite import SqliteHook

from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.landing.lakehouse.delta.storage import location_of
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.reporting.errors import ConfigurationError, ConnectionLookUpError, ReportingError
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from airflow_reportrun.waiting import watcher
from airflow_reportrun.waiting.goals import ReportRunEnds
from airflow_reportrun.waiting.loop import look
from airflow_reportrun.waiting.pace import Watch
from tests.s3 import S3
from tests.task_runner import TaskRunner, in_dag
from tests.versions import AIRFLOW, needs_airflow

TYPE = "balance_change_from_activity.itemized.3"
STRIPE, DATABASE, STORE = "AIRFLOW_CONN_STRIPE_DEFAULT", "AIRFLOW_CONN_WAREHOUSE", "AIRFLOW_CONN_S3_REPORTS"


def finished(sandbox: StripeSandbox) -> str:
    from airflow_reportrun.reporting.parameters import ReportParameters

    sandbox.configure(transition=AtOnce())
    return (
        StripeReportingHook()
        .create_report_run(TYPE, ReportParameters(interval_start=1714521600, interval_end=1714608000))
        .id
    )


TASKS: dict[str, tuple[type, dict[str, Any], str]] = {
    "run": (StripeReportRunOperator, {"report_type": TYPE}, STRIPE),
    "run, deferrable": (StripeReportRunOperator, {"report_type": TYPE, "deferrable": True}, STRIPE),
    "run into a store": (
        StripeReportRunOperator,
        {"report_type": TYPE, "destination": "s3://s3_reports@reports/run.csv"},
        STORE,
    ),
    "download": (StripeReportDownloadOperator, {"report_run_id": "", "destination": "{tmp}/x.csv"}, STRIPE),
    "download into a store": (
        StripeReportDownloadOperator,
        {"report_run_id": "", "destination": "s3://s3_reports@reports/download.csv"},
        STORE,
    ),
    "table": (StripeReportToSqlOperator, {"report_run_id": "", "table": "t", "conn_id": "warehouse"}, STRIPE),
    "table, its database": (
        StripeReportToSqlOperator,
        {"report_run_id": "", "table": "t", "conn_id": "warehouse"},
        DATABASE,
    ),
    "sensor": (StripeReportRunSensor, {"report_run_id": ""}, STRIPE),
    "sensor, deferrable": (StripeReportRunSensor, {"report_run_id": "", "deferrable": True}, STRIPE),
    "sensor, reschedule": (StripeReportRunSensor, {"report_run_id": "", "mode": "reschedule"}, STRIPE),
    "sensor of data": (StripeReportTypeSensor, {"report_type": TYPE}, STRIPE),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_connection_that_comes_back_is_found_by_a_retry(
    name: str, stripe_conn: StripeSandbox, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a blip of Airflow's database; no try before is the last one, and nothing was asked of Stripe."""
    task_class, options, variable = TASKS[name]
    options = {k: v.format(tmp=tmp_path) if k == "destination" else v for k, v in options.items()}
    if "report_run_id" in options:
        options["report_run_id"] = finished(stripe_conn)
    database = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv(DATABASE, json.dumps(database))
    stripe_conn.configure(transition=AtOnce())
    runner = TaskRunner()
    known = len(stripe_conn.report_runs)
    with monkeypatch.context() as blip:
        blip.delenv(variable)
        tried = runner.run(in_dag(task_class, **options))
    assert tried.state == "up_for_retry"
    assert "there is no Airflow connection '" in str(tried.error)
    assert len(stripe_conn.report_runs) == known
    tried = runner.run(in_dag(task_class, **options), try_number=2)
    assert tried.state == "success", tried.error


@pytest.mark.parametrize("of", [place_of, location_of])
def test_a_provider_that_is_given_no_connection_does_not_land_by_the_workers_credentials(
    of: Callable[[str], object], s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks Airflow after us: a database that went down in between looks like a connection that is missing."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    monkeypatch.setenv("AIRFLOW_CONN_BLINKING", s3.environ[STORE])

    def goes_down(conn_id: str) -> None:
        monkeypatch.delenv("AIRFLOW_CONN_BLINKING")
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setattr(S3Hook, "get_connection", staticmethod(goes_down))
    with pytest.raises(ConnectionLookUpError, match="'blinking'"):
        of("s3://blinking@reports/blinking")


def test_a_database_whose_hook_is_given_no_connection_is_asked_for_by_a_retry(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks Airflow after us, too, and its error is Airflow's own."""
    database = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv(DATABASE, json.dumps(database))

    def goes_down(conn_id: str) -> None:
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setattr(SqliteHook, "get_connection", staticmethod(goes_down))
    task = in_dag(StripeReportToSqlOperator, report_run_id=finished(stripe_conn), table="t", conn_id="warehouse")
    tried = TaskRunner().run(task)
    assert tried.state == "up_for_retry"
    assert "isn't defined" in str(tried.error)


class Broken(StripeReportingHook):
    """A hook for which Airflow's look-up fails."""

    error: Exception

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Fail."""
        raise cls.error


class BrokenAsync(StripeReportingAsyncHook):
    """The same for the other colour."""

    get_connection = Broken.get_connection
    error: Exception

    @classmethod
    async def aget_connection(cls, conn_id: str) -> Any:
        """Fail."""
        raise cls.error


URI = "stripe://:sk_live_secret@x://y://z"


@pytest.mark.parametrize(
    "error", [AirflowException(f"Invalid connection string: {URI}."), ValueError(URI), KeyError(URI), OSError(URI)]
)
def test_whatever_a_look_up_raises_ends_the_try_and_is_not_quoted(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's words may hold a whole URI; and a wait does not go on for hours without a connection."""
    Broken.error = BrokenAsync.error = error
    monkeypatch.setattr(watcher, "StripeReportingAsyncHook", BrokenAsync)
    monkeypatch.setattr(watcher, "LOOK_UP_PAUSES", (0.1, 0.2))

    async def in_a_loop() -> Any:
        await watcher.wait_together(watcher.Whose("stripe_default"), ReportRunEnds("frr_1"), Watch(0, 2**33, 10))

    for ask in (lambda: look(Broken(), ReportRunEnds("frr_1")), lambda: asyncio.run(in_a_loop())):
        with pytest.raises(ConnectionLookUpError, match=f"'stripe_default'.*{type(error).__name__}") as caught:
            ask()
        assert caught.value.is_transient
        assert caught.value.__context__ is None
        assert "secret" not in str(caught.value)


def test_a_connection_that_says_something_wrong_is_final(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry would read the same."""
    extra = EXTRAS["a name twice"]
    monkeypatch.setenv(STRIPE, json.dumps({"conn_type": "stripe", "password": "sk_test_1", "extra": extra}))
    for task_class, options in (
        (StripeReportRunOperator, {"report_type": TYPE}),
        (StripeReportRunSensor, {"report_run_id": "frr_1"}),
    ):
        tried = TaskRunner().run(in_dag(task_class, **options))
        assert tried.state == "failed"
        assert "the extra is no JSON object" in str(tried.error)


EXTRAS = {
    "a comma too many": '{"stripe_account": "acct_1",}',
    "single quotes": "{'stripe_account': 'acct_1'}",
    "a name twice": '{"stripe_account": "acct_1", "stripe_account": "acct_2"}',
    "a list": '["acct_1"]',
    "encoded twice": json.dumps('{"stripe_account": "acct_1"}'),
}


@pytest.mark.parametrize("broken", EXTRAS)
@pytest.mark.parametrize("form", ["json", "uri"])
def test_an_extra_that_airflow_drops_is_refused_in_both_colours(
    broken: str, form: str, stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the connection is written down; the platform's own account is asked nothing."""
    extra = EXTRAS[broken]
    refused: type[ReportingError] = ConfigurationError
    words = "the extra is"
    if (3, 0) <= AIRFLOW < (3, 2) and broken != "a name twice":  # Airflow drops the whole connection
        refused, words = ConnectionLookUpError, "there is no Airflow connection 'stripe_default'.* can't parse"
    if form == "json":
        value = json.dumps(
            {"conn_type": "stripe", "host": stripe_conn.url, "password": "sk_test_sandbox", "extra": extra}
        )
    else:
        host, _, port = stripe_conn.url.removeprefix("http://").partition(":")
        query = str(httpx.QueryParams({"__extra__": extra}))
        value = f"stripe://:sk_test_sandbox@{host}:{port}/http?{query}"
    monkeypatch.setenv(STRIPE, value)

    async def in_a_loop() -> Any:
        async with StripeReportingAsyncHook() as hook:
            return await hook.list_report_types_async()

    for ask in (StripeReportingHook().list_report_types, lambda: asyncio.run(in_a_loop())):
        with pytest.raises(refused, match=words) as caught:
            ask()
        assert "acct_1" not in str(caught.value)
    assert stripe_conn.requests == []


@needs_airflow(3, 1, "triggers in the process of airflow dags test")
def test_a_trigger_finds_a_connection_where_airflow_can_not_look_it_up_asynchronously(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``airflow dags test`` runs triggers under a supervisor that has no asynchronous call."""
    from airflow.sdk.api.client import Client
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor

    from airflow_reportrun.triggers import StripeReportRunTrigger

    run_id = finished(stripe_conn)
    stored = {"conn_id": "stored", "conn_type": "stripe", "host": stripe_conn.url, "password": "sk_test_sandbox"}
    stored |= dict.fromkeys(("schema", "login", "port", "extra"))  # type: ignore[arg-type]
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=stored)

    client = Client(base_url="http://airflow.invalid", token="", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(InProcessTestSupervisor, "_api_client", staticmethod(lambda dag=None: client))
    trigger = StripeReportRunTrigger(report_run_id=run_id, stripe_conn_id="stored", deadline=2e9, since=0)
    ti = SimpleNamespace(id=uuid.uuid4())
    event = InProcessTestSupervisor.run_trigger_in_process(trigger=trigger, ti=ti)
    assert event.payload["outcome"] == "succeeded"
    assert asked == ["/connections/stored"]


def test_a_key_that_stands_where_a_connection_is_named_is_not_shown() -> None:
    """Airflow's own error has its name."""
    with pytest.raises(ReportingError) as caught:
        StripeReportingHook("sk_live_misplaced").list_report_types()
    assert "misplaced" not in str(caught.value)

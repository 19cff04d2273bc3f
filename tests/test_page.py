from __future__ import annotations

import json
import re
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock
from uuid import uuid4

import pytest

from airflow_reportrun.reporting.errors import ConfigurationError
from tests.versions import AIRFLOW, LACKS, DagSerialization

if AIRFLOW < (3, 1):
    pytest.skip(f"{LACKS} such pages", allow_module_level=True)

from airflow.sdk import DAG
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, insert, select
from sqlalchemy.orm import Session

from airflow_reportrun.coverage.landings import Landing
from airflow_reportrun.coverage.series import series_of
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.page import server
from airflow_reportrun.page.dag_runs import Progress, progress_of
from airflow_reportrun.page.readings import Readings
from airflow_reportrun.page.report_tasks import (
    Asked,
    Asker,
    Lander,
    ReportTask,
    StoredTasks,
    Where,
    covering,
    filters_of,
    landers_of,
    read_rendered,
    stored_dag,
)
from airflow_reportrun.page.shelves import FAILED, LATE, LETTERS, PENDING, Contents, Shelf, read_contents
from airflow_reportrun.page.shown import may_see, not_landed_yet, shown_in, with_progress
from airflow_reportrun.plugin import PREFIX, serve

DAY = 86_400
FIRST = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp())
NOW = FIRST + 10 * DAY
REPORT = "balance_change_from_activity.itemized.3"
KEY = Asker()


def landing(day: int, **about: Any) -> Landing:
    bounds = {"interval_start": FIRST + day * DAY, "interval_end": FIRST + (day + 1) * DAY}
    it = {"report_type": REPORT, "stripe_account": None, "filters": {}, **bounds, "format": "csv", **about}
    return Landing(path=f"/{day}", told_at=f"/{day}.json", **it)


def shelf(*days: int, **about: Any) -> Shelf:
    (series,) = series_of([landing(day, **about) for day in days], now=NOW)
    return Shelf.of(series, Where("/lake"), NOW)


def run_of(
    day: int,
    state: str,
    asker: Asker | None = KEY,
    report: str = "balance_change_from_activity.itemized",
    filters: Mapping[str, str] | None = None,
    format: str | None = None,
) -> Progress:
    span = FIRST + day * DAY, FIRST + (day + 1) * DAY
    return Progress(span, state, frozenset({report}), filters, asker, "books", f"run_{day}", -1, format)


def stored(build: Callable[[], Any]) -> Any:
    """Return a DAG with these tasks, as Airflow stores and reads it."""
    with DAG("books", schedule="0 13 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        build()
    it = stored_dag(DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag)))))
    assert it is not None
    return it


# --- What Airflow has stored ---------------------------------------------------------------------------------


def test_a_stored_dag_tells_where_its_tasks_land() -> None:
    """Without its file: templated options as they were rendered, and ``interval``, which is none."""
    it = stored(
        lambda: StripeReportRunOperator(
            task_id="report",
            report_type=REPORT,
            interval="day",
            destination="{{ var.value.root }}/{interval_start}.csv",
        )
    )
    (lander,) = landers_of(it.tasks, {"report": [{"destination": "s3://lake@books/days/{interval_start}.csv"}]})
    assert lander.where == {Where("s3://lake@books/days")}
    assert (lander.reports, lander.askers) == ({"balance_change_from_activity.itemized"}, {KEY})
    assert lander.feeders[0].fields["interval"] == "day"


def test_the_newest_version_of_a_dag_counts() -> None:
    """Airflow keeps those before, and DAGs that are there no longer."""
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from airflow.models.dag import DagModel
    from airflow.models.serialized_dag import SerializedDagModel

    import_all_models()
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for dag_id, day, root, stale in (
            ("books", 2, "/new", False),
            ("books", 1, "/old", False),
            ("x", 1, "/x", True),
        ):
            with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
                StripeReportRunOperator(task_id="report", report_type=REPORT, destination=f"{root}/")
            at = datetime(2026, 1, day, tzinfo=UTC)
            version = {"dag_id": dag_id, "data": DagSerialization.to_dict(dag), "dag_hash": root, "created_at": at}
            ids = {"id": uuid4(), "dag_version_id": uuid4(), "last_updated": at}
            session.execute(insert(SerializedDagModel.__table__).values(**version, **ids))
            session.merge(DagModel(dag_id=dag_id, is_stale=stale, bundle_name="dags"))
        stored = StoredTasks()
        for _ in range(2):
            found = stored.read(session)
            assert [it.fields["destination"] for it in found.pop("books").tasks] == ["/new/"]
            assert not found


def test_a_task_that_never_ran_tells_nothing_of_a_template() -> None:
    """Its DAG's code would have to be run."""
    it = stored(
        lambda: StripeReportRunOperator(task_id="report", report_type=REPORT, destination="{{ params.to }}/")
    )
    (lander,) = landers_of(it.tasks, {})
    assert lander.where == set()


def test_a_table_is_fed_by_the_task_before_it() -> None:
    """The landing task says where, the one before says what."""

    def build() -> None:
        report = StripeReportRunOperator(task_id="report", report_type=REPORT, stripe_account="acct_1")
        StripeReportToSqlOperator(
            task_id="to_table",
            report_run_id=report.output,
            conn_id="warehouse",
            table="activity",
            hook_params={"database": "finance"},
        )

    (lander,) = landers_of(stored(build).tasks, {})
    assert lander.where == {Where("", "warehouse", "activity", '{"database": "finance"}')}
    assert lander.askers == {Asker("stripe_default", "acct_1")}


def test_mapped_tasks_are_told_apart_by_what_they_rendered() -> None:
    """Each account is an asker of its own."""
    it = stored(
        lambda: StripeReportRunOperator.partial(
            task_id="report", report_type=REPORT, interval="day", destination="/lake/"
        ).expand(stripe_account=["acct_1", "acct_2"])
    )
    rendered = [{"destination": "/lake/", "stripe_account": account} for account in ("acct_1", "acct_2")]
    (lander,) = landers_of(it.tasks, {"report": rendered})
    assert {asker.stripe_account for asker in lander.askers} >= {"acct_1", "acct_2"}
    assert lander.feeders[0].fields["interval"] == "day"


def test_what_another_task_rendered_hides_nothing() -> None:
    """A task that is mapped over hundreds runs in the same DAG runs."""
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Fields

    it = stored(
        lambda: StripeReportRunOperator(task_id="report", report_type=REPORT, destination="{{ params.to }}/")
    )
    import_all_models()
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with Session(engine) as session:
        run = {"dag_id": "books", "run_id": "run", "run_type": "manual", "run_after": at, "state": "success"}
        session.execute(insert(DagRun.__table__).values(**run, log_template_id=1))
        for task_id, map_index in (("report", -1), *(("others", number) for number in range(310))):
            instance = {"dag_id": "books", "run_id": "run", "task_id": task_id, "map_index": map_index}
            fields = {"destination": "/lake/"} if task_id == "report" else {}
            session.execute(insert(Fields.__table__).values(**instance, rendered_fields=fields))
        (lander,) = landers_of(it.tasks, read_rendered(session, {"books": it})["books"])
    assert lander.where == {Where("/lake")}


def test_a_folder_in_another_one_is_read_with_it() -> None:
    """It would be shown twice."""
    outer, inner, other = Where("/lake"), Where("/lake/days"), Where("/lakes")
    assert covering([inner, outer, other]) == {inner: outer, outer: outer, other: other}


# --- What is shown -------------------------------------------------------------------------------------------


def test_a_failed_run_and_a_pending_one_are_shown_where_nothing_is_landed() -> None:
    """What is landed stays landed, whatever its task does now."""
    runs = [run_of(1, "f"), run_of(2, "p"), run_of(0, "f")]
    it = with_progress(shelf(0, 3), [], runs)
    assert it.shelf.states.startswith("lfpl")
    assert set(it.under_way) == {FIRST + 2 * DAY, FIRST + 3 * DAY}


def test_of_two_runs_of_an_interval_the_failed_one_counts() -> None:
    """Whoever closes the books has to see it."""
    it = with_progress(shelf(0, 3), [], [run_of(1, "p"), run_of(1, "f")])
    assert it.shelf.states[1] == "f"


def test_runs_before_the_first_landing_are_shown() -> None:
    """And what lies between is missing."""
    it = with_progress(shelf(3, 4), [], [run_of(1, "f")])
    assert (it.shelf.states[:4], it.shelf.start) == ("fmll", FIRST + DAY)


def test_runs_of_a_report_that_was_never_landed_have_a_series() -> None:
    """The first days of a DAG are when it fails."""
    runs = [run_of(1, "f"), run_of(2, "p")]
    (it,) = not_landed_yet(Where("/lake"), runs, NOW)
    assert with_progress(it, [], runs).shelf.states.startswith("fp")


def test_runs_of_an_account_that_has_nothing_landed_yet_are_its_own() -> None:
    """One account that fails says nothing of another."""
    askers = [Asker(stripe_account=name) for name in ("acct_1", "acct_2")]
    runs = [run_of(day, state, asker) for day, state, asker in zip((1, 1), "fp", askers, strict=True)]
    found = shown_in(Where("/lake"), Contents((), {}), [lander("books")], [], runs, now=NOW)
    states = {it.shelf.about.stripe_account: it.shelf.states[0] for it in found}
    assert states == {"acct_1": "f", "acct_2": "p"}


def test_runs_are_shown_where_their_filters_are() -> None:
    """One currency that fails says nothing of another; of a task whose filters nobody knows, each may be it."""
    eur = {"filters": {"currency": "eur"}}
    runs = [run_of(1, "f", filters={"currency": name}) for name in ("usd", "gbp")] + [run_of(2, "p")]
    contents = Contents((shelf(0, 3, **eur), shelf(0, 3, filters={"currency": "usd"})), {KEY: None})
    it = {
        one.shelf.about.filters["currency"]: one.shelf.states[:4]
        for one in shown_in(Where("/lake"), contents, [lander("books")], [], runs, now=NOW)
    }
    assert it == {"eur": "lmpl", "usd": "lfpl", "gbp": "fmmm"}


def test_runs_are_shown_in_the_format_that_they_land() -> None:
    """Where the same intervals are landed in two: what lands one of them says nothing of the other."""
    runs = [run_of(1, "f", format="parquet"), run_of(2, "p")]
    landed = [landing(day, format=name) for day in (0, 3) for name in ("csv", "parquet")]
    shelves = tuple(Shelf.of(it, Where("/lake"), NOW) for it in series_of(landed, now=NOW))
    contents = Contents(shelves, {KEY: None})
    csv, parquet = shown_in(Where("/lake"), contents, [lander("books")], [], runs, now=NOW)
    assert (csv.shelf.states[:4], parquet.shelf.states[:4]) == ("lmpl", "lfpl")


def test_runs_with_a_parameter_that_no_folder_tells_are_shown_in_its_series() -> None:
    """In the default layout, whose folders have names for those that are known."""
    runs = [run_of(1, "f", filters={"currency": "usd", "sort": "a"})]
    usd, others = shelf(0, 3, filters={"currency": "usd"}), shelf(0, 3)
    (first, second) = shown_in(
        Where("/lake"), Contents((usd, others), {KEY: None}), [lander("books")], [], runs, now=NOW
    )
    assert (first.shelf.states[:4], second.shelf.states[:4]) == ("lfml", "lmml")


def test_what_a_task_chooses_rows_by_is_told_by_its_fields() -> None:
    """As its report run's parameters have it; a template tells nothing before it was rendered."""
    task = ReportTask("books", "report", True, {"currency": "{{ params.it }}", "parameters": {"sort": "a"}})
    assert filters_of(task, {}) is None
    assert filters_of(task, {"currency": "usd"}) == {"currency": "usd", "sort": "a"}
    assert filters_of(ReportTask("books", "report", True, {"columns": ["net"]}), {}) == {}


def test_what_a_mapped_task_chooses_rows_by_is_told_by_its_instances() -> None:
    """Before they run nobody knows it, and afterwards each has its own."""
    asked: dict[str, Any] = {"task_id": "it", "report_type": REPORT, "destination": "/lake/"}
    (task,) = stored(lambda: StripeReportRunOperator.partial(**asked).expand(currency=["usd", "eur"])).tasks
    assert filters_of(task, {}) is None
    assert [filters_of(task, {"currency": it, "payout": None}) for it in ("usd", "eur")] == [
        {"currency": "usd"},
        {"currency": "eur"},
    ]


@pytest.mark.parametrize("others", [{"interval_start": "2026-05-01"}, {"timezone": "{{ params.zone }}"}], ids=str)
def test_parameters_that_choose_no_rows_tell_nothing(others: dict[str, str]) -> None:
    """Not even where the task refuses them: the page is there for all who look at it."""
    task = ReportTask("books", "report", True, {"parameters": {"currency": "usd", **others}})
    assert filters_of(task, {}) == {"currency": "usd"}


def failed(build: Callable[[], Any], task_id: str) -> list[Progress]:
    """Return what is told of a task of a DAG whose one run has failed."""
    it, at = stored(build), datetime(2026, 1, 2, 13, tzinfo=UTC)
    run = SimpleNamespace(run_id="it", state="failed", run_after=at, run_type="scheduled", logical_date=at)
    run.data_interval_start = run.data_interval_end = at
    session = mock.Mock(execute=mock.Mock(side_effect=[[(task_id, -1, "failed", run)], []]))
    (task,) = (one for one in it.tasks if one.task_id == task_id)
    return progress_of(session, Lander(task, [one for one in it.tasks if one.asks]), it.dag)


def test_what_reports_on_one_payout_is_under_way_in_no_interval() -> None:
    """Whenever it was: that of its DAG run says nothing of it."""
    for options, spans in (
        ({"payout": "{{ params.payout }}"}, 0),
        ({"parameters": {"payout": "po_1"}}, 0),
        ({"currency": "usd"}, 1),
    ):
        asked: dict[str, Any] = {"task_id": "it", "report_type": REPORT, **options}
        assert len(failed(partial(StripeReportRunOperator, **asked), "it")) == spans


def test_what_a_run_lands_has_the_format_of_the_task_that_lands_it() -> None:
    """The task that asks lands it as Stripe wrote it."""

    def build() -> None:
        report = StripeReportRunOperator(task_id="report", report_type=REPORT, destination="/lake/")
        StripeReportDownloadOperator(
            task_id="it", report_run_id=report.output, destination="/lake/", format="parquet"
        )

    assert [it.format for name in ("it", "report") for it in failed(build, name)] == ["parquet", "csv"]


def test_data_that_should_be_there_and_is_not_is_late() -> None:
    """By the clock, while Stripe's data ends before."""
    (series,) = series_of([landing(0)], now=NOW, data_available_end={(None, REPORT): FIRST + 2 * DAY})
    assert Shelf.of(series, Where("/lake"), NOW).states == "lm" + "t" * 7 + "nn"


def test_the_json_says_the_same_as_the_shelf() -> None:
    """Lengths are counted, states are letters."""
    told = with_progress(shelf(0, 1, 3), [], []).as_dict()
    assert sum(count for _, count in told["lengths"]) == len(told["states"])
    assert (told["start"], told["lengths"][0][0], told["unit"]) == (FIRST, DAY, "day")


def test_series_of_hours_that_the_clocks_make_longer_keep_their_bounds() -> None:
    """A day in New York has 25 hours in autumn."""
    ends = array("q", [FIRST + 25 * 3600, FIRST + 49 * 3600])
    it = Shelf(shelf(0).about, Where("/lake"), FIRST, ends, "ll", ("", ""))
    told = with_progress(it, [], []).as_dict()
    assert told["lengths"] == [[25 * 3600, 1], [24 * 3600, 1]]


def lander(dag_id: str, report: str = "balance_change_from_activity.itemized", asker: Asker = KEY) -> Lander:
    task: Any = SimpleNamespace(dag_id=dag_id)
    return Lander(task, [], {Where("/lake")}, [Asked(task, frozenset({report}), asker, None)])


def test_in_a_shared_place_only_what_a_readable_dag_lands_is_shown() -> None:
    """Reports of another DAG, and of another account, are not."""
    accounts = {KEY: None, Asker("other"): "acct_other"}
    mine, theirs = lander("mine"), lander("theirs", asker=Asker("other"))
    assert may_see(shelf(0), accounts, [mine], [theirs])
    assert not may_see(shelf(0, stripe_account="acct_other"), accounts, [mine], [theirs])
    assert not may_see(shelf(0), accounts, [lander("mine", "balance.summary")], [theirs])
    assert may_see(shelf(0, stripe_account="acct_other"), accounts, [mine, theirs], [])
    assert not may_see(shelf(0), {}, [mine], [theirs])


@pytest.mark.parametrize(
    ("options", "series", "lands"),
    [
        ({}, {}, True),
        ({}, {"report_type": "balance.summary.1"}, False),
        ({"report_type": "{{ params.type }}"}, {"report_type": "balance.summary.1"}, True),
        ({"currency": "usd"}, {"filters": {"currency": "usd"}}, True),
        ({"currency": "usd"}, {"filters": {"currency": "eur"}}, False),
        ({"currency": "usd"}, {}, False),
        ({"currency": "{{ params.currency }}"}, {"filters": {"currency": "eur"}}, True),
        ({"stripe_account": "acct_1"}, {"stripe_account": "acct_1"}, True),
        ({"stripe_account": "acct_1"}, {"stripe_account": "acct_2"}, False),
        ({}, {"stripe_account": "acct_2"}, True),
        ({"payout": "po_1"}, {"filters": {"payout": "po_1"}, "interval_start": None, "interval_end": None}, True),
    ],
    ids=str,
)
def test_who_may_land_a_series(options: dict[str, Any], series: dict[str, Any], lands: bool) -> None:
    """As far as the DAG file tells: a template, and the account of a connection, may be any."""
    options = {"report_type": REPORT, **options}
    it = stored(lambda: StripeReportRunOperator(task_id="report", destination="/lake/", **options))
    (lander,) = landers_of(it.tasks, {})
    assert bool(lander.feeders_of(shelf(0, **series).about)) is lands


def test_what_one_task_asks_for_is_no_mixture_of_two() -> None:
    """The report of the one and the account of the other are neither's."""
    reports = {"a": REPORT, "b": "balance.summary.1"}

    def build() -> None:
        tasks = [
            StripeReportRunOperator(task_id=it, report_type=reports[it], stripe_account=f"acct_{it}")
            for it in "ab"
        ]
        land = StripeReportDownloadOperator(
            task_id="land", report_run_id=tasks[0].output, destination="/lake/", format="csv"
        )
        tasks >> land

    (lander,) = landers_of(stored(build).tasks, {})
    accounts = {it: it.stripe_account for it in lander.askers}
    for account, lands in (("acct_a", ["a"]), ("acct_b", [])):
        it = shelf(0, stripe_account=account)
        assert [task.task_id for task in lander.feeders_of(it.about)] == lands
        assert may_see(it, accounts, [lander], [lander]) is bool(lands)


def test_what_a_task_rendered_of_late_is_not_all_that_it_lands() -> None:
    """A template may have been another currency before, of which the series is shown and filled all the same."""
    options: Any = {"report_type": REPORT, "currency": "{{ params.currency }}", "destination": "/lake/"}
    it = stored(lambda: StripeReportRunOperator(task_id="report", **options))
    (lander,) = landers_of(it.tasks, {"report": [{**options, "currency": "usd"}] * 30})
    older = shelf(0, filters={"currency": "eur"})
    assert lander.feeders_of(older.about)
    assert may_see(older, {KEY: None}, [lander], [lander])


def test_of_an_interval_in_two_formats_each_dag_lands_its_own() -> None:
    """A backfill of the one fills no gap of the other."""

    def build() -> None:
        report = StripeReportRunOperator(task_id="report", report_type=REPORT, destination="/lake/")
        StripeReportDownloadOperator(
            task_id="it", report_run_id=report.output, destination="/lake/", format="parquet"
        )

    csv, parquet = landers_of(stored(build).tasks, {})
    for series in series_of([landing(0, format=it) for it in ("csv", "parquet")], now=NOW):
        assert bool(csv.feeders_of(series)) is (series.format == "csv")
        assert bool(parquet.feeders_of(series)) is (series.format == "parquet")
    _, zipped = series_of([landing(0, format=it) for it in ("parquet", "zip")], now=NOW)
    assert csv.feeders_of(zipped)


# --- Reading -------------------------------------------------------------------------------------------------


def test_a_store_that_hangs_keeps_nobody_waiting() -> None:
    """What it says is there when somebody asks again."""
    gate = threading.Event()

    def read(key: Any) -> Iterator[str]:
        gate.wait(30)
        yield f"read {key}"

    readings = Readings(read)
    begun = time.monotonic()
    it = readings.of(["a"], patience=0.05)["a"]
    assert it.value is None
    assert it.under_way
    assert time.monotonic() - begun < 5
    gate.set()
    assert readings.of(["a"], patience=5)["a"].value == "read a"


def test_what_could_not_be_read_is_said_and_what_is_known_stays() -> None:
    """In the words of the error, or with its class where it is none of ours."""
    errors: list[Exception | None] = [None, ConfigurationError("no such bucket"), ValueError("secret")]

    def read(key: Any) -> Iterator[str]:
        if error := errors.pop(0):
            raise error
        yield "known"

    readings = Readings(read)
    assert readings.of(["a"], patience=5)["a"].error is None
    it = readings.of(["a"], patience=5, anew=True)["a"]
    assert (it.value, it.error) == ("known", "no such bucket")
    it = readings.of(["a"], patience=5, anew=True)["a"]
    assert it.value == "known"
    assert it.error is not None
    assert it.error.startswith("ValueError")
    assert "secret" not in it.error


def test_what_is_known_is_not_read_again_at_once() -> None:
    """Each open page asks once a minute."""
    read: list[Any] = []

    def reading(key: Any) -> Iterator[str]:
        read.append(key)
        yield "known"

    readings = Readings(reading)
    for _ in range(3):
        readings.of(["a"], patience=5)
    assert read == ["a"]


def test_without_a_connection_to_stripe_the_clock_says_what_should_be_there(tmp_path: Path) -> None:
    """And the page says that, as it does of a folder that is on another machine."""
    *_, it = read_contents(Where(str(tmp_path / "lake")), {Asker("nowhere")})
    assert (it.shelves, it.accounts) == ((), {})
    told = dict(it.problems)
    assert "Connection nowhere: " in told[Asker("nowhere")]
    assert "There is no folder" in told[None]


# --- The server ----------------------------------------------------------------------------------------------


def test_airflow_finds_the_plugin() -> None:
    """By the package's entry point, with the page's server and its place in the menu."""
    (entry_point,) = entry_points(group="airflow.plugins", name="stripe_reports")
    plugin = entry_point.load()
    assert plugin.fastapi_apps[0]["app"] is serve
    assert plugin.react_apps[0]["bundle_url"] == f".{PREFIX}/static/coverage.js"


@pytest.mark.parametrize("path", ["/coverage", "/interval?series=a&end=1", "/gaps?series=a"])
def test_without_a_login_nothing_is_told(path: str) -> None:
    """Each route that tells something asks for Airflow's own token."""
    answer = TestClient(server.app).get(path)
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Not authenticated"}


def test_without_a_login_the_page_leads_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And back, when that is done."""
    manager = SimpleNamespace(get_url_login=lambda: "/auth/login")
    monkeypatch.setattr(server, "get_auth_manager", lambda: manager)
    answer = TestClient(server.app).get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/auth/login?next=/")


def test_the_docs_say_what_the_page_says_of_its_signs() -> None:
    """In the same words and order."""
    project = Path(server.__file__).parents[2]
    script = (Path(server.__file__).parent / "static" / "coverage.js").read_text()
    page = (project / "docs" / "coverage.md").read_text()
    on_page = re.findall(r'^  \w: \["(.?)", "([^"]+)", "([^"]+)"\],$', script, re.MULTILINE)
    in_docs = re.findall(r"^\| (?:`(.)` )?\| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    assert in_docs == on_page
    letters = {*LETTERS.values(), *(LATE, PENDING, FAILED)}
    assert set(re.findall(r"^  (\w): \[", script, re.MULTILINE)) == letters


@pytest.mark.parametrize("name", ["coverage.js", "coverage.css"])
def test_the_pages_own_files_are_served(name: str) -> None:
    """From the package, without a network."""
    answer = TestClient(server.app).get(f"/static/{name}")
    assert answer.status_code == 200
    assert "http://" not in answer.text.replace("http://www.w3.org", "")


def test_who_waits_for_a_place_holds_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's API server has few of them to its database, and each open page may wait for a place."""
    held = []

    def wait(*args: object, **how: object) -> dict[Any, Any]:
        held.append(session.in_transaction())
        return {}

    def ask(session: Session, *args: object) -> dict[str, Any]:
        session.execute(select(1))
        return {}

    monkeypatch.setattr(server, "_stored", SimpleNamespace(read=ask))
    monkeypatch.setattr(server, "read_rendered", ask)
    monkeypatch.setattr(server, "_readable", lambda user, dag_ids: set())
    monkeypatch.setattr(server, "_contents", SimpleNamespace(of=wait))
    with Session(create_engine("sqlite://")) as session:
        server.View(session, cast(Any, None))
    assert held == [False]


def test_connections_of_dags_that_may_not_be_read_are_not_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor what is wrong with them, where their DAGs land in the same place."""
    dags = {}
    for dag_id in ("mine", "theirs"):
        with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            StripeReportRunOperator(
                task_id="report", report_type=REPORT, stripe_conn_id=f"of_{dag_id}", destination=f"{tmp_path}/"
            )
        dags[dag_id] = stored_dag(dag)
    monkeypatch.setattr(server, "_stored", SimpleNamespace(read=lambda session: dags))
    monkeypatch.setattr(server, "read_rendered", lambda session, dags: {})
    monkeypatch.setattr(server, "_readable", lambda user, dag_ids: {"mine"})
    monkeypatch.setattr(server, "_contents", Readings(server._read))
    monkeypatch.setattr(server, "PATIENCE", 30)
    with Session(create_engine("sqlite://")) as session:
        (said,) = server.View(session, cast(Any, None)).problems()
    assert said.startswith("Connection of_mine: ")


def test_only_reading_is_possible() -> None:
    """No route takes anything but GET."""
    methods = {method for route in server.app.routes for method in getattr(route, "methods", None) or ()}
    assert methods <= {"GET", "HEAD"}

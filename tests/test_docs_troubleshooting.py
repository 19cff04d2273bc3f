"""Each class of error has an entry in ``docs/troubleshooting.md``, with messages as they are really raised."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from airflow_reportrun import sandbox as faults
from airflow_reportrun.coverage.table import Table
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.contract import Contract
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.structure import ReportCheck
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToDeltaOperator,
    StripeReportToIcebergOperator,
)
from airflow_reportrun.question.intervals import resolve
from airflow_reportrun.question.report_types import preferred
from airflow_reportrun.reporting import errors
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import AfterReads, AtOnce, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor
from tests.dag_runs import make_context
from tests.databases import Warehouse
from tests.docs_blocks import ROOT
from tests.landings import land
from tests.task_runner import TaskRunner, in_dag
from tests.versions import AIRFLOW_2

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
TYPE = "balance.summary.1"
DAY = 86400
FIRST = 1714521600  # 1 May 2024
ORDER = "payment_metadata[order_id]"
SNAKE, JSON, FROZEN = Contract(naming="snake_case"), Contract(metadata="json"), Contract(schema="freeze")


class Scene:
    """A sandbox, a hook that does not wait long, and places to land in."""

    def __init__(self, stripe: StripeSandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stripe, self.folder, self.monkeypatch = stripe, folder, monkeypatch
        self.hook = StripeReportingHook()

    def asked(self, day: int = 0, report_type: str = TYPE, **parameters: Any) -> ReportRun:
        """Return a report run of a day."""
        given = {"interval_start": FIRST + day * DAY, "interval_end": FIRST + (day + 1) * DAY} | parameters
        return self.hook.create_report_run(report_type, ReportParameters(**given), idempotency_key=str(given))

    def land(self, run: ReportRun, name: str = "report.csv", **options: Any) -> Any:
        """Land a run in the folder."""
        return land_report(self.hook, run, place_of(str(self.folder / name)), **options)

    def spoiled(self, fault: faults.RequestFault, call: Callable[[], Any], on: str = "create") -> None:
        """Call while all answers of a kind are spoiled."""
        self.stripe.inject(fault, times=9, on=on)
        call()

    def connected(self, **connection: Any) -> None:
        """Ask through another connection."""
        given = {"conn_type": "stripe", "host": self.stripe.url, "password": self.stripe.api_key} | connection
        self.monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(given))
        StripeReportingHook().list_report_types()

    def tried(self, task: Any, **how: Any) -> None:
        """Run a task in Airflow's task runner, and raise what it ended with, if it did not succeed."""
        runner = TaskRunner()
        tried = runner.run(task, **how)
        if tried.state == "deferred":
            tried = runner.resume(task, tried)
        if tried.error:
            raise tried.error

    def report(self, **options: Any) -> None:
        """Run ``StripeReportRunOperator``."""
        self.tried(in_dag(StripeReportRunOperator, **{"report_type": TYPE, "poll_interval": 0.01, **options}))


def a_failed_run(it: Scene, **options: Any) -> None:
    it.stripe.inject(faults.RunFails("The report could not be made."))
    it.report(**options)


def a_failed_file(it: Scene) -> None:
    it.stripe.inject(faults.RunFails("The report could not be made."))
    it.land(it.asked())


def an_expired_file(it: Scene) -> None:
    it.stripe.configure(clock=faults.ManualClock(FIRST + 9 * DAY), transition=AtOnce())
    it.land(it.asked())


def a_pending_run(it: Scene) -> None:
    it.stripe.configure(transition=AfterReads(9))
    it.land(it.asked())


def a_broken_manifest(it: Scene, text: str) -> None:
    it.land(run := it.asked())
    (manifest,) = it.folder.parent.glob(f"{it.folder.name}_manifests/*")
    manifest.write_text(text)
    it.land(run)


def another_interval(it: Scene) -> None:
    it.land(it.asked())
    it.land(it.asked(day=1))


def overlapping(it: Scene) -> None:
    month = it.asked(interval_end=FIRST + 31 * DAY)
    for run in (it.asked(), month):
        it.tried(in_dag(StripeReportDownloadOperator, report_run_id=run.id, destination=f"{it.folder}/"))


def live_beside_test(it: Scene) -> None:
    it.stripe.add_key("sk_live_sandbox")
    for day, key in enumerate((it.stripe.api_key, "sk_live_sandbox")):
        it.connected(password=key)
        bounds = {"interval_start": FIRST + day * DAY, "interval_end": FIRST + (day + 1) * DAY}
        it.report(destination=f"{it.folder}/", **bounds)


def live_beside_test_in_a_table(it: Scene) -> None:
    for livemode in (False, True):
        land(a_table(it), ["currency"], [["usd"]], livemode=livemode)


def a_file_of_nobody(it: Scene) -> None:
    (it.folder / "report.csv").write_text("mine")
    it.land(it.asked())


def a_table(it: Scene) -> Any:
    """Return the hook of a database in the folder."""
    connection = {"conn_type": "sqlite", "host": str(it.folder / "warehouse.db")}
    return Warehouse("sqlite", connection).known(it.monkeypatch).hook


def in_tables(it: Scene, *reports: tuple[list[str], Contract]) -> None:
    """Land reports of these columns in one table, one after the other."""
    for columns, contract in reports:
        land(a_table(it), columns, [columns], contract=contract)


def a_frozen_table(it: Scene) -> None:
    in_tables(it, (["currency"], FROZEN), (["currency", "description"], FROZEN))


def a_table_by_other_names(it: Scene) -> None:
    in_tables(it, ([ORDER], SNAKE), ([ORDER], JSON))


def a_table_among_files(it: Scene) -> None:
    run = it.asked()
    it.land(run)
    it.tried(in_dag(StripeReportToDeltaOperator, report_run_id=run.id, table=str(it.folder)))


def no_span(it: Scene) -> None:
    it.report(timeout="1h")


def no_deltalake(it: Scene) -> None:
    with it.monkeypatch.context() as patch:
        patch.setitem(sys.modules, "deltalake", None)
        in_dag(StripeReportToDeltaOperator, report_run_id="frr_1", table=str(it.folder))


def no_namespace(it: Scene) -> None:
    in_dag(StripeReportToIcebergOperator, report_run_id="frr_1", table="activity", warehouse=str(it.folder))


def a_file_for_a_table(it: Scene) -> None:
    (it.folder / "lake").write_text("")
    it.tried(in_dag(StripeReportToDeltaOperator, report_run_id="frr_1", table=str(it.folder / "lake")))


def no_folder_for_sqlite(it: Scene) -> None:
    it.folder /= "nowhere"
    in_tables(it, (["currency"], Contract()))


def no_folder(it: Scene) -> None:
    (it.folder / "file").write_text("")
    it.land(it.asked(), "file/report.csv")


def in_memory(it: Scene) -> None:
    it.monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", '{"conn_type": "duckdb"}')
    Table("warehouse", "activity").landings()


def relative(it: Scene) -> None:
    it.monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", '{"conn_type": "sqlite", "host": "warehouse.db"}')
    Table("warehouse", "activity").landings()


def login_of_a_file(it: Scene) -> None:
    about = {"conn_type": "sqlite", "host": f"{it.folder}/warehouse.db", "login": "books", "password": "hidden"}
    it.monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(about))
    Table("warehouse", "activity").landings()


def open_elsewhere(it: Scene) -> None:
    path = it.folder / "warehouse.duckdb"
    it.monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": str(path)}))
    it.monkeypatch.setattr("airflow_reportrun.coverage.table.PATIENCE", 0)
    holds = "import duckdb, sys; it = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holds, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            Table("warehouse", "activity").landings()
        finally:
            process.communicate()


def other_columns(it: Scene) -> None:
    run = it.asked()
    it.land(ReportRun(**{**vars(run), "parameters": {**run.parameters, "columns": ["category", "fee"]}}))


def used_key(it: Scene) -> None:
    for currency in ("usd", "eur"):
        parameters = ReportParameters(interval_start=FIRST, interval_end=FIRST + DAY, currency=currency)
        it.hook.create_report_run(TYPE, parameters, idempotency_key="one")


def restricted(it: Scene) -> None:
    it.stripe.add_key("rk_test_reader", ["file_read"])
    it.connected(password="rk_test_reader")


def too_late(it: Scene, **options: Any) -> None:
    it.stripe.configure(data_available_end=FIRST)
    it.report(data_timeout=timedelta(microseconds=1), **options)


def no_time(it: Scene) -> None:
    it.stripe.inject(faults.RunNeverEnds())
    it.report(timeout=0.01)


def no_room(it: Scene) -> None:
    it.stripe.configure(transition=AfterReads(999))
    it.hook.create_report_run(TYPE, ReportParameters(interval_start=FIRST, interval_end=FIRST + DAY))
    it.report(max_pending_report_runs=1, data_timeout=timedelta(microseconds=1))


def no_time_for_the_try(it: Scene) -> None:
    it.stripe.inject(faults.RunNeverEnds())
    it.report(execution_timeout=timedelta(seconds=3), deferrable=True)


def no_time_for_the_sensor(it: Scene) -> None:
    it.stripe.inject(faults.RunNeverEnds())
    run = it.asked()
    it.tried(
        in_dag(StripeReportRunSensor, report_run_id=run.id, timeout=0.01, poke_interval=0.01, deferrable=True)
    )


def before_the_data(it: Scene, **options: Any) -> None:
    it.report(interval_start="2001-01-01T00:00Z", interval_end="2001-01-02T00:00Z", **options)


class NoTypes(StripeReportingHook):
    """Of an account that has just been opened."""

    def list_report_types(self) -> list[Any]:
        """Return what Stripe does for such an account."""
        return []


def on_an_older_airflow(it: Scene, module: str, lacks: str) -> None:
    """Import a module where Airflow's is empty, as good as missing."""
    it.monkeypatch.setitem(sys.modules, lacks, ModuleType(lacks))
    it.monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.import_module(module)


CASES: dict[str, tuple[Callable[[Scene], Any], ...]] = {
    "ConfigurationError": (
        lambda it: in_dag(
            StripeReportRunOperator, report_type=TYPE, destination="/data/x.csv", wait_for_completion=False
        ),
        lambda it: place_of("abfss://box@books.dfs.core.windows.net/x.csv"),
        lambda it: it.land(it.asked(), contract=SNAKE),
        lambda it: it.land(it.asked(), "r.parquet", format="parquet", contract=JSON, column_types={ORDER: "date"}),
        lambda it: it.land(it.asked(), "r.parquet", format="parquet", contract=FROZEN),
        lambda it: it.connected(password=""),
        lambda it: it.connected(extra='{"timeout": 1, "timeout": 2}'),
        lambda it: it.connected(extra={"stripe_acount": "acct_1"}),
        lambda it: it.connected(host="http://api.stripe.com"),
        lambda it: it.connected(host=it.stripe.url.replace("http:", "https:")),
        lambda it: in_dag(StripeReportRunOperator, report_type=TYPE, interval="daily"),
        lambda it: in_dag(StripeReportToIcebergOperator, report_run_id="frr_1", table="books.activity"),
        *(in_memory, relative, login_of_a_file),
        *(no_span, no_deltalake, no_namespace, no_folder_for_sqlite, a_file_for_a_table),
    ),
    "ConnectionLookUpError": (lambda it: StripeReportingHook("nowhere").list_report_types(),),
    "InvalidParametersError": (
        lambda it: it.asked(interval_end=FIRST),
        lambda it: it.asked(timezone="Berlin"),
    ),
    "APIConnectionError": (lambda it: it.spoiled(faults.Dropped(), it.asked),),
    "UnexpectedResponseError": (
        lambda it: it.spoiled(faults.ProxyPage(200), it.asked),
        lambda it: it.spoiled(faults.Redirected("https://elsewhere.example/"), it.asked),
        lambda it: it.spoiled(faults.Gzipped(), it.asked),
    ),
    "ReportRunFailedError": (a_failed_file,),
    "ReportNotReadyError": (a_pending_run,),
    "ReportExpiredError": (an_expired_file,),
    "NoReportTypesError": (lambda it: preferred(NoTypes(), [TYPE, "balance.summary.2"]),),
    "DataMissingError": (before_the_data,),
    "DownloadError": (
        lambda it: it.spoiled(faults.ShortContents(40), lambda: it.land(it.asked()), on="contents"),
        lambda it: it.spoiled(faults.ProxyPage(200), lambda: it.land(it.asked()), on="contents"),
        lambda it: ReportCheck().feed(b"Bad gateway"),
    ),
    "ReportColumnsError": (other_columns,),
    "ContentsError": (
        lambda it: it.land(it.asked(), "r.parquet", format="parquet", column_types={"description": "money"}),
        a_frozen_table,
    ),
    "StoreError": (no_folder, open_elsewhere),
    "LandingConflictError": (
        *(another_interval, a_file_of_nobody, a_table_among_files, overlapping, a_table_by_other_names),
        *(live_beside_test, live_beside_test_in_a_table),
    ),
    "ManifestError": (
        lambda it: a_broken_manifest(it, "mine"),
        lambda it: a_broken_manifest(it, '{"version": 99}'),
    ),
    "InvalidRequestError": (
        lambda it: it.asked(columns=["nothing"]),
        lambda it: it.hook.retrieve_report_run("frr_nothing"),
    ),
    "DataNotReadyError": (lambda it: it.asked(day=9999),),
    "DataBeginsLaterError": (lambda it: it.asked(day=-9999),),
    "AuthenticationError": (lambda it: it.connected(password="sk_test_wrong"),),
    "PermissionDeniedError": (restricted,),
    "IdempotencyError": (used_key,),
    "ConflictError": (lambda it: it.spoiled(faults.KeyInUse(), it.asked),),
    "RateLimitError": (lambda it: it.spoiled(faults.RateLimited(), it.asked),),
    "ServerError": (lambda it: it.spoiled(faults.Unavailable(), it.asked),),
    "IntervalError": (lambda it: resolve(make_context(None)),),
    "AirflowException": (a_failed_run, no_time),
    "AirflowFailException": (too_late, no_room),
    "AirflowTaskTimeout": (no_time_for_the_try,),
    "AirflowSensorTimeout": (no_time_for_the_sensor,),
    "AirflowOptionalProviderFeatureException": (
        lambda it: on_an_older_airflow(it, "airflow_reportrun.retry_policy", "airflow.sdk"),
        lambda it: on_an_older_airflow(it, "airflow_reportrun.event_triggers", "airflow.triggers.shared_stream"),
    ),
}


ABSTRACT = {"ReportingError", "APIError"}
"""What nothing raises itself."""

ENTRIES = {
    name: set(re.findall(r"^\| `([^`]+)` \|", text, re.M))
    for name, text in re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
}
"""The messages that the page quotes, by the class under whose name they stand."""


def begins(quote: str, message: str) -> bool:
    """Tell whether a message begins as it is quoted, with ``…`` for what differs from one to the next."""
    return re.match(re.escape(quote).replace("…", ".+?"), " ".join(message.split())) is not None


def raised(scene: Scene, name: str, case: Callable[[Scene], Any]) -> str:
    """Return the message of an error of this class, which a task may have as the cause of Airflow's."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - which class is looked at below
        case(scene)
    error: BaseException | None = caught.value
    while error is not None and type(error).__name__ != name:
        error = error.__cause__
    assert error is not None, f"{caught.value!r} is no {name}"
    return str(error)


@pytest.fixture
def scene(stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """One in which nobody waits between tries."""
    hasty = ResendPolicy(max_tries=1, first_pause=0, first_refused=0.01, max_refused=0.02)
    monkeypatch.setattr(StripeReportingHook, "resend_policy", hasty)
    return Scene(stripe_conn, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", CASES)
def test_an_entry_quotes_what_is_raised(
    name: str, scene: Scene, stripe_conn: StripeSandbox, tmp_path: Path
) -> None:
    """Each message is quoted where its class stands, and each quote there is the beginning of one of them."""
    if AIRFLOW_2 and name == "AirflowTaskTimeout":
        pytest.skip("Airflow 2 ends a try by a signal")
    messages = []
    for number, case in enumerate(CASES[name]):
        stripe_conn.reset()
        stripe_conn.configure(transition=AtOnce())
        scene.folder = tmp_path / str(number)
        scene.folder.mkdir()
        messages.append(raised(scene, name, case))
    assert name in ENTRIES, f"no entry for {name}, such as {messages}"
    unquoted = [it for it in messages if not any(begins(quote, it) for quote in ENTRIES[name])]
    unraised = [quote for quote in ENTRIES[name] if not any(begins(quote, it) for it in messages)]
    assert (unquoted, unraised) == ([], [])


def test_each_class_of_error_has_an_entry() -> None:
    """Those of Stripe's, of intervals, and Airflow's where our code gives them words of their own."""
    ours = {
        name
        for name, it in vars(errors).items()
        if inspect.isclass(it) and issubclass(it, errors.ReportingError) and name not in ABSTRACT
    }
    airflows = set()
    for path in (ROOT / "airflow_reportrun").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                words = ast.unparse(node.args[0])
                if re.fullmatch(r"Airflow\w*(Exception|Timeout)", node.func.id) and words != "str(error)":
                    airflows.add(node.func.id)
    assert len(airflows) > 3
    assert set(ENTRIES) == set(CASES)
    assert set(CASES) == ours | airflows | {"IntervalError"}


def test_what_messages_name_in_the_docs_is_there() -> None:
    """Pages, and headings of theirs: of errors, logs, and the package's own docs."""
    named = {
        (path.name, *it)
        for path in (ROOT / "airflow_reportrun").rglob("*.*")
        if path.suffix in (".py", ".js", ".html", ".json")
        for it in re.findall(r"(?<![\w/.])docs/([\w-]+\.md)(?:#([\w-]+))?", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    for source, page, anchor in named:
        assert (ROOT / "docs" / page).is_file(), (source, page)
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        headings = [
            re.sub(r"[^\w -]", "", it).lower().replace(" ", "-") for it in re.findall(r"^#+ (.+)$", text, re.M)
        ]
        assert not anchor or anchor in headings, (source, page, anchor)

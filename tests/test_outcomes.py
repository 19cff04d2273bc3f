"""``docs/outcomes.md``: what a task does when its wait ends, which is the same in each mode of waiting."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun import sensors, triggers
from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator, submitting
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import (
    AfterReads,
    AtOnce,
    Dropped,
    Fault,
    KeyExpired,
    RateLimited,
    RequestRecord,
    RunFails,
    RunNeverEnds,
    ServerError,
    StripeSandbox,
    Unavailable,
    UnknownStatus,
)
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from airflow_reportrun.waiting import watcher
from tests.docs_tables import hold, table
from tests.task_runner import END, START, TaskRunner, Try, in_dag
from tests.versions import BEFORE_3_3

PAGE = Path(__file__).parent.parent / "docs" / "outcomes.md"
FROM, UNTIL = int(START.timestamp()), int(END.timestamp())


class Scripted(StripeSandbox):
    """A sandbox in which things happen after so many looks, whoever makes them."""

    def __init__(self) -> None:
        # Ahead of us, so that a time-out of less than a second is not over when a run has been created.
        super().__init__(clock=lambda: time.time() + 1, on_request=self._answered)
        self._to_come: list[tuple[int, str, Callable[[], None]]] = []

    def reset(self) -> None:
        """Forget what is to come as well."""
        super().reset()
        self._to_come = []

    def after(self, looks: int, operation: str, act: Callable[[], None]) -> None:
        """Let something happen when an operation was answered so many times."""
        if looks:
            self._to_come.append((looks, operation, act))
        else:
            act()

    def _answered(self, record: RequestRecord) -> None:
        now = (len(self.requests_to(record.operation)), record.operation)
        for *then, act in list(self._to_come):
            if tuple(then) == now:
                act()


# --- Who waits, and how ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Waits:
    """A task, what it waits for, and how it may do so."""

    column: str
    look: str
    modes: Mapping[str, dict[str, Any]]
    make: Callable[..., Any]


def run_sensor(**options: Any) -> Any:
    parameters = ReportParameters(interval_start=FROM, interval_end=UNTIL)
    run_id = StripeReportingHook().create_report_run("balance.summary.1", parameters).id
    return in_dag(StripeReportRunSensor, **{"report_run_id": run_id, "poke_interval": 0.01, **options})


def type_sensor(**options: Any) -> Any:
    return in_dag(StripeReportTypeSensor, **{"report_type": "balance.summary.1", "poke_interval": 0.01, **options})


def operator(**options: Any) -> Any:
    if "timeout" in options:
        options["data_timeout"] = options["timeout"]
    return in_dag(
        StripeReportRunOperator, **{"report_type": "balance.summary.1", "poll_interval": 0.01, **options}
    )


SENSOR_MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
if not BEFORE_3_3:
    SENSOR_MODES["triggerer"] = {"start_from_trigger": True, "end_from_trigger": True}
OPERATOR_MODES: dict[str, dict[str, Any]] = {"sync": {"deferrable": False}, "deferrable": {"deferrable": True}}

RUN_SENSOR = Waits("`StripeReportRunSensor`", "retrieve", SENSOR_MODES, run_sensor)
TYPE_SENSOR = Waits("`StripeReportTypeSensor`", "retrieve_type", SENSOR_MODES, type_sensor)
REPORT = Waits("`StripeReportRunOperator`, waiting for its report", "retrieve", OPERATOR_MODES, operator)
DATA = Waits("`StripeReportRunOperator`, waiting for the data", "retrieve_type", OPERATOR_MODES, operator)
ALL = (RUN_SENSOR, TYPE_SENSOR, REPORT, DATA)


# --- What happens to them ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class End:
    """How a task ends, as Airflow's state, the class of the error and its words, and as the page says it."""

    state: str
    error: str = ""
    words: str = ""
    shown: str = ""


SUCCEEDS = End("success", shown="succeeds")
SKIPPED = End("skipped", shown="is skipped")
GIVES_UP = End("failed", "AirflowSensorTimeout", "timed out|by the deadline", "fails")


def fails(words: str) -> End:
    return End("failed", "AirflowFailException", words, "fails")


def is_retried(words: str, then: str = "", error: str = "AirflowException") -> End:
    return End("up_for_retry", error, words, f"is retried{then}")


@dataclass(frozen=True)
class Outcome:
    """A line of the table.

    :param happens: sets it up, for a task and after so many looks of its.
    :param ends: what becomes of each task that it can happen to.
    :param after: numbers of looks; at none the task has nothing to wait for.
    :param options: for the sensors.
    """

    row: str
    happens: Callable[[Scripted, Waits, int], dict[str, Any] | None]
    ends: Mapping[Waits, End]
    after: tuple[int, ...] = (0, 2)
    options: Mapping[str, Any] = field(default_factory=dict)


def _pending(sandbox: Scripted, looks: int, *faults: Fault) -> None:
    """Let report runs end after so many looks, and the data be there from then on."""
    sandbox.configure(transition=AfterReads(looks), data_available_end=UNTIL - 1)
    for fault in faults:
        sandbox.inject(fault)


def comes(sandbox: Scripted, waits: Waits, looks: int, *faults: Fault) -> None:
    _pending(sandbox, looks, *faults)
    if waits is DATA:
        sandbox.configure(transition=AtOnce())
    # For a report the data has to be there.
    sandbox.after(looks if waits.look == "retrieve_type" else 0, "retrieve_type", lambda: _data_arrives(sandbox))


def _data_arrives(sandbox: Scripted) -> None:
    sandbox.configure(data_available_end=UNTIL)


def run_fails(sandbox: Scripted, waits: Waits, looks: int) -> None:
    comes(sandbox, waits, looks, RunFails("The printer is on fire."))


def never_comes(sandbox: Scripted, waits: Waits, looks: int) -> dict[str, Any]:
    _pending(sandbox, looks, RunNeverEnds())
    if waits.look == "retrieve":
        _data_arrives(sandbox)
    return {"timeout": 0.4}


def unknown_status(sandbox: Scripted, waits: Waits, looks: int) -> dict[str, Any]:
    comes(sandbox, waits, looks, UnknownStatus("archived"))
    return {"timeout": 0.4}


def passing_errors(sandbox: Scripted, waits: Waits, looks: int) -> None:
    comes(sandbox, waits, looks + 4)

    def trouble() -> None:
        for fault in (RateLimited(), Unavailable(), ServerError(), Dropped()):
            sandbox.inject(fault, on=waits.look)

    sandbox.after(looks, waits.look, trouble)


def key_expires(sandbox: Scripted, waits: Waits, looks: int) -> None:
    comes(sandbox, waits, 9)
    sandbox.after(looks, waits.look, lambda: sandbox.inject(KeyExpired(), on=waits.look))


def is_gone(sandbox: Scripted, waits: Waits, looks: int) -> dict[str, Any]:
    """A run is forgotten by the sandbox; a report type can't be, so it was never there."""
    comes(sandbox, waits, 9)
    if waits.look == "retrieve_type":
        return {"report_type": "weather.summary.1"}
    sandbox.after(looks or 1, waits.look if looks else "create", sandbox.reset)
    return {}


def no_connection(sandbox: Scripted, waits: Waits, looks: int) -> dict[str, Any]:
    return {"stripe_conn_id": "nowhere"}


NOT_FOUND = fails("No such report (run|type)")
EXPIRED = fails("Expired API Key")
NO_CONNECTION = is_retried("nowhere")
NOT_IN_TIME = is_retried("by the deadline.*A retry looks at it again", ", and looks at the same run again")

OUTCOMES = [
    Outcome("it comes", comes, dict.fromkeys(ALL, SUCCEEDS)),
    Outcome(
        "the report run fails",
        run_fails,
        {
            RUN_SENSOR: fails("failed: The printer is on fire."),
            REPORT: is_retried("failed: The printer is on fire.", ", and creates another run"),
        },
    ),
    Outcome(
        "the report run fails, `soft_fail=True`", run_fails, {RUN_SENSOR: SKIPPED}, options={"soft_fail": True}
    ),
    Outcome(
        "the report run fails, `never_fail=True`", run_fails, {RUN_SENSOR: SKIPPED}, options={"never_fail": True}
    ),
    Outcome(
        "it does not come in time",
        never_comes,
        {
            RUN_SENSOR: GIVES_UP,
            TYPE_SENSOR: GIVES_UP,
            REPORT: NOT_IN_TIME,
            DATA: fails("by the deadline. A longer data_timeout= waits"),
        },
        after=(2,),
    ),
    Outcome(
        "it does not come in time, `soft_fail=True`",
        never_comes,
        {RUN_SENSOR: SKIPPED, TYPE_SENSOR: SKIPPED},
        after=(2,),
        options={"soft_fail": True},
    ),
    Outcome(
        "it does not come in time, `never_fail=True`",
        never_comes,
        {RUN_SENSOR: SKIPPED, TYPE_SENSOR: SKIPPED},
        after=(2,),
        options={"never_fail": True},
    ),
    Outcome(
        "the run has a status that nobody knows, until the time is over",
        unknown_status,
        {RUN_SENSOR: GIVES_UP, REPORT: NOT_IN_TIME},
        after=(2,),
    ),
    Outcome(
        "errors that pass, such as 429, 500 and broken connections",
        passing_errors,
        dict.fromkeys(ALL, End("success", shown="goes on waiting")),
        after=(1,),
    ),
    Outcome("the key expires (401)", key_expires, dict.fromkeys(ALL, EXPIRED)),
    Outcome(
        "the key expires (401), `soft_fail=True`",
        key_expires,
        {RUN_SENSOR: SKIPPED, TYPE_SENSOR: SKIPPED},
        options={"soft_fail": True},
    ),
    Outcome(
        "the key expires (401), `never_fail=True`",
        key_expires,
        {RUN_SENSOR: SKIPPED, TYPE_SENSOR: SKIPPED},
        options={"never_fail": True},
    ),
    Outcome("Stripe knows nothing of it (404)", is_gone, dict.fromkeys(ALL, NOT_FOUND)),
    Outcome("there is no such Airflow connection", no_connection, dict.fromkeys(ALL, NO_CONNECTION), after=(0,)),
    Outcome(
        "there is no such Airflow connection, `soft_fail=True`",
        no_connection,
        {RUN_SENSOR: NO_CONNECTION, TYPE_SENSOR: NO_CONNECTION},
        after=(0,),
        options={"soft_fail": True},
    ),
    Outcome(
        "there is no such Airflow connection, `never_fail=True`",
        no_connection,
        {RUN_SENSOR: SKIPPED, TYPE_SENSOR: SKIPPED},
        after=(0,),
        options={"never_fail": True},
    ),
]


# --- The test, and the table -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _scripted() -> Iterator[Scripted]:
    with Scripted() as sandbox:
        yield sandbox


@pytest.fixture
def stripe_sandbox(_scripted: Scripted) -> Scripted:
    """In place of the sandbox that the tests share; ``stripe_conn`` leads to it."""
    _scripted.reset()
    return _scripted


@pytest.fixture(autouse=True)
def _waits_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    monkeypatch.setattr(sensors, "SHORTEST_POKE_INTERVAL", 0.0)
    monkeypatch.setattr(submitting, "DATA_POLL_INTERVAL", 0.0)
    monkeypatch.setattr(watcher, "LOOK_UP_PAUSES", (0.1, 0.2))
    for client in (StripeReportingHook, StripeReportingAsyncHook):
        monkeypatch.setattr(client, "resend_policy", ResendPolicy(max_tries=1, max_refused=0))


def to_its_end(task: Any) -> tuple[Try, set[str]]:
    """Run one try: sleeping, coming back after each reschedule, or resumed by its triggers."""
    runner = TaskRunner(dag_run={"start_date": datetime.now(UTC)})
    if getattr(task, "start_from_trigger", False):
        from tests import triggerer

        return triggerer.run(task, runner), set()
    tried, passed = runner.run(task), set[str]()
    while tried.state in ("up_for_reschedule", "deferred"):
        passed.add(tried.state)
        tried = runner.resume(task, tried) if tried.state == "deferred" else runner.run(task)
    return tried, passed


@pytest.mark.parametrize(
    ("outcome", "waits", "mode", "looks"),
    [
        pytest.param(
            outcome, waits, mode, looks, id=f"{outcome.row}-{waits.column}-{mode}-{looks}".replace("`", "")
        )
        for outcome in OUTCOMES
        for waits in outcome.ends
        for mode in waits.modes
        for looks in outcome.after
    ],
)
def test_the_outcome_is_the_same_in_each_mode(
    stripe_conn: Scripted, outcome: Outcome, waits: Waits, mode: str, looks: int
) -> None:
    """Found at the first look or later; a retry that would end the same is not made."""
    end = outcome.ends[waits]
    if (
        mode == "triggerer" and end is NO_CONNECTION
    ):  # Airflow fails the trigger, which is the sensor's own failure
        end = SKIPPED if outcome.options.get("soft_fail") else is_retried("", error="TaskDeferralError")
    told = outcome.happens(stripe_conn, waits, looks) or {}
    tried, passed = to_its_end(waits.make(**waits.modes[mode], **outcome.options, **told))
    assert tried.state == end.state, tried.error
    if end.error:
        assert type(tried.error).__name__ == end.error
        assert re.search(end.words, str(tried.error))
    if looks and "report_type" not in told:
        assert passed == {"reschedule": {"up_for_reschedule"}, "deferrable": {"deferred"}}.get(mode, set())


def test_the_table_of_the_page_is_this_one() -> None:
    """``WRITE_DOCS=1`` writes it."""
    rows = [
        [outcome.row, *(outcome.ends[waits].shown if waits in outcome.ends else "" for waits in ALL)]
        for outcome in OUTCOMES
    ]
    hold(PAGE, "outcomes", table(["what happens", *(waits.column for waits in ALL)], rows))

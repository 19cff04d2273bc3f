"""Sensors that begin in the triggerer, and end there: what they can, and what is refused when the file is parsed.

How their waits end is in ``test_outcomes``; that such a task has no process is in ``system_tests``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import wrap
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, BaseOperator
from airflow.timetables.trigger import CronTriggerTimetable as CoreCronTriggerTimetable
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_reportrun import start_triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.question.intervals import IntervalError, resolve
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AfterReads, RunFails, RunNeverEnds, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from airflow_reportrun.tasks.starting import KNOWN_NAMES
from airflow_reportrun.triggers import StripeTrigger
from tests.docs_tables import hold
from tests.task_runner import END, START, TaskRunner, Try, in_dag
from tests.versions import BEFORE_3_3, AssetOrTimeSchedule, present

if not BEFORE_3_3:
    from tests import triggerer

triggerers_render = pytest.mark.skipif(BEFORE_3_3, reason="the triggerer renders no templates before Airflow 3.3")
PAGE = Path(__file__).parent.parent / "docs" / "sensors-without-a-worker.md"
THERE: dict[str, Any] = {"start_from_trigger": True, "end_from_trigger": True}
UNTIL = int(END.timestamp())


@pytest.fixture(autouse=True)
def _looks_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_reportrun.sensors.SHORTEST_POKE_INTERVAL", 0.0)


def create(sandbox: StripeSandbox) -> str:
    sandbox.configure(transition=AfterReads(1))
    parameters = ReportParameters(interval_start=1714521600, interval_end=UNTIL)
    return StripeReportingHook().create_report_run("balance.summary.1", parameters).id


def run_sensor(**options: Any) -> Any:
    return in_dag(StripeReportRunSensor, **{"report_run_id": "frr_1", "poke_interval": 0.01, **THERE, **options})


def type_sensor(**options: Any) -> Any:
    return in_dag(
        StripeReportTypeSensor, **{"report_type": "balance.summary.1", "poke_interval": 0.01, **THERE, **options}
    )


# --- What it does ------------------------------------------------------------------------------------------


@triggerers_render
def test_it_returns_the_same_as_in_the_other_modes(stripe_conn: StripeSandbox) -> None:
    """As a dict, which what goes with Airflow's event would not be."""
    run_id = create(stripe_conn)
    here = TaskRunner().run(in_dag(StripeReportRunSensor, report_run_id=run_id, poke_interval=0.01))
    there = triggerer.run(run_sensor(report_run_id=run_id), TaskRunner())
    assert here.returned == there.returned
    assert there.returned["status"] == "succeeded"


@triggerers_render
@pytest.mark.parametrize("ends", [True, False])
def test_it_takes_what_the_run_operator_returned(stripe_conn: StripeSandbox, ends: bool) -> None:
    """Its account and its request, too, wherever it ends."""
    stripe_conn.configure(transition=AfterReads(1))
    runner = TaskRunner()
    with DAG("stripe", schedule=None, start_date=START):
        run: Any = StripeReportRunOperator(
            task_id="run", report_type="balance.summary.1", wait_for_completion=False, stripe_account="acct_1"
        )
        sensor = StripeReportRunSensor(
            task_id="report",
            report_run_id=run.output,
            poke_interval=0.01,
            start_from_trigger=True,
            end_from_trigger=ends,
        )
    assert sensor.upstream_task_ids == {"run"}
    asked = runner.run(run).returned
    waited = triggerer.run(sensor, runner)
    assert waited.returned["report_run_id"] == asked["report_run_id"]
    assert (waited.returned["stripe_account"], waited.returned["request_id"]) == ("acct_1", asked["request_id"])
    assert waited.xcoms["stripe_request"]["request_id"] == asked["request_id"]
    assert asked["request_id"] in waited.xcoms["_link_StripeRequestLink"]


@triggerers_render
@pytest.mark.parametrize(
    "report_run_id",
    [
        "{{ ti.xcom_pull('run', key='report_run_id') }}",
        "{{ task_instance.xcom_pull(task_ids='run')['report_run_id'] }}",
        "{{ ti.xcom_pull(task_ids='run', map_indexes=-1).report_run_id }}",
        {"report_run_id": "{{ ti.xcom_pull('run', key='report_run_id') }}", "livemode": False},
    ],
)
def test_templates_that_pull_are_answered(stripe_conn: StripeSandbox, report_run_id: Any) -> None:
    """Airflow leaves one without ``map_indexes`` unanswered for ever."""
    run_id = create(stripe_conn)
    runner = TaskRunner(
        xcoms={"run/-1/report_run_id": run_id, "run/-1/return_value": {"report_run_id": run_id}},
    )
    assert triggerer.run(run_sensor(report_run_id=report_run_id), runner).returned["report_run_id"] == run_id


@triggerers_render
def test_a_dict_from_a_template_is_one_where_templates_make_objects(stripe_conn: StripeSandbox) -> None:
    """``render_template_as_native_obj`` of the task counts there, too."""
    run_id = create(stripe_conn)
    runner = TaskRunner(xcoms={"run/-1/return_value": {"report_run_id": run_id}})
    task = run_sensor(report_run_id="{{ ti.xcom_pull('run') }}", render_template_as_native_obj=True)
    assert triggerer.run(task, runner).returned["report_run_id"] == run_id


@triggerers_render
def test_a_template_without_an_answer_fails_and_does_not_hang(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the triggerer can't read it does not answer."""
    monkeypatch.setattr(start_triggers, "RENDERED_WITHIN", 0.2)
    task = run_sensor(report_run_id="{{ ti.get_task_breadcrumbs(dag.dag_id, run_id) }}")
    runner = TaskRunner()
    with pytest.raises(TimeoutError, match=r"report_run_id.* were not rendered in 0 s"):
        triggerer.fire(triggerer.trigger_of(task, runner), runner)
    assert triggerer.run(task, runner).state == "up_for_retry"


@triggerers_render
@pytest.mark.parametrize(
    "report_run_id", ["{{ none }}", "{{ ti.xcom_pull('run', map_indexes=-1) }}", " {{ params.get('x', '') }}"]
)
def test_a_template_that_found_nothing_is_a_clear_error(stripe_conn: StripeSandbox, report_run_id: str) -> None:
    """And not retried, as in the other modes."""
    tried = triggerer.run(run_sensor(report_run_id=report_run_id), TaskRunner())
    assert tried.state == "failed"
    assert "report_run_id: the template or the upstream task gave nothing" in str(tried.error)
    assert stripe_conn.requests == []


@triggerers_render
def test_nothing_is_returned_where_nothing_is_to_be(stripe_conn: StripeSandbox) -> None:
    """``do_xcom_push=False`` means the same."""
    task = run_sensor(report_run_id=create(stripe_conn), do_xcom_push=False)
    tried = triggerer.run(task, TaskRunner())
    assert (tried.state, tried.xcoms) == ("success", {})


# --- How long ----------------------------------------------------------------------------------------------


@triggerers_render
def test_the_time_counts_from_the_start_of_the_try_whoever_runs_the_trigger(stripe_conn: StripeSandbox) -> None:
    """A triggerer that takes over an hour later waits for the rest."""
    began = datetime.now(UTC) - timedelta(hours=1)
    waits = waits_of(run_sensor(timeout=timedelta(hours=3), poke_interval=77), began)
    assert waits.deadline == pytest.approx(began.timestamp() + 3 * 3600, abs=1e-3)
    assert waits.since == pytest.approx(began.timestamp(), abs=1e-3)
    assert (waits.poll_interval, waits.growth, waits.not_before) == (77, 0.0, 0.0)


def waits_of(task: Any, began: datetime) -> Any:
    trigger = triggerer.trigger_of(task, TaskRunner(), began)
    waits: list[Any] = []

    async def no_look(self: Any) -> Any:
        waits.append(self)
        yield TriggerEvent(None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StripeTrigger, "run", no_look)
        patch.setattr(trigger, "ends", False)
        triggerer.fire(trigger, TaskRunner())
    return waits[0]


@triggerers_render
def test_a_timeout_of_centuries_is_no_overflow(stripe_conn: StripeSandbox) -> None:
    """It would be one in the scheduler."""
    task = run_sensor(timeout=timedelta.max)
    assert datetime.now(UTC) + task.start_trigger_args.timeout
    assert waits_of(task, datetime.now(UTC)).deadline > time.time() + 10 * 365 * 86_400


@pytest.mark.parametrize(
    "damage",
    [{name: value} for name in ("timeout", "poll_interval", "settle") for value in ("x", None, -1, 10**400)],
)
def test_a_damaged_argument_fails_the_trigger_alone(damage: dict[str, Any]) -> None:
    """Airflow takes a TypeError of the constructor for the trigger's own; it says what to do."""
    arguments: dict[str, Any] = dict.fromkeys(start_triggers.ReportTypeStart.names)
    with pytest.raises(TypeError, match=f"{next(iter(damage))} of a trigger can't be .* A retry of its task"):
        start_triggers.ReportTypeStart(**{"timeout": 60.0, "poll_interval": 10.0, **arguments, **damage})


@triggerers_render
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_try_without_time_is_retried(stripe_conn: StripeSandbox, soft_fail: bool) -> None:
    """``execution_timeout`` is over a moment before Airflow takes it for so, and ends as in a worker."""
    stripe_conn.inject(RunNeverEnds())
    run_id = create(stripe_conn)
    task = run_sensor(report_run_id=run_id, execution_timeout=timedelta(seconds=1), soft_fail=soft_fail)
    began = datetime.now(UTC)
    tried = triggerer.run(task, TaskRunner(), began)
    assert (tried.state, type(tried.error).__name__) == ("up_for_retry", "AirflowTaskTimeout")
    assert "its execution_timeout, 1 s" in str(tried.error)
    # Airflow fails the task at the same instant: ours comes first.
    assert (datetime.now(UTC) - began).total_seconds() * 1000 >= 490


@triggerers_render
@pytest.mark.parametrize("never", ["soft_fail", "never_fail", "mode"])
def test_a_try_without_time_and_without_a_triggerer_is_retried(never: str) -> None:
    """Airflow fails the trigger that nobody ran; it would take that for the sensor's ``timeout``."""
    of_airflow = {"error": "Trigger timeout"}
    task = run_sensor(execution_timeout=timedelta(seconds=9), **{never: "poke" if never == "mode" else True})
    tried = TaskRunner().run(task, next_method="__fail__", next_kwargs=of_airflow)
    assert (tried.state, type(tried.error).__name__) == ("up_for_retry", "AirflowTaskTimeout")
    late = TaskRunner().run(run_sensor(), next_method="__fail__", next_kwargs=of_airflow)
    assert (late.state, type(late.error).__name__) == ("failed", "AirflowSensorTimeout")


@triggerers_render
def test_an_execution_timeout_that_a_policy_sets_later_counts_as_well(stripe_conn: StripeSandbox) -> None:
    """Cluster policies come after the constructor; the deadline would be long over."""
    task = run_sensor(timeout=timedelta(days=7))
    task.execution_timeout = timedelta(hours=1)
    began = datetime.now(UTC)
    waits = waits_of(task, began)
    assert waits.since == pytest.approx(began.timestamp(), abs=1e-3)
    assert waits.deadline == pytest.approx(began.timestamp() + 3600 - start_triggers.AHEAD_OF_AIRFLOW, abs=1e-3)


# --- Until when the data has to reach ----------------------------------------------------------------------


@triggerers_render
@pytest.mark.parametrize(
    ("options", "until"),
    [
        ({}, UNTIL),
        ({"schedule": "0 6 * * *"}, UNTIL),
        ({"interval": "month"}, int(START.timestamp())),
        ({"settle": timedelta(hours=96)}, UNTIL + 96 * 3600),
        ({"interval_end": "2024-05-03T00:00:00+02:00"}, UNTIL + 22 * 3600),
        ({"interval_end": UNTIL + 5}, UNTIL + 5),
        ({"interval_end": datetime(2024, 5, 2, 12, tzinfo=UTC)}, UNTIL + 12 * 3600),
        ({"interval_end": "{{ data_interval_start }}"}, int(START.timestamp())),
        ({"interval_end": "{{ dag_run.conf['until'] }}", "settle": 10}, UNTIL + 7 * 3600 + 10),
    ],
)
def test_waits_for_the_end_of_the_interval(stripe_conn: StripeSandbox, options: Any, until: int) -> None:
    """The same as in a worker."""
    runner = TaskRunner(dag_run={"conf": {"until": "2024-05-02T07:00:00Z"}})
    trigger = triggerer.trigger_of(type_sensor(**options), runner)
    stripe_conn.configure(data_available_end=until)
    event = triggerer.fire(trigger, runner)
    assert type(event).__name__ == "TaskSuccessEvent"
    assert trigger._until == until


SCHEDULES: list[Any] = [
    "@hourly", "@daily", "@weekly", "@monthly", "0 6 * * *", "30 9 * * 1-5", timedelta(hours=5), None,
]  # fmt: skip


@triggerers_render
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Africa/Cairo"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("interval", [None, "day"])
@pytest.mark.parametrize("empty", [True, False])
def test_the_stored_dag_has_the_same_interval(
    stripe_conn: StripeSandbox, zone: str, schedule: Any, interval: Any, empty: bool
) -> None:
    """The triggerer knows the DAG as it is stored; Airflow 3's data intervals are mostly empty."""
    tick = pendulum.datetime(2024, 4, 26, 4, tz=zone) if schedule else pendulum.datetime(2024, 4, 26, tz="UTC")
    began = tick if empty else tick.subtract(days=1)
    dates = {"logical_date": began, "data_interval_start": began, "data_interval_end": tick, "run_after": tick}
    runner = TaskRunner(dag_run=dates)
    with DAG("stripe", schedule=schedule, start_date=pendulum.datetime(2020, 1, 1, tz=zone)) as dag:
        sensor = StripeReportTypeSensor(
            task_id="report", report_type="balance.summary.1", interval=interval, **THERE
        )
        worker = ResolveInAWorker(task_id="worker", interval=interval)
    assert dag
    there = outcome(lambda: resolve(triggerer.trigger_of(sensor, runner)._context, interval=interval))
    assert there == runner.run(worker).returned


class ResolveInAWorker(BaseOperator):
    """Returns the interval that a task in a worker has."""

    def __init__(self, *, interval: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.interval = interval

    def execute(self, context: Any) -> Any:
        """Resolve it."""
        return outcome(lambda: resolve(context, interval=self.interval))


def outcome(act: Callable[[], Any]) -> Any:
    try:
        found = act()
    except IntervalError as error:
        return str(error)
    return [str(found), found.start.int_timestamp, found.end.int_timestamp]


# --- What is refused ---------------------------------------------------------------------------------------


class OfOnesOwn(CoreCronTriggerTimetable):
    """Somebody's own timetable."""


def mapped(**options: Any) -> None:
    StripeReportRunSensor.partial(task_id="report", **THERE, **options).expand(report_run_id=["frr_1", "frr_2"])


def in_a_mapped_group() -> None:
    from airflow.sdk import task_group

    @task_group
    def group(run_id: str) -> None:
        StripeReportRunSensor(task_id="report", report_run_id="frr_1", **THERE)

    group.expand(run_id=["frr_1", "frr_2"])


def upstream(**options: Any) -> Any:
    return StripeReportRunOperator(task_id="run", report_type="balance.summary.1", **options).output


def upstream_mapped() -> Any:
    runs = StripeReportRunOperator.partial(task_id="run").expand(
        report_type=["balance.summary.1", "payouts.summary.1"]
    )
    return runs.output


class WithItsOwnGoal(StripeReportRunSensor):
    """A subclass that waits for something else."""

    def goal(self, context: Any) -> Any:
        """Return the other."""
        return None


class WithItsOwnEnd(StripeReportRunSensor):
    """A subclass that does something at the end."""

    def post_execute(self, context: Any, result: Any = None) -> None:
        """Do it."""


def a_run(sensor: Any = StripeReportRunSensor, **options: Any) -> Any:
    return sensor(**{"task_id": "report", "report_run_id": "frr_1", **THERE, **options})


def a_type(**options: Any) -> Any:
    return StripeReportTypeSensor(**{"task_id": "report", "report_type": "balance.summary.1", **THERE, **options})


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "mapped": (mapped, "can't begin mapped tasks"),
    "a mapped group": (in_a_mapped_group, "can't begin mapped tasks"),
    "a mapped upstream": (lambda: a_run(report_run_id=upstream_mapped()), "comes from the mapped task 'run'"),
    "something made of a result": (
        lambda: a_run(report_run_id=upstream().map(lambda it: it)),
        "report_run_id takes what one returned",
    ),
    "a result inside": (
        lambda: a_run(report_run_id={"report_run_id": upstream()}),
        "report_run_id takes what one",
    ),
    "ending alone": (lambda: a_run(start_from_trigger=False), "goes with start_from_trigger=True"),
    "outlets": (lambda: a_run(outlets=[Asset("x")]), "no event of its outlets would be recorded"),
    "a pool": (lambda: a_run(pool="stripe"), "pool would not hold it back"),
    "a limit": (lambda: a_run(max_active_tis_per_dag=3), "max_active_tis_per_dag would not hold it back"),
    "its own goal": (lambda: a_run(WithItsOwnGoal), "WithItsOwnGoal has its own goal"),
    "its own end": (lambda: a_run(WithItsOwnEnd), "post_execute would not be called: use end_from_trigger=False"),
    "pre_execute": (lambda: a_run(pre_execute=print), "pre_execute would not be called"),
    "post_execute": (lambda: a_run(post_execute=print), "post_execute would not be called"),
    "on_execute_callback": (lambda: a_run(on_execute_callback=print), "on_execute_callback would not be called"),
    "on_success_callback": (lambda: a_run(on_success_callback=print), "on_success_callback would not be called"),
    "multiple_outputs": (lambda: a_run(multiple_outputs=True), "multiple_outputs is not supported there"),
    "a name that is never answered": (
        lambda: a_run(report_run_id="{{ prev_start_date_success }}"),
        "the template of report_run_id uses prev_start_date_success, which the triggerer does not have",
    ),
    "a name that is empty there": (
        lambda: a_type(interval_end="{{ triggering_asset_events }}"),
        "triggering_asset",
    ),
    "a macro of the DAG's own": (lambda: a_type(interval_end="{{ my_end(ds) }}"), "uses my_end"),
    "a filter of the DAG's own": (lambda: a_type(interval_end="{{ ds | my_end }}"), "my_end"),
    "a template that is none": (lambda: a_type(interval_end="{{ ds"), "the template of interval_end"),
    "a value of another kind": (lambda: a_type(interval_end=["2024-05-02"]), "interval_end can't be a list"),
}


@triggerers_render
@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_so_is_refused_when_the_file_is_parsed(what: str) -> None:
    """With what to do."""
    make, words = REFUSED[what]
    with DAG("stripe", schedule=None, start_date=START), pytest.raises(ConfigurationError, match=words):
        make()


OF_THE_DAG: dict[str, dict[str, Any]] = {
    "jinja_environment_kwargs": {"variable_start_string": "[[", "variable_end_string": "]]"},
    "user_defined_filters": {"upper": lambda text: f"{text}T00:00Z"},
    "user_defined_macros": {"range": lambda day: f"{day}T00:00Z"},
}


@triggerers_render
@pytest.mark.parametrize(
    ("own", "template", "words"),
    [
        ("jinja_environment_kwargs", "[[ ds ]]T00:00Z", "the DAG's jinja_environment_kwargs"),
        ("jinja_environment_kwargs", "{{ ds }}T00:00Z", "the DAG's jinja_environment_kwargs"),
        ("user_defined_filters", "{{ ds | upper }}", "upper"),
        ("user_defined_macros", "{{ range(ds) }}", "range"),
        ("user_defined_macros", "{% include 'end.txt' %}", "the file 'end.txt'"),
    ],
)
def test_what_a_dag_makes_of_templates_is_refused(own: str, template: str, words: str) -> None:
    """The triggerer would take Jinja's own for it, or no template for one, and say nothing."""
    message = f"the template of interval_end uses {words}, which the triggerer does not have"
    options: dict[str, Any] = {own: OF_THE_DAG[own]}
    with (
        DAG("stripe", schedule=None, start_date=START, **options),
        pytest.raises(ConfigurationError, match=message),
    ):
        a_type(interval_end=template)


def test_the_page_has_the_names_that_templates_know() -> None:
    """A name that is missing there would be avoided for nothing."""
    names = ", ".join(f"`{name}`" for name in sorted(KNOWN_NAMES))
    hold(PAGE, "names", "\n".join(wrap(names, 120, break_on_hyphens=False)))


@triggerers_render
@pytest.mark.parametrize("own", OF_THE_DAG)
def test_what_a_dag_has_of_its_own_and_is_not_used_is_no_hindrance(own: str) -> None:
    """A text without templates is the same everywhere."""
    options: dict[str, Any] = {own: OF_THE_DAG[own]}
    with DAG("stripe", schedule=None, start_date=START, **options):
        assert a_type(interval_end="2024-05-02T00:00Z").start_from_trigger
        if own != "jinja_environment_kwargs":
            assert a_run(task_id="run", report_run_id="{{ ti.xcom_pull('x') | lower }}").start_from_trigger


@triggerers_render
@pytest.mark.parametrize("name", ["pre_execute", "post_execute", "on_execute_callback", "on_success_callback"])
def test_what_a_worker_calls_is_allowed_where_it_ends_in_one(name: str) -> None:
    """So are callbacks of other ends, which are in a worker."""
    assert run_sensor(**{name: print}, outlets=[Asset("x")], end_from_trigger=False).start_from_trigger
    assert run_sensor(on_failure_callback=print, on_retry_callback=print, on_skipped_callback=print)


@triggerers_render
def test_the_interval_of_somebody_elses_timetable_is_refused() -> None:
    """Its steps may take any time; an end that is given needs none."""
    own: Any = OfOnesOwn("@daily", timezone="UTC")
    for schedule in (own, AssetOrTimeSchedule(timetable=own, assets=[Asset("orders")])):
        with DAG("stripe", schedule=present(schedule), start_date=START):
            with pytest.raises(ConfigurationError, match="the interval of OfOnesOwn, which is not Airflow's"):
                a_type()
            assert a_type(task_id="another", interval_end="{{ data_interval_end }}").start_from_trigger


@triggerers_render
def test_airflow_is_told_that_it_ends_there() -> None:
    """It refuses the DAG where listeners, such as OpenLineage's, would not hear of it."""
    assert run_sensor().end_from_trigger
    assert not run_sensor(end_from_trigger=False).end_from_trigger
    assert not in_dag(StripeReportRunSensor, report_run_id="frr_1").end_from_trigger


@triggerers_render
def test_in_a_worker_it_defers(stripe_conn: StripeSandbox) -> None:
    """``dag.test()`` runs all tasks so."""
    runner = TaskRunner()
    task = run_sensor(report_run_id=create(stripe_conn))
    stripe_conn.inject(RunFails("The printer is on fire."))
    tried: Try = runner.run(task)
    assert tried.state == "deferred"
    assert runner.trigger(tried).resume["stripe_conn_id"] == "stripe_default"


def test_an_airflow_that_can_not_is_told_from_one_that_can() -> None:
    """Airflow 2, and 3 before 3.3, would run the task in a worker, or with its templates as they are."""
    with pytest.MonkeyPatch.context() as patch:
        if not BEFORE_3_3:
            patch.delattr(BaseTrigger, "render_template_fields")
        with pytest.raises(ConfigurationError, match=r"needs Airflow 3\.3 or newer; deferrable=True waits"):
            run_sensor(end_from_trigger=False)

"""Which failures are tried again, and when: the policy, and Airflow's task runner with it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowOptionalProviderFeatureException,
    AirflowTaskTimeout,
    task,
)
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.reporting.errors import DownloadError, RateLimitError
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import AfterReads, KeyExpired, RateLimited, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from tests.task_runner import START, TaskRunner, in_dag
from tests.versions import BEFORE_3_3, needs_airflow

if not BEFORE_3_3:
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import RetryAction, RetryDecision, RetryPolicy
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_reportrun.retry_policy import StripeRetryPolicy

    class Never(RetryPolicy):
        """Somebody's own."""

        def evaluate(self, *args: Any, **kwargs: Any) -> RetryDecision:
            """Fail."""
            return RetryDecision.fail("never")


MAKE = [
    (StripeReportRunOperator, {"report_type": "balance.summary.1"}),
    (StripeReportDownloadOperator, {"report_run_id": "frr_1", "destination": "/data/x.csv"}),
    (StripeReportRunSensor, {"report_run_id": "frr_1"}),
    (StripeReportTypeSensor, {"report_type": "balance.summary.1"}),
]
of_3_3 = needs_airflow(3, 3, "retry policies")


@pytest.fixture(autouse=True)
def _nothing_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StripeReportingHook, "resend_policy", ResendPolicy(max_tries=1, max_refused=0))


def in_own_task(**options: Any) -> Any:
    """Return a task of somebody's own that calls the hook."""
    with DAG("own", schedule=None, start_date=START):

        @task(retries=5, **options)
        def report() -> str:
            parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
            return StripeReportingHook().create_report_run("balance.summary.1", parameters).id

        made: Any = report()
    return made.operator


def ours(**options: Any) -> Any:
    options = {"report_type": "balance.summary.1", "retries": 5, "wait_for_data": False, **options}
    return in_dag(StripeReportRunOperator, **options)


@of_3_3
@pytest.mark.parametrize("own", [False, True])
def test_what_cannot_get_better_fails_at_once(stripe_conn: StripeSandbox, own: bool) -> None:
    """A key that has expired, despite five retries."""
    stripe_conn.inject(KeyExpired())
    tried = TaskRunner().run(in_own_task(retry_policy=StripeRetryPolicy()) if own else ours())
    assert tried.state == "failed"
    assert "Expired API Key" in str(tried.error)


@of_3_3
@pytest.mark.parametrize("own", [False, True])
def test_what_gets_better_is_tried_again_when_the_author_says(stripe_conn: StripeSandbox, own: bool) -> None:
    """A rate limit that outlasts what the client sends again."""
    stripe_conn.inject(RateLimited())
    tried = TaskRunner().run(in_own_task(retry_policy=StripeRetryPolicy()) if own else ours())
    assert (tried.state, tried.retry_delay) == ("up_for_retry", None)


@of_3_3
@pytest.mark.parametrize("own", [False, True])
def test_data_that_is_not_ready_is_asked_for_half_an_hour_later(stripe_conn: StripeSandbox, own: bool) -> None:
    """It moves on about twice a day."""
    stripe_conn.configure(data_available_end=1714607999)
    tried = TaskRunner().run(in_own_task(retry_policy=StripeRetryPolicy()) if own else ours())
    assert (tried.state, tried.retry_delay) == ("up_for_retry", timedelta(minutes=30))


@of_3_3
def test_an_author_who_waits_longer_for_data_is_not_hurried(stripe_conn: StripeSandbox) -> None:
    """The delays are the least that makes sense."""
    stripe_conn.configure(data_available_end=1714607999)
    tried = TaskRunner().run(ours(retry_delay=timedelta(hours=2)))
    assert (tried.state, tried.retry_delay) == ("up_for_retry", None)
    patient = {"retry_delay": timedelta(minutes=20), "retry_exponential_backoff": 2.0}
    tried = TaskRunner().run(ours(**patient), try_number=2)
    assert (tried.state, tried.retry_delay) == ("up_for_retry", None)


@of_3_3
def test_without_the_policy_a_task_of_ones_own_spends_its_retries(stripe_conn: StripeSandbox) -> None:
    """Which is what the policy is for."""
    stripe_conn.inject(KeyExpired())
    assert TaskRunner().run(in_own_task()).state == "up_for_retry"


@of_3_3
def test_a_chain_keeps_the_policy_behind_rules_of_ones_own(stripe_conn: StripeSandbox) -> None:
    """What the rules say nothing about is decided as without them."""
    from airflow.providers.common.compat.sdk import ChainRetryPolicy, ExceptionRetryPolicy, RetryRule

    rule = RetryRule(exception=AirflowTaskTimeout, action=RetryAction.FAIL)
    chain = ChainRetryPolicy([ExceptionRetryPolicy(rules=[rule]), StripeRetryPolicy()])
    stripe_conn.inject(KeyExpired())
    assert TaskRunner().run(ours(retry_policy=chain)).state == "failed"
    stripe_conn.configure(data_available_end=1714607999)
    tried = TaskRunner().run(ours(retry_policy=chain))
    assert (tried.state, tried.retry_delay) == ("up_for_retry", timedelta(minutes=30))
    stripe_conn.configure(data_available_end=int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()))
    stripe_conn.configure(transition=AfterReads(10_000))
    out_of_time = {"execution_timeout": timedelta(seconds=1), "poll_interval": 0.1}
    assert TaskRunner().run(ours(retry_policy=chain, **out_of_time)).state == "failed"
    assert TaskRunner().run(ours(**out_of_time)).state == "up_for_retry"


@of_3_3
def test_no_retry_is_made_beyond_those_that_are_left(stripe_conn: StripeSandbox) -> None:
    """The policy may end retries, it adds none."""
    stripe_conn.inject(RateLimited())
    assert TaskRunner().run(ours(), try_number=6, max_tries=5).state == "failed"


def too_many(retry_after: float | None) -> RateLimitError:
    return RateLimitError("Slow down.", http_status=429, retry_after=retry_after)


@of_3_3
@pytest.mark.parametrize(
    ("retry_after", "own_delay", "expected"),
    [
        (600.0, 300, timedelta(seconds=600)),
        (2.5, 0, timedelta(seconds=2.5)),
        (2.5, 300, None),
        (0.0, 300, None),
        (None, 300, None),
    ],
)
def test_stripes_wish_to_be_left_alone_is_heeded(
    retry_after: float | None, own_delay: int, expected: timedelta | None
) -> None:
    """It is the least; an author who waits longer is not hurried, or all retries would be spent in seconds."""
    mine = ours(retry_delay=timedelta(seconds=own_delay))
    decision = StripeRetryPolicy().evaluate(too_many(retry_after), 1, 5, {"task": mine})
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, expected)


def next_pause(task: Any, try_number: int, error: RateLimitError | None) -> timedelta:
    """Return what Airflow's scheduler makes of a decision of the policy, and without one for no error."""
    decision = RetryDecision.default()
    if error:
        decision = StripeRetryPolicy().evaluate(error, try_number, 99, {"task": task})
    stored = DagSerialization.from_dict(DagSerialization.to_dict(task.dag)).get_task("report")
    override = None if decision.retry_delay is None else decision.retry_delay.total_seconds()
    row: Any = SimpleNamespace(
        **{"task": stored, "try_number": try_number, "end_date": START, "retry_delay_override": override},
        **{"dag_id": "stripe", "task_id": "report", "logical_date": START, "log": logging.getLogger(__name__)},
    )
    pause: timedelta = TaskInstance.next_retry_datetime(row) - START
    return pause


@of_3_3
@pytest.mark.parametrize(
    ("backoff", "try_number", "wish", "least", "most"),
    [
        (True, 1, 60, 60, 120),
        (True, 4, 60, 480, 960),
        (True, 4, 600, 600, 960),
        (True, 4, 3600, 3600, 3600),
        (2, 4, 60, 480, 960),
        (2.0, 4, None, 480, 960),
        (3.0, 4, 600, 1620, 3240),
        (1.5, 3, 60, 135, 270),
        (False, 4, 30, 60, 60),
        (0, 4, 90, 90, 90),
        (1.0, 4, 30, 60, 60),
        (2.0, 5_000, 60, 24 * 3600, 24 * 3600),
    ],
)
def test_the_authors_back_off_is_kept(
    backoff: Any, try_number: int, wish: float | None, least: int, most: int
) -> None:
    """The policy has no say where the author waits longer; where its own wish is longer, that is the least."""
    mine = ours(retry_delay=timedelta(minutes=1), retry_exponential_backoff=backoff)
    assert timedelta(seconds=least) <= next_pause(mine, try_number, too_many(wish)) <= timedelta(seconds=most)


@of_3_3
@given(
    delay=st.integers(0, 10_000),
    backoff=st.sampled_from([True, False, 0, 1, 2, 0.5, 1.5, 10.0, -2]),
    longest=st.none() | st.integers(1, 100_000),
    try_number=st.integers(1, 400),
    wish=st.none() | st.floats(0, 10_000),
)
def test_neither_stripe_nor_the_author_is_hurried(
    delay: int, backoff: Any, longest: int | None, try_number: int, wish: float | None
) -> None:
    """Whatever the author chose, the pause is as long as Stripe wished, and as Airflow's own would be."""
    options: dict[str, Any] = {"retry_exponential_backoff": backoff, "max_retry_delay": longest}
    mine = ours(retry_delay=timedelta(seconds=delay), **options)
    pause = next_pause(mine, try_number, too_many(wish))
    assert pause >= timedelta(seconds=wish or 0) - timedelta(microseconds=1)
    assert 2 * pause >= next_pause(mine, try_number, None)  # drawn between it and its double


@of_3_3
def test_the_wish_is_heeded_without_a_context() -> None:
    """Airflow may leave it out."""
    assert StripeRetryPolicy().evaluate(too_many(7), 1, 5).retry_delay == timedelta(seconds=7)


@of_3_3
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), RuntimeError("Report run failed")])
def test_errors_of_others_are_left_to_airflow(error: BaseException) -> None:
    """Whatever they say."""
    assert StripeRetryPolicy().evaluate(error, 1, 5) == RetryDecision.default()


@of_3_3
def test_an_error_of_ours_is_found_under_that_of_another() -> None:
    """Somebody's task may wrap it."""
    outer = RuntimeError("no report today")
    outer.__cause__ = ValueError("x")
    outer.__cause__.__cause__ = DownloadError("cut")
    assert StripeRetryPolicy().evaluate(outer, 1, 5).action == RetryAction.RETRY


@of_3_3
@pytest.mark.parametrize(("task_class", "options"), MAKE)
def test_it_is_the_default_and_no_more(task_class: type, options: dict[str, Any]) -> None:
    """What the author of the DAG chose counts, for the task or for all tasks of a DAG."""
    assert isinstance(in_dag(task_class, **options).retry_policy, StripeRetryPolicy)
    assert isinstance(in_dag(task_class, **options, retry_policy=Never()).retry_policy, Never)
    with DAG("d", schedule=None, start_date=START, default_args={"retry_policy": Never()}):
        assert isinstance(task_class(task_id="x", **options).retry_policy, Never)
        mine = task_class(task_id="y", **options, retry_policy=StripeRetryPolicy())
        assert isinstance(mine.retry_policy, StripeRetryPolicy)


@of_3_3
@pytest.mark.parametrize("given", [False, True])
def test_mapped_tasks_have_it(stripe_conn: StripeSandbox, given: bool) -> None:
    """Each is made by the constructor, in the worker; the DAG's author may choose here, too."""
    policy = {"retry_policy": Never()} if given else {}
    with DAG("stripe", schedule=None, start_date=START):
        mapped = StripeReportRunOperator.partial(
            task_id="report", retries=5, report_type="balance.summary.1", wait_for_data=False, **policy
        ).expand(currency=["usd"])
    stripe_conn.configure(data_available_end=1714607999)
    tried = TaskRunner().run(mapped, map_index=0)
    expected = ("failed", None) if given else ("up_for_retry", timedelta(minutes=30))
    assert (tried.state, tried.retry_delay) == expected


@of_3_3
@pytest.mark.parametrize(
    ("task_class", "options", "words"),
    [
        (StripeReportRunOperator, {"report_type": "balance.summary.1", "interval": "dya"}, "interval is one of"),
        (StripeReportRunOperator, {"report_type": "balance.summary.1", "timeout": 0}, "timeout is positive"),
        (StripeReportTypeSensor, {"report_type": "balance.summary.1", "settle": -5}, "settle is not negative"),
        (StripeReportDownloadOperator, {"report_run_id": "frr_1", "destination": "/x.parquet"}, "format"),
    ],
)
def test_a_mapped_task_that_can_not_be_made_fails_at_once(
    task_class: Any, options: dict[str, Any], words: str
) -> None:
    """What is wrong for all of a mapped task is found when the first is made, in the worker."""
    with DAG("stripe", schedule=None, start_date=START):
        mapped = task_class.partial(task_id="report", retries=5, **options).expand(stripe_account=["acct_1"])
    tried = TaskRunner().run(mapped, map_index=0)
    assert (tried.state, words in str(tried.error)) == ("failed", True), tried


@of_3_3
@pytest.mark.parametrize(("task_class", "options"), MAKE)
def test_a_dag_with_it_is_stored(task_class: type, options: dict[str, Any]) -> None:
    """The scheduler knows that there is a policy; the worker has it from the file."""
    stored = DagSerialization.from_dict(DagSerialization.to_dict(in_dag(task_class, **options).dag))
    assert stored.get_task("report").has_retry_policy


@of_3_3
def test_it_can_be_stored_itself() -> None:
    """As Airflow's own policies can."""
    stored = StripeRetryPolicy().serialize()
    assert stored == {"__type": "airflow_reportrun.retry_policy.StripeRetryPolicy"}
    assert isinstance(StripeRetryPolicy.deserialize(stored), StripeRetryPolicy)


@pytest.mark.skipif(not BEFORE_3_3, reason="Airflow has retry policies")
def test_before_airflow_3_3_it_says_what_it_needs() -> None:
    """In the way in which Airflow's provider manager passes it over."""
    with pytest.raises(AirflowOptionalProviderFeatureException, match=r"need Airflow 3\.3 or newer"):
        __import__("airflow_reportrun.retry_policy")


@pytest.mark.skipif(not BEFORE_3_3, reason="Airflow has retry policies")
def test_before_airflow_3_3_tasks_do_without(stripe_conn: StripeSandbox) -> None:
    """What can't get better is not tried again there either."""
    for fault, state in ((KeyExpired(), "failed"), (RateLimited(), "up_for_retry")):
        stripe_conn.inject(fault)
        begun = TaskRunner(dag_run={"start_date": datetime.now(UTC)})
        assert begun.run(ours()).state == state

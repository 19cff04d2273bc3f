"""Report types as they are: what they take, what their ids say, and what is said of one that isn't there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.landing.manifest import Subject
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.reporting.errors import InvalidRequestError
from airflow_reportrun.sandbox import AtOnce, StripeSandbox, Unavailable
from airflow_reportrun.sandbox.business import DAY, Books
from airflow_reportrun.sandbox.catalogue import CATALOGUE
from airflow_reportrun.sensors import StripeReportTypeSensor
from tests.task_runner import TaskRunner, in_dag

OPENED, MAY_1 = 1_640_995_200, 1_714_521_600
PAYOUT = next(Books(OPENED, connected=("acct_baker",)).of("acct_baker").payouts(MAY_1, MAY_1 + 7 * DAY)).id
"""One of the connected account's, which its own report type can be asked about."""


def run_operator(**kwargs: Any) -> Any:
    return in_dag(StripeReportRunOperator, **{"report_type": "balance.summary.1", "poll_interval": 0.01, **kwargs})


@pytest.mark.parametrize("report_type", [name for name in CATALOGUE if name.startswith("connected_account_")])
def test_reports_on_connected_accounts_take_what_the_platforms_take(
    stripe_conn: StripeSandbox, report_type: str
) -> None:
    """An interval, its end alone or a payout: the operator knows which, and Stripe agrees."""
    stripe_conn.configure(transition=AtOnce())
    options = {"payout": PAYOUT} if "payout" in CATALOGUE[report_type].required else {}
    task = run_operator(report_type=report_type, connected_account="acct_baker", **options)
    tried = TaskRunner().run(task)
    assert tried.state == "success", tried.error
    (create,) = stripe_conn.requests_to("create")
    assert CATALOGUE[report_type].required <= set(create.form["parameters"])


@pytest.mark.parametrize(
    "options",
    [
        {"report_type": "payout_reconciliation.by_id.itemized.4", "parameter_shape": "interval"},
        {"report_type": "payouts.itemized.5", "parameter_shape": "payout", "payout": "po_1"},
        {"report_type": "ending_balance_reconciliation.itemized.4", "parameter_shape": "interval"},
    ],
)
def test_stripes_refusal_of_a_shape_names_the_option_that_decides(
    stripe_conn: StripeSandbox, options: dict[str, Any]
) -> None:
    """A type that Stripe has changed, or added, is for the author to describe."""
    tried = TaskRunner().run(run_operator(**options))
    assert tried.state == "failed"
    assert "set parameter_shape= (interval, interval_end, payout)" in str(tried.error)


@pytest.mark.parametrize(
    "options",
    [
        {"report_type": "payout_reconciliation.by_id.itemized.4", "payout": "po_1"},
        {"interval_start": 1, "interval_end": 2},
    ],
)
def test_other_refusals_do_not(stripe_conn: StripeSandbox, options: dict[str, Any]) -> None:
    """A payout that is unknown, and an interval before the data, are of the right shape."""
    tried = TaskRunner().run(run_operator(wait_for_data=False, **options))
    assert tried.state == "failed"
    assert "parameter_shape" not in str(tried.error)


HAS = ["balance.summary.1", "balance_change_from_activity.itemized.3", "balance_change_from_activity.itemized.4"]
HAS += ["payouts.itemized.5", "connected_account_payouts.itemized.3"]

NEAR = [
    ("balance_change_from_activity.itemised.3", "itemized.3, balance_change_from_activity.itemized.4."),
    ("balance_change_from_activity.itemized.1", "itemized.3, balance_change_from_activity.itemized.4."),
    ("balance_change_from_activity.itemized", "itemized.3, balance_change_from_activity.itemized.4."),
    ("Balance.Summary.1", "The account has balance.summary.1."),
    ("ballance.sumary.1", "The account has balance.summary.1."),
    ("payout.itemized.5", "The account has payouts.itemized.5."),
    ("tax.transactions.itemized.1", "The account has 5 others, and none of a like name"),
]
"""Ids that the account lacks, and what the error says that it has."""


@pytest.fixture
def few_types(stripe_conn: StripeSandbox) -> StripeSandbox:
    """An account that can run a few report types."""
    stripe_conn.configure(report_types=HAS, transition=AtOnce())
    return stripe_conn


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("wait_for_data", [True, False])
@pytest.mark.parametrize(("given_type", "said"), NEAR)
def test_a_mistyped_report_type_names_what_there_is(
    few_types: StripeSandbox, given_type: str, said: str, wait_for_data: bool, deferrable: bool
) -> None:
    """Whether Stripe says so of the look at the data or of the request; no retry would change it."""
    task = run_operator(report_type=given_type, wait_for_data=wait_for_data, deferrable=deferrable)
    tried = TaskRunner().run(task)
    assert tried.state == "failed"
    assert "No such report type" in str(tried.error)
    assert said in str(tried.error)
    assert few_types.report_runs == []


@pytest.mark.parametrize(("given_type", "said"), NEAR)
def test_none_of_several_names_what_there_is(few_types: StripeSandbox, given_type: str, said: str) -> None:
    """The same, of what is like any of them."""
    tried = TaskRunner().run(run_operator(report_type=["nothing_of_the_kind.1", given_type]))
    assert tried.state == "failed"
    assert "has none of the report types nothing_of_the_kind.1, " in str(tried.error)
    assert said in str(tried.error)
    assert few_types.requests_to("create") == []


def test_the_first_of_several_that_the_account_has_is_taken(few_types: StripeSandbox) -> None:
    """A newer version may come to one account later than to another."""
    tried = TaskRunner().run(run_operator(report_type=["payouts.itemized.6", "payouts.itemized.5"]))
    assert tried.state == "success", tried.error
    assert few_types.report_runs[0].report_type == "payouts.itemized.5"


@pytest.mark.parametrize("mode", [{}, {"mode": "reschedule"}, {"deferrable": True}])
def test_a_sensor_names_what_there_is(few_types: StripeSandbox, mode: dict[str, Any]) -> None:
    """In each mode."""
    task = in_dag(StripeReportTypeSensor, report_type="balance.sumary.1", interval_end="2024-05-02T00:00Z", **mode)
    tried = TaskRunner().run(task)
    assert tried.state == "failed"
    assert "The account has balance.summary.1." in str(tried.error)


def test_a_trigger_names_what_there_is(few_types: StripeSandbox) -> None:
    """The other colour is asked for the same."""

    async def look() -> None:
        async with StripeReportingAsyncHook() as hook:
            await hook.retrieve_report_type_async("balance.sumary.1")

    with pytest.raises(InvalidRequestError, match=r"The account has balance\.summary\.1\.") as caught:
        asyncio.run(look())
    assert caught.value.message == "No such report type: 'balance.sumary.1'"


def test_an_account_without_report_types_is_told_so(stripe_conn: StripeSandbox) -> None:
    """Its first day may be the reason."""
    stripe_conn.configure(report_types=[])
    tried = TaskRunner().run(run_operator())
    assert tried.state == "failed"
    assert "no report types at all; a new account's come within its first day" in str(tried.error)


def test_what_else_is_missing_asks_for_no_list(few_types: StripeSandbox) -> None:
    """A payout is none of the report types."""
    options = {"report_type": "payout_reconciliation.by_id.itemized.4", "payout": "po_1"}
    few_types.configure(report_types=[*HAS, options["report_type"]])
    assert "No such payout" in str(TaskRunner().run(run_operator(**options)).error)
    assert few_types.requests_to("list_types") == []


def test_a_list_that_fails_does_not_hide_the_error(few_types: StripeSandbox) -> None:
    """Stripe's first words are what matters."""
    few_types.inject(Unavailable(), on="list_types", times=20)
    with pytest.raises(InvalidRequestError, match="No such report type"):
        Impatient().retrieve_report_type("balance.sumary.1")
    assert few_types.requests_to("list_types")


class Impatient(StripeReportingHook):
    """Waits for nothing between two requests."""

    sleep = staticmethod(lambda seconds: None)


def subject(report_type: str) -> Subject:
    return Subject.of(report_type, {"interval_start": 1, "interval_end": 2}, livemode=True, stripe_account=None)


def test_versions_of_a_report_are_one_subject_and_other_endings_are_not() -> None:
    """A manifest that was written before is of the subject that it was of."""
    assert subject("balance.summary.1") == subject("balance.summary.12")
    assert subject("balance.summary.1").report == "balance.summary"
    odd = ["activity", "payouts", "activity.beta", "activity.gamma", "activity.v2", "activity.beta.1.x"]
    assert len({subject(it).report for it in odd}) == len(odd)

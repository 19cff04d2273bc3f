"""The rate budget over the wire: hooks in both colours against a sandbox that has Stripe's limits."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.reporting import budget
from airflow_reportrun.reporting.errors import RateLimitError
from airflow_reportrun.reporting.models import File
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import AtOnce, Dropped, LockTimeout, RateLimited, RateLimits, StripeSandbox

TYPE = "balance.summary.1"
PARAMETERS = ReportParameters(interval_start=1714521600, interval_end=1714608000)


@pytest.fixture(autouse=True)
def _real_rates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(budget, "SHARE", 0.6)
    budget._BUDGETS.clear()
    yield
    budget._BUDGETS.clear()


def create_sync(times: int) -> None:
    """Create so many report runs from eight threads, each with a hook of its own every time."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: StripeReportingHook().create_report_run(TYPE, PARAMETERS), range(times)))


def create_async(times: int) -> None:
    """Create as many at once on an event loop."""

    async def go() -> None:
        async with StripeReportingAsyncHook() as hook:
            await asyncio.gather(*(hook.create_report_run_async(TYPE, PARAMETERS) for _ in range(times)))

    asyncio.run(go())


@pytest.mark.parametrize("create", [create_sync, create_async], ids=["sync", "async"])
def test_a_process_keeps_within_the_limit_by_itself(
    create: Callable[[int], None], stripe_conn: StripeSandbox
) -> None:
    """Whatever is asked for at once: no refusal, and room for others, however late some arrive."""
    stripe_conn.configure(rate_limits=RateLimits())
    create(50)
    times = sorted(record.at for record in stripe_conn.requests)
    assert [record.status for record in stripe_conn.requests] == [200] * 50
    assert 45 / 15 - 0.2 < times[-1] - times[0] < 10
    assert max(sum(begin <= at < begin + 1 for at in times) for begin in times) < 25  # 20 when sent


def test_both_colours_share_one_budget(stripe_conn: StripeSandbox) -> None:
    """A triggerer's event loop and a thread beside it are one process to Stripe."""
    stripe_conn.configure(rate_limits=RateLimits())
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda create: create(20), [create_sync, create_async]))
    assert [record.status for record in stripe_conn.requests] == [200] * 40


def test_the_connection_says_what_stripe_allows(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less of all requests than of those to one endpoint, here."""
    connection = json.loads(os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps({**connection, "extra": {"rate_limit": 10}}))
    create_sync(14)
    times = sorted(record.at for record in stripe_conn.requests)
    assert 12 / 6 - 0.2 < times[-1] - times[0] < 10


def test_many_processes_at_once_slow_down_and_none_fails(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They know of each other by refusals alone; each has one try, and spends it on none of these."""
    began = time.time()
    # Requests move the time on, so that they come too fast on whatever machine.
    stripe_conn.configure(rate_limits=RateLimits(), clock=lambda: began + len(stripe_conn.requests) / 60)
    connection = json.loads(os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"])
    for process in range(40):  # what the connection says tells their budgets apart
        extra = {"rate_limit": 500 + process}
        monkeypatch.setenv(f"AIRFLOW_CONN_STRIPE_{process}", json.dumps({**connection, "extra": extra}))
    monkeypatch.setattr(budget, "ENDPOINT_LIMIT", 500)
    policy = ResendPolicy(max_tries=1, max_refused=30, first_refused=0.05, longest_refused=3)

    def create(number: int) -> str:
        hook = StripeReportingHook(f"stripe_{number % 40}")
        hook.resend_policy = policy
        return hook.create_report_run(TYPE, PARAMETERS).id

    with ThreadPoolExecutor(60) as pool:
        created = set(pool.map(create, range(600)))
    assert created == {run.id for run in stripe_conn.report_runs}
    assert len(created) == 600
    assert 429 in [record.status for record in stripe_conn.requests]


def call_sync(verbs: list[tuple[Any, ...]]) -> list[float]:
    slept: list[float] = []
    hook = StripeReportingHook()
    hook.sleep = slept.append
    for verb, *args in verbs:
        getattr(hook, verb)(*args)
    return slept


def call_async(verbs: list[tuple[Any, ...]]) -> list[float]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def go() -> None:
        async with StripeReportingAsyncHook() as hook:
            hook.sleep_async = sleep
            for verb, *args in verbs:
                await getattr(hook, f"{verb}_async")(*args)

    asyncio.run(go())
    return slept


@pytest.fixture(params=[call_sync, call_async], ids=["sync", "async"])
def pauses(request: pytest.FixtureRequest) -> Callable[[list[tuple[Any, ...]]], list[float]]:
    """Calls verbs one after the other, and returns the pauses that were made."""
    param: Callable[..., list[float]] = request.param
    return param


LOOK = ("list_report_types",)


def test_a_small_task_makes_no_pause(pauses: Callable[..., list[float]], stripe_conn: StripeSandbox) -> None:
    """Five requests at once are no storm."""
    stripe_conn.configure(transition=AtOnce())
    run = StripeReportingHook().create_report_run(TYPE, PARAMETERS)
    assert run.result
    assert pauses([LOOK, ("retrieve_report_run", run.id), ("retrieve_file", run.result.id), LOOK]) == []


@pytest.mark.parametrize(
    ("fault", "slower"),
    [
        (RateLimited("global-rate"), True),
        (RateLimited("endpoint-rate"), True),
        (RateLimited("resource-specific"), True),
        (LockTimeout(), False),
        (Dropped(), False),
    ],
    ids=repr,
)
def test_a_refusal_slows_down_what_follows(
    pauses: Callable[..., list[float]], stripe_conn: StripeSandbox, fault: Any, slower: bool
) -> None:
    """Besides the pause before the same request; what is no rate limit has that alone."""
    stripe_conn.inject(fault, on="list_types")
    # aiohttp itself sends once more where a connection that was kept alive breaks, without a pause.
    assert (len(pauses([LOOK, LOOK])) > 1) is slower


def test_requests_without_an_answer_are_no_more_under_way(
    pauses: Callable[..., list[float]], stripe_conn: StripeSandbox
) -> None:
    """When no more than one may be: the one that follows does not wait for those that broke."""
    stripe_conn.inject(RateLimited("global-concurrency"), on="list_types")
    stripe_conn.inject(Dropped(), times=2, on="list_types")
    assert len(pauses([LOOK, LOOK])) <= 3


def test_a_download_has_its_turn_and_learns(stripe_conn: StripeSandbox, file: File) -> None:
    """What Stripe says about files counts for their description, too, and for nothing else."""
    slept: list[float] = []
    hook = StripeReportingHook()
    hook.sleep = slept.append
    for _ in range(8):
        hook.read_file(file, b"".join)
    assert slept
    budget._BUDGETS.clear()
    slept.clear()
    stripe_conn.inject(RateLimited("resource-specific"), on="contents")
    hook.read_file(file, b"".join)
    assert len(slept) == 2
    slept.clear()
    hook.list_report_types()
    assert slept == []
    hook.retrieve_file(file.id)
    assert len(slept) == 1


@pytest.fixture
def file(stripe_conn: StripeSandbox) -> File:
    """Return a file that is ready."""
    stripe_conn.configure(transition=AtOnce())
    run = StripeReportingHook().create_report_run(TYPE, PARAMETERS)
    assert run.result
    return run.result


def test_a_download_that_is_refused_for_ten_minutes_is_an_error(stripe_conn: StripeSandbox, file: File) -> None:
    """With Stripe's reason in it."""
    stripe_conn.inject(RateLimited("resource-specific"), times=500, on="contents")
    hook = StripeReportingHook()
    hook.sleep = lambda seconds: None
    with pytest.raises(RateLimitError, match="resource-specific"):
        hook.read_file(file, b"".join)
    assert len(stripe_conn.requests_to("contents")) > ResendPolicy().max_tries


def test_a_forked_process_begins_with_budgets_of_its_own() -> None:
    """A lock that was held at that moment would never be released there."""
    ours = budget.budget_of("https://api.stripe.com", "sk_test_1", None, 25)
    with ours.lock:
        child = os.fork()
        if not child:
            theirs = budget.budget_of("https://api.stripe.com", "sk_test_1", None, 25)
            os._exit(int(theirs is ours or theirs.lock.locked()))
        assert os.waitpid(child, 0)[1] == 0

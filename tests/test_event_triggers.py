from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.module_loading import import_string
from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException

from airflow_reportrun import hooks
from airflow_reportrun.hooks import StripeReportingAsyncHook
from airflow_reportrun.reporting.models import ReportType
from airflow_reportrun.sandbox import RateLimited, StripeSandbox
from tests.versions import BEFORE_3_3
from tests.wire import Wire, says

if BEFORE_3_3:

    def test_before_airflow_3_3_it_says_what_to_do() -> None:
        """In the way in which Airflow's provider manager passes it over."""
        with pytest.raises(AirflowOptionalProviderFeatureException, match=r"needs Airflow 3\.3.*by the clock"):
            __import__("airflow_reportrun.event_triggers")

    pytest.skip("They came with Airflow 3.3", allow_module_level=True)

if TYPE_CHECKING or not BEFORE_3_3:
    from airflow.sdk import Asset
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import (
        AssetStateStoreResult,
        ErrorResponse,
        GetAssetStateStoreByName,
        OKResponse,
        SetAssetStateStoreByName,
    )
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors
    from airflow.triggers.shared_stream import AckTimeout, SharedStreamManager

    from airflow_reportrun import event_triggers
    from airflow_reportrun.event_triggers import StripeReportDataTrigger

MAY_1, MAY_2, MAY_3 = 1714521600, 1714608000, 1714694400
HALF_DAY = 43_200
BALANCE, PAYOUTS = "balance.summary.1", "payouts.summary.1"


@dataclass
class Database:
    """What outlives a triggerer: the events of assets, and their state store by asset and key."""

    events: list[dict[str, Any]] = field(default_factory=list)
    store: dict[tuple[str, str], Any] = field(default_factory=dict)
    fails: str | None = None
    raises: bool = False

    async def asend(self, message: Any) -> Any:
        """Answer as the supervisor of a triggerer does."""
        if self.fails == type(message).__name__:
            if self.raises:
                raise AirflowRuntimeError(ErrorResponse())
            return ErrorResponse()
        if isinstance(message, SetAssetStateStoreByName):
            self.store[message.name, message.key] = message.value
            return OKResponse(ok=True)
        assert isinstance(message, GetAssetStateStoreByName)
        value = self.store.get((message.name, message.key))
        return OKResponse(ok=True) if value is None else AssetStateStoreResult(value=value)

    def spans(self) -> list[tuple[int, int]]:
        """Return from where to where the events tell."""
        return [(it["previous_data_available_end"], it["data_available_end"]) for it in self.events]


class Triggerer:
    """Runs event triggers as Airflow's does, from what it stored of them; what it keeps of itself dies with it.

    :param confirms: whether it lives to hear that an event is stored.
    :param ack_timeout: seconds after which it gives up to hear so.
    """

    def __init__(self, database: Database, *, confirms: bool = True, ack_timeout: float = 300) -> None:
        self._database = database
        self._confirms = confirms
        self._streams = SharedStreamManager(ack_timeout=ack_timeout)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Triggerer:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(it, (AckTimeout, asyncio.CancelledError)) for it in ended), ended

    def watch(self, trigger: StripeReportDataTrigger, *assets: str) -> asyncio.Task[None]:
        """Begin a trigger."""
        path, kwargs = trigger.serialize()
        again = import_string(path)(**json.loads(json.dumps(kwargs)))
        assert again.serialize() == (path, kwargs)
        again.asset_state_store = AssetStateStoreAccessors(inlets=[Asset(name) for name in assets or ("data",)])
        task = asyncio.create_task(self._run(len(self._tasks), again))
        self._tasks.append(task)
        return task

    async def _run(self, trigger_id: int, trigger: StripeReportDataTrigger) -> None:
        key = trigger.shared_stream_key()
        stream = self._streams.subscribe(trigger_id=trigger_id, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                seq = self._streams.bind_pending_event(trigger_id=trigger_id, key=key)
                assert seq is not None
                self._database.events.append(json.loads(json.dumps(event.payload)))
                if self._confirms:
                    asyncio.get_running_loop().call_later(0.01, self._streams.confirm_persisted, [seq])
        finally:
            await self._streams.unsubscribe(trigger_id, key)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    """Airflow's, behind what a trigger sees of it; and pauses of a test."""
    it = Database()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", it, raising=False)
    for name in ("SHORTEST_POLL_INTERVAL", "GATHERING", "SETTLING"):
        monkeypatch.setattr(event_triggers, name, 0.01)
    monkeypatch.setattr(hooks, "LONGEST_AGE", 0.0)  # shorter than the pauses of a test
    return it


def watcher(report_type: str = BALANCE, **kwargs: Any) -> StripeReportDataTrigger:
    return StripeReportDataTrigger(**{"report_type": report_type, "poll_interval": 0.05, **kwargs})


async def until(done: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for something."""
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110 - it happens on the other side of a wire
            await asyncio.sleep(0.005)


async def looks(sandbox: StripeSandbox, more: int = 3) -> None:
    """Wait for some more looks, so that what would be told is told."""
    before = len(sandbox.requests)
    await until(lambda: len(sandbox.requests) >= before + more)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_each_advance_is_told_once(stripe_conn: StripeSandbox, database: Database) -> None:
    """From where the one before went to; what stands still is told no more."""
    stripe_conn.configure(data_available_end=MAY_1)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(stripe_account="acct_1"))
            await until(lambda: database.store)
            for end in (MAY_1 + HALF_DAY, MAY_2, MAY_3):
                stripe_conn.configure(data_available_end=end)
                await looks(stripe_conn)

    run(test)
    assert database.spans() == [(MAY_1, MAY_1 + HALF_DAY), (MAY_1 + HALF_DAY, MAY_2), (MAY_2, MAY_3)]
    assert database.events[-1] == {
        "report_type": BALANCE,
        "livemode": False,
        "data_available_start": database.events[0]["data_available_start"],
        "data_available_end": MAY_3,
        "previous_data_available_end": MAY_2,
        "stripe_conn_id": "stripe_default",
        "stripe_account": "acct_1",
        "stripe_context": None,
    }
    assert list(database.store.values()) == [MAY_3]
    assert {request.account for request in stripe_conn.requests} == {"acct_1"}


@pytest.mark.parametrize(
    ("since", "spans"),
    [
        (None, []),
        (MAY_1, [(MAY_1, MAY_3)]),
        (datetime.fromtimestamp(MAY_2, UTC), [(MAY_2, MAY_3)]),
        (0, [(MAY_1 - HALF_DAY, MAY_3)]),
        (MAY_3, []),
    ],
)
def test_since_is_where_the_first_event_tells_from(
    stripe_conn: StripeSandbox, database: Database, since: Any, spans: list[tuple[int, int]]
) -> None:
    """Without it nothing is told of what was there at the first look, and never what lies before the data."""
    stripe_conn.configure(data_available_start=MAY_1 - HALF_DAY, data_available_end=MAY_3)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=since))
            await looks(stripe_conn)
            assert database.spans() == spans
            stripe_conn.configure(data_available_end=MAY_3 + HALF_DAY)
            await until(lambda: len(database.events) > len(spans))

    run(test)
    assert database.spans() == [*spans, (MAY_3, MAY_3 + HALF_DAY)]


def test_since_counts_at_the_first_start_alone(stripe_conn: StripeSandbox, database: Database) -> None:
    """A DAG whose trigger gets other arguments goes on where it was."""
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        for since in (MAY_1, MAY_1 - HALF_DAY):
            async with Triggerer(database) as triggerer:
                triggerer.watch(watcher(since=since))
                await until(lambda: MAY_2 in database.store.values())
                await looks(stripe_conn)

    run(test)
    assert database.spans() == [(MAY_1, MAY_2)]


def test_what_came_while_nobody_looked_is_told_in_one(stripe_conn: StripeSandbox, database: Database) -> None:
    """However often a triggerer begins anew."""

    def told(end: int) -> bool:
        return end in database.store.values()

    async def test() -> None:
        for end in (MAY_1, MAY_1, MAY_3, MAY_3):
            stripe_conn.configure(data_available_end=end)
            async with Triggerer(database) as triggerer:
                triggerer.watch(watcher())
                await until(partial(told, end))
                await looks(stripe_conn)

    run(test)
    assert database.spans() == [(MAY_1, MAY_3)]


def test_what_was_not_stored_is_told_again(stripe_conn: StripeSandbox, database: Database) -> None:
    """A triggerer that dies with an event keeps nothing of it; where it was stored after all, it comes twice."""
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database, confirms=False) as triggerer:
            triggerer.watch(watcher(since=MAY_1))
            await until(lambda: database.events)
            await looks(stripe_conn)
        assert not database.store
        for _ in range(2):
            async with Triggerer(database) as triggerer:
                triggerer.watch(watcher(since=MAY_1))
                await looks(stripe_conn)

    run(test)
    assert database.spans() == [(MAY_1, MAY_2)] * 2
    assert database.events[0] == database.events[1]


def test_what_airflow_could_not_store_is_told_again(stripe_conn: StripeSandbox, database: Database) -> None:
    """It ends the trigger, and begins it anew; another one, which had nothing to tell, goes on."""
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database, confirms=False, ack_timeout=0.1) as triggerer:
            triggerer.watch(watcher(PAYOUTS), "other")
            task = triggerer.watch(watcher(since=MAY_1))
            with pytest.raises(AckTimeout):
                await asyncio.wait_for(task, 10)
            await looks(stripe_conn)
            assert {asset for asset, _ in database.store} <= {"other"}
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1))
            await until(lambda: MAY_2 in {end for (asset, _), end in database.store.items() if asset == "data"})

    run(test)
    assert database.spans() == [(MAY_1, MAY_2)] * 2


def test_an_event_that_airflow_never_had_is_not_kept(stripe_conn: StripeSandbox, database: Database) -> None:
    """It may cancel a trigger whose event it has not put down yet."""
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        (found,) = [it for it in await types() if it.id == BALANCE]
        look = event_triggers.Look({BALANCE: found})

        async def one() -> AsyncIterator[event_triggers.Look]:
            yield look
            await asyncio.sleep(60)

        events = watcher(since=MAY_1).filter_shared_stream(one())
        assert (await anext(events)).payload["data_available_end"] == MAY_2
        await events.aclose()  # type: ignore[attr-defined]
        assert not look.when_stored

    async def types() -> list[ReportType]:
        async with StripeReportingAsyncHook() as hook:
            return await hook.list_report_types_async()

    run(test)


def test_an_event_that_nobody_was_there_for_is_told_again(
    stripe_conn: StripeSandbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow drops it when the asset is watched no longer, says that it is stored, and cancels the trigger."""
    monkeypatch.setattr(event_triggers, "SETTLING", 0.1)
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(PAYOUTS), "other")  # so that the looks go on
            task = triggerer.watch(watcher(since=MAY_1))
            await until(lambda: database.events)
            await asyncio.sleep(0.02)
            task.cancel()
            await looks(stripe_conn, 5)
            assert {asset for asset, _ in database.store} == {"other"}
            triggerer.watch(watcher(since=MAY_1))
            await until(lambda: len(database.store) == 2)

    run(test)
    assert database.spans() == [(MAY_1, MAY_2)] * 2


def test_one_request_serves_all(stripe_conn: StripeSandbox, database: Database) -> None:
    """A single report type is retrieved, several are read from the list, and who comes later is served at once."""
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1, poll_interval=60.0))
            await until(lambda: database.events)
            for number in range(20):
                triggerer.watch(
                    watcher((BALANCE, PAYOUTS)[number % 2], since=MAY_1, poll_interval=60.0), f"{number}"
                )
            await until(lambda: len(database.events) == 21)
            await until(lambda: len(database.store) == 21)

    run(test)
    assert [request.operation for request in stripe_conn.requests] == ["retrieve_type", "list_types"]


def test_accounts_and_paces_have_looks_of_their_own(stripe_conn: StripeSandbox, database: Database) -> None:
    """And an account's mark is its own, on the same asset, too."""
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            for account in ("acct_1", "acct_2"):
                triggerer.watch(watcher(since=MAY_1, poll_interval=60.0, stripe_account=account))
            triggerer.watch(watcher(PAYOUTS, since=MAY_1, poll_interval=61.0, stripe_account="acct_2"))
            await until(lambda: len(database.store) == 3)

    run(test)
    assert sorted(str(request.account) for request in stripe_conn.requests) == ["acct_1", "acct_2", "acct_2"]
    assert sorted(it["stripe_account"] for it in database.events) == ["acct_1", "acct_2", "acct_2"]
    assert {asset for asset, _ in database.store} == {"data"}


def test_data_that_goes_back_is_told_once(
    stripe_conn: StripeSandbox, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither on its way back nor when it returns, and one line of the log says so."""

    async def test() -> None:
        stripe_conn.configure(data_available_end=MAY_2)
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1))
            for end in (MAY_2, MAY_1, MAY_2, MAY_3):
                stripe_conn.configure(data_available_end=end)
                await looks(stripe_conn)

    run(test)
    assert database.spans() == [(MAY_1, MAY_2), (MAY_2, MAY_3)]
    assert caplog.text.count("the data reaches back to 2024-05-01 00:00:00 UTC") == 1


def test_live_and_test_data_are_told_apart(
    stripe_conn: StripeSandbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind one connection, whose key is read anew for each look: each mode begins for itself."""
    stripe_conn.configure(data_available_end=MAY_3)
    stripe_conn.add_key("sk_live_sandbox")

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_2))
            await until(lambda: database.store)
            connection = {"conn_type": "stripe", "host": stripe_conn.url, "password": "sk_live_sandbox"}
            monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
            await until(lambda: len(database.store) == 2)

    run(test)
    assert [it["livemode"] for it in database.events] == [False, True]
    assert database.spans() == [(MAY_2, MAY_3)] * 2


def test_errors_that_pass_are_waited_over(
    stripe_conn: StripeSandbox, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """With a line of the log and a longer pause for each."""
    stripe_conn.configure(data_available_end=MAY_2)
    stripe_conn.inject(RateLimited(), times=3, on="retrieve_type")

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1))
            await until(lambda: database.events)

    run(test)
    assert [record.levelname for record in caplog.records if "Could not look" in record.message] == ["WARNING"] * 3
    first, second, third, fourth = (request.at for request in stripe_conn.requests[:4])
    assert second - first > 0.9 * 0.05
    assert third - second > 0.9 * 0.1
    assert fourth - third > 0.9 * 0.2


def test_retry_after_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """In full, whatever chance makes of the pause, and also when somebody comes who would look at once."""
    monkeypatch.setattr("random.uniform", lambda least, most: least)
    later = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"
    with Wire(says(later)) as wire:
        connection = {"conn_type": "stripe", "host": wire.url, "password": "sk_test_sandbox"}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))

        async def test() -> None:
            async with Triggerer(database) as triggerer:
                triggerer.watch(watcher())
                await until(lambda: wire.requests)
                began = asyncio.get_running_loop().time()
                await asyncio.sleep(0.1)
                triggerer.watch(watcher(PAYOUTS))
                await until(lambda: len(wire.requests) > 1)
                assert asyncio.get_running_loop().time() - began > 0.99

        run(test)


def test_a_wrong_key_neither_ends_the_watch_nor_hurries_it(
    stripe_conn: StripeSandbox,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each look says so as an error, and the right key is found by the next one."""
    connection = {"conn_type": "stripe", "host": stripe_conn.url, "password": "sk_test_wrong"}
    right = {**connection, "password": stripe_conn.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    monkeypatch.setattr(event_triggers, "LONGEST_PAUSE", 0.2)
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1))
            await until(lambda: len(stripe_conn.requests) == 4)
            await asyncio.sleep(0.5)
            assert len(stripe_conn.requests) <= 7
            monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(right))
            await until(lambda: database.events)

    run(test)
    told = [record for record in caplog.records if "Could not look" in record.message]
    assert {record.levelname for record in told} == {"ERROR"}
    assert len(told) == sum(request.status == 401 for request in stripe_conn.requests)
    assert "sk_test_wrong" not in caplog.text


def test_a_connection_that_is_not_there_is_waited_for(
    stripe_conn: StripeSandbox,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """So is one that says nothing of use, which is told as an error."""
    defined = connection = {"conn_type": "stripe", "host": stripe_conn.url}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1))
            await until(lambda: "secret key is missing" in caplog.text)
            right = json.dumps({**defined, "password": stripe_conn.api_key})
            monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", right)
            await until(lambda: database.events)

    run(test)


def test_a_report_type_that_is_none_hurts_no_other(
    stripe_conn: StripeSandbox, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """And is told as an error, once."""
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher("weather.summary.1"))
            triggerer.watch(watcher(since=MAY_1))
            await until(lambda: database.events)
            await looks(stripe_conn)

    run(test)
    assert caplog.text.count("Stripe has no report type 'weather.summary.1' for this account") == 1


def test_assets_with_the_same_watcher_are_told_together(stripe_conn: StripeSandbox, database: Database) -> None:
    """Airflow makes one trigger of them, whose events are for all; each keeps how far it was told."""
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1), "one", "two")
            await until(lambda: len(database.store) == 2)
        stripe_conn.configure(data_available_end=MAY_3)
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1), "two", "three")
            await until(lambda: len(database.store) == 3)
            await looks(stripe_conn)

    run(test)
    assert database.spans() == [(MAY_1, MAY_2), (MAY_2, MAY_3)]
    assert {asset: end for (asset, _), end in database.store.items()} == {
        "one": MAY_2,
        "two": MAY_3,
        "three": MAY_3,
    }


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("verb", ["Get", "Set"])
def test_a_store_that_fails_is_asked_again(
    stripe_conn: StripeSandbox, database: Database, verb: str, raises: bool
) -> None:
    """What can't be read is not told, and what can't be written is not told again, loud or silent."""
    stripe_conn.configure(data_available_end=MAY_2)
    database.raises = raises
    database.fails = f"{verb}AssetStateStoreByName"

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1))
            await looks(stripe_conn, 4)
            assert len(database.events) == (1 if verb == "Set" else 0)
            assert not database.store
            database.fails = None
            await until(lambda: database.store)
            await looks(stripe_conn)

    run(test)
    assert database.spans() == [(MAY_1, MAY_2)]


def test_what_somebody_else_wrote_counts(
    stripe_conn: StripeSandbox, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """From an earlier instant on it is told again, for days that got lost; what is no instant is left alone."""
    stripe_conn.configure(data_available_end=MAY_3)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher())
            await until(lambda: database.store)
            await looks(stripe_conn)
            (name,) = database.store
            database.store[name] = MAY_1
            await until(lambda: database.store[name] == MAY_3)
            database.store[name] = "yesterday"
            await until(lambda: "is 'yesterday'; set epoch seconds, or delete it" in caplog.text)

    run(test)
    assert database.spans() == [(MAY_1, MAY_3)]
    assert list(database.store.values()) == ["yesterday"]


def test_a_store_of_another_shape_is_said(
    stripe_conn: StripeSandbox,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And nothing is told that could not be kept: what came while no triggerer runs would be lost."""
    monkeypatch.setattr(AssetStateStoreAccessors, "__init__", lambda self, inlets: None)
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1))
            await looks(stripe_conn)

    run(test)
    assert not database.events
    assert "keeps the state of assets otherwise" in caplog.text


def test_airflow_3_3_0_is_served(
    stripe_conn: StripeSandbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state store has no calls that can be awaited."""

    class Store:
        def get(self, name: str) -> Any:
            return database.store.get(("data", name))

        def set(self, name: str, value: Any) -> None:
            database.store["data", name] = value

    monkeypatch.setattr(StripeReportDataTrigger, "_stores", lambda self: [Store()])
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        async with Triggerer(database) as triggerer:
            triggerer.watch(watcher(since=MAY_1))
            await until(lambda: database.store)

    run(test)
    assert database.spans() == [(MAY_1, MAY_2)]
    assert list(database.store.values()) == [MAY_2]


def test_it_runs_by_itself(stripe_conn: StripeSandbox, database: Database) -> None:
    """Where nothing shares its looks, and without a store, it remembers while it lives."""
    stripe_conn.configure(data_available_end=MAY_2)

    async def test() -> None:
        events = watcher(since=MAY_1).run()
        database.events.append((await anext(events)).payload)
        stripe_conn.configure(data_available_end=MAY_3)
        database.events.append((await anext(events)).payload)
        await events.aclose()  # type: ignore[attr-defined]

    run(test)
    assert database.spans() == [(MAY_1, MAY_2), (MAY_2, MAY_3)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("report_type", value) for value in (None, "", 1, "{{ var.value.report_type }}")),
        *(("since", value) for value in (datetime(2024, 5, 1), "2024-05-01", -1, 1.5, True, 10**15)),
        *(("poll_interval", value) for value in (0, 0.5, -1, True, "300", float("nan"), 86_401, timedelta(0))),
        *(("stripe_conn_id", value) for value in (None, "", 1, "{{ params.conn }}")),
        *((name, 1) for name in ("stripe_account", "stripe_context")),
    ],
)
def test_what_can_not_be_watched_with_is_refused(name: str, value: Any) -> None:
    """When the DAG file is parsed; in the triggerer another error than a TypeError would stop all."""
    with pytest.raises(TypeError, match=f"{name} of a StripeReportDataTrigger is"):
        StripeReportDataTrigger(**{"report_type": BALANCE, name: value})


@pytest.mark.parametrize(
    ("accounts", "words"),
    [
        ({"stripe_account": ""}, "stripe_account is empty"),
        ({"stripe_account": "cus_1"}, "stripe_account is not the id of an account"),
        ({"stripe_account": "{{ params.account }}"}, "stripe_account is not the id of an account"),
        ({"stripe_context": "acct_1/x"}, "stripe_context is not a path of accounts"),
        ({"stripe_account": "acct_1", "stripe_context": "acct_1"}, "give one of them"),
    ],
)
def test_an_account_that_can_not_be_is_refused_when_the_file_is_parsed(accounts: Any, words: str) -> None:
    """Otherwise each look would fail, for ever, and say so in the triggerer's log alone."""
    with pytest.raises(TypeError, match=f"can't watch: .*{words}"):
        StripeReportDataTrigger(report_type=BALANCE, **accounts)


def test_an_argument_that_there_is_not_is_refused() -> None:
    """When the DAG file is parsed, so that a misspelt one does not watch through another connection."""
    with pytest.raises(TypeError, match="conn_id"):
        StripeReportDataTrigger(report_type=BALANCE, conn_id="stripe_eu")  # type: ignore[call-arg]


def test_poll_interval_may_be_a_timedelta() -> None:
    """As the operators' may; Airflow stores seconds."""
    _, kwargs = StripeReportDataTrigger(report_type=BALANCE, poll_interval=timedelta(minutes=1)).serialize()
    assert kwargs["poll_interval"] == 60.0
    assert StripeReportDataTrigger(report_type=BALANCE, poll_interval=timedelta(days=1)).poll_interval == 86_400


@dataclass
class Event:
    """An event of the asset, as tasks see it."""

    hour: float
    extra: dict[str, Any]

    @property
    def timestamp(self) -> datetime:
        """When it was stored."""
        return datetime(2024, 5, 5, tzinfo=UTC) + timedelta(hours=self.hour)


class EarlierEvents(list[Event]):
    """All events of the asset, as tasks ask for them."""

    def after(self, after: str) -> EarlierEvents:
        """Return those from an instant on."""
        return EarlierEvents(it for it in self if it.timestamp >= datetime.fromisoformat(after))

    def before(self, before: str) -> EarlierEvents:
        """Return those up to an instant."""
        return EarlierEvents(it for it in self if it.timestamp <= datetime.fromisoformat(before))


def tells(hour: float, previous: int, end: int, **of_what: object) -> Event:
    payload = {"previous_data_available_end": previous, "data_available_end": end, **OURS, **of_what}
    return Event(hour, {"from_trigger": True, "payload": payload})


OURS = {"report_type": BALANCE, "livemode": False, "stripe_account": None, "stripe_context": None}
BY_HAND = Event(3, {})


@pytest.mark.parametrize(
    ("earlier", "events", "days"),
    [
        ([], [tells(1, MAY_1, MAY_2)], [MAY_1]),
        ([], [tells(1, MAY_1, MAY_2 - 1)], []),
        ([], [tells(1, MAY_1 + HALF_DAY, MAY_2 + HALF_DAY)], [MAY_1]),
        ([tells(1, MAY_1, MAY_1 + HALF_DAY)], [tells(2, MAY_1 + HALF_DAY, MAY_3 + 1)], [MAY_1, MAY_2]),
        ([], [tells(2, MAY_1 + HALF_DAY, MAY_2), tells(1, MAY_1, MAY_1 + HALF_DAY)], [MAY_1]),
        # Told twice, in one run and in two.
        ([], [tells(1, MAY_1, MAY_2), tells(1.1, MAY_1, MAY_2)], [MAY_1]),
        ([tells(1, MAY_1, MAY_2)], [tells(1.1, MAY_1, MAY_2)], []),
        ([tells(1, MAY_1, MAY_2)], [tells(1.1, MAY_1, MAY_3)], [MAY_2]),
        # Asked for once more by hand: an earlier day, and the same.
        ([tells(1, MAY_1, MAY_3)], [tells(1.1, MAY_2, MAY_3)], [MAY_2]),
        ([tells(1, MAY_2, MAY_3)], [tells(20, MAY_2, MAY_3)], [MAY_2]),
        ([], [tells(1, MAY_2, MAY_3), tells(2, MAY_1, MAY_2)], [MAY_1, MAY_2]),
        # Of something else.
        ([tells(1, MAY_1, MAY_2, report_type=PAYOUTS)], [tells(1.1, MAY_1, MAY_2)], [MAY_1]),
        ([tells(1, MAY_1, MAY_2)], [tells(1.1, MAY_1, MAY_2, livemode=True)], [MAY_1]),
        ([tells(1, MAY_1, MAY_2)], [tells(1.1, MAY_1, MAY_2, stripe_account="acct_1")], [MAY_1]),
        ([tells(1, MAY_1, MAY_2)], [tells(1.1, MAY_1, MAY_2, stripe_context="acct_1/acct_2")], [MAY_1]),
        # By hand.
        ([], [], []),
        ([tells(1, MAY_1, MAY_2)], [BY_HAND], []),
        ([BY_HAND], [tells(4, MAY_1, MAY_2), BY_HAND], [MAY_1]),
    ],
)
def test_the_example_takes_each_complete_day_once(
    earlier: list[Event], events: list[Event], days: list[int]
) -> None:
    """Whole days in UTC, without those that were told of just before; where in doubt once more, never less."""
    path = Path(__file__).parent.parent / "example_dags" / "stripe_when_data_is_ready.py"
    example = runpy.run_path(str(path))
    data, complete_days = example["data"], example["complete_days"].function
    later = tells(23, MAY_3, MAY_3 + 10 * HALF_DAY)
    context = {
        "triggering_asset_events": {data: events} if events else {},
        "inlet_events": {data: EarlierEvents([*earlier, *events, later])},
    }
    wanted = [{"interval_start": day, "interval_end": day + 2 * HALF_DAY} for day in days]
    assert complete_days(**context) == wanted

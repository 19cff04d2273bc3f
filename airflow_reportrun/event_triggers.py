"""Event-driven scheduling, for Airflow ≥ 3.3: a DAG starts when Stripe's data has moved on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException
from airflow.triggers.base import TriggerEvent

try:
    from airflow.triggers.base import BaseEventTrigger
    from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer
except ImportError as error:
    raise AirflowOptionalProviderFeatureException(
        "To start a DAG when Stripe's data moves on needs Airflow 3.3 or newer. Before, schedule the DAG by the "
        "clock: StripeReportRunOperator and StripeReportTypeSensor wait for the data."
    ) from error

from airflow_reportrun.tasks.options import is_template
from airflow_reportrun.waiting.modules import load
from airflow_reportrun.wire.fields import accounts_of

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor

    from airflow_reportrun.reporting.models import ReportType

log = logging.getLogger(__name__)

SHORTEST_POLL_INTERVAL = 1.0
LONGEST_PAUSE = 1800.0
"""Seconds between looks that fail, unless ``poll_interval`` is longer."""

GATHERING = 1.0
"""Seconds before a look: triggers that start together share it."""

SETTLING = 0.2
"""Seconds from Airflow's word that an event is stored to ours that it was told.

To a trigger whose asset is watched no longer Airflow says so as well, and drops the event. It cancels the trigger
with the same word, as it ends one whose event it could not store.
"""

JITTER = 0.1
"""The part of a pause by which it is longer or shorter, by chance."""


class StripeReportDataTrigger(BaseEventTrigger):
    """Fires each time that Stripe's data of a report type reaches further; for an ``AssetWatcher``.

    ``data_available_end`` moves on about twice a day. The event's payload is the report type as
    :func:`~airflow_reportrun.waiting.events.describe_type` shows it, ``previous_data_available_end``, up to which
    earlier events went, ``stripe_conn_id``, ``stripe_account`` and ``stripe_context``. Instants are epoch seconds.

    How far was told is kept in the asset's state store, and written there when Airflow has stored the event. A
    triggerer that dies between the two, within about two seconds, tells the same again when it starts. What no
    event told of is in the next one, so nothing is lost.

    All triggers of a connection, account and ``poll_interval`` share each look, for which the connection is read
    anew. A look that fails is made again after a longer pause, whatever the error: no trigger ends by itself.

    :param report_type: such as ``balance.summary.1``.
    :param since: from where the first event tells: an aware datetime or epoch seconds, and not before the
        account's data. By default the first look tells nothing, and the next advance is the first event.
    :param poll_interval: time between looks, give or take a tenth: a timedelta or seconds.
    :param stripe_conn_id: Airflow connection of type ``stripe``.
    :param stripe_account: account to act as; overrides the connection's own.
    :param stripe_context: the same as a path of accounts, for keys of an organization.
    :raises TypeError: when an argument is none that can be watched with.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        "report_type",
        "since",
        "poll_interval",
        "stripe_conn_id",
        "stripe_account",
        "stripe_context",
    )
    """What Airflow stores; each is an attribute of the same name."""

    def __init__(
        self,
        *,
        report_type: str,
        since: datetime | int | None = None,
        poll_interval: timedelta | float = 300.0,
        stripe_conn_id: str = "stripe_default",
        stripe_account: str | None = None,
        stripe_context: str | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("report_type", report_type), ("stripe_conn_id", stripe_conn_id)):
            if not isinstance(value, str) or not value or is_template(value):
                raise _wrong(name, value, "a text, and is not templated")
        accounts = {"stripe_account": stripe_account, "stripe_context": stripe_context}
        for name, account in accounts.items():
            if not isinstance(account, (str, NoneType)):
                raise _wrong(name, account, "a text, and is not templated")
        mistakes: list[str] = []
        accounts_of({}, accounts, mistakes)
        if mistakes:  # no task waits, so that nobody would see it
            raise TypeError(f"A StripeReportDataTrigger can't watch: {'; '.join(mistakes)}.")
        if isinstance(poll_interval, timedelta):
            poll_interval = poll_interval.total_seconds()
        if type(poll_interval) not in (int, float) or not SHORTEST_POLL_INTERVAL <= poll_interval <= 86_400:
            raise _wrong("poll_interval", poll_interval, f"seconds from {SHORTEST_POLL_INTERVAL:g} to a day's")
        self.report_type = report_type
        self.since = _epoch_seconds(since)
        self.poll_interval = float(poll_interval)
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self.stripe_context = stripe_context
        self._told: tuple[str, int] | None = None
        self._said = ""
        self._watches = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in self.arguments}

    def shared_stream_key(self) -> tuple[Any, ...]:
        """Return what triggers that share their looks have in common."""
        return _key(self.serialize()[1])

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return what looks for all triggers of a key, and hears when their events are stored."""
        return _Looks(kwargs)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each look that finds the data to reach further."""
        self._watches = True
        try:
            with _among(self.shared_stream_key(), self.report_type):
                async for look in shared_stream:
                    try:
                        payload = await self._judge(look)
                    except Exception as error:  # Airflow begins a trigger that fails anew at once, and again
                        self._say(logging.WARNING, f"could not read how far was told: {_shown(error)}")
                        continue
                    if payload is not None:
                        yield TriggerEvent(payload)
                    if self._told is not None:  # only now Airflow has the event, and will say when it is stored
                        look.when_stored.append(partial(self._write, *self._told))
        finally:
            self._watches = False

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the events without sharing looks; who takes the next event has stored the one before."""
        looks = _Looks(self.serialize()[1])

        async def one_by_one() -> AsyncIterator[Look]:
            async for look, _ in looks.open_stream():
                yield look
                await look.stored()

        async for event in self.filter_shared_stream(one_by_one()):
            yield event

    async def _judge(self, look: Look) -> dict[str, Any] | None:
        """Return what a look has to tell."""
        from airflow_reportrun.waiting.events import describe_type

        if (found := look.types.get(self.report_type)) is None:
            self._say(logging.ERROR, f"Stripe has no report type {self.report_type!r} for this account.")
            return None
        end, name = found.data_available_end, self._name_of(found)
        told = self._told[1] if self._told and self._told[0] == name else await self._read(name)
        previous = told
        if previous is None and self.since is not None:
            previous = max(self.since, found.data_available_start)
        payload = None
        if previous is None:
            log.info("%s: the data reaches %s, and the next advance is the first to tell.", self, _utc(end))
            self._told = name, end
        elif end > previous:
            log.info("%s: the data reaches %s, before %s.", self, _utc(end), _utc(previous))
            self._told = name, end
            payload = {
                **describe_type(found),
                "previous_data_available_end": previous,
                "stripe_conn_id": self.stripe_conn_id,
                "stripe_account": self.stripe_account,
                "stripe_context": self.stripe_context,
            }
        back = told is not None and end < told
        self._say(
            logging.WARNING, f"the data reaches back to {_utc(end)}, from {_utc(told or 0)}." if back else ""
        )
        return payload

    def _name_of(self, found: ReportType) -> str:
        """Return the name in the state store, of which each account and mode has its own."""
        account = self.stripe_account or self.stripe_context or ""
        mode = "live" if found.livemode else "test"
        return ":".join(("stripe", "data_available_end", self.report_type, self.stripe_conn_id, account, mode))

    def _stores(self) -> list[AssetStateStoreAccessor]:
        """Return the stores of the assets: watchers with the same arguments are one trigger."""
        # Airflow's own calls are for one asset, or for one whose name is known.
        stores = getattr(self.asset_state_store, "_by_name", {} if self.asset_state_store is None else None)
        if stores is None:  # to go on without would lose what comes while no triggerer runs
            raise RuntimeError("this version of Airflow keeps the state of assets otherwise; install another one")
        return list(stores.values())

    async def _read(self, name: str) -> int | None:
        from airflow_reportrun.reporting.models import is_instant

        values = [await _in_store(store, "get", name) for store in self._stores()]
        kept = [value for value in values if value is not None]
        if odd := [value for value in kept if not is_instant(value)]:
            raise ValueError(
                f"{name!r} in the asset's state store is {odd[0]!r:.100}; set epoch seconds, or delete it"
            )
        return max(kept, default=None)

    async def _write(self, name: str, end: int) -> None:
        """Keep how far was told; where that fails it is tried again after the next look."""
        await asyncio.sleep(SETTLING)
        if not self._watches:
            return
        try:
            for store in self._stores():
                await _in_store(store, "set", name, end)
            kept = await self._read(name)
        except Exception as error:  # which would end the looks of all
            log.warning("%s: could not keep that %s was told: %s", self, _utc(end), _shown(error))
            return
        # Otherwise it is remembered here, or each look would tell it again.
        if kept == end and self._told == (name, end):
            self._told = None

    def _say(self, level: int, words: str) -> None:
        """Log what is not what the last look had to say."""
        if words and words != self._said:
            log.log(level, "%s: %s", self, words)
        self._said = words

    def __str__(self) -> str:
        return f"Watcher of {self.report_type}"


@dataclass
class Look:
    """What Stripe said.

    :param types: by their ids.
    :param when_stored: what to do when all events that come of the look are stored.
    """

    types: Mapping[str, ReportType]
    when_stored: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def stored(self) -> None:
        """Do it."""
        for act in self.when_stored:
            await act()


@dataclass
class _Audience:
    """Who shares looks.

    :param types: how many watch a report type.
    :param came: set when somebody came.
    """

    types: Counter[str] = field(default_factory=Counter)
    came: asyncio.Event = field(default_factory=asyncio.Event)


_audiences: dict[tuple[Any, ...], _Audience] = {}
"""By what they have in common; Airflow tells who looks of one trigger only."""


@contextmanager
def _among(key: tuple[Any, ...], report_type: str) -> Iterator[None]:
    audience = _audiences.setdefault(key, _Audience())
    audience.types[report_type] += 1
    audience.came.set()
    try:
        yield
    finally:
        audience.types -= Counter([report_type])
        if not audience.types and _audiences.get(key) is audience:
            del _audiences[key]


class _Looks(SharedStreamProducer):
    """Looks at the report types of an account for all who watch one: at the one, or at the list.

    :param kwargs: the arguments of a trigger, of which those count that all of a key have in common.
    """

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        self._kwargs = kwargs

    async def open_stream(self) -> AsyncIterator[tuple[Look, Look]]:
        """Look for ever, at a pace that errors slow down."""
        failures = 0
        interval: float = self._kwargs["poll_interval"]
        while True:
            await asyncio.sleep(GATHERING)
            audience = _audiences.get(_key(self._kwargs), _Audience())
            audience.came.clear()
            pause, least = interval * random.uniform(1 - JITTER, 1 + JITTER), 0.0  # noqa: S311 - spreads load
            try:
                look = await self._look(list(audience.types))
            except Exception as error:  # Airflow begins a stream that fails anew at once, and again
                pause *= min(2.0 ** min(failures, 32), max(LONGEST_PAUSE / interval, 1.0))
                least = getattr(error, "retry_after", None) or 0.0
                failures += 1
                log.log(
                    logging.WARNING if getattr(error, "is_transient", False) else logging.ERROR,
                    "Could not look how far Stripe's data reaches through %r, looking again in about %.0f s: %s",
                    self._kwargs["stripe_conn_id"],
                    max(pause, least),
                    _shown(error),
                )
            else:
                failures = 0
                yield look, look
            await asyncio.sleep(least)  # whoever comes
            with suppress(TimeoutError):
                await asyncio.wait_for(audience.came.wait(), pause - least)

    async def _look(self, report_types: list[str]) -> Look:
        # The HTTP libraries come with the first look, not with each parse of a DAG file.
        await load("airflow_reportrun.hooks")
        from airflow_reportrun.hooks import StripeReportingAsyncHook
        from airflow_reportrun.reporting.resending import ResendPolicy

        async with StripeReportingAsyncHook(
            self._kwargs["stripe_conn_id"],
            stripe_account=self._kwargs["stripe_account"],
            stripe_context=self._kwargs["stripe_context"],
        ) as hook:
            hook.resend_policy = ResendPolicy(max_tries=1, max_refused=0)  # the next look is the next try
            if len(report_types) == 1:
                found = [await hook.retrieve_report_type_async(report_types[0])]
            else:
                found = await hook.list_report_types_async()
        return Look({it.id: it for it in found})

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Let it be kept how far was told: the events of these looks are stored, or their triggers ended."""
        for item in batch:
            await item.broker_payload.stored()


async def _in_store(store: AssetStateStoreAccessor, verb: str, *arguments: Any) -> Any:
    """Get or set; Airflow 3.3.2 was the first with calls that can be awaited."""
    if (call := getattr(store, f"a{verb}", None)) is not None:
        return await call(*arguments)
    return await asyncio.to_thread(getattr(store, verb), *arguments)


def _key(kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what the looks depend on."""
    names = ("stripe_conn_id", "stripe_account", "stripe_context", "poll_interval")
    return "stripe report types", *(kwargs[name] for name in names)


def _epoch_seconds(since: object) -> int | None:
    from airflow_reportrun.reporting.models import is_instant

    if isinstance(since, datetime) and since.tzinfo is not None:
        since = int(since.timestamp())
    if since is None or (isinstance(since, int) and is_instant(since)):
        return since
    raise _wrong("since", since, "a datetime with a time zone, or whole epoch seconds")


def _wrong(name: str, value: object, right: str) -> TypeError:
    return TypeError(f"{name} of a StripeReportDataTrigger is {right}, and can't be {value!r:.100}.")


def _shown(error: Exception) -> str:
    from airflow_reportrun.reporting.errors import ReportingError
    from airflow_reportrun.reporting.secrets import redacted

    return str(error) if isinstance(error, ReportingError) else redacted(f"{type(error).__name__}: {error}")


def _utc(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"

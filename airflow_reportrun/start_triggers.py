"""Where sensors begin that take no worker (Airflow ≥ 3.3): what they do before and after their trigger's wait."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_reportrun.links import request_xcoms_of
from airflow_reportrun.reporting.errors import ConnectionLookUpError, ReportingError
from airflow_reportrun.tasks.options import require_something, word, written_options
from airflow_reportrun.tasks.results import GivenRun, found_run, whose
from airflow_reportrun.tasks.starting import KNOWN_NAMES, XCOM, refuse_own_timetable, template_env
from airflow_reportrun.triggers import (
    StripeReportRunTrigger,
    StripeReportTypeTrigger,
    StripeTrigger,
    seconds_argument,
)
from airflow_reportrun.waiting.events import Event, ReportRunEvent, ReportTypeEvent
from airflow_reportrun.waiting.modules import load

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from airflow_reportrun.hooks import StripeReportingHook

log = logging.getLogger(__name__)

RENDERED_WITHIN = 60.0
"""Seconds. What the triggerer does not know to answer it leaves unanswered (3.3.2), and the template waits."""

AHEAD_OF_AIRFLOW = 10.0
"""Seconds by which a try's ``execution_timeout`` is over for us, so that the task says what became of the wait:
the scheduler fails the task at the same instant, give or take."""


class StripeStart(BaseTrigger):
    """Renders a sensor's options, waits as the trigger does that the sensor would defer to, and ends the task.

    The constructor raises TypeError alone: any other error there stops the whole triggerer.

    :param timeout: the sensor's, in seconds from the start of the try.
    :param poll_interval: seconds.
    :param ends: end the task here, where it succeeds; every other end is left to the sensor, in a worker.
    :param returns: the task has a return value.
    :param options: the sensor's options, with templates and references to other tasks' results.
    """

    event_class: ClassVar[type[Event]]
    names: ClassVar[tuple[str, ...]]
    """The sensor's options that are templated."""

    def __init__(
        self, *, timeout: float, poll_interval: float, ends: bool = False, returns: bool = True, **options: Any
    ) -> None:
        super().__init__()
        if missing := [name for name in self.names if name not in options]:
            verb = "are" if missing[1:] else "is"
            raise TypeError(f"{', '.join(missing)} of a trigger {verb} missing. A retry of its task begins anew.")
        self.timeout = seconds_argument("timeout", timeout, is_instant=False)
        self.poll_interval = seconds_argument("poll_interval", poll_interval)
        self.ends = ends
        self.returns = returns
        self.options = options
        self._context: Mapping[str, Any] = {}
        self._waiting: StripeTrigger | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        arguments = {name: getattr(self, name) for name in ("timeout", "poll_interval", "ends", "returns")}
        return f"{type(self).__module__}.{type(self).__qualname__}", {**arguments, **self.options}

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Keep the context: ``run`` renders, where a template that gets no answer can be given up."""
        self._context = context

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        try:
            options = await self._rendered()
            await load("airflow_reportrun.waiting.watcher")  # and with it the hooks
            hook = await self.prepare(options)
            self._waiting = waiting = self.waits({**self._of_the_try(), **_whose(hook)})
        except ConnectionLookUpError:
            raise
        except ReportingError as error:
            yield TriggerEvent(self.refusal(str(error)).as_payload())
            return
        async with aclosing(cast("AsyncGenerator[TriggerEvent]", waiting.run())) as events:
            async for event in events:
                yield await self._ending(event, hook)

    async def cleanup(self) -> None:
        """Clean up after the wait."""
        if self._waiting:
            await self._waiting.cleanup()

    @abstractmethod
    async def prepare(self, options: Mapping[str, Any]) -> StripeReportingHook:
        """Take the rendered options, and return the hook that sees what is waited for."""

    @abstractmethod
    def waits(self, how: Mapping[str, Any]) -> StripeTrigger:
        """Return the trigger that waits.

        :param how: the arguments that all triggers have.
        """

    @abstractmethod
    def refusal(self, message: str) -> Event:
        """Return the event of options that can't be meant."""

    @abstractmethod
    def found(self, event: Any, hook: StripeReportingHook) -> Mapping[str, Any]:
        """Return what the task returns of a success."""

    def links(self) -> dict[str, Any]:
        """Return what the task's links read, by the XCom's key."""
        return {}

    async def _rendered(self) -> dict[str, Any]:
        """Return the templated options, rendered.

        :raises ConfigurationError: when one came to nothing.
        :raises TimeoutError: when a template got no answer.
        """
        try:
            # Airflow awaits its answers inside of synchronous calls.
            async with asyncio.timeout(RENDERED_WITHIN):  # noqa: ASYNC100
                env = template_env(native=self._renders_natively())
                rendered = {name: self._come_to(self.options[name], env) for name in self.names}
        except TimeoutError:
            raise TimeoutError(
                f"{', '.join(self.names)} were not rendered in {RENDERED_WITHIN:.0f} s: Airflow did not answer, or"
                " a template asks for what the triggerer can't get. With deferrable=True a worker renders them."
            ) from None
        require_something(written_options({name: self.options[name] for name in self.names}), rendered)
        return rendered

    def _renders_natively(self) -> bool:
        task, dag = self._context["task"], self._context["dag"]
        its = getattr(task, "render_template_as_native_obj", None)
        return bool(dag.render_template_as_native_obj if its is None else its)

    def _come_to(self, value: Any, env: Any) -> Any:
        if isinstance(value, Mapping) and XCOM in value:
            return self._context["ti"].xcom_pull(task_ids=value[XCOM], key=value["key"], map_indexes=-1)
        if isinstance(value, Mapping):
            return {key: self._come_to(part, env) for key, part in value.items()}
        if not isinstance(value, str):
            return value
        known = {name: self._context[name] for name in KNOWN_NAMES if name in self._context}
        ti = _Instance(self._context["ti"])
        return env.from_string(value).render({**known, "ti": ti, "task_instance": ti})

    def _of_the_try(self) -> dict[str, Any]:
        """Return until when to wait, from when on, and how often to look.

        The try began when the scheduler made the trigger, whoever runs it by now; all that is known of that is
        when Airflow gives up.
        """
        task: Any = self.task
        limit = task.execution_timeout.total_seconds() if task.execution_timeout else None
        given_up_after = task.start_trigger_args.timeout.total_seconds()
        ends: Any = self.timeout_after  # type: ignore[attr-defined]  # set by the triggerer
        began = ends.timestamp() - min(given_up_after, limit or given_up_after)
        deadline, resume = began + self.timeout, {}
        if limit is not None:
            resume = {"try_began": began - min(AHEAD_OF_AIRFLOW, limit / 2)}
            deadline = min(deadline, resume["try_began"] + limit)
        return {
            "deadline": _instant(deadline),
            "since": _instant(began),
            "poll_interval": self.poll_interval,
            "growth": 0.0,
            "resume": resume,
        }

    async def _ending(self, event: TriggerEvent, hook: StripeReportingHook) -> TriggerEvent:
        """Return the event that ends the task here, where it may; else the one that its sensor takes up."""
        if not self.ends:
            return event
        from airflow.providers.common.compat.sdk import XCom
        from airflow.triggers.base import TaskSuccessEvent

        from airflow_reportrun.airflow_context import TaskInstance
        from airflow_reportrun.hooks import StripeReportingAsyncHook

        try:
            arrived = self.event_class.from_payload(event.payload)
            if not arrived.is_good:
                return event
            hook.settings = await StripeReportingAsyncHook(**_whose(hook)).settings_async()
            found = self.found(arrived, hook)
            pushed = {**self.links(), **({"return_value": dict(found)} if self.returns else {})}
            # What goes with the event arrives at the next task as the text of its JSON, and the task instance
            # here can't push (3.3.2).
            for key, value in pushed.items():
                await asyncio.to_thread(XCom.set, key, value, **TaskInstance(self._context).ids)
        except Exception:
            log.exception("The task could not be ended in the triggerer; a worker does it.")
            return event
        return TaskSuccessEvent()


class ReportRunStart(StripeStart):
    """Where a ``StripeReportRunSensor`` begins; see :class:`StripeStart`."""

    event_class = ReportRunEvent
    names = ("report_run_id", "stripe_conn_id", "stripe_account", "stripe_context")

    _given: GivenRun

    async def prepare(self, options: Mapping[str, Any]) -> StripeReportingHook:
        """Read which run it is, and whose."""
        self._given = GivenRun.of(options["report_run_id"])
        return self._given.hook(options["stripe_conn_id"], options["stripe_account"], options["stripe_context"])

    def waits(self, how: Mapping[str, Any]) -> StripeTrigger:
        """Wait for its end."""
        return StripeReportRunTrigger(report_run_id=self._given.report_run_id, **how)

    def refusal(self, message: str) -> Event:
        """Tell that there is no such run to wait for."""
        return ReportRunEvent(outcome="error", report_run_id="", message=message)

    def found(self, event: Any, hook: StripeReportingHook) -> Mapping[str, Any]:
        """Return the run and whose it is."""
        return found_run(event.report_run, whose(hook), self._given)

    def links(self) -> dict[str, Any]:
        """Return the request that created it."""
        return request_xcoms_of(self._given)


class ReportTypeStart(StripeStart):
    """Where a ``StripeReportTypeSensor`` begins; see :class:`StripeStart`.

    :param interval: as of the sensor, like ``settle``, in seconds.
    """

    event_class = ReportTypeEvent
    names = ("report_type", "interval_end", "stripe_conn_id", "stripe_account", "stripe_context")

    _report_type: str
    _until: int

    def __init__(self, *, settle: float = 0.0, **options: Any) -> None:
        super().__init__(settle=seconds_argument("settle", settle), **options)

    async def prepare(self, options: Mapping[str, Any]) -> StripeReportingHook:
        """Work out for which data, as the sensor does in a worker."""
        from airflow_reportrun.airflow_context import timetable_of
        from airflow_reportrun.hooks import StripeReportingHook
        from airflow_reportrun.question.intervals import instant, resolve
        from airflow_reportrun.question.readiness import data_wanted

        if options["interval_end"] is None:
            refuse_own_timetable(timetable_of(self._context))
            # In a thread, as it can take many steps of the schedule.
            found = await asyncio.to_thread(resolve, self._context, interval=self.options.get("interval"))
            end = found.end
        else:
            end = instant("interval_end", options["interval_end"])
        self._until = data_wanted({"interval_end": end}, timedelta(seconds=self.options["settle"]))
        self._report_type = word(options["report_type"])
        return StripeReportingHook(
            options["stripe_conn_id"],
            stripe_account=options["stripe_account"],
            stripe_context=options["stripe_context"],
        )

    def waits(self, how: Mapping[str, Any]) -> StripeTrigger:
        """Wait for the data."""
        return StripeReportTypeTrigger(report_type=self._report_type, until=self._until, **how)

    def refusal(self, message: str) -> Event:
        """Tell that there is no such data to wait for."""
        return ReportTypeEvent(outcome="error", report_type="", message=message)

    def found(self, event: Any, hook: StripeReportingHook) -> Mapping[str, Any]:
        """Return the report type."""
        availability: Mapping[str, Any] = event.availability
        return availability


class _Instance:
    """A task instance for templates: an ``xcom_pull`` that names no ``map_indexes`` is never answered there."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instance, name)

    def xcom_pull(self, *args: Any, **kwargs: Any) -> Any:
        """Return what an unmapped task returned, where nothing else is asked for."""
        return self._instance.xcom_pull(*args, **{"map_indexes": -1, **kwargs})


def _whose(hook: StripeReportingHook) -> dict[str, Any]:
    """Return by what the triggers know a connection and an account."""
    return {name: getattr(hook, name) for name in ("stripe_conn_id", "stripe_account", "stripe_context")}


def _instant(seconds: float) -> float:
    """Return an instant as a trigger takes it."""
    from airflow_reportrun.reporting.models import LATEST

    return min(max(seconds, 0.0), LATEST - 1.0)

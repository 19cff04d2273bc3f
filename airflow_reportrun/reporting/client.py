"""The clients: one in each colour, with the same verbs and the only loop of each that sends again.

A client is abstract: who owns a connection implements ``exchange``, which does one HTTP exchange and returns
whatever was answered. What an answer means is decided in ``endpoints``, whether to send again in ``retries``.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from tenacity import AsyncRetrying, Retrying

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.errors import InvalidRequestError, ReportingError, UnexpectedResponseError
from airflow_reportrun.reporting.models import File, ListPage, ReportRun, ReportType
from airflow_reportrun.reporting.resending import ResendPolicy

if TYPE_CHECKING:
    from airflow_reportrun.reporting.answers import Response
    from airflow_reportrun.reporting.endpoints import Request
    from airflow_reportrun.reporting.parameters import ReportParameters
    from airflow_reportrun.reporting.report_type_ids import ParameterShape

T = TypeVar("T")


class ReportingClient(ABC):
    """Stripe's Reporting API over blocking I/O.

    Each verb raises a :class:`~airflow_reportrun.reporting.errors.ReportingError`.
    """

    resend_policy = ResendPolicy()
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    @abstractmethod
    def exchange(self, request: Request[T]) -> Response:
        """Do one HTTP exchange, of any status; raise ``APIConnectionError`` when no whole answer arrives."""

    def renew(self) -> bool:
        """Read the credentials anew, as in a long wait in which a key is rotated; True if they have changed."""
        return False

    def send(self, request: Request[T]) -> T:
        """Send a request, again where that helps, and return its typed answer."""
        try:
            return self.retry(lambda: request.result(self.exchange(request)))
        except InvalidRequestError as error:
            if request.lacks_type(error):
                with suppress(ReportingError):  # which would hide the first
                    request.name_others(error, self.list_report_types())
            raise

    def retry(self, function: Callable[[], T]) -> T:
        """Call a function, again where that helps, and return what it returns."""
        result: T = Retrying(sleep=self.sleep, **self.resend_policy.options())(function)
        return result

    def create_report_run(
        self,
        report_type: str,
        parameters: ReportParameters,
        *,
        idempotency_key: str | None = None,
        shape: ParameterShape | None = None,
    ) -> ReportRun:
        """Create a report run; see :func:`endpoints.create_report_run`.

        Without an ``idempotency_key`` each call makes a run of its own, and sending again is still safe.
        """
        key = idempotency_key or str(uuid.uuid4())
        return self.send(endpoints.create_report_run(report_type, parameters, idempotency_key=key, shape=shape))

    def retrieve_report_run(self, report_run_id: str) -> ReportRun:
        """Return a report run as it is now."""
        return self.send(endpoints.retrieve_report_run(report_run_id))

    def list_report_runs(self, *, created: Mapping[str, int] | None = None) -> Iterator[ReportRun]:
        """Yield the report runs of the account, newest first, page by page.

        :param created: bounds in epoch seconds by ``gt``, ``gte``, ``lt``, ``lte``.
        """
        cursor, seen = None, set[str]()
        while True:
            page = self.send(endpoints.list_report_runs(created=created, starting_after=cursor))
            runs = _runs(page)
            yield from runs
            if (cursor := _next_cursor(page, runs, seen)) is None:
                return

    def list_report_types(self) -> list[ReportType]:
        """Return all report types that the account can run."""
        return self.send(endpoints.list_report_types())

    def retrieve_report_type(self, report_type: str) -> ReportType:
        """Return one report type, and how far its data reaches."""
        return self.send(endpoints.retrieve_report_type(report_type))

    def retrieve_file(self, file_id: str) -> File:
        """Return the description of a file."""
        return self.send(endpoints.retrieve_file(file_id))


class AsyncReportingClient(ABC):
    """Stripe's Reporting API on an event loop: the verbs of :class:`ReportingClient` with ``_async``."""

    resend_policy = ResendPolicy()
    sleep_async: Callable[[float], Awaitable[None]] = staticmethod(asyncio.sleep)

    @abstractmethod
    async def exchange_async(self, request: Request[T]) -> Response:
        """Do one HTTP exchange, of any status; raise ``APIConnectionError`` when no whole answer arrives."""

    async def renew_async(self) -> bool:
        """Read the credentials anew; see :meth:`ReportingClient.renew`."""
        return False

    async def send_async(self, request: Request[T]) -> T:
        """Send a request, again where that helps, and return its typed answer."""

        async def once() -> T:
            return request.result(await self.exchange_async(request))

        try:
            return await AsyncRetrying(sleep=self.sleep_async, **self.resend_policy.options())(once)
        except InvalidRequestError as error:
            if request.lacks_type(error):
                with suppress(ReportingError):  # which would hide the first
                    request.name_others(error, await self.list_report_types_async())
            raise

    async def create_report_run_async(
        self,
        report_type: str,
        parameters: ReportParameters,
        *,
        idempotency_key: str | None = None,
        shape: ParameterShape | None = None,
    ) -> ReportRun:
        """Create a report run; see :meth:`ReportingClient.create_report_run`."""
        key = idempotency_key or str(uuid.uuid4())
        return await self.send_async(
            endpoints.create_report_run(report_type, parameters, idempotency_key=key, shape=shape)
        )

    async def retrieve_report_run_async(self, report_run_id: str) -> ReportRun:
        """Return a report run as it is now."""
        return await self.send_async(endpoints.retrieve_report_run(report_run_id))

    async def list_report_runs_async(
        self, *, created: Mapping[str, int] | None = None
    ) -> AsyncIterator[ReportRun]:
        """Yield the report runs of the account; see :meth:`ReportingClient.list_report_runs`."""
        cursor, seen = None, set[str]()
        while True:
            page = await self.send_async(endpoints.list_report_runs(created=created, starting_after=cursor))
            runs = _runs(page)
            for run in runs:
                yield run
            if (cursor := _next_cursor(page, runs, seen)) is None:
                return

    async def list_report_types_async(self) -> list[ReportType]:
        """Return all report types that the account can run."""
        return await self.send_async(endpoints.list_report_types())

    async def retrieve_report_type_async(self, report_type: str) -> ReportType:
        """Return one report type, and how far its data reaches."""
        return await self.send_async(endpoints.retrieve_report_type(report_type))

    async def retrieve_file_async(self, file_id: str) -> File:
        """Return the description of a file."""
        return await self.send_async(endpoints.retrieve_file(file_id))


def _runs(page: ListPage) -> list[ReportRun]:
    return [ReportRun.from_api(item) for item in page.items]


def _next_cursor(page: ListPage, runs: list[ReportRun], seen: set[str]) -> str | None:
    """Return where the next page starts; each cursor must be a new one, so that every listing ends."""
    if not page.has_more or not runs:
        return None
    if (cursor := runs[-1].id) in seen:
        raise UnexpectedResponseError(f"The list of report runs does not move on after {cursor}")
    seen.add(cursor)
    return cursor

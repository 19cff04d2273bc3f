"""Stripe's endpoints: what to ask, and what the answer means, as values.

One function an endpoint returns a :class:`Request`; whoever drives it hands the :class:`Response` to
``Request.result``, which returns the typed answer or raises the error that Stripe meant. No I/O in here.
Source: https://docs.stripe.com/api/reporting/report_run and https://docs.stripe.com/api/files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar
from urllib.parse import quote

from airflow_reportrun.reporting.answers import Response, body_of, date_of
from airflow_reportrun.reporting.errors import (
    InvalidParametersError,
    InvalidRequestError,
)
from airflow_reportrun.reporting.models import REPORT_RUN_IDS, Account, File, ListPage, ReportRun, ReportType
from airflow_reportrun.reporting.parameters import ReportParameters, form_encode
from airflow_reportrun.reporting.report_type_ids import ParameterShape, like_named, shape_of

T = TypeVar("T")

REPORT_RUNS = "/v1/reporting/report_runs"
REPORT_TYPES = "/v1/reporting/report_types"
FILES = "/v1/files"
EVENTS = "/v1/events"
ACCOUNT = "/v1/account"

END_EVENTS = ("reporting.report_run.succeeded", "reporting.report_run.failed")
"""The types of the events that tell of a report run's end."""

READ_FILE = "read_file"
"""The operation of a download, for which there is no request here."""

LONGEST_KEY = 255
"""Characters of an idempotency key."""

_BOUNDS = ("gt", "gte", "lt", "lte")

_OBJECTS = {REPORT_RUNS: "report_run", REPORT_TYPES: "report_type", FILES: "file", EVENTS: "event"}


@dataclass(frozen=True)
class Request(Generic[T]):
    """One call of Stripe's API.

    :param method: ``GET`` or ``POST``.
    :param path: path on the API host.
    :param read: makes the typed answer from the JSON body and the response.
    :param fields: form-encoded pairs: the query of a GET, the body of a POST.
    :param idempotency_key: makes it safe to send a POST again, also hours later.
    :param report_type: the one that it is about, where the account may not have it.
    """

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[object, Response], T]
    fields: tuple[tuple[str, str], ...] = ()
    idempotency_key: str | None = None
    report_type: str | None = None

    @property
    def operation(self) -> str:
        """What the request does, without whom it is about: a function of this module, as a rule."""
        if self.path == ACCOUNT:
            return "retrieve_account"
        if name := _OBJECTS.get(self.path):
            return f"create_{name}" if self.method == "POST" else f"list_{name}s"
        return f"retrieve_{_OBJECTS.get(self.path.rpartition('/')[0], 'other')}"

    def lacks_type(self, error: InvalidRequestError) -> bool:
        """Tell whether an error says that the account does not have the report type."""
        missing = error.code == "resource_missing" and not (error.param or "").startswith("parameters")
        return missing and self.report_type is not None

    def name_others(self, error: InvalidRequestError, types: Sequence[ReportType]) -> None:
        """Let such an error say what the account has instead."""
        error.args = (
            f"{str(error).rstrip('.')}. {like_named([self.report_type or ''], [it.id for it in types])}",
        )

    def result(self, response: Response) -> T:
        """Return the typed answer.

        :raises APIError: when Stripe answered with an error.
        :raises UnexpectedResponseError: when the answer is not what Stripe documents.
        """
        return self.read(body_of(f"{self.method} {self.path}", response), response)


def create_report_run(
    report_type: str,
    parameters: ReportParameters,
    *,
    idempotency_key: str,
    shape: ParameterShape | None = None,
) -> Request[ReportRun]:
    """Ask for a new report run.

    :param report_type: such as ``balance.summary.1``.
    :param parameters: checked here, before anything is sent.
    :param idempotency_key: at most 255 characters that a header can have; the same key with the same parameters
        gives the same run.
    :param shape: what the report type asks for, where its id doesn't tell.
    :raises InvalidParametersError: when Stripe would refuse the parameters.
    """
    if not is_id(report_type):
        raise InvalidParametersError(f"report_type is the id of a report type, not {report_type!r:.100}.")
    if not is_idempotency_key(idempotency_key):
        raise InvalidParametersError(
            f"idempotency_key is up to {LONGEST_KEY} printable ASCII characters, not {idempotency_key!r:.300}."
        )
    parameters.check(shape or shape_of(report_type))
    return Request(
        "POST",
        REPORT_RUNS,
        lambda body, response: ReportRun.from_api(
            body,
            # A replay has a request id of its own; the run was created by the original one.
            request_id=response.headers.get("original-request", response.request_id),
            replayed=response.is_replay,
            seen_at=date_of(response.headers),
        ),
        fields=tuple(form_encode({"report_type": report_type, "parameters": parameters.as_dict()})),
        idempotency_key=idempotency_key,
        report_type=report_type,
    )


def retrieve_report_run(report_run_id: str) -> Request[ReportRun]:
    """Ask for a report run as it is now."""
    return Request(
        "GET",
        _path(REPORT_RUNS, report_run_id, REPORT_RUN_IDS),
        lambda body, response: ReportRun.from_api(body, seen_at=date_of(response.headers)),
    )


def list_report_runs(
    *, created: Mapping[str, int] | None = None, starting_after: str | None = None, limit: int = 100
) -> Request[ListPage]:
    """Ask for one page of report runs, newest first.

    :param created: bounds in epoch seconds by ``gt``, ``gte``, ``lt``, ``lte``.
    :param starting_after: the id of the last run of the page before.
    :param limit: 1 to 100.
    :raises InvalidParametersError: when the bounds are none.
    """
    if created is not None and not _are_bounds(created):
        raise InvalidParametersError(
            f"created has whole epoch seconds by {', '.join(_BOUNDS)}, and is not {created!r:.300}."
        )
    fields = form_encode({"created": created, "limit": limit, "starting_after": starting_after})
    return Request("GET", REPORT_RUNS, _plain(ListPage.from_api), fields=tuple(fields))


def list_end_events(
    *, since: int | None = None, starting_after: str | None = None, limit: int = 100
) -> Request[ListPage]:
    """Ask for one page of the events that tell of report runs' ends, newest first; Stripe keeps 30 days of them.

    A restricted key needs the permission ``event_read``. Source: https://docs.stripe.com/api/events/list.

    :param since: epoch seconds of the oldest to show.
    :param starting_after: the id of the last event of the page before.
    :param limit: 1 to 100.
    """
    created = None if since is None else {"gte": since}
    fields = {"types": END_EVENTS, "created": created, "limit": limit, "starting_after": starting_after}
    return Request(
        "GET",
        EVENTS,
        lambda body, response: replace(ListPage.from_api(body), seen_at=date_of(response.headers)),
        fields=tuple(form_encode(fields)),
    )


def list_report_types() -> Request[list[ReportType]]:
    """Ask for all report types that the account can run; Stripe does not page this list."""
    return Request(
        "GET",
        REPORT_TYPES,
        _plain(lambda body: [ReportType.from_api(item) for item in ListPage.from_api(body).items]),
    )


def retrieve_report_type(report_type: str) -> Request[ReportType]:
    """Ask for one report type, and how far its data reaches."""
    path = _path(REPORT_TYPES, report_type)
    return Request("GET", path, _plain(ReportType.from_api), report_type=report_type)


def retrieve_file(file_id: str) -> Request[File]:
    """Ask for the description of a file."""
    return Request("GET", _path(FILES, file_id, "file_"), _plain(File.from_api))


def retrieve_account() -> Request[Account]:
    """Ask for the account that is acted as; of a restricted key Stripe wants ``accounts_kyc_basic_read``.

    Source: https://docs.stripe.com/api/accounts/retrieve.
    """
    return Request("GET", ACCOUNT, _plain(Account.from_api))


def _plain(read: Callable[[object], T]) -> Callable[[object, Response], T]:
    return lambda body, _: read(body)


def is_id(value: object) -> bool:
    """Tell whether this can be the id of an object: something that is a segment of a path as it is."""
    # Half a character would not even have a spelling in a URL, and dots lead elsewhere.
    return isinstance(value, str) and bool(value.strip()) and value.isprintable() and value not in (".", "..")


def is_idempotency_key(value: object) -> bool:
    """Tell whether this can be sent as a key."""
    return isinstance(value, str) and bool(re.fullmatch(rf"[!-~]([ -~]{{0,{LONGEST_KEY - 2}}}[!-~])?", value))


def _are_bounds(created: object) -> bool:
    return isinstance(created, Mapping) and all(
        name in _BOUNDS and type(value) is int and value >= 0 for name, value in created.items()
    )


def _path(collection: str, object_id: str, prefix: str = "") -> str:
    if not is_id(object_id) or not object_id.startswith(prefix):
        raise InvalidParametersError(f"{object_id!r:.100} is not the id of an object in {collection} ({prefix}…).")
    return f"{collection}/{quote(object_id, safe='')}"

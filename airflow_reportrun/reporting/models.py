"""The objects that Stripe's Reporting API answers with, as frozen values.

Fields have Stripe's names and units: instants are whole epoch seconds in UTC, sizes are bytes. Each class is
made by ``from_api``, which checks once what crosses the border and raises
:class:`~airflow_reportrun.reporting.errors.UnexpectedResponseError` for anything else. What Stripe adds later
is ignored. Source: https://docs.stripe.com/api/reporting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from reprlib import Repr
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

from airflow_reportrun.reporting.errors import UnexpectedResponseError

T = TypeVar("T")

REPORT_RUN_IDS = "frr_"
"""What the id of a report run begins with."""

LARGEST_NUMBER = 2**53
"""What JSON can carry safely, and Stripe's sizes are far below."""

LATEST = 253_402_214_400
"""Epoch seconds of the last day of the year 9999, behind which Python has no instants in some zone."""

DEEPEST = 5
"""How deep a parameter may be nested; those that Stripe documents are lists of texts at most."""

_INSTANTS = ("interval_start", "interval_end")
_TEXTS = ("connected_account", "currency", "payout", "reporting_category", "timezone", "decimal_separator")
_LISTS = ("columns", "connected_accounts")

# Half a character or a NUL, both of which JSON can spell: no file, log or database takes them.
_UNPRINTABLE = re.compile("[\0\ud800-\udfff]")

_shown = Repr()
_shown.maxstring = 80


class ReportRunStatus(str):
    """Where a report run stands: an open set of words, of which Stripe documents three.

    A word that nobody knows is not terminal: a run that has not visibly ended is waited for.
    """

    __slots__ = ()
    PENDING: ClassVar[ReportRunStatus]
    SUCCEEDED: ClassVar[ReportRunStatus]
    FAILED: ClassVar[ReportRunStatus]

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended, well or badly."""
        return self in (self.SUCCEEDED, self.FAILED)

    @property
    def is_known(self) -> bool:
        """Whether Stripe documents this status."""
        return self.is_terminal or self == self.PENDING


ReportRunStatus.PENDING = ReportRunStatus("pending")
ReportRunStatus.SUCCEEDED = ReportRunStatus("succeeded")
ReportRunStatus.FAILED = ReportRunStatus("failed")


@dataclass(frozen=True)
class File:
    """The file that a succeeded report run points to.

    Identical report runs may share one, so it can be older than its run and be named after another.

    :param id: ``file_…``.
    :param created: epoch seconds.
    :param size: bytes.
    :param url: where the contents are, on Stripe's files host; needs the same key and account as the run.
    :param filename: such as ``frr_….csv``.
    :param expires_at: epoch seconds, about a year after ``created``; None when it does not expire.
    :param type: ``csv``.
    """

    id: str
    created: int
    size: int
    url: str
    filename: str | None = None
    expires_at: int | None = None
    type: str | None = None

    @classmethod
    def from_api(cls, body: object) -> File:
        """Make a file from Stripe's JSON object ``file``."""
        it = _fields(body, "file")
        file_id = _required(it, "id", str)
        # Null is allowed; where the contents are is documented as well.
        documented_url = f"https://files.stripe.com/v1/files/{quote(file_id, safe='')}/contents"
        return cls(
            id=file_id,
            created=_instant(it, "created"),
            size=_required(it, "size", int),
            url=_optional(it, "url", str) or documented_url,
            filename=_optional(it, "filename", str),
            expires_at=None if it.get("expires_at") is None else _instant(it, "expires_at"),
            type=_optional(it, "type", str),
        )


@dataclass(frozen=True)
class Account:
    """An account of Stripe's, as much of it as tells which one it is.

    :param id: ``acct_…``.
    :param name: as Stripe's Dashboard shows it, None where it has none.
    """

    id: str
    name: str | None = None

    @classmethod
    def from_api(cls, body: object) -> Account:
        """Make an account from Stripe's JSON object ``account``."""
        it = _fields(body, "account")
        settings = _optional(it, "settings", dict) or {}
        dashboard = _optional(settings, "dashboard", dict) or {}
        return cls(_required(it, "id", str), _optional(dashboard, "display_name", str) or None)


@dataclass(frozen=True)
class ReportRun:
    """One run of a report.

    :param id: ``frr_…``.
    :param created: epoch seconds, by Stripe's clock.
    :param livemode: False for data of a test key.
    :param report_type: such as ``balance.summary.1``.
    :param parameters: what was asked for, as Stripe echoes it.
    :param status: see :class:`ReportRunStatus`.
    :param error: Stripe's words when the run failed.
    :param result: the file when the run succeeded.
    :param succeeded_at: epoch seconds.
    :param request_id: the request that created this run, ``req_…``; known only from the answer to a create.
    :param replayed: True when a create was answered from an idempotency key, so that this is the run as it
        was when it was first created.
    :param seen_at: epoch seconds, by Stripe's clock: when it was looked at; None where the answer has no date.
    """

    id: str
    created: int
    livemode: bool
    report_type: str
    parameters: Mapping[str, Any]
    status: ReportRunStatus
    error: str | None = None
    result: File | None = None
    succeeded_at: int | None = None
    request_id: str | None = field(default=None, compare=False)
    replayed: bool = field(default=False, compare=False)
    seen_at: float | None = field(default=None, compare=False)

    def created_at(self, now: float) -> float:
        """Return when it was created by another clock than Stripe's, told by its age.

        :param now: epoch seconds, by that clock, when the answer came.
        """
        return self.created if self.seen_at is None else now - (self.seen_at - self.created)

    @classmethod
    def from_api(
        cls,
        body: object,
        *,
        request_id: str | None = None,
        replayed: bool = False,
        seen_at: float | None = None,
    ) -> ReportRun:
        """Make a report run from Stripe's JSON object ``reporting.report_run``."""
        it = _fields(body, "reporting.report_run")
        result = it.get("result")
        return cls(
            id=_required(it, "id", str),
            created=_instant(it, "created"),
            livemode=_required(it, "livemode", bool),
            report_type=_required(it, "report_type", str),
            parameters=_parameters(it),
            status=ReportRunStatus(_required(it, "status", str)),
            error=_optional(it, "error", str),
            result=None if result is None else File.from_api(result),
            succeeded_at=None if it.get("succeeded_at") is None else _instant(it, "succeeded_at"),
            request_id=request_id,
            replayed=replayed,
            seen_at=seen_at,
        )


@dataclass(frozen=True)
class ReportType:
    """A report that an account can run.

    :param id: such as ``balance.summary.1``.
    :param name: such as ``Balance summary``.
    :param data_available_start: epoch seconds: where the account's data begins.
    :param data_available_end: epoch seconds: how far the data is complete; moves on about twice a day.
    :param default_columns: the columns of a run that names none.
    :param livemode: False for a test key.
    :param updated: epoch seconds.
    :param version: version of the report's definition.
    """

    id: str
    name: str
    data_available_start: int
    data_available_end: int
    default_columns: tuple[str, ...]
    livemode: bool
    updated: int
    version: int

    @classmethod
    def from_api(cls, body: object) -> ReportType:
        """Make a report type from Stripe's JSON object ``reporting.report_type``."""
        it = _fields(body, "reporting.report_type")
        return cls(
            id=_required(it, "id", str),
            name=_required(it, "name", str),
            data_available_start=_instant(it, "data_available_start"),
            data_available_end=_instant(it, "data_available_end"),
            default_columns=tuple(
                _checked(it, "default_columns", column, str)
                for column in _optional(it, "default_columns", list) or ()
            ),
            livemode=_required(it, "livemode", bool),
            updated=_instant(it, "updated"),
            version=_required(it, "version", int),
        )


@dataclass(frozen=True)
class ListPage:
    """One page of a list, its items still as JSON.

    :param items: the objects of this page.
    :param has_more: whether another page follows.
    :param seen_at: epoch seconds, by Stripe's clock: when it was looked at; None where that is not known.
    """

    items: tuple[object, ...]
    has_more: bool
    seen_at: float | None = None

    @classmethod
    def from_api(cls, body: object) -> ListPage:
        """Make a page from Stripe's JSON object ``list``."""
        it = _fields(body, "list")
        return cls(tuple(_required(it, "data", list)), _required(it, "has_more", bool))


@dataclass(frozen=True)
class EndEvent:
    """An event that tells of a report run's end.

    :param id: ``evt_…``.
    :param created: epoch seconds.
    :param report_run: the run as it was then, still as JSON.
    """

    id: str
    created: int
    report_run: object

    @classmethod
    def from_api(cls, body: object) -> EndEvent:
        """Make an event from Stripe's JSON object ``event``."""
        it = _fields(body, "event")
        return cls(_required(it, "id", str), _instant(it, "created"), _required(it, "data", dict).get("object"))

    @property
    def report_run_id(self) -> str:
        """The id of the run, ``frr_…``; empty where it has none."""
        return str(self.report_run.get("id", "")) if isinstance(self.report_run, dict) else ""


def _fields(body: object, kind: str) -> Mapping[str, Any]:
    if isinstance(body, dict) and body.get("object") == kind:
        return body
    seen = body.get("object") if isinstance(body, dict) else type(body).__name__
    raise UnexpectedResponseError(f"Expected an object {kind!r} from Stripe and got {_shown.repr(seen)}")


def odd_parameter(parameters: Mapping[str, Any]) -> str | None:
    """Return the name of a report run's first parameter that can't be one, None where all can.

    Of those that Stripe adds later nothing is known, but that they are small JSON that can be kept.
    """
    for name, value in parameters.items():
        if not _is_kept(name) or not _is_kept(value):
            return name
        if value is None:
            continue
        if name in _INSTANTS and not is_instant(value):
            return name
        if name in _TEXTS and not isinstance(value, str):
            return name
        if name in _LISTS and not (isinstance(value, list) and all(isinstance(it, str) for it in value)):
            return name
    return None


def is_instant(value: object) -> bool:
    """Tell whether a value is whole epoch seconds."""
    return type(value) is int and 0 <= value < LATEST


def in_utc(seconds: int) -> str:
    """Return epoch seconds as people read them."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def is_printable(text: str) -> bool:
    """Tell whether a text can be put anywhere."""
    return not _UNPRINTABLE.search(text)


def _is_kept(value: object, depth: int = 0) -> bool:
    """Tell whether JSON can be written again as it came, at any place."""
    if isinstance(value, dict):
        return depth < DEEPEST and all(_is_kept(key) and _is_kept(it, depth + 1) for key, it in value.items())
    if isinstance(value, list):
        return depth < DEEPEST and all(_is_kept(it, depth + 1) for it in value)
    if isinstance(value, float):
        return isfinite(value)
    return not isinstance(value, str) or is_printable(value)


def _parameters(it: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = _required(it, "parameters", dict)
    if (odd := odd_parameter(parameters)) is not None:
        raise UnexpectedResponseError(
            f"Expected other parameters of Stripe's {it['object']!r} than {_shown.repr(odd)} of "
            f"{_shown.repr(parameters[odd])}"
        )
    return parameters


def _instant(it: Mapping[str, Any], name: str) -> int:
    value = _required(it, name, int)
    if not is_instant(value):
        raise UnexpectedResponseError(
            f"Expected epoch seconds as {name!r} of Stripe's {it['object']!r} and got {_shown.repr(value)}"
        )
    return value


def _checked(it: Mapping[str, Any], name: str, value: object, kind: type[T]) -> T:
    # JSON's true is an int for Python; type() keeps the two apart.
    if type(value) is kind and _is_sane(value):
        return value
    raise UnexpectedResponseError(
        f"Expected {kind.__name__} as {name!r} of Stripe's {it.get('object', 'object')!r} and got "
        f"{_shown.repr(value)}"
    )


def _required(it: Mapping[str, Any], name: str, kind: type[T]) -> T:
    return _checked(it, name, it.get(name), kind)


def _is_sane(value: object) -> bool:
    if isinstance(value, str):
        return is_printable(value)
    return not isinstance(value, int) or 0 <= value < LARGEST_NUMBER


def _optional(it: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    return None if it.get(name) is None else _required(it, name, kind)

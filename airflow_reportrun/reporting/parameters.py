"""The parameters of a report run: Stripe's names, what can be wrong with them, their form encoding.

Source: https://docs.stripe.com/api/reporting/report_run/create.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from airflow_reportrun.reporting.errors import OTHER_SHAPE, InvalidParametersError
from airflow_reportrun.reporting.report_type_ids import ParameterShape

_HALF = re.compile("[\ud800-\udfff]")
"""Half a character, for which a form has no bytes."""

_OUT_OF_RANGE = 10**11
"""Epoch seconds from which on a number must be milliseconds."""


@dataclass(frozen=True, kw_only=True)
class ReportParameters:
    """The ``parameters`` of a report run.

    :param columns: the columns of the file, in this order; empty for the type's default columns.
    :param connected_account: ``acct_…``, for report types about connected accounts.
    :param currency: ISO 4217 code: only rows of this currency.
    :param interval_start: epoch seconds, included.
    :param interval_end: epoch seconds, excluded.
    :param payout: ``po_…``, for report types about one payout.
    :param reporting_category: only rows of this category, such as ``charge``.
    :param timezone: IANA name in which Stripe writes timestamps; it never moves the interval.
    :param extra: parameters that Stripe added after this release, in its spelling.
    """

    columns: Sequence[str] = ()
    connected_account: str | None = None
    currency: str | None = None
    interval_start: int | None = None
    interval_end: int | None = None
    payout: str | None = None
    reporting_category: str | None = None
    timezone: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def check(self, shape: ParameterShape) -> None:
        """Refuse what Stripe would refuse, naming every mistake at once.

        :param shape: what the report type asks for.
        :raises InvalidParametersError: with one sentence for each mistake.
        """
        if mistakes := list(self._mistakes(shape)):
            raise InvalidParametersError(" ".join(mistakes))

    def as_dict(self) -> dict[str, Any]:
        """Return what is sent: Stripe's names, without what is not set, sorted by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        named["columns"] = list(self.columns) or None
        values = sorted({**named, **self.extra}.items())
        return {name: _as_json(value) for name, value in values if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReportParameters:
        """Return the parameters of which :meth:`as_dict` gave these values, also by way of JSON."""
        named = {f.name for f in fields(cls)} - {"extra"}
        extra = {name: value for name, value in values.items() if name not in named}
        return cls(**{name: value for name, value in values.items() if name in named}, extra=extra)

    def _texts(self) -> list[str]:
        names = ("connected_account", "currency", "payout", "reporting_category", "timezone")
        return [name for name in names if getattr(self, name) is not None]

    def _mistakes(self, shape: ParameterShape) -> Iterator[str]:
        if wrong := [name for name in self._texts() if not isinstance(getattr(self, name), str)]:
            yield f"{_and(wrong)} has to be a text."
            return
        if not isinstance(self.extra, Mapping) or not all(isinstance(name, str) for name in self.extra):
            yield f"The further parameters are a mapping of Stripe's names, not {self.extra!r}."
            return
        try:
            form_encode({name: getattr(self, name) for name in self._texts()} | dict(self.extra))
        except InvalidParametersError as error:
            yield str(error)
        wanted = {
            ParameterShape.INTERVAL: {"interval_start", "interval_end"},
            ParameterShape.INTERVAL_END: {"interval_end"},
            ParameterShape.PAYOUT: {"payout"},
        }[shape]
        given = {n for n in ("interval_start", "interval_end", "payout") if getattr(self, n) is not None}
        if missing := sorted(wanted - given):
            verb = "are" if missing[1:] else "is"
            yield f"This report type takes {_and(wanted)}; {_and(missing)} {verb} missing."
        if surplus := sorted(given - wanted):
            yield f"This report type takes {_and(wanted)}; leave out {_and(surplus)}."
        if missing or surplus:
            yield OTHER_SHAPE
        for name in ("interval_start", "interval_end"):
            value = getattr(self, name)
            if value is not None and type(value) is not int:
                yield f"{name} is whole epoch seconds in UTC, not {value!r}."
            elif value is not None and not 0 <= value < _OUT_OF_RANGE:
                yield f"{name} is epoch seconds, and {value} is out of range; milliseconds?"
        if (
            type(self.interval_start) is int
            and type(self.interval_end) is int
            and self.interval_start >= self.interval_end
        ):
            yield (
                f"interval_start {_as_read(self.interval_start)} has to lie before interval_end "
                f"{_as_read(self.interval_end)}, which is not part of the interval."
            )
        if not _are_names(self.columns):
            yield f"columns is a list of column names, not {self.columns!r}."
        elif len(set(self.columns)) != len(self.columns):
            yield f"columns names a column twice: {', '.join(self.columns)}."
        if self.currency is not None and not re.fullmatch("[A-Za-z]{3}", self.currency):
            yield f"currency is a three-letter ISO 4217 code, not {self.currency!r}."
        if self.reporting_category == "":
            yield "reporting_category is empty; leave it out."
        if self.timezone is not None and not is_zone(self.timezone):
            yield f"timezone is an IANA name such as Europe/Berlin, not {self.timezone!r}."
        for name, prefix in (("connected_account", "acct_"), ("payout", "po_")):
            value = getattr(self, name)
            if value is not None and not value.startswith(prefix):
                yield f"{name} is the id of Stripe's object, {prefix}…, not {value!r}."
        if both := sorted(set(self.extra) & {f.name for f in fields(self)}):
            yield f"Pass {_and(both)} by name, not in the extra parameters."


def form_encode(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the pairs of Stripe's form encoding, in order: ``a[b]=1``, ``a[c][0]=x``.

    :param values: strings, integers, booleans, mappings and sequences of these; None is left out.
    :raises InvalidParametersError: for a value that has no form encoding.
    """
    try:
        return list(_pairs("", values))
    except RecursionError:
        raise InvalidParametersError("The parameters are nested too deep to be sent to Stripe.") from None


def _as_json(value: Any) -> Any:
    """Return mappings and sequences of any kind as those of JSON, which are sent in the same way."""
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_as_json(item) for item in value]
    return value


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, bool):
        yield name, "true" if value else "false"
    elif isinstance(value, (str, int)):
        for text in (name, value):
            if isinstance(text, str) and _HALF.search(text):
                raise InvalidParametersError(f"Half a character can't be sent to Stripe: {text!r} in {name!r}.")
        yield name, str(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidParametersError(f"{name or 'The parameters'} have names that are texts, not {key!r}.")
            yield from _pairs(f"{name}[{key}]" if name else key, item)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, item in enumerate(value):
            yield from _pairs(f"{name}[{index}]", item)
    else:
        raise InvalidParametersError(f"{name} can't be sent to Stripe as {type(value).__name__}: {value!r}.")


def _are_names(columns: object) -> bool:
    names = columns if isinstance(columns, Collection) and not isinstance(columns, str) else (None,)
    return all(isinstance(it, str) and it and not _HALF.search(it) for it in names)


def is_zone(name: str) -> bool:
    """Tell whether a name is one of the time zones that are known here."""
    try:
        return bool(ZoneInfo(name))
    except (KeyError, ValueError, OSError):  # unknown, malformed, a folder of zones
        return False


def _as_read(seconds: int) -> str:
    """Return epoch seconds as people read them, and numbers that are none as they are."""
    at_all = 0 <= seconds < _OUT_OF_RANGE
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if at_all else str(seconds)


def _and(names: Sequence[str] | set[str]) -> str:
    return " and ".join(sorted(names, reverse=True))

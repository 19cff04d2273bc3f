"""What a request says: decoding its form, and checking the parameters of a run.

The endpoint checks the shape first (unknown names, integers, what is missing), then what the report type
takes, and last whether the data reaches that far. Only the last counts as executing the request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from . import errors
from .catalogue import CATALOGUE, Availability, ReportType

Value: TypeAlias = "str | list[Value] | dict[str, Value]"
Form: TypeAlias = dict[str, Value]

RunParameter = int | str | list[str]

_BRACKETED = re.compile(r"\[([^\]]*)\]")
_NAME = re.compile(r"([^\[]*)((?:\[[^\]]*\])*)")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_CURRENCY = re.compile(r"[a-z]{3}")

_INTEGERS = ("interval_start", "interval_end")
_STRINGS = ("connected_account", "currency", "payout", "reporting_category", "timezone")


def decode(encoded: str) -> Form:
    """Read a form or a query string; brackets nest.

    ``a[b]=1`` gives ``{"a": {"b": "1"}}``; ``a[]=1&a[]=2`` and ``a[0]=1&a[1]=2`` give ``{"a": ["1", "2"]}``.
    A later value for the same name wins.
    """
    tree: dict[str, Value] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        match = _NAME.fullmatch(name)
        path = [match[1], *_BRACKETED.findall(match[2])] if match else [name]
        _put(tree, path, value)
    return {name: _with_lists(value) for name, value in tree.items()}


def _put(tree: dict[str, Value], path: list[str], value: str) -> None:
    *parents, leaf = path
    for name in parents:
        child = tree.get(name)
        if not isinstance(child, dict):
            child = tree[name] = {}
        tree = child
    tree[leaf or str(len(tree))] = value


def _with_lists(value: Value) -> Value:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdecimal() for key in value):
        return [_with_lists(value[key]) for key in sorted(value, key=lambda key: (len(key), key))]
    return {key: _with_lists(child) for key, child in value.items()}


@dataclass(frozen=True, slots=True)
class RunParameters:
    """The parameters of a run, checked; the interval is half open, in Unix seconds."""

    interval_start: int
    interval_end: int
    columns: tuple[str, ...] | None = None
    currency: str | None = None
    reporting_category: str | None = None
    timezone: str = "Etc/UTC"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a create asks for; ``sent`` is what Stripe echoes, typed but otherwise as it came."""

    report_type: ReportType
    sent: Mapping[str, RunParameter]
    parameters: RunParameters


def read_run_request(form: Form, offered: Mapping[str, ReportType], *, livemode: bool) -> RunRequest:
    """Check everything about a create that can be told without looking at the data."""
    raw = form.get("parameters", {})
    if not isinstance(raw, dict):
        raise errors.invalid_shape("parameters", "object")
    unknown = [name for name in form if name not in ("report_type", "parameters")]
    unknown += [_label(name) for name in raw if name not in (*_INTEGERS, *_STRINGS, "columns")]
    if unknown:
        raise errors.unknown_parameters(unknown)
    if "report_type" not in form:
        raise errors.missing_parameter("report_type")
    type_id = string(form["report_type"], "report_type")

    integers = {name: integer(raw[name], _label(name)) for name in _INTEGERS if name in raw}
    texts = {name: string(raw[name], _label(name)) for name in _STRINGS if name in raw}
    columns = {"columns": strings(raw["columns"], _label("columns"))} if "columns" in raw else {}

    report_type = find_type(type_id, offered, livemode=livemode, param="report_type")
    for name in (*texts, *columns):
        if name not in report_type.optional:
            raise errors.unsupported_parameter(name, report_type.id)
    for name in _INTEGERS:
        if name not in integers:
            raise errors.missing_parameter(_label(name))
    parameters = RunParameters(
        **integers,
        columns=tuple(columns["columns"]) if columns else None,
        currency=texts.get("currency"),
        reporting_category=texts.get("reporting_category"),
        timezone=texts.get("timezone", "Etc/UTC"),
    )
    _check_values(report_type, parameters)
    return RunRequest(report_type, {**columns, **integers, **texts}, parameters)


def find_type(type_id: str, offered: Mapping[str, ReportType], *, livemode: bool, param: str) -> ReportType:
    """Look up a report type among those on offer.

    404 also where the id is a parameter: so does Stripe where a type is offered to live keys only.
    """
    if type_id in offered:
        return offered[type_id]
    if not livemode and type_id in CATALOGUE and CATALOGUE[type_id].live_only:
        raise errors.live_only()
    raise errors.no_such("report type", type_id, param=param)


def check_availability(request: RunRequest, available: Availability) -> None:
    """Refuse an interval that the data does not cover."""
    start, end = request.parameters.interval_start, request.parameters.interval_end
    if start < available.start:
        raise errors.interval_before_data(request.report_type.id, available.start, start)
    if end > available.end:
        raise errors.interval_after_data(request.report_type.id, available.end, end)


def _check_values(report_type: ReportType, parameters: RunParameters) -> None:
    unknown = [name for name in parameters.columns or () if not report_type.has_column(name)]
    if unknown:
        raise errors.unknown_columns(unknown, report_type.id)
    if parameters.currency is not None and not _CURRENCY.fullmatch(parameters.currency):
        raise errors.invalid_currency(parameters.currency)
    try:
        ZoneInfo(parameters.timezone)
    except (KeyError, ValueError, OSError):  # unknown, not a relative path, a directory of zones
        raise errors.invalid_timezone(parameters.timezone) from None
    if parameters.interval_start >= parameters.interval_end:
        raise errors.interval_not_ordered(parameters.interval_start, parameters.interval_end)


def _label(name: str) -> str:
    return f"parameters[{name}]"


def string(value: Value, name: str) -> str:
    """Read a text; ``name`` is what an error calls it."""
    if not isinstance(value, str):
        raise errors.invalid_shape(name, "string")
    if not value:
        raise errors.empty_parameter(name)
    return value


def integer(value: Value, name: str) -> int:
    """Read a decimal number."""
    text = string(value, name)
    if not _INTEGER.fullmatch(text):
        raise errors.invalid_integer(name, text)
    return int(text)


def strings(value: Value, name: str) -> list[str]:
    """Read a list of texts."""
    if not isinstance(value, list):
        raise errors.invalid_shape(name, "array")
    return [string(item, f"{name}[{index}]") for index, item in enumerate(value)]

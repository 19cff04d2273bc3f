"""What a request says: decoding its form, and checking the parameters of a run.

The endpoint checks the shape first (unknown names, integers), then what the report type takes and needs, and last
whether the data reaches that far and knows the payout and the accounts. Only the last counts as executing the
request.

Choices: `decimal_separator` is ``.`` or ``,``; `connected_account` and `connected_accounts` together name all
that either of them names; of `reporting_category`, `customer`, `invoice`, `invoice_line_item` and
`decimal_format` every text is taken, and the last one changes nothing; each type takes `compress_file`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from . import errors
from .catalogue import CATALOGUE, Availability, ReportType

if TYPE_CHECKING:
    from .business import Books
    from .messages import Form, Value

RunParameter = int | str | list[str]

_BRACKETED = re.compile(r"\[([^\]]*)\]")
_NAME = re.compile(r"([^\[]*)((?:\[[^\]]*\])*)")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_CURRENCY = re.compile(r"[a-z]{3}")

_DEEPEST = 10

_INTEGERS = ("interval_start", "interval_end")
_LISTS = ("columns", "connected_accounts")
_BOOLEANS = ("compress_file",)
_FILTERS = ("customer", "invoice", "invoice_line_item")
_KNOWN = {name for report_type in CATALOGUE.values() for name in report_type.required | report_type.optional}
_KNOWN |= {*_BOOLEANS}


def decode(encoded: str) -> Form:
    """Read a form or a query string; brackets nest.

    ``a[b]=1`` gives ``{"a": {"b": "1"}}``; ``a[]=1&a[]=2`` and ``a[0]=1&a[1]=2`` give ``{"a": ["1", "2"]}``.
    A later value for the same name wins.
    """
    tree: dict[str, Value] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        match = _NAME.fullmatch(name)
        path = [match[1], *_BRACKETED.findall(match[2])] if match else [name]
        path = path if len(path) <= _DEEPEST else [name]
        _put(tree, path, value)
    return {name: _with_lists(value) for name, value in tree.items()}


def _put(tree: dict[str, Value], path: list[str], value: str) -> None:
    *parents, leaf = path
    for name in parents:
        child = tree.get(name)
        if not isinstance(child, dict):
            child = tree[name] = {}
        tree = child
    tree[leaf or str(1 + max((int(key) for key in tree if key.isdecimal()), default=-1))] = value


def _with_lists(value: Value) -> Value:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdecimal() for key in value):
        return [_with_lists(value[key]) for key in sorted(value, key=lambda key: (len(key), key))]
    return {key: _with_lists(child) for key, child in value.items()}


@dataclass(frozen=True, slots=True)
class RunParameters:
    """The parameters of a run, checked.

    Depending on the type there is an interval, half open, in Unix seconds; its end alone; or a payout's id.
    ``connected_accounts`` is empty if the run is about all of them. ``filters`` are those that compare ids, by the
    parameter's name.
    """

    interval_start: int | None = None
    interval_end: int | None = None
    columns: tuple[str, ...] | None = None
    compress_file: bool = False
    connected_accounts: frozenset[str] = frozenset()
    currency: str | None = None
    decimal_separator: str = "."
    filters: Mapping[str, str] = field(default_factory=dict)
    payout: str | None = None
    reporting_category: str | None = None
    timezone: str = "Etc/UTC"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a create asks for; ``sent`` is what Stripe echoes, typed but otherwise as it came.

    ``unknown_columns`` are those that the type lacks, where that is let pass.
    """

    report_type: ReportType
    sent: Mapping[str, RunParameter]
    parameters: RunParameters
    unknown_columns: tuple[str, ...] = ()


def read_run_request(
    form: Form, offered: Mapping[str, ReportType], *, livemode: bool, strict: bool = True
) -> RunRequest:
    """Check everything about a create that can be told without looking at the data.

    ``offered`` are the report types by id; ``livemode`` is the key's: some types are for live keys alone. Unless
    it is ``strict``, columns that the type lacks are let pass.
    """
    raw = form.get("parameters", {})
    if not isinstance(raw, dict):
        raise errors.invalid_shape("parameters", "object")
    unknown = [name for name in form if name not in ("report_type", "parameters", "expand")]
    unknown += [_label(name) for name in raw if name not in _KNOWN]
    if unknown:
        raise errors.unknown_parameters(unknown)
    if "expand" in form:
        strings(form["expand"], "expand")
    if "report_type" not in form:
        raise errors.missing_parameter("report_type")
    type_id = string(form["report_type"], "report_type")

    lists = {name: strings(raw[name], _label(name)) for name in _LISTS if name in raw}
    integers = {name: integer(raw[name], _label(name)) for name in _INTEGERS if name in raw}
    booleans = {name: boolean(raw[name], _label(name)) for name in _BOOLEANS if name in raw}
    others = (*_LISTS, *_INTEGERS, *_BOOLEANS)
    texts = {name: string(raw[name], _label(name)) for name in raw if name not in others}
    sent: dict[str, RunParameter] = {**lists, **integers, **booleans, **texts}

    report_type = find_type(type_id, offered, livemode=livemode, param="report_type")
    for name in sent:
        if name not in report_type.required | report_type.optional | {*_BOOLEANS}:
            raise errors.unsupported_parameter(name, report_type.id)
    for name in ("connected_account", "payout", *_INTEGERS):
        if name in report_type.required and name not in sent:
            raise errors.missing_parameter(_label(name))
    accounts = [texts["connected_account"]] if "connected_account" in texts else []
    parameters = RunParameters(
        integers.get("interval_start"),
        integers.get("interval_end"),
        columns=tuple(lists["columns"]) if "columns" in lists else None,
        compress_file=booleans.get("compress_file", False),
        connected_accounts=frozenset([*accounts, *lists.get("connected_accounts", [])]),
        currency=texts.get("currency"),
        decimal_separator=texts.get("decimal_separator", "."),
        filters={name: texts[name] for name in _FILTERS if name in texts},
        payout=texts.get("payout"),
        reporting_category=texts.get("reporting_category"),
        timezone=texts.get("timezone", "Etc/UTC"),
    )
    unknown_columns = tuple(name for name in parameters.columns or () if not report_type.has_column(name))
    if unknown_columns and strict:
        raise errors.unknown_columns(unknown_columns, report_type.id)
    _check_values(parameters)
    return RunRequest(report_type, sent, parameters, unknown_columns)


def find_type(type_id: str, offered: Mapping[str, ReportType], *, livemode: bool, param: str) -> ReportType:
    """Look up a report type among those on offer.

    404 also where the id is a parameter: so does Stripe where a type is offered to live keys only.
    """
    if type_id in offered:
        return offered[type_id]
    if not livemode and type_id in CATALOGUE and CATALOGUE[type_id].live_only:
        raise errors.live_only()
    raise errors.no_such("report type", type_id, param=param)


def check_availability(request: RunRequest, available: Availability, books: Books) -> None:
    """Refuse an interval that the data does not cover, and a payout that the books do not know.

    A payout is known once the data reaches the second in which it was created.
    """
    report_type, parameters = request.report_type, request.parameters
    start, end = parameters.interval_start, parameters.interval_end
    first, name = (end, "interval_end") if start is None else (start, "interval_start")
    if first is not None and first < available.start:
        raise errors.interval_before_data(report_type.id, available.start, first, name=name)
    if end is not None and end > available.end:
        raise errors.interval_after_data(report_type.id, available.end, end)
    if parameters.payout is not None:
        payout = books.of(next(iter(parameters.connected_accounts), None)).payout(parameters.payout)
        if payout is None or payout.created > available.end:
            raise errors.no_such_payout(parameters.payout)


def _check_values(parameters: RunParameters) -> None:
    if parameters.currency is not None and not _CURRENCY.fullmatch(parameters.currency):
        raise errors.invalid_currency(parameters.currency)
    if parameters.decimal_separator not in (".", ","):
        raise errors.invalid_decimal_separator(parameters.decimal_separator)
    try:
        ZoneInfo(parameters.timezone)
    except (KeyError, ValueError, OSError):  # unknown, not a relative path, a directory of zones
        raise errors.invalid_timezone(parameters.timezone) from None
    start, end = parameters.interval_start, parameters.interval_end
    if start is not None and end is not None and start >= end:
        raise errors.interval_not_ordered(start, end)


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


def boolean(value: Value, name: str) -> bool:
    """Read ``true`` or ``false``."""
    text = string(value, name)
    if text not in ("true", "false"):
        raise errors.invalid_boolean(name, text)
    return text == "true"


def strings(value: Value, name: str) -> list[str]:
    """Read a list of texts."""
    if not isinstance(value, list):
        raise errors.invalid_shape(name, "array")
    return [string(item, f"{name}[{index}]") for index, item in enumerate(value)]

from __future__ import annotations

import json
import types
import typing
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe.params.reporting import ReportRunCreateParamsParameters

from airflow_reportrun.reporting.errors import InvalidParametersError
from airflow_reportrun.reporting.parameters import ReportParameters, form_encode
from airflow_reportrun.reporting.report_type_ids import ParameterShape, family_of, shape_of
from airflow_reportrun.sandbox.catalogue import CATALOGUE, ReportType

DAY: dict[str, Any] = {"interval_start": 1680000000, "interval_end": 1680100000}

CYCLE: list[Any] = []
CYCLE.append(CYCLE)


def test_names_are_those_of_stripes_own_sdk() -> None:
    """A parameter that Stripe adds to its SDK is noticed here."""
    theirs = {name: _kind(hint) for name, hint in typing.get_type_hints(ReportRunCreateParamsParameters).items()}
    ours = {name: _kind(hint) for name, hint in typing.get_type_hints(ReportParameters).items() if name != "extra"}
    assert ours == theirs


def _kind(hint: Any) -> type:
    """Return what a type is at bottom: a list, a text or a number, optional or not, open or closed."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType, typing.Literal):
        kinds = {_kind(arg) for arg in typing.get_args(hint)} - {type(None)}
        assert len(kinds) == 1
        return kinds.pop()
    if origin is not None:
        return list if issubclass(origin, Sequence) else _kind(typing.get_args(hint)[0])
    return hint if isinstance(hint, type) else type(hint)


def test_encodes_a_create_call_as_stripe_documents_it() -> None:
    """Names in brackets, integers in decimal, lists by index."""
    parameters = ReportParameters(**DAY, columns=["net", "fee"], currency="eur")
    assert form_encode({"report_type": "balance.summary.1", "parameters": parameters.as_dict()}) == [
        ("report_type", "balance.summary.1"),
        ("parameters[columns][0]", "net"),
        ("parameters[columns][1]", "fee"),
        ("parameters[currency]", "eur"),
        ("parameters[interval_end]", "1680100000"),
        ("parameters[interval_start]", "1680000000"),
    ]


def test_passes_on_what_stripe_adds_later() -> None:
    """The escape hatch takes names that nobody here knows, booleans and lists among them."""
    parameters = ReportParameters(**DAY, extra={"compress_file": True, "connected_accounts": ["acct_1"]})
    encoded = dict(form_encode(parameters.as_dict()))
    assert encoded["compress_file"] == "true"
    assert encoded["connected_accounts[0]"] == "acct_1"


Value = st.recursive(
    st.text(st.characters(codec="utf-8")) | st.integers() | st.booleans(),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.text("abcdefgh_", min_size=1), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdefgh_", min_size=1), Value))
def test_encoding_round_trips(values: dict[str, Any]) -> None:
    """Nothing is lost, merged or reordered on the way into a form and out of it."""
    pairs = parse_qsl(urlencode(form_encode(values)), keep_blank_values=True)
    assert _decoded(pairs) == _as_text(values)


def _decoded(pairs: list[tuple[str, str]]) -> Any:
    root: dict[str, Any] = {}
    for name, text in pairs:
        path = name.replace("]", "").split("[")
        node = root
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = text
    return root


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return {str(index): _as_text(item) for index, item in enumerate(value)}
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("value", [1.5, b"bytes", object()])
def test_refuses_what_has_no_form_encoding(value: object) -> None:
    """A float would be rounded by somebody, so it is not guessed at."""
    with pytest.raises(InvalidParametersError, match="name can't be sent to Stripe"):
        form_encode({"name": value})


@pytest.mark.parametrize(
    ("report_type", "shape"),
    [
        ("balance.summary.1", "interval"),
        ("a_report_nobody_knows.7", "interval"),
        ("ending_balance_reconciliation.itemized.4", "interval_end"),
        ("connect.negative_balance_detail.1", "interval_end"),
        ("payout_reconciliation.by_id.itemized.4", "payout"),
        ("payout_reconciliation.itemized.5", "interval"),
        ("connected_account_payout_reconciliation.by_id.itemized.99", "payout"),
        ("connected_account_ending_balance_reconciliation.a_new_form.1", "interval_end"),
        ("connected_account_payout_reconciliation.itemized.4", "interval"),
    ],
)
def test_shape_follows_the_prefix_of_the_report_type(report_type: str, shape: str) -> None:
    """Versions drift, so a shape is not tied to them."""
    assert shape_of(report_type) is ParameterShape(shape)


@pytest.mark.parametrize("report_type", CATALOGUE.values(), ids=CATALOGUE)
def test_shape_of_each_known_report_type_is_what_it_requires(report_type: ReportType) -> None:
    """All of the catalogue, those about connected accounts included."""
    wanted = {
        ParameterShape.INTERVAL: {"interval_start", "interval_end"},
        ParameterShape.INTERVAL_END: {"interval_end"},
        ParameterShape.PAYOUT: {"payout"},
    }
    assert wanted[shape_of(report_type.id)] == report_type.required - {"connected_account"}


@pytest.mark.parametrize(
    ("report_type", "family"),
    [
        ("balance.summary.1", "balance.summary"),
        ("payout_reconciliation.by_id.itemized.12", "payout_reconciliation.by_id.itemized"),
        ("activity.beta", "activity.beta"),
        ("activity.v2", "activity.v2"),
        ("activity.2b", "activity.2b"),
        ("activity.²", "activity.²"),
        ("activity.", "activity."),
        ("activity", "activity"),
        ("1", "1"),
        (".1", ".1"),
    ],
)
def test_a_version_is_a_number_behind_a_name(report_type: str, family: str) -> None:
    """What else an id ends in is a part of its name."""
    assert family_of(report_type) == family


@given(st.text(min_size=1), st.integers(min_value=0))
def test_versions_of_a_family_have_it_in_common(name: str, version: int) -> None:
    """Whatever the name is, and a family of versions is none of another's."""
    assert family_of(f"{name}.{version}") == name
    assert family_of(f"{name}.{version}x") == f"{name}.{version}x"


@pytest.mark.parametrize("shape", [None, "interval", "interval_end", "payout"])
def test_wrong_shape_names_the_option_that_decides(shape: str | None) -> None:
    """What was guessed by the id, or set by mistake, is for the author to correct."""
    given: dict[str, Any] = {"payout": "po_1", "interval_end": 1}
    with pytest.raises(InvalidParametersError, match="set parameter_shape= "):
        ReportParameters(**given).check(ParameterShape(shape) if shape else shape_of("a_report_nobody_knows.7"))


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ("interval", {}, "interval_start and interval_end; interval_start and interval_end are missing"),
        ("interval", {"interval_start": 1}, "interval_end is missing"),
        ("interval", {**DAY, "payout": "po_1"}, "leave out payout"),
        ("interval_end", DAY, "leave out interval_start"),
        ("payout", {}, "payout is missing"),
        ("payout", {"payout": "payout-1"}, "po_…"),
        ("interval", {"interval_start": 5, "interval_end": 5}, "has to lie before"),
        (
            "interval",
            {"interval_start": 1714608000, "interval_end": 1714521600},
            "interval_start 2024-05-02T00:00:00Z has to lie before interval_end 2024-05-01T00:00:00Z, which",
        ),
        ("interval", {"interval_start": 1.5, "interval_end": 5}, "whole epoch seconds"),
        ("interval", {"interval_start": True, "interval_end": 5}, "whole epoch seconds"),
        ("interval", {"interval_start": 1, "interval_end": 1680000000000}, "milliseconds?"),
        ("interval", {**DAY, "columns": "net"}, "columns is a list"),
        ("interval", {**DAY, "columns": ["net", ""]}, "columns is a list"),
        ("interval", {**DAY, "columns": ["net", "net"]}, "names a column twice"),
        ("interval", {**DAY, "currency": "euro"}, "ISO 4217"),
        ("interval", {**DAY, "timezone": "Middle/Earth"}, "IANA name"),
        ("interval", {**DAY, "timezone": "../etc/passwd"}, "IANA name"),
        ("interval", {**DAY, "connected_account": "42"}, "acct_…"),
        ("interval", {**DAY, "extra": {"currency": "eur"}}, "Pass currency by name"),
        ("interval", {**DAY, "extra": ["novelty"]}, "a mapping of Stripe's names"),
        ("interval", {**DAY, "currency": 978, "timezone": None}, "currency has to be a text"),
        ("interval", {**DAY, "currency": "ÄÖÜ"}, "ISO 4217"),
        ("interval", {**DAY, "reporting_category": ""}, "reporting_category is empty"),
        ("interval", {**DAY, "reporting_category": "\ud800"}, "Half a character can't be sent"),
        ("interval", {**DAY, "columns": None}, "columns is a list"),
        ("interval", {**DAY, "columns": 5}, "columns is a list"),
        ("interval", {**DAY, "columns": ["\ud800"]}, "columns is a list"),
        ("interval", {**DAY, "extra": {1: "a"}}, "a mapping of Stripe's names"),
        ("interval", {**DAY, "extra": {"novelty": {1: "a"}}}, "names that are texts"),
        ("interval", {**DAY, "extra": {"novelty": {"\ud800": "a"}}}, "Half a character can't be sent"),
        ("interval", {**DAY, "extra": {"novelty": 1.5}}, "novelty can't be sent to Stripe as float"),
        ("interval", {**DAY, "extra": {"novelty": CYCLE}}, "nested too deep"),
    ],
)
def test_refuses_what_stripe_would_refuse(shape: str, given: dict[str, Any], message: str) -> None:
    """Each mistake is found before anything is sent, and said in a sentence."""
    with pytest.raises(InvalidParametersError) as caught:
        ReportParameters(**given).check(ParameterShape(shape))
    assert message in str(caught.value)


def test_names_all_mistakes_at_once() -> None:
    """Nobody should have to fix a task one error at a time."""
    with pytest.raises(InvalidParametersError) as caught:
        ReportParameters(currency="euro", timezone="nowhere").check(ParameterShape.INTERVAL)
    assert all(word in str(caught.value) for word in ("missing", "ISO 4217", "IANA"))


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ("interval", {**DAY, "columns": ["net"], "timezone": "Europe/Berlin", "reporting_category": "charge"}),
        ("interval_end", {"interval_end": 5}),
        ("payout", {"payout": "po_1", "connected_account": "acct_1"}),
    ],
)
def test_accepts_what_stripe_accepts(shape: str, given: dict[str, Any]) -> None:
    """The three shapes, with the options that go with each."""
    ReportParameters(**given).check(ParameterShape(shape))


def test_is_immutable() -> None:
    """What was checked is what is sent."""
    assert isinstance(ReportParameters.__dict__["__setattr__"], types.FunctionType)
    with pytest.raises(AttributeError):
        ReportParameters().currency = "eur"  # type: ignore[misc]


def test_comes_back_from_json_as_it_went() -> None:
    """A task instance remembers what it asked for, with what Stripe added later."""
    given = ReportParameters(
        **DAY, columns=("net", "fee"), extra={"novelty": {"a": ("b", types.MappingProxyType({}))}}
    )
    again = ReportParameters.from_dict(json.loads(json.dumps(given.as_dict())))
    assert again.as_dict() == given.as_dict() == {**DAY, "columns": ["net", "fee"], "novelty": {"a": ["b", {}]}}
    assert again.extra == {"novelty": {"a": ["b", {}]}}

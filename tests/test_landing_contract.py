"""What columns are called where they land with types, and what may change there."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.landing.contract import LONGEST_NAME, Contract, fitting, metadata_of, snake_case
from airflow_reportrun.landing.formats.columns import Column, columns_of
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError
from airflow_reportrun.sandbox.catalogue import CATALOGUE
from tests.docs_blocks import ROOT
from tests.docs_tables import hold, table

SNAKE, JSON, FROZEN = Contract(naming="snake_case"), Contract(metadata="json"), Contract(schema="freeze")

words = st.text("aZ09_-[] .é\n", max_size=6)
metadata = st.builds("{}_metadata[{}]".format, st.sampled_from(["payment", "refund"]), words)
long = st.builds("{}_metadata[{}{}]".format, st.just("payment"), st.just("key" * 20), words)
names = st.one_of(st.text(min_size=1, max_size=80), words.filter(bool), metadata, long)
"""Of columns; many of them nearly meet when they are read as words."""

converted = names.map(snake_case)
"""What may meet a converted name: a column that is called so itself."""


def columns(*them: str) -> Sequence[Column]:
    """Return columns of text."""
    return [Column(name, "text") for name in them]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("net", "net"),
        ("created_utc", "created_utc"),
        ("payment_metadata[order_id]", "payment_metadata__order_id"),
        ("payment_metadata[order__id]", "payment_metadata__order__id"),
        ("payment_metadata[order-id]", "payment_metadata__order_id_0102c985"),
        ("payment_metadata[order id]", "payment_metadata__order_id_"),
        ("payment_metadata[OrderId]", "payment_metadata__orderid_"),
        ("payment_metadata[größe]", "payment_metadata__gr_e_"),
        ("payment_metadata__order_id", "payment_metadata__order_id_"),
        ("NET", "net_"),
        ("net_0123abcd", "net_0123abcd_"),
        ("_report_type", "column_report_type_"),
        ("3d_secure", "column_3d_secure_"),
        ("名前", "column_"),
        (f"payment_metadata[{'k' * 100}]", f"payment_metadata__{'k' * 36}_"),
    ],
)
def test_a_name_in_snake_case_says_the_columns_words(column: str, name: str) -> None:
    """What could meet another column's ends in a digest, which the table leaves out."""
    found = snake_case(column)
    assert found == name or (name.endswith("_") and re.fullmatch(f"{name}[0-9a-f]{{8}}", found))


@given(names)
def test_engines_take_a_name_in_snake_case(column: str) -> None:
    """BigQuery, Athena and Spark do: lower-case ASCII, no bracket, no digit first, no more than 63 bytes."""
    assert re.fullmatch(r"[a-z][a-z0-9_]*", snake_case(column))
    assert len(snake_case(column)) <= LONGEST_NAME


@given(st.lists(st.one_of(names, converted), min_size=2, unique=True))
def test_no_two_columns_have_one_name(them: list[str]) -> None:
    """Also where one column is called as another one's name in snake case is."""
    assert len(set(map(snake_case, them))) == len(them)


@given(names)
def test_a_name_without_a_digest_is_read_back(column: str) -> None:
    """Who reads a table finds Stripe's name in it, without a list of names."""
    name = snake_case(column)
    if not re.search(r"_[0-9a-f]{8}$", name):
        kind, bracket, key = name.partition("__")
        assert column == (f"{kind}[{key}]" if bracket else name)


@given(st.lists(names, unique=True), st.data())
def test_a_columns_name_depends_on_nothing_but_the_column(them: list[str], data: st.DataObject) -> None:
    """So it is the same in each interval's file and table, whichever columns come along."""
    some = data.draw(st.permutations(them)) if them else []
    some = some[: data.draw(st.integers(0, len(some)))]
    for naming in ("stripe", "snake_case"):
        contract = Contract(naming=naming)
        alone = dict(zip(some, contract.names(columns(*some)), strict=True))
        together = dict(zip(them, contract.names(columns(*them)), strict=True))
        assert alone.items() <= together.items()


def test_stripes_own_columns_are_in_snake_case_already() -> None:
    """All of them, of all report types: only metadata is called otherwise."""
    for report_type in CATALOGUE.values():
        for column in report_type.columns:
            found = metadata_of(column)
            assert snake_case(column) == ("__".join(found) if found else column)


@given(st.lists(names, unique=True))
def test_all_metadata_of_a_kind_is_one_json_column(them: list[str]) -> None:
    """At the place of its first; each other column stays what it is."""
    kept = [column.name for column in JSON.kept(columns(*them))]
    wanted = [found[0] if (found := metadata_of(name)) else name for name in them]
    kinds = {found[0] for name in them if (found := metadata_of(name))}
    assert [name for name in kept if name not in kinds] == [name for name in wanted if name not in kinds]
    assert [name for name in dict.fromkeys(wanted) if name in kinds] == list(
        dict.fromkeys(name for name in kept if name in kinds)
    )
    assert Contract().kept(columns(*them)) == columns(*them)


@pytest.mark.parametrize(
    ("contract", "them", "ours", "folds_case", "said"),
    [
        (
            Contract(),
            ["net", "Net"],
            (),
            True,
            "'Net' would be the same there as 'net', which the report",
        ),
        (Contract(), ["_Filters"], ("_filters",), True, "'_Filters' .* as '_filters', which this package"),
        (JSON, ["payment_metadata", "payment_metadata[a]"], (), False, "'payment_metadata' would be the same"),
    ],
)
def test_two_columns_that_would_be_one_are_refused(
    contract: Contract, them: list[str], ours: Sequence[str], folds_case: bool, said: str
) -> None:
    """Both are named."""
    with pytest.raises(ContentsError, match=said):
        contract.names(contract.kept(columns(*them)), ours=ours, folds_case=folds_case)


def test_ours_are_never_a_reports_in_snake_case() -> None:
    """A report's names begin with a letter there, and ours don't."""
    them = columns("_report_type", "_Filters")
    assert len(SNAKE.names(them, ours=("_report_type", "_filters"), folds_case=True)) == 2


@pytest.mark.parametrize(
    ("contract", "there", "found"),
    [
        (SNAKE, ["payment_metadata[order_id]"], {"payment_metadata[order_id]": "payment_metadata__order_id"}),
        (Contract(), ["payment_metadata__order_id"], {"payment_metadata__order_id": "payment_metadata[order_id]"}),
        (Contract(), ["payment_metadata"], {"payment_metadata": "payment_metadata[order_id]"}),
        (JSON, ["payment_metadata[other]"], {"payment_metadata[other]": "payment_metadata"}),
        (JSON, ["payment_metadata__other"], {"payment_metadata__other": "payment_metadata"}),
        (SNAKE, ["payment_metadata__order_id", "net"], {}),
        (JSON, ["payment_metadata", "refund_metadata[order_id]", "net"], {}),
        (JSON, ["payment_metadata", "payment_metadata[order_id]"], {}),
        (Contract(), ["payment_metadata[order_id]", "payment_metadata", "payment_metadata__order_id"], {}),
        (Contract(), ["payment_metadata[other]", "payment_metadata"], {}),
    ],
)
def test_what_is_kept_in_another_form_is_found(
    contract: Contract, there: Sequence[str], found: dict[str, str]
) -> None:
    """A table would have one column twice otherwise, with a part of the intervals in each.

    What is there in this form is written to, whatever else the table's owner has beside it.
    """
    kept = contract.kept(columns("net", "payment_metadata[order_id]"))
    assert contract.kept_otherwise(kept, there) == found


@given(
    st.lists(st.from_regex(r"([a-z]{1,3}_?){1,2}|(payment|refund)_metadata\[.{0,70}\]", fullmatch=True)),
    st.sampled_from([Contract(), SNAKE, JSON, Contract(naming="snake_case", metadata="json")]),
    st.data(),
)
def test_what_is_kept_in_this_form_is_no_other(them: list[str], contract: Contract, data: st.DataObject) -> None:
    """A table takes more reports of Stripe's columns, whichever it has already."""
    first, second = (data.draw(st.lists(st.sampled_from(them), unique=True)) if them else [] for _ in "ab")
    there = contract.names(contract.kept(columns(*first)), spelled=fitting)
    assert contract.kept_otherwise(contract.kept(columns(*second)), there, spelled=fitting) == {}


def test_a_frozen_schema_names_all_that_would_change() -> None:
    """Columns that are not there, and those of another type."""
    net, order = columns_of(["net", "payment_metadata[order_id]"], None, "")
    said = r"activity would .* lacks 'payment_metadata\[order_id\]' \(text\); its 'net' is TEXT, .* is money"
    with pytest.raises(ContentsError, match=said):
        FROZEN.require_kept("activity", [order], [(net, "TEXT")])
    FROZEN.require_kept("activity", [])
    Contract().require_kept("activity", [order], [(net, "TEXT")])


def test_words_that_are_none_are_named_at_once() -> None:
    """With those that there are."""
    with pytest.raises(ConfigurationError, match=r"naming is 'stripe' or 'snake_case', not 'camel'; schema is "):
        Contract(naming="camel", schema="strict")


def test_the_docs_show_the_names() -> None:
    """As they are made."""
    shown = [
        *("net", "created_utc", "payment_metadata[order_id]", "payment_metadata[order-id]"),
        *("payment_metadata[OrderId]", "payment_metadata[Größe]", f"payment_metadata[{'a very ' * 9}long key]"),
    ]
    rows = [[f"`{column}`", f"`{snake_case(column)}`"] for column in shown]
    hold(ROOT / "docs" / "columns.md", "names", table(["column", "name"], rows))

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import airflow_reportrun
from airflow_reportrun.landing.formats.columns import (
    KINDS,
    Column,
    check_column_types,
    columns_of,
    require_columns,
)
from airflow_reportrun.landing.formats.csv_gz import gzipped
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.sandbox.catalogue import CATALOGUE

PACKAGE = Path(airflow_reportrun.__file__).parent


def kinds(*names: str) -> Sequence[str]:
    return [column.kind for column in columns_of(names, None, "")]


def test_known_columns_have_types() -> None:
    """What finance looks at first."""
    assert kinds("gross", "count", "is_link", "created", "payout_expected_arrival_date", "description") == [
        *("money", "integer", "boolean", "timestamp", "date", "text"),
    ]


def test_twins_are_in_utc() -> None:
    """The suffix says it, of a column that is new, too."""
    assert kinds("created_utc", "invented_at_utc") == ["timestamp_utc", "timestamp_utc"]


def test_metadata_and_strangers_are_text() -> None:
    """A key of metadata may be called like a column; what stands in it is anybody's."""
    assert set(kinds("payment_metadata[gross]", "payment_metadata[created_utc]", "unheard_of")) == {"text"}


TABLE = json.loads((PACKAGE / "landing" / "formats" / "column_types.json").read_text())

ELSEWHERE = """
    activity_end_date activity_interval_type activity_start_date applied_tax_calculation_type
    balance_transaction_description bin captured_amount captured_currency card_present card_scheme_fee
    destination_resolved_address_line1 destination_resolved_address_line2 discount_fee event_type fee_incurred_at
    interchange_fee invoice_item_id invoice_line_item_id issuing_bank non_transactional_card_scheme_fee
    origin_resolved_address_line1 origin_resolved_address_line2 platform_application_fee presentment_amount
    presentment_currency provider reversal_original_tax_transaction_id subscription_item_id tax_transaction_id
    transaction_date_end transaction_date_start transaction_type transfer_created
"""
"""What reports have that the sandbox's catalogue may lack: seen in documentation, or in programs in public."""


def catalogue() -> set[str]:
    """Return the columns of all reports, as the sandbox has them."""
    return {name for report in CATALOGUE.values() for name in (*report.columns, *report.default_columns)}


def test_each_column_of_a_report_is_decided() -> None:
    """As text, too: a column that is new in the catalogue is looked at, by what Stripe says of it."""
    names = [name for lines in TABLE["kinds"].values() for line in lines for name in line.split()]
    assert set(TABLE["kinds"]) < set(KINDS)
    assert len(names) == len(set(names))
    assert {name.removesuffix("_utc") for name in catalogue()} <= set(names)
    assert set(names) <= {name.removesuffix("_utc") for name in catalogue()} | set(ELSEWHERE.split())


def test_each_family_with_more_decimal_places_is_one_of_the_catalogue() -> None:
    """Or a name that is wrong would do nothing."""
    for family in TABLE["decimals"]:
        assert any(report.startswith(f"{family}.") for report in CATALOGUE)


def test_columns_are_typed_by_what_stripe_says_of_them() -> None:
    """All that are no text, in all reports: amounts, counts, flags, instants and dates."""
    typed = {name: kind for name in sorted(catalogue()) if (kind := kinds(name)[0]) != "text"}
    by_kind = {kind: {name for name, its in typed.items() if its == kind} for kind in typed.values()}
    assert by_kind["integer"] == {"count"}
    assert by_kind["boolean"] == {"is_link", "livemode"}
    assert by_kind["date"] == {"payout_expected_arrival_date"}
    assert by_kind["timestamp_utc"] == {name for name in catalogue() if name.endswith("_utc")}
    assert {name.removesuffix("_utc") for name in by_kind["timestamp_utc"]} <= by_kind["timestamp"]
    instants = ("created", "created_at", "activity_at", "effective_at", "incurred_at", "reversed_at", "settled_at")
    dates = ("available_on", "tax_date", "transaction_date", "transaction_date_start", "transaction_date_end")
    assert all(name.endswith((*instants, *dates)) for name in by_kind["timestamp"])
    amounts = ("amount", "fee", "gross", "net", "subtotal", "tax", "total", "refunded", "collected", "sales")
    assert all(name.endswith(amounts) for name in by_kind["money"])


@pytest.mark.parametrize("report", sorted(it for it in CATALOGUE if it.startswith("revenue_recognition.")))
def test_in_revenue_recognition_an_amount_alone_is_money(report: str) -> None:
    """What is debited and credited are accounts there, and an open accounting period is a period."""
    columns = columns_of(CATALOGUE[report].columns, None, report)
    assert {column.name for column in columns if column.kind != "text"} == {"amount"}


def test_users_overrule_the_table() -> None:
    """By name; what they say of columns that the report lacks is for other reports."""
    types = {"gross": "text", "unheard_of": "money(6)", "elsewhere": "date"}
    assert columns_of(["gross", "fee", "unheard_of"], types, "") == [
        Column("gross", "text"),
        Column("fee", "money"),
        Column("unheard_of", "money", 6),
    ]


@pytest.mark.parametrize("name", ["fees", "unheard_of", "Fee", "", "fee_utc2"])
def test_types_of_columns_that_no_report_has_are_refused(name: str) -> None:
    """A typing error would land the column as something else."""
    with pytest.raises(ConfigurationError, match=f"the report lacks: {name}") as caught:
        require_columns(["fee", "net"], {"net": "money", name: "text"})
    assert ("It has fee" in str(caught.value)) is True


@pytest.mark.parametrize("name", ["gross", "created", "created_utc", "payment_metadata[weight]", "customer_id"])
def test_types_of_columns_that_another_report_has_are_said(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """One mapping may serve several reports, versions and lists of columns."""
    require_columns(["fee", "net"], {name: "text"})
    assert f"lacks: {name}" in caplog.text
    caplog.clear()
    require_columns(["fee", name], {name: "text"})
    assert caplog.text == ""


def test_unknown_kinds_are_named_all_at_once() -> None:
    """Before anything is sent, with what would be known."""
    with pytest.raises(
        ConfigurationError, match=r"'fee': 'float', 'net': 'money\(38\)', 'x': None.*timestamp_utc"
    ):
        check_column_types({"fee": "float", "net": "money(38)", "x": None, "gross": "money"})  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match="mapping"):
        check_column_types(["gross"])  # type: ignore[arg-type]


@given(chunks=st.lists(st.binary(max_size=50), max_size=20))
def test_gzip_holds_the_same_bytes_and_depends_on_nothing_else(chunks: list[bytes]) -> None:
    """Neither on the time nor on where the bytes were cut."""
    whole = b"".join(chunks)
    packed = b"".join(gzipped(chunks))
    assert gzip.decompress(packed) == whole
    assert packed == b"".join(gzipped([whole]))
    assert packed[4:8] == bytes(4)

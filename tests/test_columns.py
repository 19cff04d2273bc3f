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

PACKAGE = Path(airflow_reportrun.__file__).parent


def kinds(*names: str) -> Sequence[str]:
    return [column.kind for column in columns_of(names)]


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


def test_the_table_knows_no_column_that_no_report_has() -> None:
    """A name in it is one of the catalogue, as the sandbox has it, and has one kind."""
    table = json.loads((PACKAGE / "landing" / "formats" / "column_types.json").read_text())
    names = [name for lines in table.values() for line in lines for name in line.split()]
    assert set(table) < set(KINDS)
    assert len(names) == len(set(names))
    catalogue = (PACKAGE / "sandbox" / "report_types.json").read_text()
    known = set(catalogue.replace('"', " ").replace(",", " ").split())
    assert set(names) <= known


def test_users_overrule_the_table() -> None:
    """By name; what they say of columns that the report lacks is for other reports."""
    types = {"gross": "text", "unheard_of": "money(6)", "elsewhere": "date"}
    assert columns_of(["gross", "fee", "unheard_of"], types) == [
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


@pytest.mark.parametrize("name", ["gross", "created", "created_utc", "payment_metadata[weight]"])
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

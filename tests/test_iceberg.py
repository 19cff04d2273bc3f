from __future__ import annotations

import ast
import errno
import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest

from airflow_reportrun.coverage.lakehouse import LakehouseTable
from airflow_reportrun.landing.contract import Contract
from airflow_reportrun.landing.formats import typed
from airflow_reportrun.landing.lakehouse.facts import COLUMNS, LANDINGS, Facts
from airflow_reportrun.landing.lakehouse.iceberg import files
from airflow_reportrun.landing.lakehouse.iceberg.catalogs import lakehouse_of
from airflow_reportrun.landing.lakehouse.table import Noted
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    LandingConflictError,
    ManifestError,
    StoreError,
)
from tests.icebergs import Books, needs_its_catalog
from tests.lakehouses import ours
from tests.landings import OURS, Row, day

pytestmark = needs_its_catalog


def test_a_report_becomes_a_table(books: Books) -> None:
    """With the types of Parquet files, and six columns that say whose a row is."""
    names = ["net", "count", "created_utc", "tax_date", "livemode", "description"]
    rows: list[Row] = [["1.5", "7", "2024-05-01 09:30:00", "2024-05-02 00:00:00", "true", ""], [None] * 6]
    manifest = books.land(names, rows, "frr_1", account="acct_1", currency="usd")
    table = books.native()
    assert {field.name: str(field.field_type) for field in table.schema().fields} == {
        **{"net": "decimal(38, 6)", "count": "long", "created_utc": "timestamptz", "tax_date": "timestamptz"},
        **{"livemode": "boolean", "description": "string", "_report_type": "string", "_stripe_account": "string"},
        **{"_filters": "string", "_interval_start": "timestamptz", "_interval_end": "timestamptz"},
        "_report_run_id": "string",
    }
    whole, empty = sorted(table.scan().to_arrow().to_pylist(), key=lambda row: row["net"] is None)
    instants = datetime(2024, 5, 1, 9, 30, tzinfo=UTC), datetime(2024, 5, 2, tzinfo=UTC)
    assert [whole[name] for name in names] == [Decimal("1.5"), 7, *instants, True, ""]
    assert [empty[name] for name in names] == [None] * 6
    assert [whole[name] for name in OURS] == [
        *("balance_change_from_activity.itemized.3", "acct_1", '{"currency": "usd"}'),
        *(datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 2, tzinfo=UTC), "frr_1"),
    ]
    assert (manifest.format, manifest.path, manifest.rows) == ("iceberg", "books.activity", 2)
    assert manifest.column_types is not None
    assert manifest.column_types["net"] == "money(6)"


def test_what_a_table_tells_is_the_manifest(books: Books) -> None:
    """All of it, from the table alone, and the snapshot that brought the rows tells of them, too."""
    names = ["net", "fee"]
    manifest = books.land(names, [["1.00", "2.00"]], columns=names, created="2024-05-03T00:00:00Z")
    (told,) = (it.manifest for _, it in books.table_looked_at().facts.all())
    assert told == manifest
    summary = books.native().current_snapshot().summary
    assert summary["reportrun.report-run-id"] == "frr_1"
    assert summary["reportrun.file-sha256"] == manifest.file_sha256


def test_only_the_interval_is_replaced(books: Books) -> None:
    """By the file of a new report run, in one snapshot: no reader of the history sees the table without it."""
    for number in (1, 2, 3):
        books.land(["net"], [[f"{number}.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
    books.land(["net"], [["7.00"], ["8.00"]], "frr_4", start=day(2), end=day(3))
    assert books.rows("net") == [Decimal(it) for it in (1, 3, 7, 8)]
    assert books.told() == ["frr_1", "frr_3", "frr_4"]
    table = books.native()
    counts = [table.scan(snapshot_id=it.snapshot_id).to_arrow().num_rows for it in table.snapshots()]
    assert counts == [1, 2, 3, 4]
    assert len(books.files()) == 4


def test_the_same_again_changes_nothing(books: Books) -> None:
    """Neither a retry of a report run, nor the same figures from a new one, of which the table tells."""
    books.land(["net"], [["1.00"]], created="2024-05-03T00:00:00Z")
    files = books.files()
    before = books.native().metadata_location
    assert books.land(["net"], [["1.00"]], created="2024-05-03T00:00:00Z").report_run_id == "frr_1"
    assert books.native().metadata_location == before
    assert books.landed(created="2024-05-03T00:00:00Z")
    assert books.land(["net"], [["1.00"]], "frr_2", created="2024-05-04T00:00:00Z").report_run_id == "frr_2"
    assert (books.rows("_report_run_id"), books.told()) == (["frr_1"], ["frr_2"])
    assert books.files() == files


def test_an_interval_without_rows_is_landed(books: Books) -> None:
    """The table tells of it, first, in place of rows, and before rows."""
    books.land(["net"], [], "frr_1")
    assert (books.rows("net"), books.told()) == ([], ["frr_1"])
    assert books.landed("frr_1")
    books.land(["net"], [["1.00"]], "frr_2")
    assert books.rows("net") == [Decimal(1)]
    books.land(["net"], [], "frr_3")
    assert (books.rows("net"), books.told()) == ([], ["frr_3"])


def test_an_older_report_run_leaves_a_newer_one_there(books: Books) -> None:
    """Whatever it asks for, unless rows of the newer one are gone."""
    books.land(["net"], [["2.00"], ["3.00"]], "frr_new", created="2024-05-04T00:00:00Z")
    older: dict[str, Any] = {"created": "2024-05-03T00:00:00Z"}
    assert (found := books.landed("frr_old", **older))
    assert found.report_run_id == "frr_new"
    assert (
        books.land(["fee"], [["1.00"]], "frr_old", column_types={"fee": "text"}, **older).report_run_id
        == "frr_new"
    )
    assert books.rows("net") == [Decimal(2), Decimal(3)]
    books.native().delete("net = 3")
    assert books.land(["net"], [["1.00"]], "frr_old", **older).report_run_id == "frr_old"
    assert books.rows("net") == [Decimal(1)]


def test_rows_that_are_gone_land_again(books: Books) -> None:
    """What the table tells of is believed only where all its rows are there."""
    books.land(["net"], [["1.00"], ["2.00"]])
    assert books.landed()
    books.native().delete("net = 2")
    assert not books.landed()
    books.land(["net"], [["1.00"], ["2.00"]])
    assert books.rows("net") == [Decimal(1), Decimal(2)]


def test_a_table_gets_the_columns_that_it_lacks(books: Books) -> None:
    """In the commit of the rows; those of other intervals have nothing there, as new ones have in others."""
    books.land(["net"], [["1.00"]])
    books.land(["fee", "metadata[a.b]"], [["2.00", "x"]], "frr_2", start=day(2), end=day(3))
    assert books.rows("net", "fee", "metadata[a.b]") == [(Decimal(1), None, None), (None, Decimal(2), "x")]


def test_less_of_a_report_is_refused(books: Books) -> None:
    """Two tasks that ask for different columns need tables of their own."""
    books.land(["net", "fee"], [["1.00", "2.00"]])
    with pytest.raises(LandingConflictError, match="columns that this report lacks: fee"):
        books.land(["net"], [["1.00"]], "frr_2")
    books.land(["net"], [["1.00"]], "frr_3", report_type="balance_change_from_activity.itemized.4")
    assert books.rows("net", "fee") == [(Decimal(1), None)]


def test_all_columns_of_other_types_are_named_at_once(books: Books) -> None:
    """With what would do; nothing is written, also where the columns are known before the download."""
    names = ["net", "fee", "count", "created_utc"]
    books.land(
        names, [["1.00", "1", "1", "2024-05-01 09:30:00"]], column_types={"fee": "integer", "net": "money(2)"}
    )
    before, files = books.native().metadata_location, books.files()
    with pytest.raises(ContentsError) as error:
        books.land(names, [["1.00", "1.00", "1", "2024-05-01 09:30:00"]], "frr_2", start=day(2), end=day(3))
    assert re.findall("column '([a-z_]+)' of the table books.activity is", str(error.value)) == ["net", "fee"]
    (ways_out,) = re.findall(r"column_types=(\{.*\}) where", str(error.value))
    assert ast.literal_eval(ways_out) == {"net": "money(2)", "fee": "integer"}
    with pytest.raises(ContentsError, match=r"decimal128\(38, 2\)"):
        books.landed("frr_2", columns=names, start=day(2), end=day(3))
    assert (books.native().metadata_location, books.files()) == (before, files)
    chosen = ast.literal_eval(ways_out)
    books.land(
        names,
        [["2.00", "2", "1", None]],
        "frr_2",
        start=day(2),
        end=day(3),
        column_types=chosen,
    )


def test_text_takes_what_stripe_wrote(books: Books) -> None:
    """A column that the table has as text stays text, with the digits as they are."""
    books.land(["net"], [["1.00"]], column_types={"net": "text"})
    books.land(["net"], [["2.50"]], "frr_2", start=day(2), end=day(3))
    assert books.rows("net") == ["1.00", "2.50"]


def test_columns_are_renamed_by_their_owner(books: Books) -> None:
    """Older files have them by their ids; from then on reports land by the new names."""
    books.land(["net", "payment_metadata[order_id]"], [["1.00", "a"]])
    with books.native().update_schema() as update:
        update.rename_column("payment_metadata[order_id]", "payment_metadata__order_id")
    later: dict[str, Any] = {"start": day(2), "end": day(3), "contract": Contract("snake_case")}
    books.land(["net", "payment_metadata[order_id]"], [["2.00", "b"]], "frr_2", **later)
    assert books.rows("payment_metadata__order_id") == ["a", "b"]


def test_the_places_of_a_decimal_never_change(books: Books) -> None:
    """Pyiceberg would let them, and then miss the rows of older files."""
    books.land(["net"], [["1.00"]])
    with pytest.raises(ContentsError, match=r"is decimal128\(38, 6\).*money\(9\)"):
        books.land(["net"], [["0.000000001"]], "frr_2", column_types={"net": "money(9)"})
    with pytest.raises(ContentsError, match="more than 6 decimal places"):
        books.land(["net"], [["0.0000001"]], "frr_2", start=day(2), end=day(3))
    assert books.rows("net") == [Decimal(1)]


def test_cells_that_do_not_fit_leave_the_table_alone(books: Books) -> None:
    """No table, no column and no file stays of a report that does not fit its types."""
    with pytest.raises(ContentsError, match="Row 1 of column 'net'"):
        books.land(["net"], [["much"]])
    assert not books.files()
    books.land(["net"], [["1.00"]])
    files = books.files()
    with pytest.raises(ContentsError, match="Row 2 of column 'fee'"):
        books.land(["net", "fee"], [["1.00", "1.00"], ["1.00", "some"]], "frr_2")
    with pytest.raises(ContentsError, match="1 of them would come"):
        books.land(["net", "fee"], [["1.00", "2"]], "frr_2", claimed=2)
    assert (books.files(), books.native().schema().column_names) == (files, ["net", *OURS])


def test_a_file_that_was_begun_goes_with_its_report(books: Books) -> None:
    """Of a report whose last cell does not fit, rows before it are written by then."""
    with mock.patch.object(files, "_GROUP", 1), mock.patch.object(typed, "BLOCK_SIZE", 40):
        rows: list[Row] = [[f"{number}.00"] for number in range(100)]
        with pytest.raises(ContentsError, match="Row 101 of column 'net'"):
            books.land(["net"], [*rows, ["much"]])
        assert not books.files()
        books.land(["net"], rows)
    assert len(books.rows("net")) == 100
    assert len(books.files()) == 1


def test_names_that_case_alone_tells_apart_are_refused(books: Books) -> None:
    """Most readers of lakes don't tell them apart; a column that is there is found in any case."""
    with pytest.raises(ContentsError, match="'Net' would be the same there as 'net'"):
        books.land(["net", "Net"], [["1.00", "2.00"]])
    with pytest.raises(ContentsError, match="which this package has of its own"):
        books.land(["net", "_FILTERS"], [["1.00", "2.00"]])
    books.land(["net"], [["1.00"]])
    books.land(["NET"], [["2.00"]], "frr_2", start=day(2), end=day(3), column_types={"NET": "money"})
    assert books.rows("net") == [Decimal(1), Decimal(2)]


def made(books: Books, schema: Any, **options: Any) -> Any:
    """Make a table that is somebody else's."""
    catalog = books.table()._catalog
    catalog.create_namespace_if_not_exists("books")
    return catalog.create_table("books.activity", schema, **options)


def test_a_table_of_somebody_else_is_refused(books: Books) -> None:
    """One without our columns, before the download as at the landing; coverage finds nothing there."""
    schema = pa.schema({"net": pa.decimal128(38, 6), "_report_type": pa.string()})
    made(books, schema).append(pa.table({"net": [Decimal(1)], "_report_type": ["x"]}, schema))
    for land in (books.landed, lambda: books.land(["net"], [["1.00"]])):
        with pytest.raises(LandingConflictError, match="lacks _stripe_account, _filters, _interval_start"):
            land()
    assert LakehouseTable("it", "", books.table()).landings() == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("_interval_start", pa.timestamp("us")), ("_report_type", pa.int64()), ("_filters", pa.binary())],
    ids=str,
)
def test_columns_of_ours_of_another_type_are_refused(books: Books, name: str, kind: Any) -> None:
    """Rows would not be found again."""
    made(books, ours(**{name: kind}))
    with pytest.raises(LandingConflictError, match=f"The column '{name}' of the table books.activity is"):
        books.landed()


def test_a_table_that_was_made_by_hand_takes_reports(books: Books) -> None:
    """Unpartitioned, without statistics of texts, and with columns of its owner's."""
    properties = {"write.metadata.metrics.default": "none"}
    made(books, ours(mine=pa.int32()), properties=properties)
    for number in (1, 2, 1):
        books.land(["net"], [["1.00"], ["2.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
    books.land(["net"], [["3.00"]], "frr_3", start=day(1), end=day(2))
    assert books.rows("net", "mine") == [(Decimal(1), None), (Decimal(2), None), (Decimal(3), None)]
    assert books.native().properties["write.metadata.metrics.default"] == "none"


def test_partitions_that_cut_an_interval_are_refused(books: Books) -> None:
    """Its rows would be in as many files as there are values."""
    table = made(books, ours())
    with table.update_spec() as update:
        update.add_identity("net")
    with pytest.raises(ConfigurationError, match="partitioned by net, and would cut an interval into pieces"):
        books.landed()


def test_an_owner_may_partition_by_days(books: Books) -> None:
    """What lies in partitions of months is replaced all the same."""
    from pyiceberg.transforms import DayTransform

    for number in (1, 2):
        books.land(["net"], [["1.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
    with books.native().update_spec() as update:
        for name in ("_interval_start", "_interval_end"):
            update.remove_field(f"{name}_month")
            update.add_field(name, DayTransform(), f"{name}_day")
    for number in (2, 3, 3):
        rows: list[Row] = [[f"{number}.00"], [f"{len(books.told())}.00"]]
        books.land(["net"], rows, f"frr_{number}_again", start=day(number), end=day(number + 1))
    assert books.rows("net") == [Decimal(it) for it in (1, 2, 2, 3, 3)]


def test_a_version_of_the_format_that_is_not_written_is_refused(books: Books) -> None:
    """Before the download; the retry would meet it again."""
    table = made(books, ours())
    written = Path(table.metadata_location.removeprefix("file://"))
    written.write_text(json.dumps(json.loads(written.read_text()) | {"format-version": 3, "next-row-id": 0}))
    with pytest.raises(ConfigurationError, match=r"has version 3 .* writes up to version 2"):
        books.landed()


def test_the_first_version_of_the_format_will_do(books: Books) -> None:
    """A table of long ago."""
    made(books, ours(), properties={"format-version": "1"})
    for run in ("frr_1", "frr_2"):
        books.land(["net"], [["1.00"], [run[-1]]], run)
    assert books.rows("net") == [Decimal(1), Decimal(2)]


def test_what_would_count_twice_is_refused(books: Books) -> None:
    """A month over its days, or a day within it, until the month may replace them."""
    for number in (1, 2):
        books.land(
            ["net"],
            [["1.00"]],
            f"frr_{number}",
            start=day(number),
            end=day(number + 1),
            created=f"2024-05-0{number}",
        )
    month: dict[str, Any] = {"start": day(1), "end": day(32), "created": "2024-06-01"}
    with pytest.raises(
        LandingConflictError, match=r"frr_1\).*frr_2\).*on_overlap='replace'.*the table's properties"
    ):
        books.landed("frr_month", **month)
    with pytest.raises(LandingConflictError):
        books.land(["net"], [["2.00"]], "frr_month", **month)
    with pytest.raises(LandingConflictError, match="which is older"):
        books.land(["net"], [["2.00"]], "frr_month", on_overlap="replace", **month | {"created": "2024-05-01"})
    books.land(["net"], [["2.00"]], "frr_month", on_overlap="replace", **month)
    assert (books.rows("net"), books.told()) == ([Decimal(2)], ["frr_month"])
    with pytest.raises(LandingConflictError, match="would lose a part"):
        books.land(["net"], [["1.00"]], "frr_1", on_overlap="replace", start=day(1), end=day(2))


def test_an_interval_is_taken_out_by_deleting_its_rows(books: Books) -> None:
    """What the table tells of it then is in nobody's way, and goes with what takes its place."""
    books.land(["net"], [["1.00"]], "frr_month", end=day(32))
    with pytest.raises(LandingConflictError):
        books.land(["net"], [["2.00"]], "frr_day", start=day(2), end=day(3))
    books.native().delete("_report_run_id = 'frr_month'")
    books.land(["net"], [["2.00"]], "frr_day", start=day(2), end=day(3))
    assert (books.rows("net"), books.told()) == ([Decimal(2)], ["frr_day"])


def forget(books: Books) -> None:
    """Take away what the table tells, as one that was made anew of another one's files has it."""
    table = books.native()
    with table.transaction() as transaction:
        transaction.remove_properties(*(name for name in table.properties if name.startswith((LANDINGS, COLUMNS))))


def test_rows_that_nothing_tells_of_are_in_the_way(books: Books) -> None:
    """Unless they are of exactly the same, which brings what is told of them back."""
    books.land(["net"], [["1.00"]])
    books.land(["net"], [["2.00"]], "frr_2", start=day(2), end=day(3), currency="usd")
    forget(books)
    for on_overlap in ("fail", "replace"):
        with pytest.raises(LandingConflictError, match="that no manifest tells of") as error:
            books.land(["net"], [["3.00"]], "frr_month", end=day(32), on_overlap=on_overlap)
        assert '2024-05-02T00:00:00Z to 2024-05-03T00:00:00Z with {"currency": "usd"}' in str(error.value)
    books.land(["net"], [["4.00"]], "frr_eur", start=day(2), end=day(3), currency="eur")
    books.land(["net"], [["1.00"]])
    assert (books.rows("net"), books.told()) == ([Decimal(1), Decimal(2), Decimal(4)], ["frr_1", "frr_eur"])


def test_what_names_no_report_run_is_believed_by_its_rows(books: Books) -> None:
    """As earlier packages told of a landing; the next one, of whichever figures, says whose its rows are."""
    for figures, run in (("1.00", "frr_1"), ("2.00", "frr_2")):
        told = books.land(["net"], [["1.00"]])
        table = books.native()
        with table.transaction() as transaction:
            said = Facts(table.properties).changed(Noted(told, None))
            transaction.set_properties({name: text for name, text in said.items() if text})
        assert books.landed()
        books.land(["net"], [[figures]], "frr_2")
        (noted,) = Facts(books.native().properties).near(replace(told.subject, interval_end=day(3)))
        assert (noted.manifest.report_run_id, noted.rows_of) == ("frr_2", run)
        books = books.beside("other")


def test_rows_of_several_intervals_in_one_file_are_told_apart(books: Books) -> None:
    """As a compaction leaves them: what stays of a file is written anew."""
    for number in (1, 2, 3):
        books.land(
            ["net"], [[f"{number}.00"], [f"{number}.50"]], f"frr_{number}", start=day(number), end=day(number + 1)
        )
    table = books.native()
    table.overwrite(table.scan().to_arrow())
    assert len(list(books.native().scan().plan_files())) == 1
    assert books.landed("frr_2", start=day(2), end=day(3))
    books.land(["net"], [["7.00"]], "frr_4", start=day(2), end=day(3))
    assert books.rows("net") == [Decimal(it) for it in ("1", "1.5", "3", "3.5", "7")]
    books.land(["net"], [["8.00"]], "frr_acct", account="acct_1")
    table = books.native()
    table.overwrite(table.scan().to_arrow())
    books.land(["net"], [["6.00"]], "frr_5", start=day(5), end=day(6))
    books.land(["net"], [["9.00"]], "frr_month", end=day(32), on_overlap="replace")
    assert (books.rows("net"), books.told()) == ([Decimal(8), Decimal(9)], ["frr_acct", "frr_month"])


def test_rows_of_an_interval_in_a_file_of_their_own_and_in_a_shared_one_all_go(books: Books) -> None:
    """As a compaction leaves them that cuts where a file is large enough."""
    books.land(["net"], [["1.00"], ["2.00"]], "frr_1")
    books.land(["net"], [["3.00"]], "frr_2", start=day(2), end=day(3))
    table = books.native()
    rows = table.scan().to_arrow().sort_by("net")
    table.overwrite(rows.slice(0, 1))
    table.append(rows.slice(1))
    assert [it.file.record_count for it in books.native().scan().plan_files()] == [2, 1]
    books.land(["net"], [["7.00"]], "frr_3")
    assert books.rows("net") == [Decimal(3), Decimal(7)]
    assert books.told() == ["frr_2", "frr_3"]


def test_what_a_later_package_has_landed_is_no_ones_guess(books: Books) -> None:
    """Nor is a property that is none of ours."""
    books.land(["net"], [["1.00"]])
    table = books.native()
    (name,) = (name for name in table.properties if name.startswith(LANDINGS))
    for text, said in (
        (table.properties[name].replace('"version":1', '"version":3'), "upgrade airflow-provider-reportrun"),
        ("{}", "tells of no landing"),
        ('{"version":1,"landings":"eJw="}', "tells of no landing"),
        ("no JSON", "tells of no landing"),
    ):
        with books.native().transaction() as transaction:
            transaction.set_properties({name: text})
        with pytest.raises(ManifestError, match=said):
            books.landed(start=day(8), end=day(9))
    forget(books)
    assert not books.landed()


def test_columns_that_were_forgotten_are_an_error(books: Books) -> None:
    """Somebody has tidied up too much."""
    books.land(["net"], [["1.00"]])
    (name,) = (name for name in books.native().properties if name.startswith(COLUMNS))
    with books.native().transaction() as transaction:
        transaction.remove_properties(name)
    with pytest.raises(ManifestError, match=f"{name} is gone"):
        books.landed()


def test_what_is_told_survives_expired_snapshots(books: Books) -> None:
    """Only the history goes."""
    for number in (1, 2):
        books.land(["net"], [["1.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
    table = books.native()
    old = [it.snapshot_id for it in table.snapshots()][:-1]
    table.maintenance.expire_snapshots().by_ids(old).commit()
    assert len(books.native().snapshots()) == 1
    assert books.landed("frr_1")
    assert books.told() == ["frr_1", "frr_2"]


def test_files_of_a_month_are_told_of_together(books: Books) -> None:
    """So that no landing looks at what is told of each day; snapshots of before have theirs, and none is lost."""
    days = range(28, 35)  # into the next month, of which the day between the two is no part
    for number in days:
        books.land(["net"], [[f"{number}.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
    books.land(["net"], [["0.00"]], "frr_0", start=day(29), end=day(30))
    table = books.native()
    *_, before, now = table.snapshots()
    assert [len(it.manifests(table.io)) for it in (before, now)] == [3, 3]
    then = table.scan(snapshot_id=before.snapshot_id).to_arrow()["net"].to_pylist()
    assert sorted(then) == list(days)
    assert sorted(books.rows("net")) == [0, *(it for it in days if it != 29)]
    books.land(["net"], [], "frr_none", start=day(28), end=day(29))
    books.land(["net"], [["1.00"]], "frr_1", start=day(1), end=day(2))
    table = books.native()
    assert all(
        it.has_added_files() or it.has_existing_files() for it in table.current_snapshot().manifests(table.io)
    )
    told = {manifest.manifest_path for it in table.snapshots() for manifest in it.manifests(table.io)}
    assert {path.rpartition("/")[2] for path in told} == {it.name for it in books.folder.rglob("*-m*.avro")}


def test_the_books_as_they_were_closed(books: Books) -> None:
    """What is replaced later stays in the table's history."""
    books.land(["net"], [["1.00"]])
    closed = books.native().current_snapshot().timestamp_ms
    books.land(["net"], [["2.00"]], "frr_2")
    table = books.native()
    then = table.snapshot_as_of_timestamp(closed)
    assert [row["net"] for row in table.scan(snapshot_id=then.snapshot_id).to_arrow().to_pylist()] == [Decimal(1)]


def test_sqlalchemy_of_airflow_2_is_too_old_for_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which Airflow has another, and what does without."""
    monkeypatch.setattr("sqlalchemy.__version__", "1.4.54")
    with pytest.raises(ConfigurationError, match=r"SQLAlchemy 1\.4\.54 is installed.*3\.1.*catalog_conn_id"):
        lakehouse_of(None, str(tmp_path))


@pytest.mark.parametrize("table", ["activity", "books.", ".activity", "books..activity"])
def test_a_name_without_a_namespace_is_refused(books: Books, table: str) -> None:
    """There is no table without one."""
    with pytest.raises(ConfigurationError, match="give namespace and name"):
        books.table(table)


@pytest.mark.parametrize(
    ("warehouse", "said"),
    [
        *(("lake", "warehouse 'lake'"), ("s3://bucket/lake", "warehouse 's3://bucket/lake'")),
        *(("/dev/null", "/dev/null is no folder. Move it"), ("/dev/null/lake", "/dev/null is no folder. Move it")),
        (f"/tmp/{'x' * 300}", "File name too long"),  # noqa: S108 - it can't be made
    ],
)
def test_a_warehouse_that_can_not_be_is_an_error(warehouse: str, said: str) -> None:
    """A relative path, a store, what is no folder, and what can't be one."""
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        lakehouse_of(None, warehouse)


def test_a_warehouse_on_a_full_disk_is_worth_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder can be made later."""

    def mkdir(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(StoreError, match="No space left"):
        lakehouse_of(None, str(tmp_path / "lake"))


def test_a_catalog_that_is_none_is_no_reason_to_try_again(books: Books) -> None:
    """Neither what is no database, nor another one with tables of these names."""
    books.folder.mkdir()
    path = books.folder / "catalog.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(
        ConfigurationError, match=r"its catalog, catalog\.db, is no database\. Restore it, or name"
    ):
        books.landed()
    path.unlink()
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE iceberg_tables (mine)")
    with pytest.raises(ConfigurationError, match="no such column"):
        books.landed()


def test_the_packages_that_are_missing_are_named() -> None:
    """It is not for everybody."""
    for library in ("pyarrow", "pyiceberg"):
        module = "airflow_reportrun.landing.lakehouse.iceberg.table"
        code = f"import sys; sys.modules[{library!r}] = None; import {module}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "ConfigurationError: " in done.stderr
        assert "pip install 'airflow-provider-reportrun[iceberg]'" in done.stderr


PROGRAM = """
import resource, sys
from io import BytesIO
from pathlib import Path
from airflow_reportrun.landing.lakehouse.iceberg import files
from tests.icebergs import Books
from tests.landings import as_stripe_writes
files._GROUP = 4 << 20
books = Books(Path(sys.argv[1]))
rows = [[str(number), f"description of row {number}"] for number in range(1000)]
books.land(["net", "what"], rows, "frr_0")
import tests.icebergs
head = as_stripe_writes([["net", "what"]])
block = as_stripe_writes(rows)
class Large:
    def __init__(self, times): self.times, self.at = times, 0
    def seek(self, at): self.at = at
    def read(self, size):
        if self.at == 0:
            self.at = 1
            return head
        self.at += 1
        return block * 20 if self.at <= self.times + 1 else b""
from airflow_reportrun.landing.lakehouse.loading import load
from tests.landings import manifest_of
def once(times):
    load(books.table(), Large(times), manifest_of(f"frr_{times}", 20_000 * times))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
once(20)
small = once(40)
print(once(160) - small)
"""


def test_memory_does_not_grow_with_the_report(tmp_path: Path) -> None:
    """Four times the rows take no more; groups of rows are small here, so that few rows take what many do."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "warehouse")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 60

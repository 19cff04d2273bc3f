"""Reports in Delta tables: what is there afterwards, whoever reads it, and what is refused."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.coverage.lakehouse import LakehouseTable
from airflow_reportrun.landing.lakehouse.delta.storage import location_of
from airflow_reportrun.landing.lakehouse.delta.told import FOLDER, _subject, app_of, days_of
from airflow_reportrun.landing.manifest import Subject
from airflow_reportrun.landing.overlaps import Overlap, overlap
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    LandingConflictError,
    ManifestError,
    StoreError,
)
from tests.deltas import Ledger
from tests.lakehouses import ours
from tests.landings import OURS, Row, day


def test_a_report_becomes_a_table(ledger: Ledger) -> None:
    """With the types of Parquet files, and six columns that say whose a row is."""
    names = ["net", "count", "created_utc", "livemode", "description"]
    rows: list[Row] = [["1.5", "7", "2024-05-01 09:30:00", "true", ""], [None] * 5]
    manifest = ledger.land(names, rows, "frr_1", account="acct_1", currency="usd")
    assert {field.name: str(field.type) for field in pa.schema(ledger.native().schema().to_arrow())} == {
        **{"net": "decimal128(38, 6)", "count": "int64", "created_utc": "timestamp[us, tz=UTC]"},
        **{"livemode": "bool", "description": "string"},
        **{name: "timestamp[us, tz=UTC]" if name.startswith("_interval") else "string" for name in OURS},
    }
    whole, empty = sorted(ledger.native().to_pyarrow_table().to_pylist(), key=lambda row: row["net"] is None)
    assert [whole[name] for name in names] == [
        Decimal("1.5"),
        7,
        datetime(2024, 5, 1, 9, 30, tzinfo=UTC),
        True,
        "",
    ]
    assert [empty[name] for name in names] == [None] * 5
    assert [whole[name] for name in OURS] == [
        *("balance_change_from_activity.itemized.3", "acct_1", '{"currency": "usd"}'),
        *(datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 2, tzinfo=UTC), "frr_1"),
    ]
    assert (manifest.format, manifest.path, manifest.rows) == ("delta", ledger.url, 2)
    assert manifest.column_types is not None
    assert manifest.column_types["net"] == "money(6)"


def test_what_a_table_tells_is_the_manifest(ledger: Ledger) -> None:
    """All of it, from the table alone, and the commit that brought the rows tells of them, too."""
    manifest = ledger.land(
        ["net", "fee"], [["1.00", "2.00"]], columns=["net", "fee"], created="2024-05-03T00:00:00Z"
    )
    (told,) = (it.manifest for _, it in ledger.looked_at().facts.all())
    assert told == manifest
    (commit,) = ledger.native().history()
    assert (commit["reportrun.report-run-id"], commit["reportrun.file-sha256"]) == ("frr_1", manifest.file_sha256)


def test_only_the_interval_is_replaced(ledger: Ledger) -> None:
    """By the file of a new report run, in one commit: no version of the table is without it."""
    for number in (1, 2, 3):
        ledger.land(["net"], [[f"{number}.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
    ledger.land(["net"], [["7.00"], ["8.00"]], "frr_4", start=day(2), end=day(3))
    assert ledger.rows("net") == [Decimal(it) for it in (1, 3, 7, 8)]
    assert ledger.told() == ["frr_1", "frr_3", "frr_4"]
    assert [len(ledger.rows("net", version=version)) for version in range(4)] == [1, 2, 3, 4]
    assert ledger.version == 3


def test_the_same_again_changes_nothing(ledger: Ledger) -> None:
    """Neither a retry of a report run, nor the same figures from a new one, of which the table tells."""
    ledger.land(["net"], [["1.00"]], created="2024-05-03T00:00:00Z")
    files = ledger.files()
    assert ledger.land(["net"], [["1.00"]], created="2024-05-03T00:00:00Z").report_run_id == "frr_1"
    assert ledger.version == 0
    assert ledger.landed(created="2024-05-03T00:00:00Z")
    for number in (2, 3):
        created = f"2024-05-0{number + 2}T00:00:00Z"
        assert ledger.land(["net"], [["1.00"]], f"frr_{number}", created=created).report_run_id == f"frr_{number}"
    assert (ledger.rows("_report_run_id"), ledger.told()) == (["frr_1"], ["frr_3"])
    assert ledger.files() == files


def test_an_interval_without_rows_is_landed(ledger: Ledger) -> None:
    """The table tells of it, first, in place of rows, and before rows."""
    ledger.land(["net"], [], "frr_1")
    assert (ledger.rows("net"), ledger.told()) == ([], ["frr_1"])
    assert ledger.landed("frr_1")
    ledger.land(["net"], [["1.00"]], "frr_2")
    assert ledger.rows("net") == [Decimal(1)]
    ledger.land(["net"], [], "frr_3")
    assert (ledger.rows("net"), ledger.told()) == ([], ["frr_3"])
    with pytest.raises(LandingConflictError, match="frr_3"):
        ledger.land(["net"], [["1.00"]], "frr_4", end=day(32))


def test_an_older_report_run_leaves_a_newer_one_there(ledger: Ledger) -> None:
    """Whatever it asks for, unless rows of the newer one are gone."""
    ledger.land(["net"], [["2.00"], ["3.00"]], "frr_new", created="2024-05-04T00:00:00Z")
    older: dict[str, Any] = {"created": "2024-05-03T00:00:00Z"}
    assert (found := ledger.landed("frr_old", **older))
    assert found.report_run_id == "frr_new"
    stays = ledger.land(["fee"], [["1.00"]], "frr_old", column_types={"fee": "text"}, **older)
    assert stays.report_run_id == "frr_new"
    assert ledger.rows("net") == [Decimal(2), Decimal(3)]
    ledger.native().delete("net = 3")
    assert not ledger.landed("frr_new", created="2024-05-04T00:00:00Z")
    assert ledger.land(["net"], [["1.00"]], "frr_old", **older).report_run_id == "frr_old"
    assert ledger.rows("net") == [Decimal(1)]


def test_a_table_gets_the_columns_that_it_lacks(ledger: Ledger) -> None:
    """In the commit of the rows; those of other intervals have nothing there, as new ones have in others."""
    ledger.land(["net"], [["1.00"]])
    ledger.land(["fee", "metadata[a.b]"], [["2.00", "x"]], "frr_2", start=day(2), end=day(3))
    assert ledger.version == 1
    assert ledger.rows("net", "fee", "metadata[a.b]") == [(Decimal(1), None, None), (None, Decimal(2), "x")]
    with pytest.raises(LandingConflictError, match="columns that this report lacks: fee"):
        ledger.land(["net"], [["1.00"]], "frr_3", start=day(2), end=day(3))


def test_all_columns_of_other_types_are_named_at_once(ledger: Ledger) -> None:
    """With what would do; nothing is written, also where the columns are known before the download."""
    names = ["net", "fee", "count"]
    ledger.land(names, [["1.00", "1", "1"]], column_types={"fee": "integer", "net": "money(2)"})
    files = ledger.files()
    days: dict[str, Any] = {"start": day(2), "end": day(3)}
    with pytest.raises(ContentsError) as error:
        ledger.land(names, [["1.00", "1.00", "1"]], "frr_2", **days)
    assert re.findall(r"column '([a-z_]+)' of the table \S+ is", str(error.value)) == ["net", "fee"]
    (ways_out,) = re.findall(r"column_types=(\{.*\}) where", str(error.value))
    assert ast.literal_eval(ways_out) == {"net": "money(2)", "fee": "integer"}
    with pytest.raises(ContentsError, match=r"decimal128\(38, 2\)"):
        ledger.landed("frr_2", columns=names, **days)
    assert (ledger.version, ledger.files()) == (0, files)
    ledger.land(names, [["2.00", "2", "1"]], "frr_2", column_types=ast.literal_eval(ways_out), **days)


def test_cells_that_do_not_fit_leave_the_table_alone(ledger: Ledger) -> None:
    """No table, no column and no row stays of a report that does not fit its types, or has too few."""
    with pytest.raises(ContentsError, match="Row 1 of column 'net'"):
        ledger.land(["net"], [["much"]])
    assert ledger.rows("net") == []
    ledger.land(["net"], [["1.00"]])
    with pytest.raises(ContentsError, match="Row 2 of column 'fee'"):
        ledger.land(["net", "fee"], [["1.00", "1.00"], ["1.00", "some"]], "frr_2")
    with pytest.raises(ContentsError, match="1 of them would come"):
        ledger.land(["net", "fee"], [["1.00", "2"]], "frr_2", claimed=2)
    with pytest.raises(ContentsError, match="more than 6 decimal places"):
        ledger.land(["net"], [["0.0000001"]], "frr_2")
    assert (ledger.version, [field.name for field in ledger.native().schema().fields]) == (0, ["net", *OURS])


@pytest.mark.parametrize("amount", ["0.000001", "12345678901234567890.123456", "-0.000009"])
def test_money_of_any_size_is_found(ledger: Ledger, amount: str) -> None:
    """By readers that leave files out by the log's statistics, which deltalake writes as floats."""
    ledger.land(["net"], [[amount]])
    wanted = pa.scalar(Decimal(amount), pa.decimal128(38, 6))
    found = ledger.native().to_pyarrow_dataset().to_table(filter=pyarrow.dataset.field("net") == wanted)
    assert found.num_rows == 1


FILTERS = ["o'hara", '"', "back\\slash", "\n", "%_?", "🐍", "x" * 300, "''", "NULL"]


def test_filters_of_any_text_tell_rows_apart(ledger: Ledger) -> None:
    """Also those of which rows have but a digest; each is replaced by itself."""
    for turn in (1, 2):
        for number, text in enumerate(FILTERS):
            ledger.land(["net"], [[f"{turn}.0{number}"]], f"frr_{turn}{number}", payout=text)
    assert ledger.rows("net") == [Decimal(f"2.0{number}") for number in range(len(FILTERS))]
    assert len(ledger.told()) == len(FILTERS)


def test_a_later_version_of_a_report_replaces_the_former(ledger: Ledger) -> None:
    """The rows of an interval are of one report, whichever version made them."""
    ledger.land(["net"], [["1.00"]])
    ledger.land(["fee"], [["2.00"]], "frr_2", report_type="balance_change_from_activity.itemized.4")
    assert ledger.rows("net", "fee") == [(None, Decimal(2))]


def test_what_would_count_twice_is_refused(ledger: Ledger) -> None:
    """A month over its days, or a day within it, until the month may replace them."""
    for number in (1, 2, 40):
        created: dict[str, Any] = {"created": f"2024-05-0{number % 9 + 1}"}
        ledger.land(["net"], [["1.00"]], f"frr_{number}", start=day(number), end=day(number + 1), **created)
    month: dict[str, Any] = {"start": day(1), "end": day(32), "created": "2024-06-01"}
    with pytest.raises(LandingConflictError, match=rf"frr_1\).*frr_2\).*on_overlap='replace'.*{FOLDER}"):
        ledger.landed("frr_month", **month)
    with pytest.raises(LandingConflictError):
        ledger.land(["net"], [["2.00"]], "frr_month", **month)
    with pytest.raises(LandingConflictError, match="which is older"):
        ledger.land(["net"], [["2.00"]], "frr_month", on_overlap="replace", **month | {"created": "2024-05-01"})
    ledger.land(["net"], [["2.00"]], "frr_month", on_overlap="replace", **month)
    assert (ledger.rows("net"), ledger.told()) == ([Decimal(1), Decimal(2)], ["frr_40", "frr_month"])
    with pytest.raises(LandingConflictError, match="would lose a part"):
        ledger.land(["net"], [["1.00"]], "frr_1", on_overlap="replace", start=day(1), end=day(2))


def test_rows_that_nothing_tells_of_are_in_the_way(ledger: Ledger) -> None:
    """Unless they are of exactly the same, which brings what is told of them back."""
    ledger.land(["net"], [["1.00"]])
    for note in ledger.folder.glob(f"{FOLDER}/**/*.json"):
        note.unlink()
    with pytest.raises(LandingConflictError, match=r"no manifest tells of.*00Z to 2024-05-02"):
        ledger.land(["net"], [["1.00"]], "frr_2", end=day(3))
    ledger.land(["net"], [["1.00"]], "frr_3")
    assert (ledger.rows("net", "_report_run_id"), ledger.told()) == ([(Decimal(1), "frr_3")], ["frr_3"])


def test_the_books_can_be_read_as_they_were_closed(ledger: Ledger) -> None:
    """By instant: what was landed then, whatever was restated since."""
    ledger.land(["net"], [["1.00"]])
    closed = datetime.now(UTC)  # the log goes by the times of its files
    ledger.land(["net"], [["2.00"]], "frr_2")
    table = ledger.native()
    table.load_as_version(closed)
    assert table.to_pyarrow_table()["net"].to_pylist() == [Decimal(1)]


def test_what_the_table_tells_outlives_its_maintenance(ledger: Ledger) -> None:
    """Compaction, vacuum, checkpoints and the clean-up of the log; then days are restated in a file of all."""
    for number in range(1, 25):
        ledger.land(["net"], [[f"{number}.00"]], f"frr_{number:02}", start=day(number), end=day(number + 1))
    table = ledger.native()
    assert table.optimize.compact()["numFilesAdded"] == 1
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    table.create_checkpoint()
    table.cleanup_metadata()
    table = ledger.native()
    table.vacuum(0, enforce_retention_duration=False, dry_run=False, full=True)
    assert len(ledger.files()) == 1
    assert len(list(ledger.folder.glob("_delta_log/*.json"))) < 5
    assert ledger.told() == [f"frr_{number:02}" for number in range(1, 25)]
    assert ledger.landed("frr_07", start=day(7), end=day(8))
    ledger.land(["net"], [["70.00"]], "frr_70", start=day(7), end=day(8))
    assert sorted(ledger.rows("net")) == sorted([Decimal(it) for it in range(1, 25) if it != 7] + [Decimal(70)])
    ledger.land(["net"], [["0.50"]], "frr_all", end=day(32), on_overlap="replace")
    assert (ledger.rows("net"), ledger.told()) == ([Decimal("0.5")], ["frr_all"])


def test_a_table_that_was_made_by_hand_takes_reports(ledger: Ledger) -> None:
    """Partitioned by somebody, and with columns of its owner's."""
    DeltaTable.create(ledger.url, ours(mine=pa.int32()), partition_by=["_report_type"])
    for number in (1, 2, 1):
        ledger.land(["net"], [["1.00"], ["2.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
    ledger.land(["net"], [["3.00"]], "frr_3", start=day(1), end=day(2))
    assert ledger.rows("net", "mine") == [(Decimal(1), None), (Decimal(2), None), (Decimal(3), None)]


def test_a_table_of_somebody_else_is_refused(ledger: Ledger) -> None:
    """One without our columns or with others in their place, before the download as at the landing."""
    lands = ledger.landed, lambda: ledger.land(["net"], [["1.00"]])
    write_deltalake(ledger.url, pa.table({"net": pa.array([1]), "_report_type": ["x"]}))
    for land in lands:
        with pytest.raises(LandingConflictError, match="lacks _stripe_account, _filters, _interval_start"):
            land()
    table = LakehouseTable("it", "", ledger.table())
    assert (table.landings(), table.nothing()) == ([], "Nothing is landed in it.")
    empty = ours(_interval_start=pa.timestamp("us")).empty_table()
    write_deltalake(ledger.url, empty, mode="overwrite", schema_mode="overwrite")
    for land in lands:
        with pytest.raises(LandingConflictError, match="The column '_interval_start' of the table"):
            land()


def test_a_folder_of_other_files_is_refused(ledger: Ledger) -> None:
    """Their readers would take the table's files for theirs; what a killed landing left is no such file."""
    ledger.folder.mkdir(parents=True)
    (ledger.folder / "part-00000-left.parquet").touch()
    other = ledger.folder / "report.parquet"
    other.touch()
    with pytest.raises(LandingConflictError, match=r"has other files, such as report\.parquet"):
        ledger.landed()
    other.unlink()
    ledger.land(["net"], [["1.00"]])


PROTOCOLS = {
    '{"minReaderVersion":4,"minWriterVersion":8}': "Unsupported minimum reader version 4",
    '{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["new"],"writerFeatures":["new"]}': "'new'",
    '{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["rowTracking"]}': "RowTracking",
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_version_of_the_protocol_that_is_not_written_is_refused(ledger: Ledger, protocol: str) -> None:
    """With what the table asks for; the retry would meet it again."""
    ledger.land(["net"], [["1.00"]])
    (first,) = ledger.folder.glob("_delta_log/*.json")
    lines = first.read_text().splitlines()
    newer = [f'{{"protocol":{protocol}}}' if line.startswith('{"protocol"') else line for line in lines]
    first.write_text("\n".join(newer))
    with pytest.raises(ConfigurationError, match=PROTOCOLS[protocol]):
        ledger.land(["net"], [["2.00"]], "frr_2")
    assert len(list(ledger.folder.glob("_delta_log/*.json"))) == 1


def test_a_table_with_mapped_columns_is_refused(ledger: Ledger) -> None:
    """As Databricks makes them: deltalake can't write them so that columns may be missing."""
    DeltaTable.create(ledger.url, ours(), configuration={"delta.columnMapping.mode": "name"})
    with pytest.raises(ConfigurationError, match="not yet supported"):
        ledger.land(["net"], [["1.00"]])
    assert ledger.version == 0


def test_a_table_that_only_grows_keeps_its_rows(ledger: Ledger) -> None:
    """By its owner's will; the retry would meet it again."""
    ledger.land(["net"], [["1.00"]])
    ledger.native().alter.set_table_properties({"delta.appendOnly": "true"})
    with pytest.raises(ConfigurationError, match="append-only"):
        ledger.land(["net"], [["2.00"]], "frr_2")
    assert ledger.rows("net") == [Decimal(1)]


def test_a_manifest_of_a_later_version_is_an_error(ledger: Ledger) -> None:
    """Which says what to do; what can't be read is not taken for nothing."""
    ledger.land(["net"], [["1.00"]])
    (note,) = ledger.folder.glob(f"{FOLDER}/**/*.json")
    for text, said in (({"version": 9}, "upgrade airflow-provider-reportrun"), ("{", "This is no manifest")):
        note.write_text(json.dumps(text))
        with pytest.raises(ManifestError, match=rf"{note.name}: .*{said}"):
            ledger.land(["net"], [["1.00"]])


def test_credentials_that_expired_are_worth_a_retry(ledger: Ledger) -> None:
    """It takes new ones; those that are wrong stay so."""
    for said, kind in (("ExpiredToken: hunter", StoreError), ("InvalidAccessKeyId: hunter", ConfigurationError)):
        with pytest.raises(kind), ledger.table().errors():
            raise Exception(said)


def test_a_store_that_refuses_is_worth_a_retry_and_a_disk_is_not(ledger: Ledger) -> None:
    """Of the same class: of a store, credentials that have expired are this, too."""
    refused = PermissionError("The provided token has expired.")
    for place, kind in (
        (place_of("memory://bucket/key"), StoreError),
        (ledger.table()._location.place, ConfigurationError),
    ):
        location = replace(ledger.table()._location, place=place)
        with pytest.raises(kind), location.errors():
            raise refused


def test_errors_show_no_rows(ledger: Ledger) -> None:
    """Deltalake quotes those that don't fit a constraint of the table's owner."""
    ledger.land(["net"], [["1.00"]])
    ledger.native().alter.add_constraint({"positive": "net > 0"})
    with pytest.raises(ContentsError, match="rows failed validation check") as error:
        ledger.land(["net", "what"], [["-1.00", "a customer"]], "frr_2")
    assert "a customer" not in str(error.value)
    assert "a customer" not in str(error.value.__context__)
    assert ledger.rows("net") == [Decimal(1)]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("lake/activity", "is relative"),
        ("/lake/../activity", "no '..'"),
        ("gs://bucket/activity", "lies in a local folder or below s3://"),
        ("s3://bucket", "names no folder in a bucket"),
        ("s3://key:secret@bucket/activity", "credentials belong into an Airflow connection"),
    ],
)
def test_a_table_that_can_not_be_is_refused(table: str, said: str) -> None:
    """Before anything is asked of a store."""
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        location_of(table)


@pytest.mark.parametrize("below", ["", "/table", "/deeper/table"])
def test_a_file_in_place_of_the_table_is_an_error(ledger: Ledger, below: str) -> None:
    """Whatever the task runs as, nothing can be written there, and no retry would help."""
    Path(ledger.url).parent.mkdir(parents=True, exist_ok=True)
    Path(ledger.url).write_text("a file")
    with pytest.raises(ConfigurationError, match=f"table {ledger.url}{below}: {ledger.url} is no folder. Move it"):
        Ledger(f"{ledger.url}{below}").land(["net"], [["1.00"]])


SUBJECTS = st.builds(
    Subject,
    st.sampled_from(["balance.summary", "..", ".", "a/../..", "%2E%2E"]),
    st.booleans(),
    st.sampled_from([None, "acct_1", "acct/%2F,=", "-x"]),
    st.dictionaries(st.sampled_from(["currency", "payout"]), st.sampled_from(["usd", "a,b=c/d", "é", "%2C"])),
    st.just(None) | st.integers(0, 9).map(lambda hours: hours * 20_000),
    st.just(None) | st.integers(10, 20).map(lambda hours: hours * 20_000),
)


@given(SUBJECTS, SUBJECTS)
def test_the_name_of_a_landing_tells_what_it_overlaps(one: Subject, other: Subject) -> None:
    """As the subjects do; and two that overlap meet in a day, so that neither comes behind the other's back."""
    named = overlap(_subject(app_of(one)), _subject(app_of(other)))
    assert named is overlap(one, other)
    assert (app_of(one) == app_of(other)) == (one == other)
    assert not {"", ".", ".."} & {*app_of(one).split("/")}, "it leads out of its folder"
    spans = (one.interval_start is None) == (other.interval_start is None)
    if named is not Overlap.APART and spans and one.interval_end and other.interval_end:
        assert {*days_of(one)} & {*days_of(other)}


def test_statistics_are_of_what_tells_files_apart(ledger: Ledger) -> None:
    """Whose rows they are, and instants; so the log of years stays small."""
    ledger.land(["net", "description", "created_utc"], [["1.00", "x", "2024-05-01 09:30:00"]])
    names = pa.table(ledger.native().get_add_actions(flatten=True)).column_names
    told = {name.removeprefix("null_count.") for name in names if name.startswith("null_count.")}
    assert told == {"created_utc", *OURS}


def test_the_packages_that_are_missing_are_named() -> None:
    """It is not for everybody."""
    for library in ("pyarrow", "deltalake"):
        module = "airflow_reportrun.landing.lakehouse.delta.table"
        code = f"import sys; sys.modules[{library!r}] = None; import {module}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "ConfigurationError: " in done.stderr
        assert "pip install 'airflow-provider-reportrun[delta]'" in done.stderr


PROGRAM = """
import resource, sys
from airflow_reportrun.landing.lakehouse.loading import load
from tests.deltas import Ledger
from tests.landings import as_stripe_writes, manifest_of

ROWS = 20_000
block = as_stripe_writes([str(number), f"description of row {number * 7919:060}"] for number in range(ROWS))

class Large:
    def __init__(self, times):
        self.times = times

    def seek(self, at):
        self.parts = iter([b"net,what\\n", *[block] * self.times])

    def read(self, size):
        return next(self.parts, b"")

def peak(times):
    load(Ledger(sys.argv[1]).table(), Large(times), manifest_of(f"frr_{times}", ROWS * times))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

peak(5)
small = peak(15)
print(peak(60) - small)
"""


def test_memory_does_not_grow_with_the_report(ledger: Ledger) -> None:
    """Four times the rows take no more."""
    command = [sys.executable, "-c", PROGRAM, ledger.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60

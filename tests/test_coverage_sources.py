"""What is landed is told by what lies in a store or a table, as operators leave it there."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from airflow_reportrun.coverage.lake import Lake
from airflow_reportrun.coverage.looking import look_at, source_of
from airflow_reportrun.coverage.series import Series, State
from airflow_reportrun.coverage.table import Table
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.destination import placeholders, resolve_destination
from airflow_reportrun.landing.lake import BOUNDS, manifest_of
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.sql.report import DatabaseTable
from airflow_reportrun.landing.sql.warehouse import warehouse_of
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.stores.place import Place
from airflow_reportrun.landing.tables import land_in
from airflow_reportrun.page.report_tasks import Where
from airflow_reportrun.page.shelves import read_contents
from airflow_reportrun.reporting.errors import ConfigurationError, ConnectionLookUpError, StoreError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.databases import Warehouse
from tests.s3 import S3
from tests.shelves import STORES, Buckets, shelf

TYPE = "balance_change_from_activity.itemized.3"
DAY = 86400
FIRST = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
NOW = FIRST + 8 * DAY + 13 * 3600
OLD_LAKE = Path(__file__).parent / "old_lake"


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    stripe_conn.configure(transition=AtOnce(), data_available_end=FIRST + 8 * DAY)
    return stripe_conn


@pytest.fixture(params=STORES)
def root(request: pytest.FixtureRequest, tmp_path: Path, buckets: Buckets) -> str:
    """An empty root in each store."""
    return f"{shelf(request.param, uuid.uuid4().hex, tmp_path, buckets).url}/lake"


def finished(day: int, **options: Any) -> ReportRun:
    """Return a report run of a day of November."""
    start = FIRST + (day - 1) * DAY
    parameters = ReportParameters(interval_start=start, interval_end=start + DAY, **options)
    return StripeReportingHook().create_report_run(TYPE, parameters)


def land(destination: str, run: ReportRun, format: str = "csv") -> Place:
    """Land a report run where a task would, and return the place."""
    bounds = {name: datetime.fromtimestamp(run.parameters[name], UTC) for name in BOUNDS}
    values = placeholders(run.report_type, run.parameters, bounds, stripe_account=None, report_run_id=run.id)
    place = place_of(resolve_destination(destination, values, format))
    land_report(StripeReportingHook(), run, place, format=format)
    return place


def only(destination: str, **how: Any) -> Series:
    (found,) = look_at(Lake(destination), now=NOW, **how).series
    return found


def days(series: Series, *states: State) -> list[int]:
    """Return the days of November that are in these states."""
    return [(it.start - FIRST) // DAY + 1 for it in series.intervals if it.state in states]


@pytest.mark.parametrize("format", ["csv", "csv.gz", "parquet"])
def test_a_lake_in_the_default_layout(root: str, format: str) -> None:
    """Days are landed, and one is not; a root, a folder below it and a task's destination say the same."""
    for day in (1, 2, 4):
        place = land(f"{root}/", finished(day), format)
    found = only(f"{root}/")
    assert str(found) == TYPE
    assert (found.livemode, str(found.step)) == (False, "day, UTC")
    assert days(found, State.LANDED) == [1, 2, 4]
    assert days(found, State.MISSING) == [3, 5, 6, 7, 8]
    assert days(found, State.NOT_YET) == [9]
    assert only(f"{root}/report_type={TYPE}").intervals == only(f"{root}/{{interval_start}}/x").intervals
    landing = found.intervals[3].landing
    assert landing is not None
    assert (landing.path, landing.format) == (place.url, format)
    told = Lake(root).manifest(landing.told_at)
    assert told is not None
    assert told.interval_start == "2026-11-04T00:00:00Z"
    assert found.as_dict()["intervals"][3]["manifest"] == landing.told_at == manifest_of(place).url


def test_other_layouts_are_told_by_their_manifests(root: str) -> None:
    """Of files in a folder a year, and of one that is named for its day alone."""
    for day in (1, 3):
        land(f"{root}/{{interval_start:%Y}}/{{interval_start:%m-%d}}.csv", finished(day))
    land(f"{root}/last.csv", finished(5))
    found = only(f"{root}/{{interval_start:%Y}}/{{interval_start:%m-%d}}.csv")
    assert days(found, State.LANDED) == [1, 3, 5]
    assert days(only(f"{root}/2026/"), State.LANDED) == [1, 3]


def test_a_file_that_is_landed_is_answered_by_its_folder(root: str) -> None:
    """As a task's rendered destination names it; a file of somebody else has no folder that tells of it."""
    for day in (1, 3):
        place = land(f"{root}/{{interval_start:%Y-%m-%d}}.csv", finished(day))
    lake = Lake(place.url)
    (found,) = look_at(lake, now=NOW).series
    assert (str(lake), days(found, State.LANDED)) == (root, [1, 3])
    landing = found.intervals[0].landing
    assert landing is not None
    assert lake.manifest(landing.told_at) is not None
    place.beside("other.csv").write(b"mine")
    for name in ("other.csv", "2026-11-02.csv"):
        assert Lake(f"{root}/{name}").landings() == []
    assert Lake(f"{place.url}/").landings() == []


def test_why_nothing_is_landed_is_said(root: str) -> None:
    """Where it is known: only disks have folders that are not there. Files without manifests are counted."""
    lake = Lake(root)
    assert lake.landings() == []
    no_folder, nothing = f"There is no folder {root}.", f"Nothing is landed in {root}."
    assert lake.nothing() == (nothing if "://" in root else no_folder)
    note = manifest_of(land(f"{root}/", finished(1)))
    place_of(f"{root}/_SUCCESS").write(b"")
    assert len(lake.landings()) == 1
    note.remove()
    assert lake.landings() == []
    more = " there without a manifest; a lake that was moved needs its manifests, too (in folders called"
    assert lake.nothing() == f"{nothing} One file lies{more} …_manifests)."
    place_of(f"{root}/mine.csv").write(b"")
    assert lake.landings() == []
    assert lake.nothing() == f"{nothing} 2 files lie{more} …_manifests)."


@pytest.mark.parametrize("format", ["csv", "csv.gz", "parquet"])
def test_reports_without_rows_are_empty(root: str, format: str) -> None:
    """The manifest says so; in a store the size of the file says which manifests to read."""
    for day in (1, 2, 3):
        land(f"{root}/", finished(day, currency="usd"), format)
        land(f"{root}/", finished(day, currency="jpy"), format)
    found = {it.filters["currency"]: it for it in look_at(Lake(root), now=NOW).series}
    assert days(found["usd"], State.LANDED) == [1, 2, 3]
    assert days(found["jpy"], State.EMPTY) == [1, 2, 3]


def test_a_file_that_was_cut_or_removed_counts_as_missing(root: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its next landing brings it anew; until then it is not there."""
    places = [land(f"{root}/", finished(day)) for day in (1, 2, 3)]
    places[0].write(b"cut")
    places[1].remove()
    found = only(root)
    assert days(found, State.LANDED) == [3]
    assert "is not what its manifest tells of" in caplog.text
    assert next(it.start for it in found.intervals) == FIRST + 2 * DAY


def test_a_landing_that_was_interrupted_is_one(root: str) -> None:
    """Before its data was there, and after."""
    places = [land(f"{root}/", finished(day)) for day in (1, 2, 3)]
    for place in places[:2]:
        note = manifest_of(place)
        note.write(Manifest.from_json(note.read() or b"").as_landing().to_json().encode())
    places[0].remove()
    assert days(only(root), State.LANDING) == [1, 2]


def test_a_file_without_a_manifest_is_nobodys(root: str) -> None:
    """A task refuses it, so that its day is not landed."""
    places = [land(f"{root}/", finished(day)) for day in (1, 2)]
    manifest_of(places[1]).remove()
    assert days(only(root), State.LANDED) == [1]


def test_manifests_that_cannot_be_read_are_said(root: str, caplog: pytest.LogCaptureFixture) -> None:
    """Those of the other days are."""
    places = [land(f"{root}/", finished(day)) for day in (1, 2)]
    manifest_of(places[1]).write(b"{}")
    assert days(only(root), State.LANDED) == [1]
    assert "This is no manifest" in caplog.text


def test_a_lake_of_an_earlier_version() -> None:
    """Its manifests lie beside the data, and its folders are called otherwise."""
    found = only(str(OLD_LAKE / "csv.gz"), until=datetime(2024, 5, 2))
    assert str(found.step) == "hour"
    assert found.counts()[State.LANDED] == 2


def test_of_a_store_few_manifests_are_read(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and sizes tell: of days that changed long ago only those that may be empty, and the last one."""
    monkeypatch.setattr("airflow_reportrun.coverage.lake._LATEST", 2)
    root = s3.destination(uuid.uuid4().hex)
    for day in range(1, 7):
        land(f"{root}/", finished(day))
    read: list[str] = []
    real = Manifest.from_json

    def counted(text: str | bytes) -> Manifest:
        read.append("")
        return real(text)

    monkeypatch.setattr(Manifest, "from_json", counted)
    found = only(root)
    assert days(found, State.LANDED) == [1, 2, 3, 4, 5, 6]
    assert 1 <= len(read) <= 3
    assert found.livemode is False


def test_stripes_word_comes_before_the_clock(root: str, sandbox: StripeSandbox) -> None:
    """A day of which Stripe has no data yet is not missing."""
    land(f"{root}/", finished(1))
    sandbox.configure(data_available_end=FIRST + 3 * DAY)
    found = only(root, hook=StripeReportingHook())
    assert days(found, State.MISSING) == [2, 3]
    assert days(found, State.NOT_YET) == [4, 5, 6, 7, 8, 9]


def test_changed_is_what_stripe_has_made_anew(root: str, sandbox: StripeSandbox) -> None:
    """A newer run of the same question with a file of another size; one of other columns, or older, says nothing.

    Nor is it known of one of the same size, which is told nevertheless: two DAGs may ask the same question.
    """
    finished(1)
    sandbox.advance(60)
    for day in (1, 2, 3, 4):
        note = manifest_of(land(f"{root}/", finished(day)))
        told = json.loads(note.read() or b"")
        note.write(json.dumps({**told, "file_size": told["file_size"] + (day != 4)}).encode())
    sandbox.advance(60)
    assert only(root, hook=StripeReportingHook()).counts()[State.CHANGED] == 0
    newer = finished(2)
    finished(3, columns=("gross", "currency"))
    alike = finished(4)
    found = only(root, hook=StripeReportingHook())
    assert days(found, State.CHANGED) == [2]
    assert found.intervals[1].landing is not None
    assert found.intervals[1].landing.newer_report_run == newer.id
    assert [it.landing.newer_report_run for it in found.intervals if it.landing] == [
        None,
        newer.id,
        None,
        alike.id,
    ]
    assert days(only(root), State.CHANGED) == []
    land(f"{root}/", newer)
    assert days(only(root, hook=StripeReportingHook()), State.CHANGED) == []


def test_how_far_back_changes_were_looked_for_is_said(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than so many report runs are looked at, the newest first."""
    land(f"{root}/", finished(1))
    assert look_at(Lake(root), now=NOW, hook=StripeReportingHook()).changes_since is None
    from airflow_reportrun.coverage import stripe

    said = stripe.ask_stripe(StripeReportingHook(), [], lambda told_at: None, stripe_account=None, looked_at=1)
    assert said.changes_since is not None


def test_a_table_is_told_by_its_manifests(warehouse: Warehouse) -> None:
    """Each database, and one that has none yet."""
    table = Table("warehouse", "activity")
    assert look_at(table, now=NOW).series == []
    assert table.nothing() == "There is no table activity in warehouse."
    runs = [finished(day, currency=currency) for day in (1, 3) for currency in ("usd", "jpy")]
    for run in runs:
        land_in(StripeReportingHook(), run, DatabaseTable(warehouse_of("warehouse", None), "activity"))
    empty, landed = look_at(source_of(conn_id="warehouse", table="activity"), now=NOW).series
    assert (dict(empty.filters), dict(landed.filters)) == ({"currency": "jpy"}, {"currency": "usd"})
    assert days(landed, State.LANDED) == days(empty, State.EMPTY) == [1, 3]
    assert days(landed, State.MISSING) == [2, 4, 5, 6, 7, 8]
    landing = landed.intervals[0].landing
    assert landing is not None
    told = table.manifest(landing.told_at)
    assert told is not None
    assert told.report_run_id == runs[0].id
    assert table.manifest("other") is None


def test_a_table_that_is_gone_has_nothing(warehouse: Warehouse) -> None:
    """The manifests of one that was dropped or renamed stay."""
    land_in(StripeReportingHook(), finished(1), DatabaseTable(warehouse_of("warehouse", None), "activity"))
    assert len(Table("warehouse", "activity").landings()) == 1
    warehouse.query("ALTER TABLE activity RENAME TO elsewhere")
    assert Table("warehouse", "activity").landings() == []
    warehouse.query("CREATE TABLE other (x INTEGER)")
    for name, words in (
        ("activity", "There is no table activity in warehouse."),
        ("other", "Nothing is landed in other of warehouse."),
    ):
        table = Table("warehouse", name)
        assert (table.landings(), table.nothing()) == ([], words)


def test_a_table_with_many_landings_is_read_in_parts(sqlite: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a query brings no more than memory is for; each landing is told once, and columns are kept once."""
    for day in (1, 2, 3, 4):
        land_in(StripeReportingHook(), finished(day), DatabaseTable(warehouse_of("warehouse", None), "activity"))
    for at_once in (1, 3, 4, 5):
        monkeypatch.setattr("airflow_reportrun.coverage.table._AT_ONCE", at_once)
        (series,) = look_at(Table("warehouse", "activity"), now=NOW).series
        assert days(series, State.LANDED) == [1, 2, 3, 4]
    landings = Table("warehouse", "activity").landings()
    assert len(landings) == 4
    assert len({id(it.manifest.columns) for it in landings if it.manifest}) == 1


def test_what_can_be_no_source_is_refused(tmp_path: Path, sqlite: Warehouse) -> None:
    """Before anything is read; and a manifest is read only where manifests are."""
    for destination, words in (
        ("lake/", "no absolute path"),
        ("s3://key:secret@bucket/", "credentials"),
        ("http://host/lake/", "published at once"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            Lake(destination)
    with pytest.raises(ConnectionLookUpError):
        Lake("s3://nobody@bucket/lake/")
    with pytest.raises(ConfigurationError, match="give a name"):
        look_at(Table("warehouse", "a.b.c"))
    lake = Lake(str(tmp_path / "lake"))
    assert lake.landings() == []
    for told_at in ("/etc/passwd", f"{tmp_path}/lake/../secret.json", f"{tmp_path}/lake/x.csv"):
        with pytest.raises(ConfigurationError, match="is no manifest"):
            lake.manifest(told_at)
    assert lake.manifest(f"{tmp_path}/lake_manifests/x-csv.json") is None


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To show its days as missing would have them landed twice."""

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(StoreError, match="Permission denied"):
        Lake(str(tmp_path)).landings()


def test_a_folder_that_may_not_be_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Below the root it may be nobody's, such as lost+found: it is named. Without manifests nothing is known."""
    land(f"{tmp_path}/lake/", finished(1))
    locked, real = tmp_path / "lake" / "lost+found", os.scandir
    locked.mkdir()

    def scandir(path: str) -> Any:
        if path == str(locked):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    assert days(only(f"{tmp_path}/lake"), State.LANDED) == [1]
    assert f"{locked}: Permission denied: what may be landed there is not shown." in caplog.messages
    with pytest.raises(PermissionError):  # who lands, or moves manifests, has to know
        place_of(f"{tmp_path}/lake/x").files_below([*tmp_path.parts[1:], "lake"])
    (told,) = next(read_contents(Where(f"{tmp_path}/lake"), ())).problems
    assert told == (None, f"{locked}: Permission denied: what may be landed there is not shown.")
    locked = tmp_path / "lake_manifests"
    with pytest.raises(StoreError, match=f"^{locked}: Permission denied$"):
        Lake(f"{tmp_path}/lake").landings()


def test_a_link_that_may_not_be_followed_hides_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is passed over by itself."""
    land(f"{tmp_path}/lake/", finished(1))
    real = os.scandir

    class Link(SimpleNamespace):
        def is_dir(self, *, follow_symlinks: bool) -> bool:
            return False

        def is_file(self) -> bool:
            raise PermissionError(13, "Permission denied")

    def scandir(path: str) -> Any:
        entries = mock.MagicMock()
        entries.__iter__.return_value = iter([Link(name="link", path=f"{path}/link"), *real(path)])
        return entries

    monkeypatch.setattr("os.scandir", scandir)
    assert days(only(f"{tmp_path}/lake"), State.LANDED) == [1]
    assert f"{tmp_path}/lake/link: Permission denied: what may be landed there is not shown." in caplog.messages


def test_the_mode_of_what_was_not_read_is_that_of_the_last(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live and test data below one root are two series as far as manifests tell."""
    root = s3.destination(uuid.uuid4().hex)
    places = [land(f"{root}/", finished(day)) for day in (1, 2)]
    note = manifest_of(places[0])
    note.write(replace(Manifest.from_json(note.read() or b""), livemode=True).to_json().encode())
    assert [(it.livemode, days(it, State.LANDED)) for it in look_at(Lake(root), now=NOW).series] == [
        (False, [2]),
        (True, [1]),
    ]

"""One landing code for each format: what is there already, what replaces what, what the manifest says."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from airflow_reportrun import __version__
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.destination import placeholders, resolve_destination
from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.report import Landed, land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    DownloadError,
    LandingConflictError,
    ManifestError,
    ReportExpiredError,
    ReportNotReadyError,
    ReportRunFailedError,
)
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, RunFails, RunNeverEnds, SharesFile, StripeSandbox
from tests.shelves import manifest_name

TYPE = "balance_change_from_activity.itemized.3"
MAY = {"interval_start": 1714521600, "interval_end": 1717200000}
HEADER = b'"balance_transaction_id","created","currency","fee","net"\n'
COLUMNS = ("balance_transaction_id", "created", "currency", "fee", "net")
ONE_ROW = HEADER + b'"txn_1","2024-05-02 10:00:00","usd","0.30","9.70"\n'
OTHER_ROW = HEADER + b'"txn_1","2024-05-02 10:00:00","usd","0.31","9.69"\n'


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


def finished(**options: Any) -> ReportRun:
    parameters = ReportParameters(**{**MAY, "columns": COLUMNS, **options})
    return StripeReportingHook().create_report_run(options.pop("report_type", TYPE), parameters)


def land(run: ReportRun, path: Path, **options: Any) -> Landed:
    return land_report(StripeReportingHook(), run, place_of(str(path)), **options)


def serve(sandbox: StripeSandbox, tmp_path: Path, contents: bytes) -> None:
    source = tmp_path / "source"
    source.write_bytes(contents)
    sandbox.serve_file(source)


def finished_with(sandbox: StripeSandbox, tmp_path: Path, *contents: bytes) -> list[ReportRun]:
    """Return a report run with each of these contents."""
    runs = []
    for number, it in enumerate(contents):
        (tmp_path / str(number)).mkdir()
        serve(sandbox, tmp_path / str(number), it)
        runs.append(finished())
    return runs


def note(path: Path) -> Path:
    return path.parent.with_name(f"{path.parent.name}_manifests") / manifest_name(path.name)


def contents_in(path: Path, format: str) -> bytes | list[dict[str, Any]]:
    if format == "csv":
        return path.read_bytes()
    if format == "csv.gz":
        return gzip.decompress(path.read_bytes())
    return pyarrow.parquet.read_table(path).to_pylist()  # type: ignore[no-any-return]


def downloads(sandbox: StripeSandbox) -> int:
    return len(sandbox.requests_to("contents"))


def test_parameters_that_stripe_shows_as_null_are_by_default(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """As if they were left out."""
    run = finished()
    shown = replace(run, parameters={**run.parameters, "timezone": None, "decimal_separator": None})
    assert land(shown, tmp_path / "may.parquet", format="parquet").manifest.rows


def test_the_manifest_tells_all_of_a_csv(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """As JSON that names the run, what it was asked for with, and both files; nothing in it is secret."""
    run, path = finished(timezone="Europe/Berlin"), tmp_path / "may.csv"
    landed = land(run, path)
    assert run.result is not None
    told = json.loads(note(path).read_text())
    assert told.pop("landed_at").endswith("Z")
    digest = told["sha256"]
    assert told == {
        "version": 1,
        "state": "landed",
        "report_run_id": run.id,
        "report_run_created": datetime.fromtimestamp(run.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "report_type": TYPE,
        "parameters": {**MAY, "columns": list(COLUMNS), "timezone": "Europe/Berlin"},
        "interval_start": "2024-05-01T00:00:00Z",
        "interval_end": "2024-06-01T00:00:00Z",
        "stripe_account": None,
        "livemode": False,
        "file_id": run.result.id,
        "file_size": path.stat().st_size,
        "file_sha256": digest,
        "rows": landed.manifest.rows,
        "columns": list(COLUMNS),
        "format": "csv",
        "path": "may.csv",
        "column_types": None,
        **{"naming": "stripe", "metadata": "columns"},
        "size": path.stat().st_size,
        "sha256": digest,
        "etag": None,
        "landed_by": f"airflow-provider-reportrun {__version__}",
    }
    assert note(path).stat().st_mode & 0o777 == 0o600
    assert sandbox.api_key not in note(path).read_text()


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Later versions may add fields, which this one passes over."""
    landed = land(finished(), tmp_path / "may.csv")
    text = note(tmp_path / "may.csv").read_text()
    again = Manifest.from_json(json.dumps({**json.loads(text), "weather": "fine"}))
    assert again.to_json() == landed.manifest.to_json() == text
    assert again.subject == landed.manifest.subject


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_says_the_same(sandbox: StripeSandbox, tmp_path: Path, format: str) -> None:
    """The bytes as they came, the same compressed, or the same in types."""
    serve(sandbox, tmp_path, ONE_ROW)
    landed = land(finished(), tmp_path / "x", format=format)
    found = contents_in(tmp_path / "x", format)
    if format == "parquet":
        assert isinstance(found, list)
        assert found[0]["fee"] == Decimal("0.30")
        assert landed.manifest.column_types == {
            "balance_transaction_id": "text",
            "created": "timestamp",
            "currency": "text",
            "fee": "money(6)",
            "net": "money(6)",
        }
    else:
        assert found == ONE_ROW
    assert (landed.manifest.rows, landed.manifest.format) == (1, format)
    assert place_of(str(tmp_path / "x")).has(landed.manifest.size, landed.manifest.sha256, None)


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_there_is_not_transferred_again(sandbox: StripeSandbox, tmp_path: Path, format: str) -> None:
    """Neither for the same run nor for another one that has the same file."""
    first = finished()
    land(first, tmp_path / "x", format=format)
    written, told = (tmp_path / "x").stat(), note(tmp_path / "x").stat()
    land(first, tmp_path / "x", format=format)
    sandbox.inject(SharesFile())
    second = finished()
    assert second.id != first.id
    land(second, tmp_path / "x", format=format)
    assert downloads(sandbox) == 1
    assert (tmp_path / "x").stat().st_mtime_ns == written.st_mtime_ns
    assert note(tmp_path / "x").stat().st_mtime_ns == told.st_mtime_ns


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_contents_of_another_run_leave_the_data_alone(
    sandbox: StripeSandbox, tmp_path: Path, format: str
) -> None:
    """Stripe gives no digest, so the bytes have to come; then the manifest alone says who confirmed them."""
    land(finished(), tmp_path / "x", format=format)
    before = (tmp_path / "x").stat()
    second = finished()
    landed = land(second, tmp_path / "x", format=format)
    assert downloads(sandbox) == 2
    assert ((tmp_path / "x").stat().st_ino, (tmp_path / "x").stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )
    assert Manifest.from_json(note(tmp_path / "x").read_text()) == landed.manifest
    assert landed.manifest.report_run_id == second.id


@pytest.mark.parametrize("format", FORMATS)
def test_other_contents_take_the_place_of_what_is_there(
    sandbox: StripeSandbox, tmp_path: Path, format: str
) -> None:
    """Of the same interval: figures are restated."""
    serve(sandbox, tmp_path, ONE_ROW)
    land(finished(), tmp_path / "x", format=format)
    before = contents_in(tmp_path / "x", format)
    serve(sandbox, tmp_path, OTHER_ROW)
    landed = land(finished(), tmp_path / "x", format=format)
    assert contents_in(tmp_path / "x", format) != before
    assert Manifest.from_json(note(tmp_path / "x").read_text()) == landed.manifest


def test_an_older_run_leaves_the_figures_of_a_newer_one(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Whichever task comes last: days are restated while the report of the day before may still be pending."""
    older = finished()
    sandbox.advance(86_400)
    newer = finished()
    told = land(newer, tmp_path / "x").manifest
    assert land(older, tmp_path / "x").manifest == told
    assert downloads(sandbox) == 1
    assert Manifest.from_json(note(tmp_path / "x").read_text()).report_run_id == newer.id


def test_an_older_run_is_better_than_spoilt_figures(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Where what the newer one landed is gone."""
    older = finished()
    sandbox.advance(86_400)
    land(finished(), tmp_path / "x")
    (tmp_path / "x").write_bytes(b"spoilt")
    assert land(older, tmp_path / "x").manifest.report_run_id == older.id


@pytest.mark.parametrize("spoil", ["other bytes", "no file"])
def test_what_was_spoilt_is_landed_anew(sandbox: StripeSandbox, tmp_path: Path, spoil: str) -> None:
    """A manifest alone says nothing of a file that somebody changed, but that it was ours."""
    run, path = finished(), tmp_path / "x.csv"
    land(run, path)
    whole = path.read_bytes()
    if spoil == "other bytes":
        path.write_bytes(whole.replace(b"usd", b"eur"))
    else:
        path.unlink()
    land(run, path)
    assert path.read_bytes() == whole
    assert note(path).exists()
    assert downloads(sandbox) == 2


def test_another_format_or_other_types_are_landed_anew(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """And what is wanted already is not, however it was asked for."""
    serve(sandbox, tmp_path, ONE_ROW)
    run, path = finished(), tmp_path / "x"
    wanted: list[tuple[str, Mapping[str, str] | None, int]] = [
        ("csv", None, 1),
        ("parquet", None, 2),
        ("parquet", {"fee": "money"}, 2),
        ("parquet", {"fee": "money(6)", "net": "money"}, 2),
        ("parquet", {"fee": "money(8)"}, 3),
        ("parquet", None, 4),  # fewer places are another type, too
        ("parquet", {"fee": "text"}, 5),
        ("csv.gz", None, 6),
    ]
    for format, column_types, count in wanted:
        land(run, path, format=format, column_types=column_types)
        assert downloads(sandbox) == count


def test_money_with_more_decimals_is_refused_with_what_to_set(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Wherever the cells are, after one download: the contents don't decide about a lake's types."""
    rows = b'"txn_1","2024-05-02 10:00:00","usd","0.30","9.70"\n' * 150_000
    late = b'"txn_2","2024-05-02 10:00:00","usd","0.0000001","9.70"\n' + rows
    latest = b'"txn_3","2024-05-02 10:00:00","usd","0.00000001","9.700000001"\n'
    serve(sandbox, tmp_path, HEADER + rows + late + latest)
    run, types = finished(), {"currency": "text"}
    with pytest.raises(ContentsError) as caught:
        land(run, tmp_path / "x", format="parquet", column_types=types)
    assert "column_types={'currency': 'text', 'fee': 'money(8)', 'net': 'money(9)'}" in str(caught.value)
    assert downloads(sandbox) == 1
    assert not list(tmp_path.glob("*x*"))
    types |= {"fee": "money(8)", "net": "money(9)"}
    landed = land(run, tmp_path / "x", format="parquet", column_types=types)
    assert landed.manifest.column_types is not None
    assert (landed.manifest.column_types["fee"], landed.manifest.column_types["net"]) == ("money(8)", "money(9)")
    last = contents_in(tmp_path / "x", "parquet")[-1]
    assert (last["fee"], last["net"]) == (Decimal("0.00000001"), Decimal("9.700000001"))  # type: ignore[index]
    assert landed.manifest.rows == 300_002


def test_the_report_type_says_how_many_decimals_money_has(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """In an interval without a row, too; what an earlier version landed with others takes the same type."""
    for number, (contents, type_before) in enumerate([(HEADER, "money(6)"), (ONE_ROW, "money(6)")]):
        (tmp_path / str(number)).mkdir()
        serve(sandbox, tmp_path / str(number), contents)
        run, path = (
            replace(finished(), report_type="all_fees.incurred_at.itemized.2"),
            tmp_path / f"{number}.parquet",
        )
        land(run, path, format="parquet", column_types={"fee": type_before})
        written = pyarrow.parquet.read_schema(path)
        assert (written.field("fee").type.scale, written.field("net").type.scale) == (6, 18)
        landed = land(run, path, format="parquet")
        assert landed.manifest.column_types is not None
        assert landed.manifest.column_types["fee"] == "money(18)"
        assert pyarrow.parquet.read_schema(path).field("fee").type == pyarrow.decimal128(38, 18)
        before = downloads(sandbox)
        land(run, path, format="parquet", column_types={"fee": "money", "net": "money(18)"})
        assert downloads(sandbox) == before


def test_records_that_become_no_rows_are_an_error(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """A blank line is a record to one reader and nothing to another: nobody knows what it was."""
    serve(sandbox, tmp_path, ONE_ROW + b"\n")
    with pytest.raises(ContentsError, match="has 2 records, and 1 rows came"):
        land(finished(), tmp_path / "x", format="parquet")
    assert not (tmp_path / "x").exists()


def test_a_type_that_has_changed_since_says_nothing_of_an_older_file(
    sandbox: StripeSandbox, tmp_path: Path
) -> None:
    """Or what was reported before could not be landed any more."""
    serve(sandbox, tmp_path, b'"fee"\n')
    run = finished(columns=())
    land(replace(run, created=1), tmp_path / "x.csv")
    with pytest.raises(DownloadError, match="lacks columns that it has by default"):
        land(run, tmp_path / "y.csv")


def test_fields_that_came_later_are_as_by_default_in_an_older_manifest(tmp_path: Path) -> None:
    """A manifest of version 1 stays one."""
    land(finished(), tmp_path / "x.csv")
    told = json.loads(note(tmp_path / "x.csv").read_text())
    del told["etag"]
    assert Manifest.from_json(json.dumps(told)).etag is None


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"interval_start": 1714608000}, "interval_start '2024-05-01T00:00:00Z' and not '2024-05-02T00:00:00Z'"),
        ({"currency": "usd"}, "filters {} and not {'currency': 'usd'}"),
        ({"report_type": "payouts.itemized.3"}, f"report '{TYPE[:-2]}' and not 'payouts.itemized'"),
    ],
)
def test_another_report_does_not_take_the_place(
    sandbox: StripeSandbox, tmp_path: Path, options: dict[str, Any], difference: str
) -> None:
    """A destination without what tells them apart would keep the last of them alone."""
    path = tmp_path / "x.csv"
    run = finished()
    land(run, path)
    before = {it.name: it.read_bytes() for it in tmp_path.iterdir()}
    other = replace(run, **options) if "report_type" in options else finished(**options)
    with pytest.raises(LandingConflictError) as caught:
        land(other, path)
    assert difference in str(caught.value)
    assert "{interval_start:%Y-%m-%d}" in str(caught.value)
    assert {it.name: it.read_bytes() for it in tmp_path.iterdir()} == before
    assert downloads(sandbox) == 1


def test_live_data_does_not_take_the_place_of_test_data(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """No placeholder tells them apart, so what to do is to land it elsewhere."""
    path = tmp_path / "x.csv"
    run = finished()
    land(run, path)
    note(path).write_text(note(path).read_text().replace('"livemode": false', '"livemode": true'))
    with pytest.raises(LandingConflictError, match=r"livemode True and not False.* name another destination"):
        land(run, path)


def test_parameters_that_are_passed_on_choose_rows_too(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """What Stripe adds later may be a filter; a report of one account is not that of another."""
    run = finished()
    one = replace(run, parameters={**run.parameters, "connected_accounts": ["acct_1"]})
    two = replace(run, parameters={**run.parameters, "connected_accounts": ["acct_2"]})
    land(one, tmp_path / "x.csv")
    with pytest.raises(LandingConflictError, match="acct_1"):
        land(two, tmp_path / "x.csv")
    shaped = replace(one, parameters={**one.parameters, "timezone": "Etc/UTC", "columns": list(COLUMNS)})
    land(shaped, tmp_path / "x.csv")
    assert downloads(sandbox) == 1


BEFORE_STATES = """{
 "report_run_id": "frr_XVuHJYcnRVxrXFnhYivunLIW",
 "report_type": "balance_change_from_activity.itemized.3",
 "parameters": {
  "columns": ["balance_transaction_id", "created", "currency", "fee", "net"],
  "interval_start": 1714521600,
  "interval_end": 1717200000
 },
 "interval_start": "2024-05-01T00:00:00Z",
 "interval_end": "2024-06-01T00:00:00Z",
 "stripe_account": null,
 "livemode": false,
 "file_id": "file_GI65iuiNkdegQuXqG0VMiLfm",
 "file_size": 108,
 "file_sha256": "b631b5392b6e3a6b73019fd22bbeba3be558c5cf9feefade781875a9f009c0b7",
 "rows": 1,
 "columns": ["balance_transaction_id", "created", "currency", "fee", "net"],
 "format": "csv",
 "path": "x.csv",
 "column_types": null,
 "size": 108,
 "sha256": "b631b5392b6e3a6b73019fd22bbeba3be558c5cf9feefade781875a9f009c0b7",
 "etag": null,
 "report_run_created": "2024-06-02T12:00:00Z",
 "landed_at": "2024-06-02T12:00:00Z",
 "landed_by": "airflow-provider-reportrun 0.1.0",
 "version": 1
}
"""
"""A manifest of ONE_ROW, as it was written when none said what is being landed."""


@pytest.mark.parametrize("case", ["the same file", "an older run", "the same contents", "other contents"])
def test_what_was_landed_before_manifests_had_states_is_landed(
    sandbox: StripeSandbox, tmp_path: Path, case: str
) -> None:
    """Recognised, protected, confirmed and replaced as any other."""
    path = tmp_path / "x.csv"
    path.write_bytes(ONE_ROW)
    note(path).parent.mkdir()
    note(path).write_text(BEFORE_STATES)
    (tmp_path / "source").mkdir()
    serve(sandbox, tmp_path / "source", OTHER_ROW if case == "other contents" else ONE_ROW)
    run, before = finished(), json.loads(BEFORE_STATES)
    assert run.result is not None
    if case == "the same file":
        run = replace(run, result=replace(run.result, id=before["file_id"]))
    elif case == "an older run":
        run = replace(run, created=run.created - 10 * 365 * 86_400)
    landed = land(run, path)
    stays = case in ("the same file", "an older run")
    assert landed.manifest.report_run_id == (before["report_run_id"] if stays else run.id)
    assert downloads(sandbox) == (not stays)
    assert path.read_bytes() == (OTHER_ROW if case == "other contents" else ONE_ROW)
    assert (note(path).read_text() == BEFORE_STATES) == stays


def test_a_newer_version_of_the_type_takes_the_place_of_the_older(tmp_path: Path) -> None:
    """It is the same report of the same interval."""
    run = finished()
    land(run, tmp_path / "x.csv")
    newer = replace(run, report_type=TYPE[:-1] + "4")
    assert land(newer, tmp_path / "x.csv").manifest.subject == land(run, tmp_path / "x.csv").manifest.subject


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no manifest"),
        ("[]", "no manifest"),
        ('{"version": 1}', "no manifest"),
        ('"text"', "no manifest"),
        ('{"version": 3}', "has version 3, and this package knows versions up to 2"),
    ],
)
def test_what_lies_where_a_manifest_should_be_is_not_overwritten(
    sandbox: StripeSandbox, tmp_path: Path, text: str, message: str
) -> None:
    """It is somebody's; the error says where it is and what to do."""
    note(tmp_path / "x.csv").parent.mkdir()
    note(tmp_path / "x.csv").write_text(text)
    with pytest.raises(ManifestError, match=r"_manifests/x-csv\.json: .*") as caught:
        land(finished(), tmp_path / "x.csv")
    assert message in str(caught.value)
    assert note(tmp_path / "x.csv").read_text() == text
    assert downloads(sandbox) == 0


def test_a_file_that_expired_is_not_asked_for_unless_it_is_there(
    sandbox: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says how to get a fresh one; what is landed stays landed."""
    run = finished()
    land(run, tmp_path / "x.csv")
    assert run.result is not None
    gone = replace(run, result=replace(run.result, expires_at=1))
    land(gone, tmp_path / "x.csv")
    with pytest.raises(
        ReportExpiredError, match=r"expired at 1970-01-01T00:00:01Z\. Clear the task that created it"
    ):
        land(gone, tmp_path / "y.csv")
    assert downloads(sandbox) == 1


def test_a_run_without_a_file_says_why(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """It failed, or is not ready."""
    sandbox.inject(RunFails("No."))
    with pytest.raises(ReportRunFailedError, match=r"No\."):
        land(finished(), tmp_path / "x.csv")
    sandbox.inject(RunNeverEnds())
    with pytest.raises(ReportNotReadyError, match="StripeReportRunSensor"):
        land(finished(), tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xlsx"}, "format is one of csv, csv.gz, parquet, not 'xlsx'"),
        ({"column_types": {"fee": "money"}}, "column_types are for the format parquet"),
        ({"format": "parquet", "column_types": {"fee": "float"}}, "'fee': 'float'"),
    ],
)
def test_refuses_what_can_not_be_written(
    sandbox: StripeSandbox, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """Before anything is asked for."""
    run = finished()
    sent = len(sandbox.requests)
    with pytest.raises(ConfigurationError, match=message):
        land(run, tmp_path / "x", **options)
    assert len(sandbox.requests) == sent


def test_a_compressed_file_has_one_format(tmp_path: Path) -> None:
    """Nobody documents what is in it."""
    run = finished()
    compressed = replace(run, parameters={**run.parameters, "compress_file": True})
    for format in ("parquet", "csv.gz"):
        with pytest.raises(ConfigurationError, match="only format='csv'"):
            land(compressed, tmp_path / "x", format=format)


def test_a_report_without_its_default_columns_is_none(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Others may come with a new version; that one is gone would be noticed only where it is read."""
    serve(sandbox, tmp_path, b'"fee","weather"\n')
    with pytest.raises(DownloadError, match="lacks columns that it has by default: balance_transaction_id"):
        land(finished(columns=()), tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


def test_memory_is_a_store(sandbox: StripeSandbox) -> None:
    """For tests of one's own DAGs: what is landed there is not transferred again, and a change is seen."""
    place = place_of("memory://bucket/may/x.csv")
    run = finished()
    hook = StripeReportingHook()
    landed = land_report(hook, run, place)
    assert place.read() is not None
    assert land_report(hook, run, place_of("memory://bucket/may/x.csv")) == landed
    assert downloads(sandbox) == 1
    place.remove()
    land_report(hook, run, place)
    assert downloads(sandbox) == 2
    assert (landed.path, landed.uri) == ("memory://bucket/may/x.csv",) * 2


def test_the_default_layout_tells_apart_what_reports_differ_in(tmp_path: Path) -> None:
    """Account, filters and interval: none takes the place of another, and readers know such names."""
    instants = {name: datetime.fromtimestamp(value, UTC) for name, value in MAY.items()}
    values = placeholders(TYPE, {"currency": "usd"}, instants, stripe_account="acct_1", report_run_id="frr_1")
    assert resolve_destination(f"{tmp_path}/", values, "parquet") == (
        f"{tmp_path}/report_type={TYPE}/stripe_account=acct_1/filter_currency=usd/"
        "interval_start=2024-05-01T00-00-00Z/interval_end=2024-06-01T00-00-00Z/report.parquet"
    )

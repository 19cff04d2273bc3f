"""A lake in the default layout: where manifests lie, what folders are called, what overlaps what is there."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing import report
from airflow_reportrun.landing.beside import require_apart
from airflow_reportrun.landing.destination import placeholders, resolve_destination
from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.landing.lake import (
    BOUNDS,
    former_manifests_of,
    gather_manifests,
    layout,
    manifest_of,
)
from airflow_reportrun.landing.manifest import FILTERS, Manifest, Subject
from airflow_reportrun.landing.publication import require_free
from airflow_reportrun.landing.report import Landed, is_csv, land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.reporting.errors import ConfigurationError, LandingConflictError, ManifestError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.docs_blocks import programs
from tests.s3 import S3
from tests.shelves import STORES, Buckets, shelf
from tests.task_runner import TaskRunner, in_dag

TYPE = "balance_change_from_activity.itemized.3"
COLUMNS = ("balance_transaction_id", "created", "currency", "fee", "net")
OLD_LAKE = Path(__file__).parent / "old_lake"
HOUR, TEN = 3600, 1714557600  # of 1 May 2024, UTC
DAY = 24 * HOUR
MIDNIGHT = TEN - 10 * HOUR


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


@pytest.fixture(params=STORES)
def root(request: pytest.FixtureRequest, tmp_path: Path, buckets: Buckets) -> str:
    """An empty root in each store."""
    return f"{shelf(request.param, uuid.uuid4().hex, tmp_path, buckets).url}/lake"


def finished(
    start: int | None,
    end: int | None,
    report_type: str = TYPE,
    hook: StripeReportingHook | None = None,
    **options: Any,
) -> ReportRun:
    options = {"columns": COLUMNS, **options}
    parameters = ReportParameters(interval_start=start, interval_end=end, **options)
    return (hook or StripeReportingHook()).create_report_run(report_type, parameters)


def destination(root: str, run: ReportRun, format: str = "csv") -> str:
    """Return where a report lands by default below a root."""
    bounds = {name: datetime.fromtimestamp(run.parameters[name], UTC) for name in BOUNDS if name in run.parameters}
    values = placeholders(run.report_type, run.parameters, bounds, stripe_account=None, report_run_id=run.id)
    return resolve_destination(f"{root}/", values, format, compressed=not is_csv(run))


def land(root: str, run: ReportRun, format: str = "csv", hook: StripeReportingHook | None = None) -> Landed:
    place = place_of(destination(root, run, format))
    return land_report(hook or StripeReportingHook(), run, place, format=format)


def files(root: str) -> set[str]:
    """Return the paths of all files below a root."""
    place = place_of(f"{root}/x")
    return {"/".join(it) for it in place.files_below(place.folders)}


def names(root: str) -> list[str]:
    return sorted(it.rpartition("/")[2] for it in files(root))


PLACES = [
    (
        "lake/report_type=x.1/interval_end=1/report.csv",
        "lake_manifests/report_type=x.1/interval_end=1/report-csv.json",
    ),
    ("lake/report_type=x.1/report.csv.gz", "lake_manifests/report_type=x.1/report-csv-gz.json"),
    ("lake/dt=2024-05-01/activity.parquet", "lake_manifests/dt=2024-05-01/activity-parquet.json"),
    ("lake/activity/2024-05-01.csv", "lake/activity_manifests/2024-05-01-csv.json"),
    ("lake/x", "lake_manifests/x.json"),
]
IN_BUCKETS = [
    ("report_type=x.1/report.csv", "_manifests/report_type=x.1/report-csv.json"),
    ("x.csv", "_manifests/x-csv.json"),
]


@pytest.mark.parametrize(("data", "note"), PLACES)
def test_manifests_lie_beside_the_root(tmp_path: Path, data: str, note: str) -> None:
    """It ends before the first folder with an =, and is the file's own folder where there is none."""
    assert manifest_of(place_of(f"{tmp_path}/{data}")).url == f"{tmp_path}/{note}"
    assert manifest_of(place_of(f"memory://bucket/{data}")).url == f"memory://bucket/{note}"


@pytest.mark.parametrize(("data", "note"), IN_BUCKETS)
def test_in_a_bucket_that_is_the_root_they_lie_below_it(data: str, note: str) -> None:
    """Nothing lies beside a bucket but other buckets."""
    assert manifest_of(place_of(f"memory://bucket/{data}")).url == f"memory://bucket/{note}"


@pytest.mark.parametrize("mounted", ["lake", "lake/env=prod"])
def test_manifests_stay_on_a_volume_that_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: str
) -> None:
    """What a container writes beside its volume is gone with the container."""
    real = os.path.ismount
    volume = str(tmp_path / mounted)
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == volume or real(path))
    note = manifest_of(place_of(f"{volume}/report_type=x.1/report.csv")).url
    assert note == f"{volume}/_manifests/report_type=x.1/report-csv.json"
    beside = manifest_of(place_of(f"{volume}/stripe/report_type=x.1/report.csv")).url
    assert beside == f"{volume}/stripe_manifests/report_type=x.1/report-csv.json"


def test_a_link_to_another_file_system_is_as_a_volume(tmp_path: Path) -> None:
    """What is beside the link is not on it."""
    volume = Path("/dev/shm")  # noqa: S108 - read, and not written
    if not volume.is_dir() or volume.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("There is no other file system")
    (tmp_path / "lake").symlink_to(volume)
    note = manifest_of(place_of(f"{tmp_path}/lake/report_type=x.1/report.csv")).url
    assert note == f"{volume}/_manifests/report_type=x.1/report-csv.json"


def test_what_is_no_manifest_is_not_moved(tmp_path: Path) -> None:
    """It is somebody's; the error says where it is."""
    note = tmp_path / "lake" / "_x.csv.manifest.json"
    note.parent.mkdir()
    note.write_text("mine")
    with pytest.raises(ManifestError, match=r"_x\.csv\.manifest\.json: This is no manifest"):
        land_report(StripeReportingHook(), finished(TEN, TEN + HOUR), place_of(f"{tmp_path}/lake/x.csv"))
    assert note.read_text() == "mine"


def test_manifests_lie_below_a_root_whose_parent_is_closed(
    tmp_path: Path, sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are found by who may write there, also when it is opened later."""
    root, real = tmp_path / "lake", os.access
    root.mkdir()
    run = finished(TEN, TEN + HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path) and real(path, mode))
        path = land(str(root), run).path
    note = root / "_manifests" / Path(path).relative_to(root).with_name("report-csv.json")
    assert note.exists()
    assert land(str(root), run).path == path
    assert len(sandbox.requests_to("contents")) == 1
    assert not note.exists()
    assert Path(manifest_of(place_of(path)).url).exists()


def test_a_file_where_the_manifests_would_be_is_an_error_before_a_run_is_created(
    sandbox: StripeSandbox, tmp_path: Path
) -> None:
    """As one where the data would be."""
    (tmp_path / "lake_manifests").touch()
    task = in_dag(StripeReportRunOperator, report_type="balance.summary.1", destination=f"{tmp_path}/lake/")
    tried = TaskRunner().run(task)
    assert tried.state == "failed"
    assert f"can't write into {tmp_path}/lake_manifests" in str(tried.error)
    assert sandbox.report_runs == []


def test_two_names_with_one_manifest_are_refused(tmp_path: Path) -> None:
    """There is a dot in the one and a dash in the other."""
    run, hook = finished(TEN, TEN + HOUR), StripeReportingHook()
    land_report(hook, run, place_of(f"{tmp_path}/lake/x.csv"))
    with pytest.raises(LandingConflictError, match=r"tells of x\.csv, where x-csv would have its own"):
        land_report(hook, run, place_of(f"{tmp_path}/lake/x-csv"))


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_but_data_lies_below_a_root(root: str, format: str) -> None:
    """Whatever is there is a row to some reader, under any name."""
    for hour in range(2):
        land(root, finished(TEN + hour * HOUR, TEN + (hour + 1) * HOUR), format)
    assert names(root) == [f"report.{format}"] * 2


def test_what_is_only_being_written_is_no_data_either(
    sandbox: StripeSandbox, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers may come while a report lands, and what a kill leaves stays for longer."""
    seen: list[list[str]] = []
    place = place_of(f"{root}/x")

    def locked(*_: Any) -> Any:
        seen.append(names(root))
        return nullcontext(False)

    monkeypatch.setattr(type(place), "locked", locked)
    land(root, finished(TEN, TEN + HOUR))
    assert seen[0] == []
    assert names(root) == ["report.csv"]


def test_what_stripe_compressed_is_called_a_zip(sandbox: StripeSandbox, root: str, tmp_path: Path) -> None:
    """It is no CSV."""
    (tmp_path / "zip").write_bytes(b"PK\3\4")
    sandbox.serve_file(tmp_path / "zip")
    land(root, compressed(finished(TEN, TEN + HOUR)))
    assert names(root) == ["report.zip"]


def compressed(run: ReportRun) -> ReportRun:
    return replace(run, parameters={**run.parameters, "compress_file": True})


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet"])
def test_a_zip_under_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """And a CSV under that of a zip; names without an ending of ours are the author's choice."""
    with pytest.raises(ConfigurationError, match=r"what lands there is zip: end it in \.zip"):
        resolve_destination(f"{tmp_path}/{name}", {}, compressed=True)
    with pytest.raises(ConfigurationError, match=r"has the name of zip, and what lands there is csv"):
        resolve_destination(f"{tmp_path}/x.zip", {})
    assert resolve_destination(f"{tmp_path}/x.zip", {}, compressed=True) == f"{tmp_path}/x.zip"
    assert resolve_destination(f"{tmp_path}/x", {}, compressed=True) == f"{tmp_path}/x"


def test_no_folder_is_called_as_a_column(sandbox: StripeSandbox) -> None:
    """Of any report: some readers refuse that, others show one of the two."""
    bounds = {name: datetime(2024, 5, 1, tzinfo=UTC) for name in BOUNDS}
    values = placeholders(TYPE, dict.fromkeys(FILTERS, "x"), bounds, stripe_account="acct_1")
    place = place_of(resolve_destination("memory://bucket/lake/", values))
    called = {it.partition("=")[0] for it in place.folders if "=" in it}
    assert len(called) == 2 + len(FILTERS) + 2
    columns = {name for it in StripeReportingHook().list_report_types() for name in it.default_columns}
    assert {"currency", "reporting_category"} <= columns
    assert not called & columns


# What the first version landed.


@pytest.fixture
def old_lake(root: str) -> str:
    """A folder of roots by format, in each store, in which the first version landed."""
    for path in OLD_LAKE.rglob("*"):
        if path.is_file():
            place_of(f"{root}/{path.relative_to(OLD_LAKE)}").write(path.read_bytes())
    return root


def told(old_lake: str, format: str) -> dict[str, Manifest]:
    """Return the manifests that the first version wrote below a root, by the data's place."""
    found = {}
    for path in (OLD_LAKE / format).rglob("_*"):
        manifest = Manifest.from_json(path.read_text())
        found[f"{old_lake}/{path.relative_to(OLD_LAKE).with_name(manifest.path)}"] = manifest
    return found


def as_told(manifest: Manifest) -> ReportRun:
    """Return the report run that a manifest tells of."""
    run = finished(manifest.parameters["interval_start"], manifest.parameters["interval_end"])
    assert run.result
    result = replace(run.result, id=manifest.file_id, size=manifest.file_size)
    return replace(run, id=manifest.report_run_id, parameters=manifest.parameters, result=result)


@pytest.mark.parametrize("format", [*FORMATS, "zip"])
def test_what_the_first_version_landed_is_found(sandbox: StripeSandbox, old_lake: str, format: str) -> None:
    """Where it lies and under its names; only the manifests move, out of the readers' way."""
    data = {it for it in files(f"{old_lake}/{format}") if "manifest" not in it}
    for url, manifest in told(old_lake, format).items():
        landed = land(f"{old_lake}/{format}", as_told(manifest), "csv" if format == "zip" else format)
        assert (landed.path, landed.manifest) == (url, manifest)
        assert Manifest.from_json(manifest_of(place_of(url)).read() or b"") == manifest
    assert sandbox.requests_to("contents") == []
    assert len(data) == len(told(old_lake, format))
    assert files(f"{old_lake}/{format}") == data


@pytest.mark.parametrize("format", FORMATS)
def test_what_the_first_version_landed_is_restated_in_its_place(
    sandbox: StripeSandbox, old_lake: str, tmp_path: Path, format: str
) -> None:
    """Other figures and one manifest that tells of them; a new interval lies in folders of the same names."""
    row = b'"txn_1","2024-05-01 10:00:00","usd","0.30","9.70"\n'
    (tmp_path / "source").write_bytes(b",".join(b'"%s"' % name.encode() for name in COLUMNS) + b"\n" + row)
    sandbox.serve_file(tmp_path / "source")
    root = f"{old_lake}/{format}"
    for url, manifest in told(old_lake, format).items():
        run = finished(*(manifest.parameters[it] for it in BOUNDS), currency=manifest.parameters.get("currency"))
        landed = land(root, run, format)
        assert landed.path == url
        assert (landed.manifest.rows, landed.manifest.report_run_id) == (1, run.id)
        assert manifest_of(place_of(url)).read() == landed.manifest.to_json().encode()
    new = land(root, finished(TEN + 5 * HOUR, TEN + 6 * HOUR, currency="eur"), format)
    assert "/currency=eur/interval_start=2024-05-01T150000Z/interval_end=2024-05-01T160000Z/" in new.path
    assert names(root) == [f"report.{format}"] * (len(told(old_lake, format)) + 1)


def test_figures_that_stayed_move_the_manifest_alone(
    sandbox: StripeSandbox, old_lake: str, tmp_path: Path
) -> None:
    """Of a newer report run with the same contents."""
    url, manifest = next(iter(told(old_lake, "csv").items()))
    (tmp_path / "source").write_bytes(place_of(url).read() or b"")
    sandbox.serve_file(tmp_path / "source")
    run = finished(*(manifest.parameters[it] for it in BOUNDS), currency=manifest.parameters.get("currency"))
    mark = place_of(url).mark()
    landed = land(f"{old_lake}/csv", run)
    assert (landed.path, landed.manifest.report_run_id) == (url, run.id)
    assert place_of(url).mark() == mark
    assert [it.read() for it in former_manifests_of(place_of(url)) if it.read()] == []


def test_a_manifest_that_a_kill_left_in_two_places_is_one_again(root: str) -> None:
    """The one where it belongs tells; the other is out of the readers' way."""
    run = finished(TEN, TEN + HOUR)
    landed = land(root, run)
    former = place_of(landed.path).beside("_report.csv.manifest.json")
    former.write(replace(landed.manifest, report_run_id="frr_former").to_json().encode())
    assert land(root, run) == landed
    assert former.read() is None


def test_a_manifest_that_an_earlier_version_wrote_later_counts(root: str) -> None:
    """Where workers of both land, what tells of the data that is there does; so no older run replaces it."""
    older, run = finished(TEN, TEN + HOUR), finished(TEN, TEN + HOUR)
    landed = land(root, older)
    newer = replace(
        landed.manifest, report_run_id="frr_newer", report_run_created="2100-01-01T00:00:00Z", file_id="file_newer"
    )
    place = place_of(landed.path)
    mark = place.write(b'"x"\n')
    digest = hashlib.sha256(b'"x"\n').hexdigest()
    written = replace(newer, size=4, sha256=digest, file_sha256=digest, etag=place.etag(mark))
    place.beside("_report.csv.manifest.json").write(written.to_json().encode())
    assert land(root, run).manifest == written
    assert place.read() == b'"x"\n'


@pytest.mark.parametrize("format", [*FORMATS, "zip"])
def test_the_manifests_of_a_lake_are_gathered_at_once(old_lake: str, format: str) -> None:
    """By the snippet in the docs: no task has to visit each interval for a reader of the whole root."""
    (snippet,) = (it for it in programs("docs/landing.md") if "gather_manifests" in it)
    assert snippet.count("s3://aws_default@lake/stripe/") == 1
    program = snippet.replace("s3://aws_default@lake/stripe/", f"{old_lake}/{format}/")
    manifests = told(old_lake, format)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - our own page
    assert names["moved"] == len(manifests) > 0
    assert files(f"{old_lake}/{format}") == {it.removeprefix(f"{old_lake}/{format}/") for it in manifests}
    for url, manifest in manifests.items():
        assert Manifest.from_json(manifest_of(place_of(url)).read() or b"") == manifest
    assert gather_manifests(f"{old_lake}/{format}") == 0


def test_what_is_no_manifest_of_ours_keeps_no_other_from_moving(old_lake: str) -> None:
    """It stays, and the error says where."""
    notes = {it for it in files(old_lake) if it.endswith(".manifest.json")}
    first = place_of(f"{old_lake}/{min(notes)}")
    first.write(b"mine")
    with pytest.raises(ManifestError, match=rf"^{len(notes) - 1} manifests were moved\. .*: This is no manifest"):
        gather_manifests(old_lake)
    assert first.read() == b"mine"
    assert [it for it in files(old_lake) if it.endswith(".manifest.json")] == [min(notes)]


@pytest.mark.parametrize(
    ("root", "error"),
    [
        ("lake/", "is relative"),
        ("s3://key:secret@lake/stripe/", "credentials belong into an Airflow connection"),
        ("s3://", "is relative"),
        ("ftp://host/lake/", "published at once"),
        ("/lake/{currency}/", "has the placeholder {currency}"),
    ],
)
def test_manifests_are_gathered_below_a_root_alone(root: str, error: str) -> None:
    """Anything else is refused as a destination is."""
    with pytest.raises(ConfigurationError, match=error):
        gather_manifests(root)


def test_another_report_in_an_old_place_is_still_refused(old_lake: str) -> None:
    """By the manifest that is beside the data."""
    url, _ = next(iter(told(old_lake, "csv").items()))
    other = finished(TEN + 7 * HOUR, TEN + 8 * HOUR)
    with pytest.raises(LandingConflictError, match=r"report-csv\.json says that another report"):
        land_report(StripeReportingHook(), other, place_of(url))


# What is landed already, and would count twice.

Span = tuple[int, int, Mapping[str, Any]]

OVERLAPPING: dict[str, tuple[list[Span], Span]] = {
    "days of Berlin beside those of UTC": (
        [(MIDNIGHT, MIDNIGHT + DAY, {}), (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY, {})],
        (MIDNIGHT + 22 * HOUR, MIDNIGHT + 46 * HOUR, {}),
    ),
    "one that begins before": ([(MIDNIGHT, MIDNIGHT + DAY, {})], (TEN, MIDNIGHT + 2 * DAY, {})),
    "one that begins later": ([(TEN, TEN + DAY, {})], (MIDNIGHT, MIDNIGHT + DAY, {})),
    "more over its parts": (
        [(MIDNIGHT + n * DAY, MIDNIGHT + (n + 1) * DAY, {}) for n in range(7)],
        (MIDNIGHT, MIDNIGHT + 31 * DAY, {}),
    ),
    "a part of more": ([(MIDNIGHT, MIDNIGHT + 31 * DAY, {})], (MIDNIGHT + 9 * DAY, MIDNIGHT + 10 * DAY, {})),
    "the same start": ([(MIDNIGHT, MIDNIGHT + DAY, {})], (MIDNIGHT, MIDNIGHT + HOUR, {})),
    "all beside a filter": ([(MIDNIGHT, MIDNIGHT + DAY, {"currency": "usd"})], (MIDNIGHT, MIDNIGHT + DAY, {})),
    "a filter beside all": ([(MIDNIGHT, MIDNIGHT + DAY, {})], (MIDNIGHT, MIDNIGHT + DAY, {"currency": "usd"})),
    "a filter beside another": (
        [(MIDNIGHT, MIDNIGHT + DAY, {"reporting_category": "charge"})],
        (MIDNIGHT, MIDNIGHT + DAY, {"currency": "usd"}),
    ),
}
APART: dict[str, tuple[list[Span], Span]] = {
    "before and behind": (
        [(MIDNIGHT, MIDNIGHT + DAY, {}), (MIDNIGHT + 2 * DAY, MIDNIGHT + 3 * DAY, {})],
        (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY, {}),
    ),
    "other currencies": (
        [(MIDNIGHT, MIDNIGHT + DAY, {"currency": "usd"})],
        (MIDNIGHT, MIDNIGHT + DAY, {"currency": "eur"}),
    ),
}


def landed_spans(root: str, spans: list[Span]) -> None:
    for start, end, filters in spans:
        land(root, finished(start, end, **filters))


@pytest.mark.parametrize("case", OVERLAPPING)
def test_what_would_count_twice_is_refused(sandbox: StripeSandbox, root: str, case: str) -> None:
    """As in a table; nothing is transferred, and the error names what is there and the ways out."""
    there, (start, end, filters) = OVERLAPPING[case]
    landed_spans(root, there)
    sent = len(sandbox.requests_to("contents"))
    with pytest.raises(LandingConflictError) as caught:
        land(root, finished(start, end, **filters))
    assert len(sandbox.requests_to("contents")) == sent
    assert "would count the same twice" in str(caught.value)
    assert "land it below another root" in str(caught.value)
    assert str(caught.value).count("report_type=") == min(len(there), 5) + 1
    assert ("and more" in str(caught.value)) == (len(there) > 5)


@pytest.mark.parametrize("case", APART)
def test_what_is_apart_lands(root: str, case: str) -> None:
    """Beside each other, whichever came first."""
    there, (start, end, filters) = APART[case]
    landed_spans(root, there)
    land(root, finished(start, end, **filters))


def test_another_version_of_what_is_landed_is_refused(root: str) -> None:
    """It has a folder of its own, and a reader of the root counts both."""
    run = finished(TEN, TEN + HOUR)
    land(root, run)
    with pytest.raises(LandingConflictError, match=r"report_type=balance_change_from_activity\.itemized\.3/"):
        land(root, replace(run, report_type=f"{TYPE[:-1]}4"))
    later = finished(TEN + HOUR, TEN + 2 * HOUR)
    land(root, replace(later, report_type=f"{TYPE[:-1]}4"))


def test_the_run_operator_creates_no_run_for_what_would_count_twice(sandbox: StripeSandbox, root: str) -> None:
    """Found before Stripe is asked for anything."""
    landed_spans(root, [(MIDNIGHT, MIDNIGHT + DAY, {})])
    count = len(sandbox.report_runs)
    options: Any = {"report_type": TYPE, "interval_start": MIDNIGHT + HOUR, "interval_end": MIDNIGHT + 2 * DAY}
    tried = TaskRunner().run(in_dag(StripeReportRunOperator, destination=f"{root}/", **options))
    assert tried.state == "failed"
    assert "from 2024-05-01T00:00:00Z to 2024-05-02T00:00:00Z" in str(tried.error)
    assert len(sandbox.report_runs) == count


def test_what_lands_while_a_report_is_downloaded_is_seen_before_it_is_published(
    sandbox: StripeSandbox, root: str
) -> None:
    """The later one of the two is refused, and leaves nothing."""
    mine, other = finished(MIDNIGHT, MIDNIGHT + DAY), finished(TEN, TEN + HOUR)

    class Hook(StripeReportingHook):
        def read_file(self, file: Any, consume: Any) -> Any:
            def chunks(real: Iterator[bytes]) -> Iterator[bytes]:
                yield from real
                land(root, other)

            return super().read_file(file, lambda real: consume(chunks(real)))

    with pytest.raises(LandingConflictError, match="from 2024-05-01T10:00:00Z to 2024-05-01T11:00:00Z"):
        land(root, mine, hook=Hook())
    assert place_of(destination(root, mine)).read() is None
    assert place_of(destination(root, other)).read() is not None


def test_folders_in_which_nothing_is_landed_do_not_count(root: str, tmp_path: Path) -> None:
    """Of what was removed by hand, and of what was begun; the one before them is looked at."""
    long, removed = finished(MIDNIGHT, MIDNIGHT + 10 * DAY), finished(MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)
    path = land(root, removed).path
    place_of(path).remove()
    land(root, finished(MIDNIGHT + DAY, MIDNIGHT + DAY + HOUR))
    if root.startswith("/"):
        assert Path(path).parent.is_dir()
        (Path(path).parent / ".part").touch()
    land(root, finished(MIDNIGHT + 2 * DAY, MIDNIGHT + 3 * DAY))
    with pytest.raises(LandingConflictError):
        land(root, long)


def test_a_manifest_whose_data_is_gone_lets_nothing_count_twice(root: str) -> None:
    """Its folder was removed, as the error says; the manifest that stayed behind says nothing of neighbours."""
    day = finished(MIDNIGHT, MIDNIGHT + DAY)
    place = place_of(land(root, day).path)
    later = finished(MIDNIGHT + HOUR, MIDNIGHT + HOUR + DAY)
    with pytest.raises(LandingConflictError, match=r"those of the same names below \S+_manifests, if"):
        land(root, later)
    place.remove()
    land(root, later)
    subject = Subject.of(TYPE, day.parameters, livemode=False, stripe_account=None)
    with pytest.raises(LandingConflictError):
        require_free(place, subject)
    with pytest.raises(LandingConflictError):
        land(root, day)
    assert len(names(root)) == 1


@pytest.mark.parametrize(("format", "other"), [("csv", "csv.gz"), ("csv.gz", "csv")])
def test_one_interval_is_landed_in_one_form_of_csv(root: str, format: str, other: str) -> None:
    """Readers of the one read the other, too; Parquet has calls of its own."""
    run = finished(TEN, TEN + HOUR)
    path = land(root, run, format).path
    with pytest.raises(LandingConflictError, match=f"report\\.{format} has the same rows"):
        land(root, run, other)
    land(root, run, "parquet")
    place_of(path).remove()
    land(root, run, other)


def test_landings_that_overlap_and_meet_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have found nothing before their downloads; the lock is on what they share."""
    runs = [finished(MIDNIGHT + it * HOUR, MIDNIGHT + it * HOUR + DAY) for it in range(4)]
    meet = threading.Barrier(len(runs), timeout=20)
    real = report._write

    def write(*args: Any) -> Any:
        facts = real(*args)
        meet.wait()
        return facts

    monkeypatch.setattr(report, "_write", write)

    def outcome(run: ReportRun) -> str:
        try:
            return land(str(tmp_path), run).manifest.report_run_id
        except LandingConflictError:
            return "refused"

    with ThreadPoolExecutor(len(runs)) as pool:
        outcomes = list(pool.map(outcome, runs))
    assert sorted(outcomes).count("refused") == len(runs) - 1
    assert names(str(tmp_path)) == ["report.csv"]


def test_a_link_to_a_lake_is_the_lake(tmp_path: Path) -> None:
    """What is landed by one name is found by the other, and its manifest is one."""
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "v1")
    run = finished(TEN, TEN + HOUR)
    landed = land(f"{tmp_path}/current", run)
    assert land(f"{tmp_path}/v1", run).manifest == landed.manifest
    assert (tmp_path / "v1_manifests").is_dir()


def test_folders_above_a_root_may_have_an_equals_sign(tmp_path: Path) -> None:
    """The root ends before the last of such folders, without a break."""
    place = place_of(f"{tmp_path}/env=prod/lake/report_type=x.1/report.csv")
    assert manifest_of(place).url == f"{tmp_path}/env=prod/lake_manifests/report_type=x.1/report-csv.json"


def test_what_somebody_has_edited_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Before the report takes its place again."""
    run = finished(TEN, TEN + HOUR)
    path = land(str(tmp_path), run).path
    Path(path).write_bytes(b"edited")
    land(str(tmp_path), run)
    assert f"{path} is not what its manifest tells of" in caplog.text


def test_what_is_landed_with_its_neighbours_is_restated(root: str) -> None:
    """What the first version let land is not stopped now: nothing would be counted more often."""
    landed_spans(root, [(MIDNIGHT, MIDNIGHT + DAY, {})])
    run = finished(TEN, TEN + HOUR)
    path = destination(root, run)
    place, copy = place_of(land(f"{root}-apart", run).path), place_of(path)
    for source, target in ((place, copy), (manifest_of(place), manifest_of(copy))):
        target.write(source.read() or b"")
    assert land(root, finished(TEN, TEN + HOUR)).path == path


@pytest.fixture
def live(sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> StripeReportingHook:
    """A hook with a key for live data."""
    sandbox.add_key("sk_live_sandbox")
    connection = {"conn_type": "stripe", "host": sandbox.url, "password": "sk_live_sandbox"}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_LIVE", json.dumps(connection))
    return StripeReportingHook("stripe_live")


FIRST_DAY, SECOND_DAY = (MIDNIGHT, MIDNIGHT + DAY), (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)
BALANCE: Any = {"report_type": "ending_balance_reconciliation.itemized.4", "columns": ()}
MODES: dict[str, tuple[tuple[Any, Any, dict[str, Any]], tuple[Any, Any, dict[str, Any]]]] = {
    "the day after": ((*FIRST_DAY, {}), (*SECOND_DAY, {})),
    "the day before": ((*SECOND_DAY, {}), (*FIRST_DAY, {})),
    "what overlaps": ((*FIRST_DAY, {}), (MIDNIGHT, MIDNIGHT + HOUR, {})),
    "beside a filter": ((*SECOND_DAY, {"currency": "usd"}), (*FIRST_DAY, {})),
    "with a filter": ((*FIRST_DAY, {}), (*SECOND_DAY, {"currency": "usd"})),
    "with another filter": ((*FIRST_DAY, {"currency": "usd"}), (*SECOND_DAY, {"currency": "eur"})),
    "at another instant": ((None, FIRST_DAY[1], BALANCE), (None, SECOND_DAY[1], BALANCE)),
}


@pytest.mark.parametrize("case", MODES)
def test_test_data_and_live_data_share_no_root(root: str, live: StripeReportingHook, case: str) -> None:
    """Whoever reads the folder would add them up, whatever the intervals and the filters are."""
    test, real = (
        finished(start, end, hook=hook, **options)
        for (start, end, options), hook in zip(MODES[case], (None, live), strict=True)
    )
    land(root, test)
    with pytest.raises(LandingConflictError) as caught:
        land(root, real, hook=live)
    assert f"{root}/ has test data (report run {test.id}), and " in str(caught.value)
    assert str(caught.value).endswith(" is of live data: land it below another root.")
    assert names(root) == ["report.csv"]
    land(f"{root}-live", real, hook=live)
    with pytest.raises(LandingConflictError, match=rf"has live data \(report run {real.id}\)"):
        land(f"{root}-live", test)


def test_another_version_and_another_format_are_of_the_same_mode(root: str, live: StripeReportingHook) -> None:
    """They are the same report, and lie below the same root."""
    land(root, finished(*FIRST_DAY))
    later, same = (finished(*days, hook=live) for days in (SECOND_DAY, FIRST_DAY))
    for run, format in ((replace(later, report_type=f"{TYPE[:-1]}4"), "csv"), (same, "parquet")):
        with pytest.raises(LandingConflictError, match="has test data"):
            land(root, run, format, hook=live)


def test_the_run_operator_creates_no_run_for_data_of_another_mode(
    sandbox: StripeSandbox, root: str, live: StripeReportingHook
) -> None:
    """Neither beside what is landed nor in its place: the key says what it is for."""
    land(root, finished(*FIRST_DAY))
    for start, end in (SECOND_DAY, FIRST_DAY):
        options: Any = {"report_type": TYPE, "interval_start": start, "interval_end": end, "columns": COLUMNS}
        task = in_dag(
            StripeReportRunOperator, destination=f"{root}/", stripe_conn_id=live.stripe_conn_id, **options
        )
        tried = TaskRunner().run(task)
        assert tried.state == "failed"
        assert "another root" in str(tried.error) or "another destination" in str(tried.error)
    assert len(sandbox.report_runs) == 1


def test_a_key_that_does_not_tell_its_mode_is_found_out_before_anything_is_published(
    sandbox: StripeSandbox, root: str, live: StripeReportingHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an organization's may: the report run says it, and what such a key had landed is restated."""
    land(root, finished(*FIRST_DAY))
    land(f"{root}-live", finished(*FIRST_DAY, hook=live), hook=live)
    monkeypatch.setattr(type(live.settings), "livemode", None)
    for start, end in (SECOND_DAY, FIRST_DAY):
        for below, state in ((root, "failed"), (f"{root}-live", "success")):
            options: Any = {"report_type": TYPE, "interval_start": start, "interval_end": end, "columns": COLUMNS}
            task = in_dag(
                StripeReportRunOperator, destination=f"{below}/", stripe_conn_id="stripe_live", **options
            )
            tried = TaskRunner().run(task)
            assert tried.state == state, tried.error
    assert (len(names(root)), len(names(f"{root}-live"))) == (1, 2)


def test_what_was_mixed_before_is_restated(root: str, live: StripeReportingHook) -> None:
    """What an earlier version let land is replaced as it is, each mode in its places."""
    land(root, finished(*FIRST_DAY))
    run = finished(*SECOND_DAY, hook=live)
    place, copy = place_of(land(f"{root}-live", run, hook=live).path), place_of(destination(root, run))
    for source, target in ((place, copy), (manifest_of(place), manifest_of(copy))):
        target.write(source.read() or b"")
    again = finished(*SECOND_DAY, hook=live)
    assert land(root, again, hook=live).manifest.report_run_id == again.id


def test_another_account_may_be_of_another_mode(root: str, live: StripeReportingHook) -> None:
    """Its folders say whose its rows are."""
    land(root, finished(*FIRST_DAY))
    hook = StripeReportingHook("stripe_live", stripe_account="acct_shop")
    run = finished(*SECOND_DAY, hook=hook)
    bounds = {name: datetime.fromtimestamp(run.parameters[name], UTC) for name in BOUNDS}
    values = placeholders(TYPE, run.parameters, bounds, stripe_account="acct_shop", report_run_id=run.id)
    land_report(hook, run, place_of(resolve_destination(f"{root}/", values)))
    with pytest.raises(LandingConflictError, match="has test data"):
        land(root, finished(*SECOND_DAY, hook=live), hook=live)


def test_the_mode_of_files_without_manifests_is_not_known(root: str, live: StripeReportingHook) -> None:
    """What tells of them went with them; so that they are asked about few times, and stop nobody."""
    landed = [land(root, finished(MIDNIGHT + it * HOUR, MIDNIGHT + (it + 1) * HOUR)) for it in range(2)]
    manifest_of(place_of(landed[1].path)).remove()
    run = finished(*SECOND_DAY, hook=live)
    with pytest.raises(LandingConflictError, match=landed[0].manifest.report_run_id):
        land(root, run, hook=live)
    manifest_of(place_of(landed[0].path)).write(b"mine")
    land(root, run, hook=live)


LOOKS = {
    "after the others": (TEN, ["list_objects_v2"] * 3 + ["get_object"]),
    "before the others": (TEN - 99 * HOUR, ["list_objects_v2"] * 3 + ["get_object"]),
    "alone": (None, ["list_objects_v2"] * 2),  # s3fs looks twice whether a folder is there
}


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize("case", LOOKS)
def test_a_look_beside_takes_four_requests(s3: S3, monkeypatch: pytest.MonkeyPatch, case: str, count: int) -> None:
    """For the types, for the starts, of which a thousand come at once, for the last before, and its manifest."""
    root = f"{uuid.uuid4().hex}/lake"
    start, expected = LOOKS[case]
    run = finished(start or TEN, (start or TEN) + HOUR)
    place = place_of(destination(s3.destination(root), run))
    note = land(s3.destination(f"{root}-other"), run).manifest.to_json().encode()
    for hour in range(count if start else 0):
        begins, ends = (datetime.fromtimestamp(TEN - (hour + it) * HOUR, UTC) for it in (1, 0))
        folders = layout({"report_type": TYPE, "interval_start": begins, "interval_end": ends})
        for key, body in (("lake/", b"x"), ("lake_manifests/", note)):
            name = "report.csv" if body == b"x" else "report-csv.json"
            key = "/".join([root.replace("/lake", f"/{key}").rstrip("/"), *folders, name])
            s3.client.put_object(Bucket=s3.bucket, Key=key, Body=body)
    asked = []
    fs = importlib.import_module("s3fs").S3FileSystem
    real = fs._call_s3

    async def counting(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(method)
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(fs, "_call_s3", counting)
    subject = Subject.of(TYPE, run.parameters, livemode=False, stripe_account=None)
    require_apart(place, subject)
    assert asked == expected


def test_accounts_are_apart(root: str) -> None:
    """Each in its folder, the key's own in none."""
    own, hook = finished(TEN, TEN + HOUR), StripeReportingHook(stripe_account="acct_shop")
    land(root, own)
    parameters = ReportParameters(interval_start=TEN, interval_end=TEN + 2 * HOUR, columns=COLUMNS)
    run = hook.create_report_run(TYPE, parameters)
    bounds = {name: datetime.fromtimestamp(run.parameters[name], UTC) for name in BOUNDS}
    values = placeholders(TYPE, run.parameters, bounds, stripe_account="acct_shop", report_run_id=run.id)
    landed = land_report(hook, run, place_of(resolve_destination(f"{root}/", values)))
    assert "/stripe_account=acct_shop/" in landed.path
    later = hook.create_report_run(TYPE, replace(parameters, interval_start=TEN + HOUR))
    values["interval_start"] = datetime.fromtimestamp(TEN + HOUR, UTC)
    with pytest.raises(LandingConflictError, match="of acct_shop"):
        land_report(hook, later, place_of(resolve_destination(f"{root}/", values)))


def test_a_root_that_may_not_be_listed_says_so(
    s3: S3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And lands: nobody is stopped by what can't be seen."""
    root = s3.destination(f"{uuid.uuid4().hex}/lake")
    run = finished(TEN, TEN + HOUR)

    async def refused(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(importlib.import_module("s3fs").S3FileSystem, "_lsdir", refused)
    land(root, run)
    assert "what overlaps it is not looked for" in caplog.text

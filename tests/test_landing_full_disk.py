"""A disk that fills up while a report lands: a clear error, and the old report whole."""

from __future__ import annotations

import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.errors import DownloadError, StoreError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from airflow_reportrun.wire import downloads

TYPE = "balance_change_from_activity.itemized.3"
T = TypeVar("T")


def finished(**options: object) -> ReportRun:
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714780800, **options)  # type: ignore[arg-type]
    return StripeReportingHook().create_report_run(TYPE, parameters)


@pytest.fixture(autouse=True)
def small_chunks(stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "CHUNK_SIZE", 10_000)
    stripe_conn.configure(transition=AtOnce())


class DuringHook(StripeReportingHook):
    """Lets something happen after a download's first chunk."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    def read_file(self, file: Any, consume: Callable[[Iterator[bytes]], T]) -> T:
        """Download, and let it happen."""

        def chunks(real: Iterator[bytes]) -> Iterator[bytes]:
            yield next(real)
            self._happens()
            yield from real

        return super().read_file(file, lambda real: consume(chunks(real)))


@contextmanager
def disk_of(size: str, folder: Path) -> Iterator[Path]:
    """Make a folder a file system of this size, where the tests may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"mount: {error}")
    if done.returncode:
        pytest.skip(done.stderr)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607 - where a mount is, so is this


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    with disk_of("256k", tmp_path / "disk") as folder:
        yield folder


def land_before(path: Path, format: str) -> dict[str, bytes]:
    """Land a small report, and return the files that are there."""
    before = finished(columns=("balance_transaction_id", "net"))
    land_report(StripeReportingHook(), before, place_of(str(path)), format=format)
    return contents(path.parent)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


@pytest.mark.parametrize("format", FORMATS)
def test_a_disk_that_others_fill_meanwhile_keeps_the_old_report(small_disk: Path, format: str) -> None:
    """The error says so; with room again the new report lands."""
    path, filler = small_disk / f"report.{format}", small_disk / "filler"
    old, run = land_before(path, format), finished()

    def fill() -> None:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    with pytest.raises(StoreError, match="No space left on device") as caught:
        land_report(DuringHook(fill), run, place_of(str(path)), format=format)
    assert caught.value.is_transient
    filler.unlink()
    assert contents(small_disk) == old
    landed = land_report(StripeReportingHook(), run, place_of(str(path)), format=format)
    assert landed.manifest.report_run_id == run.id
    assert sorted(contents(small_disk)) == sorted(old)


def test_a_report_that_has_no_room_from_the_start_is_not_downloaded(
    small_disk: Path, stripe_conn: StripeSandbox
) -> None:
    """Nor is what is there touched."""
    old, run = land_before(small_disk / "report.csv", "csv"), finished()
    (small_disk / "filler").write_bytes(bytes(200_000))
    before = len(stripe_conn.requests_to("contents"))
    with pytest.raises(DownloadError, match="has room for"):
        land_report(StripeReportingHook(), run, place_of(str(small_disk / "report.csv")))
    assert len(stripe_conn.requests_to("contents")) == before
    (small_disk / "filler").unlink()
    assert contents(small_disk) == old


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may have more than 8 KiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("format", FORMATS)
def test_a_quota_keeps_the_old_report(tmp_path: Path, format: str, request: pytest.FixtureRequest) -> None:
    """A limit that no look at the disk shows."""
    path = tmp_path / "there" / f"report.{format}"
    old, run = land_before(path, format), finished()
    request.getfixturevalue("small_files")
    with pytest.raises(StoreError, match="File too large"):
        land_report(StripeReportingHook(), run, place_of(str(path)), format=format)
    assert contents(path.parent) == old

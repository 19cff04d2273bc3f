from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.landing.destination import LATER, resolve_destination
from airflow_reportrun.landing.stores.local import LocalFile
from airflow_reportrun.reporting.errors import ConfigurationError

VALUES = {
    "report_type": "balance.summary.1",
    "interval_start": datetime(2024, 5, 1, tzinfo=UTC),
    "report_run_id": LATER,
}


def land(chunks: Iterable[bytes], path: Path) -> None:
    with LocalFile(path).replaced() as new:
        for chunk in chunks:
            new.file.write(chunk)
        new.publish()


@given(chunks=st.lists(st.binary(max_size=50), max_size=20))
def test_what_lands_is_what_arrived(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]) -> None:
    """However the bytes were cut, none at all included; and the file can be recognised."""
    path = tmp_path_factory.mktemp("landing") / "x.csv"
    whole = b"".join(chunks)
    land(chunks, path)
    assert LocalFile(path).read() == whole
    digest = hashlib.sha256(whole).hexdigest()
    assert LocalFile(path).has(len(whole), digest, None)
    assert not LocalFile(path).has(len(whole) + 1, digest, None)
    assert not LocalFile(path).has(len(whole), hashlib.sha256(whole + b"x").hexdigest(), None)


def test_only_the_owner_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    """A financial report is nobody else's business."""
    before = os.umask(0)
    try:
        land([b"a"], tmp_path / "x.csv")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.csv").stat().st_mode) == 0o600


def test_what_turns_out_to_be_unwanted_is_dropped(tmp_path: Path) -> None:
    """As where the same contents are there already."""
    path = tmp_path / "x.csv"
    path.write_text("before")
    with LocalFile(path).replaced() as new:
        new.file.write(b"after")
        new.finish()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    """The old file is whole until the new one is."""
    path = tmp_path / "x.csv"
    path.write_text("before")

    def chunks() -> Iterator[bytes]:
        yield b"af"
        assert path.read_text() == "before"
        yield b"ter"
        assert path.read_text() == "before"

    land(chunks(), path)
    assert path.read_text() == "after"


def test_a_source_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    """A cut connection is an error of the source, and passes through as it is."""

    def chunks() -> Iterator[bytes]:
        yield b"af"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        land(chunks(), tmp_path / "new" / "x.csv")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_can_not_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network file systems may refuse it, and the file is in place by then."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    land([b"a"], tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_bytes() == b"a"


def test_what_a_killed_task_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Of the same file; of others it is their own tasks' business."""
    path = tmp_path / "x.csv"
    killed = """
import os, signal, sys
from pathlib import Path
from airflow_reportrun.landing.stores.local import LocalFile

with LocalFile(Path(sys.argv[1])).replaced() as new:
    new.file.write(b"part")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for name in ("x.csv", "x.csv", "y.csv"):
        done = subprocess.run([sys.executable, "-c", killed, str(tmp_path / name)])
        assert done.returncode == -signal.SIGKILL
        if name == "x.csv":
            assert len(list(tmp_path.iterdir())) == 1
    (of_x, of_y) = sorted(tmp_path.iterdir(), key=lambda part: part.stat().st_ctime_ns)
    land([b"a"], path)
    assert set(tmp_path.iterdir()) == {path, of_y}
    assert not of_x.exists()


def test_two_writers_of_the_same_file_do_no_harm_to_each_other(tmp_path: Path) -> None:
    """Each file is whole when it is in place, and the last one stays."""
    path = tmp_path / "x.csv"

    def chunks() -> Iterator[bytes]:
        yield b"first"
        land([b"second"], path)
        assert path.read_bytes() == b"second"
        yield b" and last"

    land(chunks(), path)
    assert path.read_bytes() == b"first and last"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_taken_for_dead_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another task may look in the instant between the two."""
    real, path = fcntl.flock, tmp_path / "x.csv"

    def flock(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        land([b"other"], path)
        assert list(tmp_path.iterdir()) == [path]
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    land([b"a"], path)
    assert path.read_bytes() == b"a"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left there stays, since nobody can tell whether its writer lives."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    def chunks() -> Iterator[bytes]:
        yield b"first"
        land([b"second"], tmp_path / "x.csv")
        yield b" and last"

    monkeypatch.setattr(fcntl, "flock", flock)
    land(chunks(), tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_bytes() == b"first and last"


def test_long_names_fit(tmp_path: Path) -> None:
    """The temporary name must not be the one that is too long."""
    path = tmp_path / ("x" * 255)
    land([b"a"], path)
    assert path.read_bytes() == b"a"


def test_fills_in_placeholders(tmp_path: Path) -> None:
    """With datetime's own formats; doubled braces stand for themselves."""
    path = resolve_destination(tmp_path / "{report_type}" / "{{x}}" / "{interval_start:%Y-%m}.csv", VALUES)
    assert path == str(tmp_path / "balance.summary.1" / "{x}" / "2024-05.csv")


def test_formats_are_those_of_datetime(tmp_path: Path) -> None:
    """Pendulum's own would give another name in the one operator than in the other."""
    values = {"interval_start": pendulum.datetime(2024, 5, 1, tz="Europe/Berlin")}
    path = resolve_destination(str(tmp_path / "{interval_start:YYYY-%m %z}"), values)
    assert Path(path).name == "YYYY-05 +0200"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "/data/{interval_begin}.csv",
            "destination '/data/{interval_begin}.csv' has the placeholder {interval_begin}; known here are "
            "{report_type}, {interval_start}, {report_run_id}.",
        ),
        ("/data/{}.csv", "placeholder {}"),
        ("/data/{report_type.upper}.csv", "placeholder {report_type.upper}"),
        ("/data/{report_type", "destination '/data/{report_type': "),
        ("/data/{report_type:d}.csv", "Unknown format code"),
        ("/data/{report_type:>9999999999}.csv", "a width beyond all"),
        ("/data/{report_type:>{report_type}}.csv", "a placeholder of its own"),
        ("/data/{report_run_id:.8}.csv", "{report_run_id} takes no format"),
        ("/data/{report_run_id!r}.csv", "{report_run_id} takes no format"),
        ("", "is relative"),
        ("report.csv", "is relative"),
        ("/dev", "is a folder; end it with / for the default layout"),
        ("/data/../etc/x.csv", "no '..'"),
        ("/data/a\nb.csv", "no control characters"),
        ("/data/\ud800/", "half a character"),
        ("/data/\ud800.csv", "half a character"),
        ("s3://secret:words@bucket/x.csv", "credentials belong into an Airflow connection"),
        ("s3://@bucket/x.csv", "the id of the connection before the @ is empty"),
        ("sftp://host/x.csv", "a report is published at once, which can be done on local paths and on s3://"),
        ("gs://bucket/x.csv", "The scheme needs its provider"),
        ("abfss://box@books.dfs.core.windows.net/a/x.csv", "behind it: abfss://CONNECTION@CONTAINER/…"),
        ("abfs://books.dfs.core.windows.net/a/", "behind it: abfs://CONNECTION@CONTAINER/…"),
        ("memory://bucket", "names no object"),
        ("file://data/x.csv", "three slashes"),
        ("/data/{interval_start:{x}}.csv", "placeholders are"),
        ("/dev/null/x.csv", "can't write into /dev/null"),
        ("/" + 300 * "x", "File name too long"),
    ],
)
def test_refuses_a_destination_that_can_not_be_a_file(template: str, message: str) -> None:
    """The error names what was wrong and what is known."""
    with pytest.raises(ConfigurationError) as caught:
        resolve_destination(template, VALUES)
    assert message in str(caught.value)
    assert str(caught.value).count("destination") == 1


def test_refuses_a_value_that_would_be_a_folder() -> None:
    """Whatever was passed on to Stripe as a filter."""
    with pytest.raises(ConfigurationError, match="reporting_category 'a/b' has a /"):
        resolve_destination("/data/", {**VALUES, "reporting_category": "a/b"})

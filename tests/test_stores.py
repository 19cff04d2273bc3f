"""Uploads to object stores: seen whole or not at all, refused in clear words, and without a secret in them."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.report import Landed, land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.stores.objects import UPLOAD_SIZE
from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.reporting.errors import DownloadError, StoreError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.azure import KEY
from tests.killable import gs_step
from tests.shelves import STORES, Buckets, Shelf, manifest_name, require_landed, shelf
from tests.task_runner import TaskRunner, in_dag

T = TypeVar("T")
OBJECT_STORES = [it for it in STORES if it not in ("local", "memory")]
TYPE = "balance_change_from_activity.itemized.3"
COLUMNS = ("balance_transaction_id", "description", "net")
ROW = b'"txn_1","%s","9.70"\n' % (b"x" * 1000)


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


@pytest.fixture
def there(store: str, tmp_path: Path, buckets: Buckets) -> Shelf:
    return shelf(store, uuid.uuid4().hex, tmp_path, buckets)


def finished(*columns: str) -> ReportRun:
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714780800, columns=columns)
    return StripeReportingHook().create_report_run(TYPE, parameters)


def land(run: ReportRun, there: Shelf, name: str, hook: StripeReportingHook | None = None) -> Landed:
    place = place_of(there.destination(name))
    return land_report(hook or StripeReportingHook(), run, place, format=name.partition(".")[2])


class WatchingHook(StripeReportingHook):
    """Lets somebody look at each chunk that passes."""

    def __init__(self, look: Callable[[int], None]) -> None:
        super().__init__()
        self.resend_policy = ResendPolicy(max_tries=1)
        self._look = look

    def read_file(self, file: Any, consume: Callable[[Iterator[bytes]], T]) -> T:
        """Download, and let somebody look."""

        def chunks(real: Iterator[bytes]) -> Iterator[bytes]:
            size = 0
            for chunk in real:
                size += len(chunk)
                yield chunk
                self._look(size)

        return super().read_file(file, lambda real: consume(chunks(real)))


@pytest.fixture
def large(sandbox: StripeSandbox, tmp_path: Path) -> bytes:
    """The contents of a report of several parts."""
    header = b",".join(b'"%s"' % name.encode() for name in COLUMNS) + b"\n"
    contents = header + ROW * (5 * UPLOAD_SIZE // 2 // len(ROW))
    (tmp_path / "source").write_bytes(contents)
    sandbox.serve_file(tmp_path / "source")
    return contents


@pytest.mark.parametrize("store", OBJECT_STORES)
def test_a_report_of_several_parts_is_seen_at_its_end(there: Shelf, large: bytes) -> None:
    """First nothing, then the whole; and when it is landed again, nothing is transferred."""
    seen = set()
    run = finished(*COLUMNS)
    landed = land(run, there, "report.csv", WatchingHook(lambda size: seen.add(bool(there.contents()))))
    assert seen == {False}
    require_landed(there.contents(), "report.csv", run.id, large, b"")
    assert there.unfinished() == []
    stamp = there.stamp("report.csv")
    assert land(run, there, "report.csv", WatchingHook(lambda size: pytest.fail("it is there"))) == landed
    assert there.stamp("report.csv") == stamp


@pytest.mark.parametrize("store", OBJECT_STORES)
def test_an_error_between_two_parts_leaves_what_is_there(
    sandbox: StripeSandbox, there: Shelf, large: bytes, tmp_path: Path
) -> None:
    """What was written so far is never seen, also when it is collected; the next try begins anew."""
    small = tmp_path / "small"
    small.write_bytes(large[: large.index(ROW) + len(ROW)])
    sandbox.serve_file(small)
    land(finished(*COLUMNS), there, "report.csv")
    sandbox.serve_file(small.with_name("source"))
    before = there.contents()

    def fail(size: int) -> None:
        if size > UPLOAD_SIZE * 3 // 2:
            assert there.contents() == before
            raise DownloadError("no more")

    run = finished(*COLUMNS)
    with pytest.raises(DownloadError, match="no more"):
        land(run, there, "report.csv", WatchingHook(fail))
    assert there.unfinished() == []
    assert there.contents() == before
    land(run, there, "report.csv")
    require_landed(there.contents(), "report.csv", run.id, large, b"")


def refuse_s3(step: str, status: int, patch: pytest.MonkeyPatch) -> None:
    fs = importlib.import_module("s3fs").S3FileSystem
    real = fs.call_s3

    def refusing(fs: Any, called: str, *args: Any, **kwargs: Any) -> Any:
        if called == step:
            raise PermissionError("Access Denied")
        return real(fs, called, *args, **kwargs)

    patch.setattr(fs, "call_s3", refusing)


def refuse_gs(step: str, status: int, patch: pytest.MonkeyPatch) -> None:
    """In gcsfs's own words, of an answer of Google's."""
    fs = importlib.import_module("gcsfs").GCSFileSystem
    validate_response = importlib.import_module("gcsfs.retry").validate_response
    real = fs._request
    answer = b'{"error": {"code": %d, "message": "invalid: Access Denied"}}' % status

    async def refusing(fs: Any, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        if method == "POST" and gs_step(method, **kwargs) == step:
            validate_response(status, answer, path, args)
        return await real(fs, method, path, *args, **kwargs)

    patch.setattr(fs, "_request", refusing)


def refuse_abfs(step: str, status: int, patch: pytest.MonkeyPatch) -> None:
    from azure.core.exceptions import HttpResponseError

    async def refusing(*args: Any, **kwargs: Any) -> Any:
        raise HttpResponseError("Access Denied")

    patch.setattr(importlib.import_module("azure.storage.blob.aio").BlobClient, step, refusing)


REFUSALS = {
    "s3": (
        refuse_s3,
        [("create_multipart_upload", 403), ("upload_part", 403), ("complete_multipart_upload", 403)],
    ),
    "gs": (refuse_gs, [("begin", 403), ("begin", 400), ("complete", 403), ("complete", 400)]),
    "abfs": (refuse_abfs, [("stage_block", 403), ("commit_block_list", 403)]),
}
LAST = ("complete_multipart_upload", "complete", "stage_block", "commit_block_list")
"""What is refused when the manifest of a small file says already that it is being landed."""

REFUSED = [(store, *it) for store in OBJECT_STORES for it in REFUSALS[store][1]]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("store", "step", "status"), REFUSED, ids=["-".join(map(str, it)) for it in REFUSED])
def test_a_store_that_refuses_keeps_the_old_report(
    there: Shelf, store: str, step: str, status: int, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its manifest, unless it was one of the last steps that was refused: the next try knows its own."""
    name = f"report.{format}"
    land(finished(*COLUMNS), there, name)
    before, run = there.contents(), finished()
    with monkeypatch.context() as patch:
        REFUSALS[store][0](step, status, patch)
        with pytest.raises(StoreError, match="Access Denied") as caught:
            land(run, there, name)
    assert "upload_id" not in str(caught.value)
    after = there.contents()
    if step in LAST:
        said = Manifest.from_json(after.pop(manifest_name(name)))
        assert (said.landing, said.report_run_id) == (True, run.id)
        before.pop(manifest_name(name))
    assert after == before
    assert there.unfinished() == []
    land(run, there, name)
    assert there.contents().keys() == {name, manifest_name(name)}


@pytest.mark.parametrize("store", OBJECT_STORES)
def test_a_store_without_the_bucket_is_an_error_that_names_it(
    sandbox: StripeSandbox, there: Shelf, store: str
) -> None:
    """S3 and Azure say so before a report run is created; Google when something is written."""
    destination = there.destination("x.csv").replace("@reports/", "@nowhere/")
    tried = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=TYPE, destination=destination))
    assert tried.state == ("up_for_retry" if store == "gs" else "failed")
    assert "nowhere" in str(tried.error)
    assert len(sandbox.report_runs) == (store == "gs")


@pytest.mark.parametrize("store", OBJECT_STORES)
def test_a_connection_that_is_missing_is_not_passed_over(sandbox: StripeSandbox, there: Shelf) -> None:
    """For what the worker's own credentials may do."""
    destination = re.sub(r"//.*@", "//nobody@", there.destination("x.csv"))
    tried = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=TYPE, destination=destination))
    assert tried.state == "up_for_retry"
    assert "there is no Airflow connection 'nobody'" in str(tried.error)
    assert sandbox.report_runs == []


@pytest.mark.parametrize(("store", "format"), list(itertools.product(OBJECT_STORES, FORMATS)))
def test_operators_land_in_the_default_layout(sandbox: StripeSandbox, there: Shelf, format: str) -> None:
    """A task that is run again transfers nothing."""
    run = finished()
    task = in_dag(StripeReportDownloadOperator, report_run_id=run.id, destination=f"{there.url}/", format=format)
    first = TaskRunner().run(task)
    assert first.state == "success", first.error
    found = there.contents()
    assert sorted(found) == sorted([manifest_name(f"report.{format}"), f"report.{format}"])
    assert TaskRunner().run(task).returned == first.returned
    assert len(sandbox.requests_to("contents")) == 1
    assert there.contents() == found


@pytest.mark.parametrize("store", [it for it in OBJECT_STORES if it == "abfs"])
def test_a_key_that_is_refused_is_not_shown(there: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the store looks at it; nor is what was signed with it."""
    wrong = "bm90IHRoZSBrZXkgb2YgdGhlIHRlc3Rz"
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", os.environ["AIRFLOW_CONN_AZURE_REPORTS"].replace(KEY, wrong))
    place = place_of(there.destination("report.csv").replace("azure_reports@", "wrong@"))
    with pytest.raises(StoreError, match="AuthorizationFailure") as caught:
        land_report(StripeReportingHook(), finished(), place)
    assert wrong not in str(caught.value)
    assert "Signature" not in str(caught.value)


def test_a_signed_url_that_a_store_names_is_in_no_error() -> None:
    """Nor in what the error came of, which some send to where errors are gathered."""
    place = place_of("memory://reports/x.csv")
    with pytest.raises(StoreError, match=r"https://s\.test/x\?…") as caught, place.errors():
        raise OSError("403 of https://s.test/x?sig=hunter2")
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)

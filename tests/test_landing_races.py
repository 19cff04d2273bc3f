"""Landings that meet in one place, and files that somebody else puts there: what is there then decides."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fsspec.asyn import sync_wrapper

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.lake import manifest_of
from airflow_reportrun.landing.manifest import Manifest, Subject
from airflow_reportrun.landing.publication import require_free
from airflow_reportrun.landing.report import Landed, finished_file, land_report
from airflow_reportrun.landing.stores import conditions, place_of
from airflow_reportrun.landing.stores.place import MovedError, Place, Replacement
from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.reporting.errors import LandingConflictError, StoreError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.shelves import STORES, Buckets, Shelf, is_told, manifest_name, shelf
from tests.task_runner import TaskRunner, in_dag

pytestmark = pytest.mark.slow

T = TypeVar("T")
TYPE = "balance_change_from_activity.itemized.3"
COLUMNS = ("balance_transaction_id", "created", "net")
DAY = 86_400
MAY = 1714521600
LOCKLESS = "local, without locks"
CONDITIONLESS = "s3, without conditions"
STORES_WITH_CONDITIONS = [it for it in STORES if it not in ("local", "memory")]
PLACES = (*STORES, *([LOCKLESS] if "local" in STORES else []))


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


@pytest.fixture
def there(store: str, tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """An empty folder; of a local one without locks only temporary files can be locked."""
    if store == LOCKLESS:
        real = fcntl.flock

        def flock(file: Any, operation: int) -> None:
            if operation == fcntl.LOCK_EX and not _is_temporary(file):
                raise OSError(errno.ENOLCK, "No locks available")
            real(file, operation)

        monkeypatch.setattr(fcntl, "flock", flock)
        store = "local"
    if store == CONDITIONLESS:  # it passes them over
        monkeypatch.setattr(conditions, "_where_taken", lambda call, expected: call())
        store = "s3"
    return shelf(store, uuid.uuid4().hex, tmp_path, buckets)


def _is_temporary(file: Any) -> bool:
    return not isinstance(file, int) or Path(f"/proc/self/fd/{file}").resolve().is_file()


def finished(day: int = 0, columns: tuple[str, ...] = COLUMNS) -> ReportRun:
    start = MAY + day * DAY
    parameters = ReportParameters(interval_start=start, interval_end=start + DAY, columns=columns)
    return StripeReportingHook().create_report_run(TYPE, parameters)


def restated(sandbox: StripeSandbox, count: int) -> list[ReportRun]:
    """Return report runs of one day, each a minute newer than the one before and with a column less."""
    runs = []
    for number in range(count):
        runs.append(finished(columns=(*COLUMNS, "fee", "gross", "currency")[: 6 - number]))
        sandbox.advance(60)
    return runs


class MeetingHook(StripeReportingHook):
    """Lets something happen when a file has come, and before it is published."""

    def __init__(self, meet: Callable[[], object]) -> None:
        super().__init__()
        self._meet = meet
        self.sleep = lambda seconds: time.sleep(min(seconds, 0.3))

    def read_file(self, file: Any, consume: Callable[[Iterator[bytes]], T]) -> T:
        """Download, and let it happen."""

        def chunks(real: Iterator[bytes]) -> Iterator[bytes]:
            yield from real
            self._meet()

        return super().read_file(file, lambda real: consume(chunks(real)))


class Meeting:
    """Lets threads wait for each other, each of them once."""

    def __init__(self, count: int) -> None:
        self._barrier, self._were_there = threading.Barrier(count, timeout=60), set[int]()

    def __call__(self) -> None:
        """Wait for the others."""
        if threading.get_ident() not in self._were_there:
            self._were_there.add(threading.get_ident())
            self._barrier.wait()


def placed(there: Shelf, name: str) -> Place:
    """Return the place of a report or of a manifest, by its name."""
    told = {manifest_name(it): it for it in ("report", "report.csv")}
    place = place_of(there.destination(told.get(name, name)))
    return manifest_of(place) if name in told else place


def land(run: ReportRun, there: Shelf, meet: Callable[[], object] = lambda: None, **options: Any) -> Landed:
    return land_report(MeetingHook(meet), run, place_of(there.destination("report")), **options)


def contents_of(run: ReportRun) -> bytes:
    return StripeReportingHook().read_file(finished_file(run), b"".join)


def was_free(run: ReportRun, there: Shelf, meet: Callable[[], object] = lambda: None) -> bool:
    """Land a report unless somebody else lands there at the same time, which is an error that passes."""
    try:
        land(run, there, meet)
    except StoreError as error:
        if "another task lands there at the same time; a retry decides anew" not in str(error):
            raise
        return False
    return True


def require_landed(there: Shelf, run: ReportRun) -> None:
    """Assert that a report run is landed here as CSV, and nothing else is left."""
    found = there.contents()
    assert found == {"report": contents_of(run), manifest_name("report"): found[manifest_name("report")]}
    assert is_told(found[manifest_name("report")], found["report"])
    assert json.loads(found[manifest_name("report")])["report_run_id"] == run.id
    assert json.loads(found[manifest_name("report")])["state"] == "landed"
    assert there.unfinished() == []


@pytest.mark.parametrize("store", PLACES)
def test_an_older_run_leaves_the_newer_one_that_landed_meanwhile(
    sandbox: StripeSandbox, there: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    """It was asked for first and comes last; its task succeeds with what is there."""
    older, newer = restated(sandbox, 2)
    told = land(older, there, lambda: land(newer, there))
    assert told.manifest.report_run_id == newer.id
    assert f"which is newer than {older.id}" in caplog.text
    require_landed(there, newer)


@pytest.mark.parametrize("store", PLACES)
def test_a_newer_run_replaces_the_older_one_that_landed_meanwhile(sandbox: StripeSandbox, there: Shelf) -> None:
    """Whoever comes first."""
    older, newer = restated(sandbox, 2)
    land(newer, there, lambda: land(older, there))
    require_landed(there, newer)


@pytest.mark.parametrize(
    ("store", "forms"), list(itertools.product(PLACES, [("csv", "parquet"), ("parquet", "csv.gz")]))
)
def test_an_older_run_leaves_the_newer_one_in_whatever_format(
    sandbox: StripeSandbox, there: Shelf, forms: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Before its download or after it; nothing is written."""
    older, newer = restated(sandbox, 2)
    first, second = forms
    land(newer, there, format=first)
    before, downloads = there.contents(), len(sandbox.requests_to("contents"))
    assert land(older, there, format=second).manifest.report_run_id == newer.id
    assert "they stay" in caplog.text
    assert len(sandbox.requests_to("contents")) == downloads
    assert there.contents() == before
    (newest,) = restated(sandbox, 1)
    land(newer, there, lambda: land(newest, there, format=first), format=second)
    assert json.loads(there.contents()[manifest_name("report")])["report_run_id"] == newest.id


@pytest.mark.parametrize("store", PLACES)
def test_an_older_run_leaves_the_newer_one_of_whatever_types(sandbox: StripeSandbox, there: Shelf) -> None:
    """Where it wanted others."""
    older, newer = restated(sandbox, 2)
    land(newer, there, format="parquet")
    before = there.contents()
    told = land(older, there, format="parquet", column_types={"net": "text"})
    assert told.manifest.report_run_id == newer.id
    assert there.contents() == before


@pytest.mark.parametrize("store", STORES)
def test_one_of_four_intervals_lands_in_one_place(there: Shelf) -> None:
    """When all have come before any is published; the others are refused, and nothing of theirs is left."""
    runs = [finished(day) for day in range(4)]
    all_came = Meeting(len(runs))

    def landing(run: ReportRun) -> str | None:
        try:
            land(run, there, all_came)
        except LandingConflictError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(len(runs)) as pool:
        errors = list(pool.map(landing, runs))
    assert errors.count(None) == 1
    assert all("another report is" in error for error in errors if error)
    require_landed(there, runs[errors.index(None)])


@pytest.mark.parametrize("store", PLACES)
@pytest.mark.parametrize("seed", range(3))
def test_the_newest_of_runs_that_meet_is_there_in_the_end(
    sandbox: StripeSandbox, there: Shelf, store: str, seed: int
) -> None:
    """Whatever the order; a task that was in another's way is tried again, as its error says.

    Without locks an older one may slip in between a look and a renaming; then it is told as what is there.
    """
    runs = restated(sandbox, 4)
    all_came = Meeting(len(runs))

    def landing(run: ReportRun) -> None:
        for _ in range(10):
            if was_free(run, there, all_came):
                return
        pytest.fail("in the way of each other for ever")

    random.Random(seed).shuffle(runs)  # noqa: S311 - no secret
    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(landing, runs))
    newest = max(runs, key=lambda run: run.created)
    if store == LOCKLESS:
        told = there.contents()[manifest_name("report")]
        newest = next(run for run in runs if run.id == Manifest.from_json(told).report_run_id)
    require_landed(there, newest)


@pytest.mark.parametrize("store", [CONDITIONLESS, *STORES_WITH_CONDITIONS])
@pytest.mark.parametrize("number", range(1, 4))
def test_a_newer_run_that_lands_between_two_looks_stays(
    sandbox: StripeSandbox, there: Shelf, store: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that looks at the data before that, and at the manifest after it, has seen neither as it is."""
    oldest, older, newer = restated(sandbox, 3)
    land(oldest, there)
    kind = type(placed(there, "report"))
    mark, looks = kind.mark, itertools.count(1)

    def marking(place: Place) -> object:
        found = mark(place)
        if place.name == "report" and next(looks) == number:
            monkeypatch.setattr(kind, "mark", mark)
            land(newer, there)
        return found

    monkeypatch.setattr(kind, "mark", marking)
    for _ in range(3):
        if was_free(older, there):
            break
    require_landed(there, newer)


@contextmanager
def steps(there: Shelf, around: Callable[[str], AbstractContextManager[None]]) -> Iterator[None]:
    """Let something happen around the steps of a publication: ``landing``, ``data`` and ``landed``."""
    kind = type(place_of(there.destination("report")))
    write, publish, telling = kind.write, Replacement.publish, threading.local()

    def writing(place: Any, contents: bytes, *args: Any) -> Any:
        with around(json.loads(contents)["state"]):
            telling.now = True
            try:
                return write(place, contents, *args)
            finally:
                telling.now = False

    def publishing(new: Any, *args: Any) -> Any:
        if getattr(telling, "now", False):
            return publish(new, *args)
        with around("data"):
            return publish(new, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "write", writing)
        patch.setattr(Replacement, "publish", publishing)
        yield


@contextmanager
def coming_in(there: Shelf, moment: str, come_in: Callable[[], object]) -> Iterator[None]:
    """Let something happen once, before or after a step of a publication."""
    when, what = moment.split()
    others = iter([True])

    @contextmanager
    def around(step: str) -> Iterator[None]:
        if (when, what) == ("before", step) and next(others, False):
            come_in()
        yield
        if (when, what) == ("after", step) and next(others, False):
            come_in()

    with steps(there, around):
        yield
    assert next(others, False) is False


MOMENTS = [f"{when} {what}" for what in ("landing", "data", "landed") for when in ("before", "after")]
UNLOCKED = [it for it in (*PLACES, *([CONDITIONLESS] if "s3" in STORES else [])) if it not in ("local", "memory")]


@pytest.mark.parametrize("first", ["older", "newer"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("store", UNLOCKED)
def test_who_comes_in_between_makes_no_wrong_manifest(
    sandbox: StripeSandbox, there: Shelf, moment: str, first: str
) -> None:
    """Where nothing is locked; between any two steps of a publication. In the end the newer run is there."""
    older, newer = restated(sandbox, 2)
    late, early = (older, newer) if first == "older" else (newer, older)
    with coming_in(there, moment, lambda: was_free(early, there)):
        was_free(late, there)
    found = there.contents()
    told = found[manifest_name("report")]
    assert Manifest.from_json(told).landing or is_told(told, found["report"])
    for run in (late, early):
        land(run, there)
    require_landed(there, newer)


@pytest.mark.parametrize("moment", ["before landed", "after landed"])
@pytest.mark.parametrize("store", UNLOCKED)
def test_contents_that_are_confirmed_are_replaced_meanwhile(
    sandbox: StripeSandbox, there: Shelf, moment: str
) -> None:
    """The manifest of who found the same contents never stands beside what somebody else has put there since."""
    land(finished(), there)
    sandbox.advance(60)
    again = finished()
    sandbox.advance(60)
    newest = finished(columns=COLUMNS[:2])
    with coming_in(there, moment, lambda: was_free(newest, there)):
        was_free(again, there)
    land(newest, there)
    require_landed(there, newest)


@pytest.mark.parametrize("moment", ["before landing", "before data"])
@pytest.mark.parametrize("store", STORES)
def test_a_file_that_somebody_puts_there_meanwhile_is_left(there: Shelf, moment: str) -> None:
    """Between the last look and the publication; and it is not taken for ours later."""
    run = finished()
    theirs = place_of(there.destination("report"))
    put = type(theirs).write
    with (
        coming_in(there, moment, lambda: put(theirs, b"theirs")),
        pytest.raises(LandingConflictError, match="is there already, and no manifest says"),
    ):
        land(run, there)
    assert there.contents() == {"report": b"theirs"}
    with pytest.raises(LandingConflictError):
        land(run, there)


@pytest.mark.parametrize("store", PLACES)
def test_a_publication_whose_answer_is_lost_is_ours(there: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has published it, and refuses to do so again: the next try takes it for its own."""
    real = Replacement.publish

    def lost(self: Replacement, *args: Any) -> object:
        real(self, *args)
        raise MovedError

    run = finished()
    with monkeypatch.context() as patched:
        patched.setattr(Replacement, "publish", lost)
        with pytest.raises(StoreError, match="a retry decides anew"):
            land(run, there)
    land(run, there)
    require_landed(there, run)


@pytest.mark.parametrize("moment", ["before landing", "before data", "before landed"])
@pytest.mark.parametrize("name", ["report", manifest_name("report")])
@pytest.mark.parametrize("store", [it for it in UNLOCKED if it != CONDITIONLESS])
def test_what_somebody_removes_meanwhile_is_landed(
    sandbox: StripeSandbox, there: Shelf, moment: str, name: str
) -> None:
    """The file or the manifest of a report that is being replaced; without a manifest the old file is nobody's."""
    older, newer = restated(sandbox, 2)
    land(older, there)
    with coming_in(there, moment, placed(there, name).remove):
        if (name, moment) == (manifest_name("report"), "before landing"):
            with pytest.raises(LandingConflictError, match="is there already, and no manifest says"):
                land(newer, there)
            place_of(there.destination("report")).remove()
        else:
            was_free(newer, there)
    land(newer, there)
    require_landed(there, newer)


@pytest.mark.parametrize("store", PLACES)
def test_a_file_without_a_manifest_is_refused_before_anything_is_asked_for(
    sandbox: StripeSandbox, there: Shelf
) -> None:
    """By each operator, without a retry; both ways out are named, and are ways out."""
    run = finished()
    path = there.destination("report.csv")
    place_of(path).write(b"theirs")
    options = {"report_type": TYPE, "interval_start": MAY, "interval_end": MAY + DAY, "columns": list(COLUMNS)}
    for kind, given in (
        (StripeReportRunOperator, options),
        (StripeReportDownloadOperator, {"report_run_id": run.id}),
    ):
        tried = TaskRunner().run(in_dag(kind, destination=path, **given))
        assert tried.state == "failed"
        assert "Remove it, or set overwrite=True" in str(tried.error)
        assert there.contents() == {"report.csv": b"theirs"}
    assert (len(sandbox.report_runs), sandbox.requests_to("contents")) == (1, [])
    for kind, given in (
        (StripeReportRunOperator, options),
        (StripeReportDownloadOperator, {"report_run_id": run.id}),
    ):
        for overwrite in (True, "{{ True }}"):
            placed(there, manifest_name("report.csv")).remove()
            place_of(path).write(b"theirs")
            tried = TaskRunner().run(in_dag(kind, destination=path, overwrite=overwrite, **given))
            assert tried.state == "success", tried.error
            assert there.contents()["report.csv"] == contents_of(run)
    for name in there.contents():
        placed(there, name).remove()
    land_report(StripeReportingHook(), run, place_of(path))


@pytest.mark.parametrize("store", PLACES)
def test_a_report_that_lands_while_somebody_looks_is_no_file_of_somebody_elses(
    sandbox: StripeSandbox, there: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the looks at its data and at its manifest, whichever comes first."""
    older, newer = restated(sandbox, 2)
    kind = type(place_of(there.destination("report")))
    for name in ("mark", "read"):
        real, others = getattr(kind, name), iter([True])

        def looking(place: Any, real: Any = real, others: Iterator[bool] = others) -> Any:
            found = real(place)
            if next(others, False):
                land(newer, there)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(kind, name, looking)
            require_free(place_of(there.destination("report")), _subject(newer))
            assert land(older, there).manifest.report_run_id == newer.id
        require_landed(there, newer)
        for it in there.contents():
            placed(there, it).remove()
        with monkeypatch.context() as patch:
            others = iter([True])
            patch.setattr(kind, "mark", lambda place, real=kind.mark, others=others: looking(place, real, others))
            assert land(older, there).manifest.report_run_id == newer.id
        for it in there.contents():
            placed(there, it).remove()


def _subject(run: ReportRun) -> Subject:
    return Subject.of(run.report_type, run.parameters, livemode=run.livemode, stripe_account=None)


@pytest.mark.parametrize("store", PLACES)
def test_to_overwrite_is_no_leave_to_replace_what_is_landed(sandbox: StripeSandbox, there: Shelf) -> None:
    """Neither another interval nor the figures of a newer run."""
    older, newer = restated(sandbox, 2)
    land(newer, there)
    assert land(older, there, overwrite=True).manifest.report_run_id == newer.id
    with pytest.raises(LandingConflictError, match="another report is landed there"):
        land(finished(1), there, overwrite=True)
    require_landed(there, newer)


@pytest.mark.parametrize("store", PLACES)
def test_what_an_interrupted_try_left_is_its_own(there: Shelf) -> None:
    """Its data, with the manifest that says that it is being landed, or that manifest alone; and nobody else's."""
    run, other = finished(), finished(1)
    for moment in ("after landing", "after data"):

        def interrupt() -> None:
            raise KeyboardInterrupt

        with coming_in(there, moment, interrupt), pytest.raises(KeyboardInterrupt):
            land(run, there)
        found = there.contents()
        assert ("report" in found) == (moment == "after data")
        assert Manifest.from_json(found[manifest_name("report")]).landing
        place = place_of(there.destination("report"))
        require_free(place, Manifest.from_json(found[manifest_name("report")]).subject)
        with pytest.raises(LandingConflictError, match="is being landed there, or was when it was interrupted"):
            land(other, there)
        land(run, there)
        require_landed(there, run)
        for name in there.contents():
            placed(there, name).remove()


@pytest.mark.parametrize("store", [it for it in STORES if it == "s3"])
def test_an_s3_that_knows_no_conditions_is_asked_without(
    sandbox: StripeSandbox, there: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says 501; what lands there is looked at afterwards, as everywhere."""
    import s3fs

    real, refused = s3fs.S3FileSystem._call_s3, []

    async def call(fs: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if {"IfMatch", "IfNoneMatch"}.intersection(kwargs):
            refused.append(method)
            raise OSError(errno.ENOSYS, "A header you provided implies functionality that is not implemented")
        return await real(fs, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)
    monkeypatch.setattr(s3fs.S3FileSystem, "call_s3", sync_wrapper(call))
    older, newer = restated(sandbox, 2)
    for run in (older, newer):
        land(run, there)
        require_landed(there, run)
    assert refused == ["put_object", "complete_multipart_upload", "put_object"] * 2


REQUESTS = {"new": 11, "landed": 4, "replaced": 12, "confirmed": 8, "newer": 4, "required free": 3}
"""To S3, by what a landing finds there; of a file of one part."""


@pytest.mark.parametrize("store", [it for it in STORES if it == "s3"])
def test_a_landing_takes_few_requests(
    sandbox: StripeSandbox, there: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data's upload, two manifests, and looks before the download, before the publication and after it."""
    import s3fs

    real, sent = s3fs.S3FileSystem._call_s3, []

    async def call(fs: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(method)
        return await real(fs, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)
    monkeypatch.setattr(s3fs.S3FileSystem, "call_s3", sync_wrapper(call))
    counted = {}

    def count(what: str, run: ReportRun) -> None:
        sent.clear()
        land(run, there)
        counted[what] = len(sent)

    older, newer = restated(sandbox, 2)
    again = finished(columns=newer.parameters["columns"])
    count("new", older)
    count("landed", older)
    count("replaced", newer)
    count("confirmed", again)
    count("newer", older)
    sent.clear()
    subject = Manifest.from_json(there.contents()[manifest_name("report")]).subject
    require_free(place_of(there.destination("report")), subject)
    counted["required free"] = len(sent)
    assert counted == REQUESTS
    said = " ".join((Path(__file__).parent.parent / "docs" / "landing.md").read_text().split())
    assert (
        "sends S3 {new} requests where nothing is there, {replaced} where it replaces a report, {confirmed} where "
        "it finds the same contents, and {landed} where it finds itself landed or something newer."
    ).format(**counted) in said

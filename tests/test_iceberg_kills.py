"""Landings in an Iceberg table that are killed at each of their steps, and landings that meet."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from airflow_reportrun.landing.formats import typed
from tests.icebergs import Books, needs_its_catalog
from tests.landings import day

pytestmark = [pytest.mark.slow, needs_its_catalog]

POINTS = 4
"""Steps of a scenario at which a landing is killed; ``EVERY_POINT=1`` in the environment takes them all."""

FAILED = 255
"""Exit code of a landing that ended in an error."""

Job = tuple[str, Mapping[str, Any], int | None]
"""A folder, the arguments of a landing in it, and the number of the step to be killed at."""


class Landings:
    """A process that lands in children of its own, which begin with everything loaded."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def end(self, *jobs: Job) -> list[int]:
        """Run landings at once to their ends; exit codes are numbers of steps, or the signal, negative."""
        self._pipe.send(jobs)
        codes: list[int] = self._pipe.recv()
        return codes


@pytest.fixture(scope="module")
def landings() -> Iterator[Landings]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    yield Landings(ours)
    ours.close()
    process.join()


def _serve(pipe: Connection) -> None:
    import airflow_reportrun.landing.lakehouse.iceberg.catalogs
    import airflow_reportrun.landing.lakehouse.iceberg.table  # noqa: F401

    while True:
        try:
            jobs = pipe.recv()
        except EOFError:
            return
        children = [_forked(job) for job in jobs]
        pipe.send([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])


def _forked(job: Job) -> int:
    if pid := os.fork():
        return pid
    try:
        folder, arguments, kill_at = job
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        with counted(step), mock.patch.object(typed, "BLOCK_SIZE", 100):
            Books(Path(folder)).land(**arguments)
        os._exit(steps)
    except BaseException:
        traceback.print_exc()
        os._exit(FAILED)


@contextmanager
def counted(step: Callable[[], None]) -> Iterator[None]:
    """Call ``step`` before and after each commit of the catalog's database and each file that is written."""
    from pyiceberg.io.fileformat import FileFormatWriter
    from pyiceberg.io.pyarrow import ParquetFormatWriter, PyArrowFile, PyArrowFileIO
    from sqlalchemy.engine.default import DefaultDialect

    taken = [
        *((PyArrowFile, "create"), (PyArrowFileIO, "delete"), (ParquetFormatWriter, "write")),
        *((FileFormatWriter, "__exit__"), (DefaultDialect, "do_commit"), (DefaultDialect, "do_execute")),
    ]
    with ExitStack() as stack:
        for owner, name in taken:
            stack.enter_context(mock.patch.object(owner, name, _between(getattr(owner, name), step)))
        yield


def _between(method: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def stepping(*args: Any, **options: Any) -> Any:
        step()
        result = method(*args, **options)
        step()
        return result

    return stepping


OLD = [["1.00", f"old {number}"] for number in range(20)]
NEW = [["2.00", f"new {number}"] for number in range(30)]
OTHER = [["9.00", "other"]]

BEFORE: Sequence[Mapping[str, Any]] = (
    {"names": ["net", "what"], "rows": OLD, "run_id": "frr_old"},
    {"names": ["net", "what"], "rows": OTHER, "run_id": "frr_other", "start": day(2), "end": day(3)},
)
SCENARIOS: Mapping[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]] = {
    "into a new table": ((), {"names": ["net", "what"], "rows": NEW, "run_id": "frr_new"}),
    "in place of rows, with a new column": (
        BEFORE,
        {"names": ["net", "what", "fee"], "rows": [[*row, "0.10"] for row in NEW], "run_id": "frr_new"},
    ),
    "over the days of a month": (
        BEFORE,
        {
            **{"names": ["net", "what"], "rows": NEW, "run_id": "frr_new"},
            **{"end": day(32), "on_overlap": "replace"},
        },
    ),
}


def whole(before: Sequence[Mapping[str, Any]], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what the table has before and after a landing, by the column that names its rows."""
    old = [row[1] for report in before for row in report["rows"]]
    replaced = {"frr_old"} | ({"frr_other"} if new.get("on_overlap") else set())
    kept = [row[1] for report in before if report["run_id"] not in replaced for row in report["rows"]]
    return sorted(old, key=repr), sorted([*kept, *(row[1] for row in new["rows"])], key=repr)


@contextmanager
def reading(books: Books) -> Iterator[list[list[str]]]:
    """Read the table all the time, and keep each state of it that was seen, and each error."""
    seen: list[list[str]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                state = books.rows("what")
            except Exception as error:
                state = [repr(error)]
            if state not in seen:
                seen.append(state)
            done.wait(0.05)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        done.set()
        reader.join()


def points(steps: int, seed: str) -> Sequence[int]:
    """Choose steps to be killed at: all where the environment says so, and always the last ones."""
    every = range(1, steps + 1)
    if os.environ.get("EVERY_POINT"):
        return every
    chosen = random.Random(seed).sample(every[:-2], POINTS - 2)  # noqa: S311 - no secret
    return [*sorted(chosen), *every[-2:]]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_step_a_retry_makes_it_right(
    books: Books, tmp_path: Path, landings: Landings, scenario: str
) -> None:
    """Before and after a file or a commit; no reader sees a part, and what is left over is in nobody's way."""
    before, new = SCENARIOS[scenario]
    old_rows, new_rows = whole(before, new)
    books.table()  # makes the catalog
    for report in before:
        books.land(**report)
    kept = tmp_path / "kept"
    shutil.copytree(books.folder, kept)
    (steps,) = landings.end((str(books.folder), new, None))
    assert 12 < steps < FAILED
    for kill_at in points(steps, scenario):
        shutil.rmtree(books.folder)
        shutil.copytree(kept, books.folder)
        with reading(books) as seen:
            assert landings.end((str(books.folder), new, kill_at)) == [-signal.SIGKILL], f"step {kill_at}"
            assert books.rows("what") in (old_rows, new_rows)
            books.land(**new)
            assert books.rows("what") == new_rows, f"step {kill_at}"
        assert seen, "nobody looked"
        assert all(state in (old_rows, new_rows) for state in seen), f"step {kill_at}"
        assert books.told() == sorted(set(books.rows("_report_run_id")))
        assert len(books.lost()) <= 1, f"step {kill_at}"


def test_landings_that_meet_decide_again(books: Books, landings: Landings) -> None:
    """Into a table that none of them finds: days, and twice the same day."""
    days = [
        {
            **{"names": ["net", "what"], "rows": [["1.00", f"day {number} row {row}"] for row in range(50)]},
            **{"run_id": f"frr_{number}", "start": day(number), "end": day(number + 1)},
        }
        for number in (1, 2, 3, 4, 1)
    ]
    codes = landings.end(*[(str(books.folder), report, None) for report in days])
    assert all(0 < code < FAILED for code in codes)
    assert books.rows("what") == sorted(
        (f"day {number} row {row}" for number in (1, 2, 3, 4) for row in range(50)), key=repr
    )
    assert books.told() == ["frr_1", "frr_2", "frr_3", "frr_4"]
    assert not books.lost()

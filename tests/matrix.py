"""What the tests came to on each version of Airflow and of Python: the table of ``docs/matrix.md``.

``python -m tests.matrix REPORT [ARGUMENTS]`` says it of one run, in the environment that it was in: ``REPORT`` is
pytest's JUnit XML, and the arguments are those that left tests out.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from tests.docs_tables import hold, table

PAGE = Path(__file__).parent.parent / "docs" / "matrix.md"
ALL = "all"


@dataclass(frozen=True)
class Run:
    """A run that passed; ``tests`` says which were run, ``date`` when, in UTC."""

    airflow: str
    python: str
    tests: str
    passed: str
    skipped: str
    date: str

    @property
    def order(self) -> list[int]:
        """Its place in the table."""
        return [int(part) for part in f"{self.airflow}.{self.python}".split(".")]


def run_of(report: Path, airflow: str, python: str, arguments: Iterable[str] = ()) -> Run:
    """Return what pytest's report says.

    :raises ValueError: when a test failed, or none passed.
    """
    suite = ElementTree.parse(report).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    if counts["failures"] or counts["errors"] or not passed:
        raise ValueError(f"{report} is not of a run that passed: {counts}")
    tests = ", ".join(f"`{it}`" for it in arguments) or ALL
    return Run(airflow, python, tests, f"{passed}", f"{counts['skipped']}", suite.attrib["timestamp"][:10])


def runs_in(page: str) -> list[Run]:
    """Return the runs of the table in a page."""
    (found,) = re.findall(r"^\| Airflow \| Python .*\n.*\n((?:\|.*\n?)*)", page, re.M)
    rows = re.findall(r"^\| (.*) \|$", found, re.M)
    return [Run(*(cell.strip() for cell in row.split(" | "))) for row in rows]


def with_run(runs: Iterable[Run], new: Run) -> list[Run]:
    """Return the runs with another one, which takes the place of one of the same minor versions.

    One of some tests does not take that of one of all tests.
    """

    def minors(run: Run) -> list[str]:
        return [number.rpartition(".")[0] for number in (run.airflow, run.python)]

    kept = list(runs)
    former = next((it for it in kept if minors(it) == minors(new)), None)
    if former is None or new.tests == ALL or former.tests != ALL:
        kept = [it for it in kept if it is not former] + [new]
    return sorted(kept, key=lambda it: it.order)


def written(runs: Iterable[Run]) -> str:
    """Return the table."""
    header = [{"airflow": "Airflow", "python": "Python"}.get(it.name, it.name) for it in fields(Run)]
    return table(header, [astuple(run) for run in runs])


def main(report: str, *arguments: str) -> None:
    """Say it, and write it with ``WRITE_DOCS=1`` in the environment."""
    run = run_of(Path(report), version("apache-airflow"), platform.python_version(), arguments)
    print(run)  # noqa: T201
    if os.environ.get("WRITE_DOCS") == "1":
        hold(PAGE, "runs", written(with_run(runs_in(PAGE.read_text(encoding="utf-8")), run)))


if __name__ == "__main__":
    main(*sys.argv[1:])

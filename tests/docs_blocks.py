"""The blocks of code in the docs: the one place that finds them, so that none is run by nobody.

A block is run by ``test_docs_snippets.py``, unless ``CLAIMED`` or a comment before it name another test
(``<!-- run by tests/test_lake.py -->``), or a comment says why it can't be (``<!-- not run: it takes a server of
MariaDB -->``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.task_runner import TaskRunner
from tests.versions import AIRFLOW_2

ROOT = Path(__file__).parent.parent

CLAIMED = {
    ("README.md", "python"): "tests/test_readme.py",  # it is the example that other tests run
    ("docs/first-report.md", "python"): "tests/test_packaging.py",
    ("docs/first-report.md", "bash"): "tests/test_packaging.py",
    ("docs/intervals.md", "json"): "tests/test_docs_intervals.py",
    ("docs/migration.md", "python"): "tests/test_docs_migration.py",
    ("docs/sandbox.md", "bash"): "tests/test_docs_sandbox.py",
    ("docs/sandbox.md", "python"): "tests/test_docs_sandbox.py",
    ("docs/sql.md", "sql"): "tests/test_docs_sql.py",
}
"""Who runs the blocks of a page in a language, where it is not ``test_docs_snippets.py``."""

FENCE = re.compile(
    r"^(?:<!-- (?:not run: (?P<why>[^\n]+)|run by (?P<test>[\w/]+\.py)) -->\n\n?)?"
    r"```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    :param page: its path in the repository.
    :param line: of its first line of code, from 1.
    :param test: who runs it, where it is not ``test_docs_snippets.py``.
    :param why_not: why it is not run; empty where it is.
    """

    page: str
    line: int
    language: str
    code: str
    test: str | None
    why_not: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return the files that are docs."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]


def blocks(*only: str, language: str | None = None) -> list[Block]:
    """Return the blocks of these pages, or of all; of one language, those that are to be run."""
    found = []
    for path in pages():
        page, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        if only and page not in only:
            continue
        matches = list(FENCE.finditer(text))
        assert text.count("\n```") == 2 * len(matches), (
            f"{page} has a block that is indented, or that does not end"
        )
        for it in matches:
            line, language_of = text[: it.start("code")].count("\n") + 1, it["language"]
            test = it["test"] or CLAIMED.get((page, language_of))
            block = Block(page, line, language_of, it["code"], test, it["why"] or "")
            if language is None or (block.language == language and not block.why_not):
                found.append(block)
    return found


def run_dag(code: str) -> None:
    """Run the tasks of a file with a DAG, each after those before it."""
    names: dict[str, Any] = {}
    exec(code.replace("airflow.sdk", "airflow.providers.common.compat.sdk") if AIRFLOW_2 else code, names)  # noqa: S102
    runner = TaskRunner()
    for task in names["report"].dag.topological_sort():
        tried = runner.run(task)
        assert tried.state == "success", tried.error


def programs(page: str, language: str = "python") -> list[str]:
    """Return the code of a page in one language, without what is not to be run."""
    return [block.code for block in blocks(page, language=language)]

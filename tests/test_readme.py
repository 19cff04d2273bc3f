from __future__ import annotations

import importlib
import re
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_reportrun import hooks, operators, sensors
from tests.versions import BEFORE_3_3

ROOT = Path(__file__).parent.parent


def test_the_first_program_is_the_example_that_the_tests_run() -> None:
    """Code in a README rots unless it is code that runs."""
    example = (ROOT / "example_dags" / "stripe_daily_activity.py").read_text()
    region = re.search(r"# \[START .*?\]\n(.*)# \[END", example, re.DOTALL)
    program = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert region
    assert program
    assert program[1] == region[1]
    assert program[1] in (ROOT / "docs" / "first-report.md").read_text()


def test_the_answers_are_programs() -> None:
    """Each builds its task, with the names and options that there are."""
    names: dict[str, Any] = {"task": task, "timedelta": timedelta}
    for module in (operators, sensors, hooks):
        names |= {name: value for name, value in vars(module).items() if name.startswith("Stripe")}
    if not BEFORE_3_3:
        names["StripeRetryPolicy"] = importlib.import_module("airflow_reportrun.retry_policy").StripeRetryPolicy
    pages = (ROOT / "docs" / name for name in ("data-driven.md", "landing.md", "questions.md"))
    programs = [re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) for page in pages]
    assert all(programs)
    for program in chain.from_iterable(programs):
        if (
            BEFORE_3_3 and re.search("StripeRetryPolicy|AssetWatcher", program)
        ) or "gather_manifests" in program:  # which test_lake runs
            continue
        with DAG("questions", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)):
            exec(program, dict(names))  # noqa: S102 - our own


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    """Files of the repository, and headings of the page itself or of another one."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if not target.startswith("https://"):
                name, _, anchor = target.partition("#")
                path = page.parent / name if name else page
                assert path.exists(), target
                assert not anchor or anchor in anchors(path), target

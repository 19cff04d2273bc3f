from __future__ import annotations

import re
from pathlib import Path

from tests.docs_blocks import ROOT, pages, programs


def test_the_first_program_is_the_example_that_the_tests_run() -> None:
    """Code in a README rots unless it is code that runs."""
    example = (ROOT / "example_dags" / "stripe_daily_activity.py").read_text()
    region = re.search(r"# \[START .*?\]\n(.*)# \[END", example, re.DOTALL)
    (program,) = programs("README.md")
    assert region
    assert program == region[1]
    assert program in programs("docs/first-report.md")


def test_the_readme_is_a_screen() -> None:
    """The problem, a DAG, two commands, and where to read on."""
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 70
    (commands,) = programs("README.md", "bash")
    assert len(commands.splitlines()) == 2


def test_no_variable_that_says_where_to_land_has_a_default() -> None:
    """Airflow's API server says "not found" while its database is down, and the report would land elsewhere."""
    examples = [*(ROOT / "example_dags").rglob("*.py"), ROOT / "docs" / "recipes.md", ROOT / "README.md"]
    for path in examples:
        assert not re.search(r"var\.value\.get\(|Variable\.get\([^)]*default", path.read_text()), path


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    """Files of the repository, and headings of the page itself or of another one."""
    for page in pages():
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if not target.startswith("https://"):
                name, _, anchor = target.partition("#")
                path = page.parent / name if name else page
                assert path.exists(), target
                assert not anchor or anchor in anchors(path), target

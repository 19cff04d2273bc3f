from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_first_program_is_the_example_that_the_tests_run() -> None:
    """Code in a README rots unless it is code that runs."""
    example = (ROOT / "example_dags" / "stripe_daily_activity.py").read_text()
    region = re.search(r"# \[START .*?\]\n(.*)# \[END", example, re.DOTALL)
    program = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert region
    assert program
    assert program[1] == region[1]


def test_links_lead_somewhere() -> None:
    """Files of the repository, and headings of the page itself."""
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text()
        anchors = {
            re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)
        }
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("#"):
                assert target[1:] in anchors, target
            elif not target.startswith("https://"):
                assert (ROOT / target).exists(), target

"""What is promised names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`((?:system_)?tests/\w+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize("page", ["docs/guarantees.md", "SECURITY.md"])
def test_each_promise_is_held_by_a_test(page: str) -> None:
    """In each row of each table, and by its name."""
    lines = (ROOT / page).read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| promise ")]
    assert len(rows) > 5
    for row in rows:
        assert NAMED.search(row), row
        for path, name in NAMED.findall(row):
            tree = ast.parse((ROOT / path).read_text())
            defined = {it.name for it in ast.walk(tree) if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in defined if name else any(it.startswith("test_") for it in defined), row

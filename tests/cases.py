"""A plugin of pytest: how many cases the laws were held against, by Hypothesis's own count."""

from __future__ import annotations

import re
from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """Add to a law's report how many cases it was held against."""
    if call.when == "teardown" and (told := getattr(item, "hypothesis_statistics", "")):
        item.user_properties.append(("cases", sum(map(int, re.findall(r"(\d+) passing", told)))))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the sum, from all processes."""
    reports = [it for found in terminalreporter.stats.values() for it in found if hasattr(it, "user_properties")]
    counted = [n for it in reports for name, n in it.user_properties if name == "cases" and it.when == "teardown"]
    if counted:
        terminalreporter.section("fuzz")
        terminalreporter.write_line(f"{sum(counted):,} cases of {len(counted)} laws")

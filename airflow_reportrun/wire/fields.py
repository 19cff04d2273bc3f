"""What stands in a field of a connection, or an option that overrules it: read leniently, each mistake named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_ACCOUNTS = {
    "stripe_account": (r"acct_\w+", "the id of an account (acct_…)"),
    "stripe_context": (r"acct_\w+(/acct_\w+)*", "a path of accounts (acct_… or acct_…/acct_…)"),
}


def text_of(
    name: str, value: Any, mistakes: list[str], *, pattern: str = ".+", expected: str = "a text that is not blank"
) -> str:
    """Return a text, empty where there is none; secret stores like to add a line end."""
    if value in (None, ""):
        return ""
    text = value.strip() if isinstance(value, str) else ""
    if text.isprintable() and re.fullmatch(pattern, text, re.ASCII):
        return text
    mistakes.append(f"{name} is not {expected}")
    return ""


def switch_of(name: str, value: Any, mistakes: list[str], *, or_else: str = "") -> bool | str:
    """Return True or False, or a text where one may stand instead."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false", "y"):
        return value.strip().lower() != "false"  # y is a box that is checked in Airflow 2's form
    if isinstance(value, bool):
        return value
    if or_else and isinstance(value, str) and value.strip():
        return text_of(name, value, mistakes)
    mistakes.append(f"{name} is true or false{or_else and ', or '}{or_else}")
    return True


def number_of(value: Any, most: float) -> float:
    """Return a positive number, 0 for anything else."""
    try:
        number = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if 0 < number <= most else 0.0


def accounts_of(given: Mapping[str, Any], task: Mapping[str, Any], mistakes: list[str]) -> tuple[str, str]:
    """Return the account and the context to act in, of which one at least is empty.

    :param given: what the connection says of both.
    :param task: what a task does, which comes first.
    :param mistakes: gets a phrase for each.
    """
    for name, value in task.items():
        # A template that came to nothing must not act as the connection's account.
        if value is not None and not str(value).strip():
            mistakes.append(f"the task's {name} is empty")
    ours = {name: value for name, value in task.items() if value is not None}
    account, context = (
        text_of(name, (ours or given).get(name), mistakes, pattern=pattern, expected=expected)
        for name, (pattern, expected) in _ACCOUNTS.items()
    )
    if account and context:
        mistakes.append("stripe_account and stripe_context both say which account to act as; give one of them")
    return account, context

"""What can be wrong with a task's options by themselves: a word that is none, a template that came to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_reportrun.hooks import StripeReportingHook


def require_known(name: str, value: object, known: Sequence[object], *, templated: bool = False) -> None:
    """Refuse a value that is none of a few, as early as it is known: in the constructor, when the file is parsed.

    :param templated: a template or an upstream task may still become one of them.
    :raises ConfigurationError: see above.
    """
    if value in known or (templated and (not isinstance(value, str) or is_template(value))):
        return
    words = ", ".join(str(it) for it in known if it is not None)
    raise ConfigurationError(f"{name} is one of {words}, not {value!r}.")


def is_template(text: str) -> bool:
    """Tell whether Jinja makes something else of a text."""
    return "{{" in text or "{%" in text


def given_options(task: BaseOperator) -> list[str]:
    """Return the templated options that the author of a task gave; to be asked in its constructor."""
    # A subclass may have templates of its own, which it sets only after this.
    return [name for name in task.template_fields if getattr(task, name, None) is not None]


def require_rendered(task: BaseOperator, given: list[str]) -> None:
    """Refuse options that were given and have come to nothing: leaving them out would be another report.

    :raises ConfigurationError: when a template or an upstream task gave None.
    """
    if gone := [name for name in given if getattr(task, name) is None]:
        raise ConfigurationError(f"{', '.join(gone)}: the template or the upstream task gave nothing.")


def positive(name: str, span: timedelta | float) -> timedelta:
    """Return a span of time that was given as a timedelta or in seconds.

    :raises ValueError: when it is none, or not a positive one.
    """
    found = span if isinstance(span, timedelta) else timedelta(seconds=span)
    if found <= timedelta(0):
        raise ValueError(f"{name} is positive, not {span!r}")
    return found


def word(rendered: object) -> str:
    """Return what a template came to, empty for nothing."""
    found = str(rendered).strip()
    return "" if found == "None" else found


def truth(name: str, rendered: object) -> bool:
    """Return whether a template came to True.

    :raises ConfigurationError: when it came to something else than True, False or nothing.
    """
    if (found := word(rendered).lower()) not in ("true", "false", ""):
        raise ConfigurationError(f"{name} is True or False, not {rendered!r}.")
    return found == "true"


def require_livemode(hook: StripeReportingHook, report_type: str, expected: bool | None) -> None:
    """Refuse the wrong kind of key: figures of a test account must not close anybody's books.

    :param report_type: asked about where the key does not tell.
    :param expected: None for either kind.
    :raises ConfigurationError: see above.
    """
    if expected is None:
        return
    livemode = hook.settings.livemode
    if livemode is None:
        livemode = hook.retrieve_report_type(report_type).livemode
    if livemode is not expected:
        has, wants = ("live", "test") if livemode else ("test", "live")
        raise ConfigurationError(
            f"Connection {hook.stripe_conn_id!r} has a {has} key, and this task expects {wants} data "
            f"(expect_livemode={expected}). Nothing was created."
        )

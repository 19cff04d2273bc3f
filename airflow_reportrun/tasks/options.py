"""What the templates of a task's options have come to: options that were given and came to nothing are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


def path_option(given: Any) -> Any:
    """Return an option that is a path as text, so that Airflow renders the templates in it; see ``text_of``."""
    if given is None or isinstance(given, str):
        return given
    from airflow_reportrun.landing.destination import text_of

    return text_of(given)


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

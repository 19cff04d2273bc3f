"""What can be wrong with a task's options by themselves: a word that is none, a template that came to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


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

"""What the templates of a task's options have come to: options that were given and came to nothing are refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

Given = Mapping[str, frozenset[str]]
"""Options by name, with what was empty in each already as it was written, such as ``parameters[x]``."""

_NOTHING = frozenset({"", "None", "[]", "()", "{}"})
"""What None and empty collections come to in a template that makes text."""

_RESULTS = frozenset({"report_run_id"})
"""Options that take what a task returned, in which None is a value."""


def given_options(task: BaseOperator, *, may_be_empty: Collection[str] = ()) -> Given:
    """Return the templated options of a task as their author wrote them; to be asked in its constructor.

    :param may_be_empty: names of options for which nothing is an answer, too.
    """
    # A subclass may have templates of its own, which it sets only after this.
    return {
        name: frozenset(_empty(name, getattr(task, name, None)))
        for name in task.template_fields
        if name not in may_be_empty
    }


def require_rendered(task: BaseOperator, given: Given) -> None:
    """Refuse options that were given and have come to nothing: leaving them out would be another report.

    :raises ConfigurationError: when a template or an upstream task gave None, nothing or blanks, for an option or
        for a part of it.
    """
    gone = [it for name, written in given.items() for it in _empty(name, getattr(task, name)) if it not in written]
    if gone:
        raise ConfigurationError(f"{', '.join(gone)}: the template or the upstream task gave nothing.")


def _empty(name: str, value: Any) -> Iterator[str]:
    """Yield what of an option is empty: the option itself, or parts of it."""
    if value is None or (isinstance(value, str) and value.strip() in _NOTHING):
        yield name
    elif isinstance(value, Collection) and not isinstance(value, (str, bytes)):
        if not len(value):
            yield name
        elif name not in _RESULTS:
            parts = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, part in parts:
                yield from _empty(f"{name}[{key}]", part)

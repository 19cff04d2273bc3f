"""What can be wrong with a task's options by themselves: a word that is none, a template that came to nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeGuard

from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_reportrun.hooks import StripeReportingHook

Given = Mapping[str, frozenset[str]]
"""Options by name, with what was empty in each already as it was written, such as ``parameters[x]``."""


def require_known(name: str, value: object, known: Sequence[object], *, templated: bool = False) -> None:
    """Refuse a value that is none of a few, as early as it is known: in the constructor, when the file is parsed.

    :param templated: a template or an upstream task may still become one of them.
    :raises ConfigurationError: see above.
    """
    if value in known or (templated and (not isinstance(value, str) or is_template(value))):
        return
    words = ", ".join(str(it) for it in known if it is not None)
    raise ConfigurationError(f"{name} is one of {words}, not {value!r}.")


def is_written(value: object) -> TypeGuard[str]:
    """Tell whether a text is there as it will be when the task runs, since nothing is left to render."""
    return isinstance(value, str) and not is_template(value)


def is_quotable(value: object) -> TypeGuard[str]:
    """Tell whether an address is written, and has no secret that an error would show with its line of the file."""
    from airflow_reportrun.landing.destination import shows_credentials

    return is_written(value) and not shows_credentials(value)


def is_template(text: str) -> bool:
    """Tell whether Jinja makes something else of a text."""
    return "{{" in text or "{%" in text


def path_option(given: Any) -> Any:
    """Return an option that is a path as text, so that Airflow renders the templates in it; see ``text_of``."""
    if given is None or isinstance(given, str):
        return given
    from airflow_reportrun.landing.destination import text_of

    return text_of(given)


_NOTHING = frozenset({"", "None", "[]", "()", "{}"})
"""What None and empty collections come to in a template that makes text."""

_RESULTS = frozenset({"report_run_id"})
"""Options that take what a task returned, in which None is a value."""


def given_options(task: BaseOperator, *, may_be_empty: Collection[str] = ()) -> Given:
    """Return the templated options of a task as their author wrote them; to be asked in its constructor.

    :param may_be_empty: names of options for which nothing is an answer, too.
    """
    # What is mapped over comes from upstream and into the constructor at once.
    mapped = getattr(task, "_BaseOperator__from_mapped", False)
    # A subclass may have templates of its own, which it sets only after this.
    given = {name: getattr(task, name, None) for name in task.template_fields if name not in may_be_empty}
    return {
        name: frozenset(_empty(name, value) if value is None or value == () or not mapped else ())
        for name, value in given.items()
    }


def require_rendered(task: BaseOperator, given: Given) -> None:
    """Refuse options that were given and have come to nothing: leaving them out would be another report.

    :raises ConfigurationError: when a template or an upstream task gave None, nothing or blanks, for an option or
        for a part of it.
    """
    require_something(given, {name: getattr(task, name) for name in given}, _mapped_over_upstream(task))


def written_options(options: Mapping[str, Any]) -> Given:
    """Return options as their author wrote them, with what is empty in each."""
    return {name: frozenset(_empty(name, value)) for name, value in options.items()}


def require_something(given: Given, rendered: Mapping[str, Any], mapped: Collection[str] = ()) -> None:
    """Refuse options that have come to nothing; see :func:`require_rendered`.

    :param mapped: those in which nothing was never written.
    """
    gone = [
        it
        for name, written in given.items()
        for it in _empty(name, rendered[name])
        if it not in written or name in mapped
    ]
    if gone:
        raise ConfigurationError(f"{', '.join(gone)}: the template or the upstream task gave nothing.")


def _mapped_over_upstream(task: BaseOperator) -> set[str]:
    """Return the options that ``expand`` takes from another task; None in a list of the author's own is meant."""
    original = task.dag.task_dict.get(task.task_id) if task.has_dag() else None
    value = getattr(getattr(original, "expand_input", None), "value", None)
    if not isinstance(value, Mapping):
        return set()
    return {name for name, it in value.items() if not isinstance(it, (list, tuple, dict, set))}


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


def positive(name: str, span: timedelta | float) -> timedelta:
    """Return a span of time that was given as a timedelta or in seconds.

    :raises ConfigurationError: when it is none, or not a positive one.
    """
    found = span_option(name, span)
    if found <= timedelta(0):
        raise ConfigurationError(f"{name} is positive, not {span!r}")
    return found


def span_option(name: str, span: object) -> timedelta:
    """Return an option that is a span of time.

    :raises ConfigurationError: when it is neither a timedelta nor seconds.
    """
    if isinstance(span, timedelta):
        return span
    if isinstance(span, int | float) and not isinstance(span, bool):
        with suppress(ValueError, OverflowError):  # what is no number, or longer than Python knows
            return timedelta(seconds=span)
    raise ConfigurationError(f"{name} is a timedelta or a number of seconds, not {span!r:.100}.")


def count_option(name: str, value: int | None) -> int | None:
    """Return an option that is a number of things, None for any number.

    :raises ConfigurationError: when it is none.
    """
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigurationError(f"{name} is a whole number from 1 on, or None for no limit, not {value!r}.")
    return value


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

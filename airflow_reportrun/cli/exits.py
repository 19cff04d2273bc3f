"""How a command ends: with a result or one sentence, neither of which shows a key, and a code for scripts."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace

FAILED = 1
NOT_UNDERSTOOD = 2
INCOMPLETE = 3
INTERRUPTED = 130


class UsageError(Exception):
    """Options that can't be meant together."""


Outcome = tuple[int, Callable[[], None]]
"""The exit code of a command, and what prints its result."""


def command(function: Callable[[Namespace], Outcome]) -> Callable[[Namespace], None]:
    """Make a command of what returns its outcome; an error is one sentence, and with ``--verbose`` all of it."""

    @wraps(function)
    def call(args: Namespace) -> None:
        from airflow.providers.common.compat.sdk import AirflowException

        from airflow_reportrun.reporting.errors import ReportingError

        # As Airflow's own commands about connections do: they are in its database.
        os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
        try:
            with _only_results_on_stdout(logging.INFO if args.verbose else logging.WARNING):
                code, show = function(args)
            show()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except UsageError as error:
            code = _failed(error, str(error), args, NOT_UNDERSTOOD)
        except (ReportingError, AirflowException) as error:
            code = _failed(error, str(error), args)
        except Exception as error:
            code = _failed(error, f"{type(error).__name__}: {error} (--verbose says where)", args)
        if code:
            sys.exit(code)

    return call


def _failed(error: Exception, words: str, args: Namespace, code: int = FAILED) -> int:
    if args.verbose:
        say("".join(traceback.format_exception(error)))
    say(" ".join(words.split()))
    return code


def nothing() -> None:
    """Print no result."""


def say(words: str) -> None:
    """Tell people something that is not the result."""
    from airflow_reportrun.reporting.secrets import redacted

    print(redacted(words), file=sys.stderr)


def print_rows(rows: Sequence[dict[str, Any]], output: str) -> None:
    """Print a result in a format of ``--output``, as Airflow's own commands do."""
    from airflow.cli.simple_table import AirflowConsole

    from airflow_reportrun.reporting.secrets import redacted_in

    AirflowConsole().print_as(redacted_in(rows), output)


@contextmanager
def _only_results_on_stdout(level: int) -> Iterator[None]:
    """Keep logs out of the result, those of Airflow that are only opened when they are written to, too."""
    loggers = [logging.getLogger(name) for name in ("airflow", "airflow_reportrun")]
    levels = [it.level for it in loggers]
    for handler in logging.getLogger().handlers:
        # Airflow 2's looks for stdout whenever it writes, and has no such attribute of its own.
        if isinstance(handler, logging.StreamHandler) and vars(handler).get("stream") is sys.stdout:
            handler.setStream(sys.stderr)
    try:
        for it in loggers:
            it.setLevel(level)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        for it, before in zip(loggers, levels, strict=True):
            it.setLevel(before)

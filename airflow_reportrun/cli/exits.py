"""How a command ends: with a result or one sentence, neither of which shows a key, and a code for scripts."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
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
            with _only_results_on_stdout(verbose=args.verbose):
                code, show = function(args)
            with _ended_by_its_pipe():
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
    say(_in_own_words(" ".join(words.split()), args))
    return code


def _in_own_words(words: str, args: Namespace) -> str:
    """Return what an error says with the options of the command line, where it speaks of those of operators.

    What is about a DAG is about its tasks, and keeps their words.
    """
    from airflow_reportrun.reporting.errors import OTHER_SHAPE, DataBeginsLaterError, DataNotReadyError

    if getattr(args, "dag_id", None) is not None:
        return words
    said = words.replace(OTHER_SHAPE, "")
    said = said.replace(DataBeginsLaterError.advice, "Ask for an interval that begins later.")
    said = said.replace(DataNotReadyError.advice, "Ask again later, or for an interval that ends earlier.")
    for theirs, ours in _OWN_WORDS.items():
        said = re.sub(theirs, ours, said)
    return said.strip()


_OWN_WORDS = {
    r", with format='([\w.]+)' of StripeReportDownloadOperator": r", with --format \1",
    r"\b(format|naming|metadata|schema)='([\w.]+)'": r"--\1 \2",
    r"\boverwrite=True": "--overwrite",
    r"StripeReportingHook\(\)\.list_report_types\(\) lists": "airflow reportrun types lists",
    r"\bSet column_types=": "A task can say so: column_types=",
    **{
        rf"^{name}: there is no": f"--{name.replace('_', '-')}: there is no"
        for name in ("stripe_conn_id", "conn_id", "catalog_conn_id")
    },
}
"""What the options of operators are called on the command line."""


def nothing() -> None:
    """Print no result."""


def say(words: str) -> None:
    """Tell people something that is not the result."""
    from airflow_reportrun.reporting.secrets import redacted

    try:
        print(redacted(words), file=sys.stderr, flush=True)
    except BrokenPipeError:  # nobody listens any more, for which no landing is given up
        with open(os.devnull, "w") as nobody:
            os.dup2(nobody.fileno(), sys.stderr.fileno())


def print_rows(rows: Sequence[dict[str, Any]], output: str) -> None:
    """Print a result in a format of ``--output``, as Airflow's own commands do; that there is none, `say` says."""
    if not rows:
        if output in ("json", "yaml"):
            print("[]")
        return
    from airflow.cli.simple_table import AirflowConsole

    from airflow_reportrun.reporting.secrets import redacted_in

    AirflowConsole().print_as(redacted_in(rows), output)


@contextmanager
def _ended_by_its_pipe() -> Iterator[None]:
    """Let who reads no more, such as ``head``, end the command as it ends other tools: quietly, by a signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        yield
        sys.stdout.flush()
    finally:
        signal.signal(signal.SIGPIPE, before)


@contextmanager
def _only_results_on_stdout(*, verbose: bool) -> Iterator[None]:
    """Keep logs out of the result, those of Airflow that are only opened when they are written to, too.

    :param verbose: show what Airflow logs, and what ours do beside warnings.
    """
    loggers = [logging.getLogger(name) for name in ("airflow", "airflow_reportrun")]
    levels = [it.level for it in loggers]
    for handler in logging.getLogger().handlers:
        # Airflow 2's looks for stdout whenever it writes, and has no such attribute of its own.
        if isinstance(handler, logging.StreamHandler) and vars(handler).get("stream") is sys.stdout:
            handler.setStream(sys.stderr)
    try:
        for it in loggers:
            it.setLevel(logging.INFO if verbose else logging.WARNING)
        with redirect_stdout(sys.stderr), nullcontext() if verbose else _without_airflows_logs():
            yield
    finally:
        for it, before in zip(loggers, levels, strict=True):
            it.setLevel(before)


@contextmanager
def _without_airflows_logs() -> Iterator[None]:
    """Let no logger of Airflow's write: what it warns of, our own sentences say where it matters."""

    def is_ours(record: logging.LogRecord) -> bool:
        return not _is_airflows(record.name)

    def drop(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        if _is_airflows(event.get("logger_name") or getattr(logger, "name", None) or ""):
            raise structlog.DropEvent
        return event

    handlers = logging.getLogger().handlers[:]
    processors: list[Any] = []
    with suppress(ImportError):  # Airflow 2 is without it
        import structlog

        # The list itself: loggers that have written keep it, whatever is configured later.
        processors = structlog.get_config()["processors"]
    try:
        for it in handlers:
            it.addFilter(is_ours)
        processors.insert(0, drop)
        yield
    finally:
        processors.remove(drop)
        for it in handlers:
            it.removeFilter(is_ours)


def _is_airflows(name: str) -> bool:
    """Tell whether a logger is one of Airflow's, as is that of Python's warnings, which are about code."""
    return name in ("airflow", "py.warnings") or name.startswith("airflow.")

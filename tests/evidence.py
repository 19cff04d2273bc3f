"""What came of something, as bytes, and a search of it for secrets in all of their spellings."""

from __future__ import annotations

import gzip
import io
import json
import logging
import sys
import traceback
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow.parquet


def spellings(secret: str) -> set[bytes]:
    """Return a secret as it is, as URLs and JSON have it, and as Base64 has it, whatever stands beside it."""
    plain = secret.encode()
    found = {
        plain,
        quote(secret, safe="").encode(),
        quote_plus(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
    }
    for before in range(3):  # bytes, such as those of a user's name
        coded = b64encode(bytes(before) + plain)
        whole = coded[(before * 8 + 5) // 6 : (before + len(plain)) * 8 // 6]
        found |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def hits(evidence: Iterable[tuple[str, bytes]], secrets: Mapping[str, str]) -> list[str]:
    """Return where a secret is, and which one."""
    wanted = {name: spellings(secret) for name, secret in secrets.items()}
    return [
        f"{name} in {where}: …{_around(contents, found)}…"
        for where, contents in evidence
        for name, its in wanted.items()
        for found in its
        if found in contents
    ]


def _around(contents: bytes, found: bytes) -> str:
    at = contents.index(found)
    return repr(contents[max(0, at - 120) : at + len(found) + 40])


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each file below some folders, also as what is compressed in it."""
    for path in (it for folder in folders for it in folder.rglob("*") if it.is_file()):
        yield from readable(str(path), path.read_bytes())


def readable(name: str, contents: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the contents of a file, and what is compressed in it."""
    yield name, contents
    if contents.startswith(b"\x1f\x8b"):
        yield f"{name}, unpacked", gzip.decompress(contents)
    if contents.startswith(b"PAR1"):
        table = pyarrow.parquet.read_table(io.BytesIO(contents))
        yield f"{name}, unpacked", repr((table.schema.metadata, table.to_pylist())).encode()


def chain(error: BaseException | None, seen: frozenset[int] = frozenset()) -> Iterator[BaseException]:
    """Yield an error, and all that it came of, shown or not."""
    if error is not None and id(error) not in seen:
        yield error
        for it in (error.__cause__, error.__context__):
            yield from chain(it, seen | {id(error)})


@dataclass
class Evidence:
    """What was heard and seen, by where.

    ``heard`` has a pair for each thing that happened, the rest is looked at in the end.
    """

    heard: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, where: str, what: object) -> None:
        """Keep something: bytes and texts as they are, anything else as JSON where it is, and as its ``repr``."""
        if not isinstance(what, bytes):
            what = what if isinstance(what, str) else f"{json.dumps(what, default=str)}\n{what!r}"
            what = what.encode(errors="backslashreplace")
        self.heard.append((where, what))

    def add_error(self, error: BaseException | None) -> None:
        """Keep an error that was raised as everything that could show it does."""
        for it in chain(error):
            said = (str(it), repr(it), repr(it.args), repr(getattr(it, "__dict__", {})))
            self.add(f"a {type(it).__name__}", "\n".join((*said, *getattr(it, "__notes__", ()))))
        self.add_traceback("a traceback", error)

    def add_traceback(self, where: str, error: object) -> None:
        """Keep an error as logs show it."""
        if isinstance(error, BaseException):
            self.add(where, "".join(traceback.format_exception(error)))

    @contextmanager
    def of_logs(self, *, but: str) -> Iterator[None]:
        """Keep what all loggers say from DEBUG on, those of structlog, too, before Airflow masks it.

        :param but: the beginning of the names of those of a server that is played here.
        """
        import structlog

        said, root = _Said(self), logging.getLogger()
        loggers = [it for it in logging.root.manager.loggerDict.values() if isinstance(it, logging.Logger)]
        loggers = [it for it in loggers if not it.name.startswith(but)]
        silent = [it for it in loggers if not it.propagate]
        quiet = [it for it in (root, *loggers) if it.level > logging.DEBUG or it.disabled]
        before = [(it, it.level, it.disabled) for it in quiet]
        config = structlog.get_config()

        def keep(logger: Any, method: str, event: Any) -> Any:
            # What is to be masked Airflow (3.3.2) tells its log itself, where a task runs in the supervisor's
            # process as here.
            if type(event.get("msg")).__name__ == "MaskSecret":
                raise structlog.DropEvent
            where = f"structlog, {getattr(logger, 'name', '')}"
            self.add(where, repr(dict(event)))
            self.add_traceback(
                where, sys.exc_info()[1] if event.get("exc_info") is True else event.get("exc_info")
            )
            return event

        class Loud(structlog.make_filtering_bound_logger(0)):  # type: ignore[misc]
            def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - as the standard library calls it
                return True

        for it in (root, *silent):
            it.addHandler(said)
        for it, _, _ in before:
            it.setLevel(logging.DEBUG)
            it.disabled = False
        structlog.configure(processors=[keep, *config["processors"]], wrapper_class=Loud)
        try:
            yield
        finally:
            structlog.configure(**config)
            for it, level, disabled in before:
                it.setLevel(level)
                it.disabled = disabled
            for it in (root, *silent):
                it.removeHandler(said)


class _Said(logging.Handler):
    def __init__(self, evidence: Evidence) -> None:
        super().__init__(logging.DEBUG)
        self._evidence = evidence

    def emit(self, record: logging.LogRecord) -> None:
        where = f"the log of {record.name}"
        self._evidence.add(where, f"{record.getMessage()}\n{record.args!r}")
        self._evidence.add_traceback(where, record.exc_info and record.exc_info[1])

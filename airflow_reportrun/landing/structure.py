r"""Whether bytes on their way are a report, and how many rows it has: found while they pass, without parsing them.

Stripe quotes each cell that is not null, the header's too; a null is empty. So whether a newline is in a cell is
mostly told by what follows it, and always by the number of quotes before it, both at the speed of C. Lines end in
``\n`` or ``\r\n``; the last one may lack it, when it has as many cells as the header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from operator import itemgetter
from reprlib import repr as shortened

from airflow_reportrun.reporting.errors import DownloadError, ReportColumnsError

LONGEST_HEADER = 1024 * 1024
"""Bytes."""

BLOCK_SIZE = 64 * 1024
"""Bytes to count in at a time: what is made of more goes through memory that the system has to clear first."""

STEP = 4 * 1024
"""Bytes in which the end of a record is looked for in one go, from behind."""

_BOM = b"\xef\xbb\xbf"
_OTHERS = {b"{": "JSON", b"[": "JSON", b"<": "HTML or XML"}
_HEADER = re.compile(rb'"[^"]*(?:""[^"]*)*"(?:,"[^"]*(?:""[^"]*)*")*')
_CELL = re.compile(r'"([^"]*(?:""[^"]*)*)"')
_HEAD = itemgetter(slice(4))  # short, so that the different ones are few
# Nulls, and the quote of a cell that has something in it. Inside a cell such a quote would be doubled, or end it.
_BEGINS_RECORD = re.compile(rb',*"[^",\r\n]')
_TRIES = 8  # lines from behind, of which one mostly begins a record
_PAUSE = 8  # chunks: where one has a newline in a cell, others have
_ALL_OTHER_BYTES = bytes(set(range(256)) - set(b'"\n'))


class ReportCheck:
    """Looks at a report's bytes in the order in which they come, in memory that does not grow with them.

    :param columns: what the header has to say, in this order; None for anything that is a header.
    :param at_least: columns that the header has to have besides others, in any order.
    """

    def __init__(self, columns: Sequence[str] | None = None, *, at_least: Sequence[str] = ()) -> None:
        self._wanted = columns
        self._at_least = at_least
        self._head: bytes | None = b""
        self._scanned = 0
        self._inside = False
        self._pause = 0
        self._ended = False  # the last byte ended a record, unless it is in a cell
        self._commas = 0  # between the cells of the record that has not ended
        self.columns: tuple[str, ...] = ()
        """The header's, once it has passed."""
        self.rows = 0
        """Records that have passed, without the header."""

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes, however they were cut.

        :raises ReportColumnsError: when the header has other columns than were asked for.
        :raises DownloadError: when this is no report.
        """
        if self._head is not None:
            self._head += chunk
            chunk = self._after_header(self._head)
        if chunk:
            if self._pause or not self._count_lines(chunk):
                self._pause = (self._pause or _PAUSE) - 1
                for start in range(0, len(chunk), BLOCK_SIZE):
                    self._count(chunk[start : start + BLOCK_SIZE])
            self._ended = chunk.endswith(b"\n")
            self._count_commas(chunk)

    def end(self) -> None:
        """Say that no more bytes follow.

        :raises DownloadError: when the last record, or the header, is not whole.
        """
        if self._head == b"":
            raise DownloadError("The report has not even a header")
        if self._head is not None:
            line = self._head.removeprefix(_BOM).removesuffix(b"\r")
            if not _HEADER.fullmatch(line):
                raise DownloadError(f"The report breaks off in its header: {_shown(self._head)}")
            self._read_header(line)
            return
        if self._inside:
            raise DownloadError(f"The report breaks off inside a quoted cell of row {self.rows + 1}")
        if not self._ended:
            self.rows += 1
            if (cells := self._commas + 1) != len(self.columns):
                raise DownloadError(
                    f"The report breaks off in row {self.rows}, which has {cells} cells of {len(self.columns)}"
                )

    def _after_header(self, head: bytes) -> bytes:
        """Return what comes behind the header, nothing while it is not whole."""
        text = head.removeprefix(_BOM)
        start = text.lstrip()[:1]
        if start in _OTHERS or (start and not text.startswith((b'"', _BOM[: len(text)]))):
            other = _OTHERS.get(start)
            what = f", but {other}" if other else " as Stripe writes it, with names of columns in quotes"
            raise DownloadError(f"What came is not a report{what}: {_shown(text)}")
        while (end := head.find(b"\n", self._scanned)) >= 0:
            self._inside ^= head.count(b'"', self._scanned, end) % 2 == 1
            self._scanned = end + 1
            if not self._inside:
                self._read_header(head[:end].removeprefix(_BOM).removesuffix(b"\r"))
                self._head, self._ended = None, True
                return head[end + 1 :]
        if len(head) > LONGEST_HEADER:
            raise DownloadError(f"The report's header has no end in {LONGEST_HEADER} bytes: {_shown(text)}")
        return b""

    def _read_header(self, line: bytes) -> None:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise DownloadError(f"The report's header is not UTF-8 ({error.reason}): {_shown(line)}") from None
        if not _HEADER.fullmatch(line):
            raise DownloadError(f"The report's header is not CSV with quoted names: {_shown(line)}")
        self.columns = tuple(cell.replace('""', '"') for cell in _CELL.findall(text))
        if self._wanted is not None and self.columns != tuple(self._wanted):
            raise ReportColumnsError(_difference(self._wanted, self.columns))
        if missing := [name for name in self._at_least if name not in self.columns]:
            raise ReportColumnsError(f"The report lacks columns that it has by default: {', '.join(missing)}")

    def _count_lines(self, chunk: bytes) -> bool:
        """Count the newlines where all of them plainly end records, and tell whether they do."""
        lines = BytesIO(chunk)
        lines.readline()
        begins = [*map(_HEAD, lines)]
        if not begins or chunk.endswith(b"\n") or not all(map(_BEGINS_RECORD.match, {*begins})):
            return False
        self.rows += len(begins)
        self._inside = chunk.count(b'"', chunk.rfind(b"\n") + 1) % 2 == 1
        return True

    def _count(self, chunk: bytes) -> None:
        """Count the newlines that are not between quotes."""
        marks = chunk.translate(None, _ALL_OTHER_BYTES)
        if self._inside:  # as if the cell began here
            marks = b'"' + marks
        spans = marks.replace(b'""', b"").split(b'"')
        self.rows += sum(map(len, spans[::2]))
        self._inside = len(spans) % 2 == 0

    def _count_commas(self, chunk: bytes) -> None:
        """Count the commas between cells behind the last end of a record, of which the chunk may have none."""
        commas, inside, end = 0, self._inside, len(chunk)
        start = max(chunk.rfind(b"\n"), end - STEP, 0)  # that newline mostly ends a record
        while end:
            pieces = chunk[start:end].replace(b'""', b"").split(b'"')
            # From behind, where it is known whether a cell is open: now outside cells, now inside.
            for piece in pieces[-1 - inside :: -2]:
                _, newline, record = piece.rpartition(b"\n")
                commas += record.count(b",")
                if newline:
                    self._commas = commas
                    return
            inside ^= len(pieces) % 2 == 0
            start, end = max(start - STEP, 0), start
        self._commas += commas


def last_end(block: bytes) -> int:
    """Return how many bytes of a block that begins with a record are whole records, 0 where none ends."""
    end = len(block)
    for _ in range(_TRIES):
        if (end := block.rfind(b"\n", 0, end)) < 0:
            break
        if _BEGINS_RECORD.match(block, end + 1):
            return end + 1
    odd, end = block.count(b'"') % 2, len(block)
    while (line_end := block.rfind(b"\n", 0, end)) >= 0:
        odd ^= block.count(b'"', line_end, end) % 2
        if not odd:
            return line_end + 1
        end = line_end
    return 0


def _difference(wanted: Sequence[str], columns: Sequence[str]) -> str:
    missing = [name for name in wanted if name not in columns]
    unasked = [name for name in columns if name not in wanted]
    facts = {"missing": missing, "not asked for": unasked}
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in facts.items() if names)
    return (
        f"The report has other columns than were asked for ({said or 'in another order: ' + ', '.join(columns)})"
    )


def _shown(line: bytes) -> str:
    return shortened(line.decode(errors="replace"))

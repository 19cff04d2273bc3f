"""The contents of files, whole or the part that was asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from . import errors
from .faults import IgnoresRange, OtherRange, RequestFault, ShortContents
from .messages import Contents

if TYPE_CHECKING:
    from .messages import Call
    from .runs import ResultFile

_TYPES = {"csv": "text/csv", "zip": "application/zip"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def contents_of(file: ResultFile, call: Call, fault: RequestFault | None) -> Contents:
    """Answer a download: 200, 206 for a part, 416 for one beyond the end.

    That Stripe serves parts at all, and how, is the sandbox's choice: single ranges, with a strong ``ETag`` that
    ``If-Range`` can name.
    """
    size = min(fault.kept, file.size) if isinstance(fault, ShortContents) else file.size
    headers = {"Content-Type": _TYPES[file.type], "Accept-Ranges": "bytes", "ETag": file.etag}
    part = None if isinstance(fault, IgnoresRange) else _part(call, size, file.etag)
    if part is None:
        return Contents(200, headers, file.contents, 0, size)
    start, stop = part
    if isinstance(fault, OtherRange):
        start = max(0, start - fault.by)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Contents(206, headers, file.contents, start, stop)


def _part(call: Call, size: int, etag: str) -> tuple[int, int] | None:
    """Read which part is asked for; None for all, as for what is not a single range or not of this version."""
    match = _RANGE.fullmatch(call.headers.get("range", ""))
    if match is None or call.headers.get("if-range", etag) != etag or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    if first and last and int(last) < int(first):
        return None
    if start >= stop:
        raise errors.range_not_satisfiable(size)
    return start, stop

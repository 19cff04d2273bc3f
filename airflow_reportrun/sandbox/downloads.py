"""Responses that are not JSON: the contents of files, and closed connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from .faults import Redirected, RequestFault, ShortContents

if TYPE_CHECKING:
    from .runs import ResultFile

HangUp = Callable[[Scope], None]
"""Closes the connection that a request came by."""

CHUNK_BYTES = 256 * 1024


def download(file: ResultFile, fault: RequestFault | None, hang_up: HangUp) -> Response:
    """Stream a file's contents, whole unless the fault says otherwise."""
    if isinstance(fault, Redirected):
        return Response(status_code=302, headers={"Location": fault.location})
    kept = min(fault.kept, file.size) if isinstance(fault, ShortContents) else file.size
    chunks = _chunks(file.contents, kept)
    headers = {"Content-Type": "text/csv", "Content-Length": str(kept)}
    if isinstance(fault, ShortContents) and not fault.announced:
        return HungUp(hang_up, chunks, headers={**headers, "Content-Length": str(file.size)})
    return StreamingResponse(chunks, headers=headers)


class HungUp(Response):
    """A connection that closes without an answer or, given some chunks of a body, in the middle of one."""

    def __init__(
        self,
        hang_up: HangUp,
        chunks: Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(headers=headers)
        self._hang_up = hang_up
        self._chunks = chunks

    @property
    def answers(self) -> bool:
        """Tell whether at least a status line goes out."""
        return self._chunks is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what there is and close."""
        if self._chunks is not None:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in iterate_in_threadpool(self._chunks):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._hang_up(scope)
        # To return before the connection is closed would make the server answer 500 in our place.
        while (await receive())["type"] != "http.disconnect":
            pass


def _chunks(contents: bytes | Path, size: int) -> Iterator[bytes]:
    """Yield the first ``size`` bytes, never more than a chunk in memory where they come from disk."""
    if isinstance(contents, bytes):
        for start in range(0, size, CHUNK_BYTES):
            yield contents[start : min(start + CHUNK_BYTES, size)]
        return
    with contents.open("rb") as source:
        while size > 0 and (chunk := source.read(min(CHUNK_BYTES, size))):
            size -= len(chunk)
            yield chunk

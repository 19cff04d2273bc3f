"""A file's contents over as many requests as they take: after a cut, the rest alone is asked for.

Stripe does not document that it serves parts of a file. So nothing is trusted: a part is taken only where the
answer says that it is the one that was asked for, and begins with the bytes that came last.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from airflow_reportrun.reporting.answers import Response, require_success
from airflow_reportrun.reporting.errors import DownloadError, ReportingError
from airflow_reportrun.wire.transport import answer_of, head_of, pieces, reader_of

if TYPE_CHECKING:
    import requests

    from airflow_reportrun.reporting.resending import Tries

T = TypeVar("T")

CHUNK_SIZE = 1024 * 1024
"""Bytes; in smaller pieces a download takes more CPU. A cut loses what had come of a chunk."""

SLOWEST_DOWNLOAD = 16 * 1024
"""Bytes a second: a download that is slower on the whole, its first ``timeout`` aside, is given up."""

OVERLAP = 1024
"""Bytes before a cut that are asked for again: a proxy may have put words of its own at the end."""

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')


class _StartsAgain(Exception):  # noqa: N818 - no error
    """The next byte is the file's first. Raised out of the chunks, so that the consumer drops what it has."""


class Download:
    """The contents of one file on their way.

    :param what: method and path, for the errors.
    :param size: bytes of the file.
    :param ask: sends a request with these headers and returns the answer, its body unread.
    :param tries: ends in the error, or waits; a chunk that no try had brought before makes them begin anew.
    :param timeout: seconds that a try has besides those of :data:`SLOWEST_DOWNLOAD`.
    """

    def __init__(
        self,
        what: str,
        size: int,
        *,
        ask: Callable[[Mapping[str, str]], requests.Response],
        tries: Tries,
        timeout: float,
    ) -> None:
        self._what = what
        self._size = size
        self._ask = ask
        self._tries = tries
        self._timeout = timeout
        self._too_late = self._limit(size)  # for tries to begin anew
        self._counted = 0
        self._came = 0
        self._last = b""
        self._etag: str | None = None
        self._first_answer: requests.Response | None = None

    def into(self, consume: Callable[[Iterator[bytes]], T]) -> T:
        """Return what ``consume`` makes of the chunks; see :meth:`StripeReportingHook.read_file`."""
        refusal = ""
        try:
            while True:
                chunks = self._chunks()
                try:
                    with closing(chunks):
                        return consume(chunks)
                except _StartsAgain:
                    continue
                except ReportingError as error:
                    failure = error
                if 0 < self._size == self._came:
                    if str(failure) == refusal:  # twice, of all the bytes: they are what Stripe has
                        raise failure
                    refusal = str(failure)
                self._tries.failed(failure)
        finally:
            if self._first_answer is not None:
                self._first_answer.close()

    def _chunks(self) -> Generator[bytes, None, None]:
        self._came, self._last = 0, b""
        while True:
            try:
                with self._answer() as response:
                    yield from self._body(response)
                    return
            except ReportingError as error:
                failure = error
            if isinstance(failure, DownloadError) or (self._came and self._etag is None):
                raise failure
            if self._came - self._counted >= CHUNK_SIZE and time.monotonic() < self._too_late:
                self._counted = self._came
                self._tries.begin_anew()
            self._tries.failed(failure)

    def _answer(self) -> requests.Response:
        """Return the answer to read on from: to the first request, or to one for the rest."""
        response, self._first_answer = self._first_answer, None
        if response is not None:
            return response
        start = self._came - len(self._last)
        response = self._ask({"Range": f"bytes={start}-", "If-Range": str(self._etag)} if self._came else {})
        try:
            if self._came and response.status_code in (206, 416):
                self._require_rest(head_of(response), start)
                return response
            # The body of anything else is an error's.
            is_file = response.status_code == 200
            require_success(self._what, head_of(response) if is_file else answer_of(self._what, response))
        except BaseException:
            response.close()
            raise
        etag = response.headers.get("ETag", "")
        self._etag = etag if _STRONG_ETAG.fullmatch(etag) else None
        if self._came:
            self._first_answer = response
            raise _StartsAgain
        return response

    def _require_rest(self, head: Response, start: int) -> None:
        wanted = f"bytes {start}-{self._size - 1}/{self._size}"
        said = head.headers.get("content-range")
        same = head.headers.get("etag", self._etag) == self._etag
        if head.status != 206 or said != wanted or not same:
            raise DownloadError(
                f"{self._what} was asked to go on with {wanted} of {self._etag} and was answered with HTTP "
                f"{head.status}, {said} of {head.headers.get('etag')}"
            )
        require_success(self._what, Response(200, head.headers, b""))

    def _body(self, response: requests.Response) -> Iterator[bytes]:
        reader = reader_of(response)
        reader.deadline = self._limit(self._size - self._came)
        chunks = pieces(f"{self._what} of {self._size} bytes", response, CHUNK_SIZE)
        for chunk in self._without_overlap(chunks) if self._last else chunks:
            self._came += len(chunk)
            if self._came > self._size:
                break
            self._last = (self._last + chunk[-OVERLAP:])[-OVERLAP:]
            paused = time.monotonic()
            yield chunk
            paused = time.monotonic() - paused
            reader.deadline += paused
            self._too_late += paused
        if self._came != self._size:
            more = " or more" if self._came > self._size else ""
            raise DownloadError(
                f"{self._what} brought {self._came} bytes{more}, and Stripe's file has {self._size}"
            )

    def _without_overlap(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        expected = self._last
        for chunk in chunks:
            known = min(len(expected), len(chunk))
            if chunk[:known] != expected[:known]:
                raise DownloadError(
                    f"{self._what} does not go on with the bytes that came before byte {self._came}"
                )
            expected = expected[known:]
            if len(chunk) > known:
                yield chunk[known:]

    def _limit(self, size: int) -> float:
        """Return when so many bytes have to be there, by the monotonic clock, in seconds."""
        return time.monotonic() + self._timeout + size / SLOWEST_DOWNLOAD

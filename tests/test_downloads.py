"""Downloads over cuts: what is asked for after one, what is taken, and how many bytes that moves."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    AuthenticationError,
    DownloadError,
    ReportingError,
)
from airflow_reportrun.reporting.models import File
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import (
    AtOnce,
    CutBody,
    CutHeaders,
    Dropped,
    Fault,
    Framed,
    Garbage,
    Gzipped,
    IgnoresRange,
    KeyExpired,
    OtherRange,
    ProxyPage,
    RateLimited,
    Redirected,
    ShortContents,
    StripeSandbox,
    Unavailable,
    WrongLength,
    WrongSize,
)
from airflow_reportrun.wire import downloads
from tests.wire import Wire

CHUNK = 10_000
"""Bytes, here, so that files may be small."""
SIZE = 1_000_000
CONTENTS = random.Random(5).randbytes(SIZE)  # noqa: S311 - no secret


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "CHUNK_SIZE", CHUNK)


@pytest.fixture
def file(stripe_conn: StripeSandbox, tmp_path: Path) -> File:
    """A file of a million bytes, no two parts of which are alike."""
    stripe_conn.configure(transition=AtOnce())
    source = tmp_path / "source"
    source.write_bytes(CONTENTS)
    stripe_conn.serve_file(source)
    return result()


def result() -> File:
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
    run = StripeReportingHook().create_report_run("balance.summary.1", parameters)
    assert run.result
    return run.result


class Consumer:
    """Joins the chunks, and counts how often they began."""

    def __init__(self) -> None:
        self.passes = 0

    def __call__(self, chunks: Iterator[bytes]) -> bytes:
        """Join."""
        self.passes += 1
        return b"".join(chunks)


def download(file: File, consume: Consumer | None = None, *, tries: int = 2) -> bytes:
    hook = StripeReportingHook()
    hook.resend_policy = ResendPolicy(max_tries=tries, first_pause=0)
    return hook.read_file(file, consume or Consumer())


def asked(sandbox: StripeSandbox) -> list[str | None]:
    """What parts were asked for."""
    return [request.headers.get("range") for request in sandbox.requests_to("contents")]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_after_a_cut_the_rest_alone_is_asked_for(stripe_conn: StripeSandbox, file: File, framing: str) -> None:
    """From a little before the cut, for this version of the file; the consumer notices nothing."""
    stripe_conn.inject(CutBody(405_000, framing), on="contents")  # type: ignore[arg-type]
    consume = Consumer()
    assert download(file, consume) == CONTENTS
    assert consume.passes == 1
    first, second = stripe_conn.requests_to("contents")
    assert not {"range", "if-range"} & set(first.headers)
    start = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 405_000 - CHUNK - downloads.OVERLAP <= start <= 405_000
    assert second.headers["if-range"].startswith('"')


@pytest.mark.parametrize("cuts", [1, 3])
def test_cuts_move_few_bytes_twice(stripe_conn: StripeSandbox, file: File, cuts: int) -> None:
    """At most 2 % of a file of a hundred chunks: the chunk that was cut, and the overlap, each time."""
    cut = 205_000
    for _ in range(cuts):
        stripe_conn.inject(CutBody(cut), on="contents")
    assert download(file, tries=cuts + 1) == CONTENTS
    starts = [int((it or "bytes=0-")[6:-1]) for it in asked(stripe_conn)]
    moved = cut * cuts + SIZE - starts[-1]
    assert len(starts) == cuts + 1
    # A chunk is a hundredth of this file, and a thousandth of one of a gigabyte.
    assert moved - SIZE <= cuts * (CHUNK + downloads.OVERLAP)


def test_a_server_that_cuts_again_and_again_is_held_out_with(stripe_conn: StripeSandbox, file: File) -> None:
    """What brings a chunk begins the count of tries anew, so that two of them are enough for twenty cuts."""
    stripe_conn.inject(CutBody(50_000), on="contents", times=1000)
    consume = Consumer()
    assert download(file, consume) == CONTENTS
    assert consume.passes == 1
    assert len(asked(stripe_conn)) > 20


def test_a_server_that_brings_too_little_is_given_up(stripe_conn: StripeSandbox, file: File) -> None:
    """Less than a chunk in all its tries is no progress, or a file could take as many requests as it has bytes."""
    stripe_conn.inject(CutBody(3000), on="contents", times=1000)
    with pytest.raises(APIConnectionError, match="got no whole answer"):
        download(file, tries=3)
    assert len(asked(stripe_conn)) == 3


CUT = CutBody(405_000)

ON_THE_WAY: list[Fault] = [
    RateLimited(),
    Unavailable(),
    Dropped(),
    Dropped(reset=True),
    CutHeaders(),
    CutBody(9),
    ProxyPage(502),
    Garbage(),
    Garbage(after=17),
    Gzipped(),
    Redirected("https://elsewhere.example/"),
]


@pytest.mark.parametrize("fault", ON_THE_WAY, ids=repr)
def test_a_fault_between_the_parts_loses_none(stripe_conn: StripeSandbox, file: File, fault: Fault) -> None:
    """What came before the cut is kept while the rest is asked for again."""
    stripe_conn.inject(CUT, on="contents")
    stripe_conn.inject(fault, on="contents")
    consume = Consumer()
    assert download(file, consume, tries=3) == CONTENTS
    assert consume.passes == 1
    _, second, third = asked(stripe_conn)
    assert second == third is not None


def test_a_whole_file_instead_of_the_rest_begins_anew(stripe_conn: StripeSandbox, file: File) -> None:
    """As a server answers that knows no ranges; what it sends is taken, without another request."""
    stripe_conn.inject(CUT, on="contents")
    stripe_conn.inject(IgnoresRange(), on="contents")
    consume = Consumer()
    assert download(file, consume) == CONTENTS
    assert consume.passes == len(asked(stripe_conn)) == 2


# Answers to a request for the rest that are not it: the next try is for the whole.
WRONG: list[Fault] = [OtherRange(), OtherRange(by=1000), ShortContents(kept=100), ShortContents(kept=500_000)]


@pytest.mark.parametrize("fault", WRONG, ids=repr)
def test_another_part_than_the_rest_is_not_taken(stripe_conn: StripeSandbox, file: File, fault: Fault) -> None:
    """Nor is a 416, where the server's file is shorter; both begin anew at the next try."""
    stripe_conn.inject(CUT, on="contents")
    stripe_conn.inject(fault, on="contents")
    consume = Consumer()
    assert download(file, consume, tries=3) == CONTENTS
    assert consume.passes == 2
    assert asked(stripe_conn)[2] is None


def test_what_is_wrong_with_a_part_is_said(stripe_conn: StripeSandbox, file: File) -> None:
    """What was asked for, and what came."""
    stripe_conn.inject(CUT, on="contents")
    stripe_conn.inject(OtherRange(), on="contents")
    with pytest.raises(
        DownloadError, match=r"go on with bytes \d+-999999/1000000 of \".*HTTP 206, bytes \d+-9999"
    ):
        download(file)


@pytest.mark.parametrize("size", [200, 20_000])
def test_bytes_of_somebody_else_before_a_cut_are_noticed(
    stripe_conn: StripeSandbox, file: File, size: int
) -> None:
    """A proxy that breaks off may say so in the body; what comes next doesn't fit, and all is read anew."""
    for after in range(400_000, 400_600, 100):
        stripe_conn.inject(Garbage(size, after=after), on="contents")
        assert download(file, tries=3) == CONTENTS


def test_an_error_that_stays_ends_it(stripe_conn: StripeSandbox, file: File) -> None:
    """A key that expires meanwhile is not tried again."""
    stripe_conn.inject(CUT, on="contents")
    stripe_conn.inject(KeyExpired(), on="contents")
    with pytest.raises(AuthenticationError):
        download(file, tries=9)
    assert len(asked(stripe_conn)) == 2


def test_an_error_of_the_consumer_begins_anew(stripe_conn: StripeSandbox, file: File) -> None:
    """Such as that of a check: the bytes themselves may have been wrong."""
    passes: list[int] = []

    def consume(chunks: Iterator[bytes]) -> int:
        passes.append(len(next(chunks)))
        raise DownloadError("no report")

    hook = StripeReportingHook()
    hook.resend_policy = ResendPolicy(max_tries=3, first_pause=0)
    with pytest.raises(DownloadError, match="no report"):
        hook.read_file(file, consume)
    assert passes == [CHUNK] * 3


def test_a_whole_file_that_is_refused_twice_is_not_asked_for_again(stripe_conn: StripeSandbox, file: File) -> None:
    """It may be large, and a third look would find the same."""
    passes = Consumer()

    def consume(chunks: Iterator[bytes]) -> int:
        passes(chunks)
        raise DownloadError("breaks off in its last row")

    hook = StripeReportingHook()
    hook.resend_policy = ResendPolicy(max_tries=9, first_pause=0)
    with pytest.raises(DownloadError, match="breaks off"):
        hook.read_file(file, consume)
    assert passes.passes == len(asked(stripe_conn)) == 2


ALL: list[Fault] = [
    *ON_THE_WAY,
    *WRONG,
    IgnoresRange(),
    CutBody(50_000),
    CutBody(50_000, "chunked"),
    CutBody(50_000, "close"),
    Framed("chunked"),
    Framed("close"),
    WrongLength(10),
    WrongLength(-10),
    ProxyPage(200),
    # So short that it never stands for the whole rest: of that, HTTP and the size see nothing.
    Garbage(5_000, after=123_456),
    Garbage(5_000, after=12_345, seed=1),
    Gzipped(cut=20),
]


@pytest.mark.parametrize("seed", range(20))
def test_no_sequence_of_faults_makes_a_wrong_file(stripe_conn: StripeSandbox, file: File, seed: int) -> None:
    """The right bytes or an error, whatever happens in which order."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    for fault in rng.choices([*ALL, CUT, CUT, CUT], k=6):
        stripe_conn.inject(fault, on="contents")
    came = None
    with suppress(ReportingError):
        came = download(file, tries=rng.randint(2, 7))
    assert came in (None, CONTENTS)


def test_a_file_of_another_size_is_an_error(stripe_conn: StripeSandbox, file: File) -> None:
    """Also where it comes in parts."""
    for by in (-1, 1):
        stripe_conn.inject(WrongSize(by))
        other = result()
        stripe_conn.inject(CUT, on="contents", times=1)
        with pytest.raises(DownloadError):
            download(other, tries=4)


@pytest.mark.parametrize("etag", [b"", b'ETag: W/"weak"\r\n', b"ETag: bare\r\n"])
def test_without_a_strong_etag_it_begins_anew(monkeypatch: pytest.MonkeyPatch, etag: bytes) -> None:
    """A part of one version behind a part of another would be a file that never was."""
    body = CONTENTS[: 5 * CHUNK]

    def script(request: bytes) -> Iterator[bytes | float]:
        yield b"HTTP/1.1 200 OK\r\n" + etag + b"Content-Length: %d\r\n\r\n" % len(body)
        yield body if len(wire.requests) > 1 else body[: 3 * CHUNK]

    with Wire(script) as wire:
        connection = {"conn_type": "stripe", "host": wire.url, "password": "sk_test_sandbox"}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        consume = Consumer()
        assert download(File("file_1", 1, len(body), f"{wire.url}/v1/files/file_1/contents"), consume) == body
    assert consume.passes == len(wire.requests) == 2
    assert not [it for it in wire.requests if b"range" in it.lower()]

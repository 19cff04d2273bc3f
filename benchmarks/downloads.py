"""A report's way to the disk, checked and hashed, beside ``curl -o`` and what else people download with."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.measuring import Comparison, Figures, command, compare, cost, fresh, serving
from benchmarks.servers import HOST, Stripe, file_server

RUNS = 3
SMALL, LARGE = 64 << 20, 1 << 30
CASES = ((SMALL, False), (SMALL, True), (LARGE, False))
UNITS = {"cpu": "s", "wall": "s", "memory": "MiB"}
CHUNK_SIZE = 1 << 20

Client = Callable[[Stripe, Path], Callable[[], object]]
"""Loads what a client needs and returns the download."""


def run() -> Iterator[Comparison]:
    """Measure downloads of two sizes, the smaller one with TLS too, to new files in the temporary folder."""
    if not (shutil.which("curl") and shutil.which("openssl")):
        raise SystemExit("The downloads are compared with curl, and openssl makes the certificate for TLS.")
    for size, tls in CASES:
        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name) / "source.csv", Path(name) / "target.csv"
            write_report(source, size)
            certificate = make_certificate(Path(name)) if tls else None
            with serving(file_server, source, certificate) as server:
                server.facts.connect()
                yield _compare(server.facts, target, size)


def write_report(path: Path, size: int) -> None:
    """Write a header and lines like those of a report, ``size`` bytes of them; the last line fills up."""
    header = b'"balance_transaction_id","created","currency","net"\n'
    line = b'"txn_0123456789","2024-05-01 00:00:00","usd","12.34"\n'
    lines, rest = divmod(size - len(header) - len(line), len(line))
    with path.open("wb") as file:
        file.write(header)
        for start in range(0, lines, 20_000):
            file.write(line * min(20_000, lines - start))
        file.write(b'"' + b"x" * (len(line) + rest - 3) + b'"\n')
        file.flush()
        os.fsync(file.fileno())  # or the first downloads would share the disk with what is still to be written


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine's loopback address, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", "/CN=sandbox", "-addext", f"subjectAltName=IP:{HOST}"),
        *("-keyout", str(key), "-out", str(certificate)),
    )
    return certificate, key


def _compare(stripe: Stripe, target: Path, size: int) -> Comparison:
    contenders: dict[str, Callable[[], Figures]] = {
        "curl -o": partial(_twice, partial(_curl, stripe, target), target, children=True),
        "curl -o, then sync": partial(_twice, partial(_curl, stripe, target, sync=True), target, children=True),
        "ours: size, sha256, structure, fsync": partial(fresh, _python, ours, stripe, target),
        "ours, without structure": partial(fresh, _python, unchecked, stripe, target),
        "requests by hand, 1 MiB chunks": partial(fresh, _python, by_hand, stripe, target),
    }
    available, needed = _available_memory(), 4 * size  # the body is joined of its chunks
    note = "Memory is what the download added to the peak."
    if available > needed:
        contenders["HttpHook.run, then write"] = partial(fresh, _python, http_hook, stripe, target)
    else:
        note = f"HttpHook.run has the body in memory: left out, as only {available >> 20} MiB are available."
    title = f"download, {'TLS' if stripe.ca else 'plain'}, {size >> 20} MiB to a new file"
    return compare(title, UNITS, contenders, runs=RUNS, note=note)


def _twice(download: Callable[[], object], target: Path, *, children: bool = False) -> Figures:
    """Download two times, and the time of the second counts.

    The memory that the file before gives back costs more or less to take, depending on who wrote that one. The
    peak of our own is that of both.
    """
    target.unlink(missing_ok=True)
    first = cost(download, children=children)
    target.unlink()
    second = cost(download, children=children)
    return second if children else {**second, "memory": first["memory"] + second["memory"]}


def _python(client: Client, stripe: Stripe, target: Path) -> Figures:
    logging.disable()  # the table is what to look at
    return _twice(client(stripe, target), target)


def _curl(stripe: Stripe, target: Path, *, sync: bool = False) -> None:
    trust = ("--cacert", stripe.ca) if stripe.ca else ()
    key = f"Authorization: Bearer {stripe.api_key}"
    command("curl", "-sf", *trust, "-H", key, "-o", str(target), stripe.file_url)
    if sync:
        command("sync", str(target))


def ours(stripe: Stripe, target: Path) -> Callable[[], object]:
    """Fetch as the operators do once a run has succeeded."""
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.report import land_report
    from airflow_reportrun.landing.stores import place_of

    hook, place = StripeReportingHook(), place_of(str(target))
    report_run = hook.retrieve_report_run(stripe.run_id)
    return lambda: land_report(hook, report_run, place)


def unchecked(stripe: Stripe, target: Path) -> Callable[[], object]:
    """Fetch without a look at the contents."""
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.stores import place_of

    hook = StripeReportingHook()
    report_run = hook.retrieve_report_run(stripe.run_id)

    def download() -> None:
        if (file := report_run.result) is None:
            raise RuntimeError("The run has no file.")
        hook.read_file(file, write)

    def write(chunks: Iterator[bytes]) -> None:
        with place_of(str(target)).replaced() as new:
            for chunk in chunks:
                new.file.write(chunk)

    return download


def by_hand(stripe: Stripe, target: Path) -> Callable[[], object]:
    """Stream in the chunks that are fast, and check nothing."""
    import requests

    def download() -> None:
        headers = {"Authorization": f"Bearer {stripe.api_key}"}
        with (
            requests.get(stripe.file_url, headers=headers, verify=stripe.ca, stream=True, timeout=60) as response,
            target.open("wb") as file,
        ):
            response.raise_for_status()
            for chunk in response.iter_content(CHUNK_SIZE):
                file.write(chunk)

    return download


def http_hook(stripe: Stripe, target: Path) -> Callable[[], object]:
    """Take the whole body, then write the file: what one does with HttpOperator, and what HttpToS3 does."""
    from airflow.providers.http.hooks.http import HttpHook

    hook = HttpHook(method="GET")
    endpoint = stripe.file_url.removeprefix(stripe.url)
    return lambda: target.write_bytes(hook.run(endpoint).content)


def _available_memory() -> int:
    """Return the bytes that can be taken without swapping; without Linux's own word, those nobody uses."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except FileNotFoundError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) << 10

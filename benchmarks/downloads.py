"""A report's way to the disk, checked and hashed, beside ``curl -o`` and what else people download with."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.measuring import Comparison, Figures, command, compare, cost, fresh, serving
from benchmarks.reports import write_report
from benchmarks.servers import HOST, Stripe, cut, file_server

RUNS = 5
MEDIUM, LARGE, HUGE = 100 << 20, 1 << 30, 4 << 30
CASES = ((MEDIUM, False), (MEDIUM, True), (LARGE, False))
UNITS = {"cpu": "s", "wall": "s", "memory": "MiB"}
CHUNK_SIZE = 1 << 20
CURL, OURS = "curl -o", "ours: size, sha256, structure, fsync"

Client = Callable[[Stripe, Path], Callable[[], object]]
"""Loads what a client needs and returns the download."""


def run() -> Iterator[Comparison]:
    """Measure downloads of two sizes, the smaller one with TLS and with cuts too, to new files."""
    for size, tls in CASES:
        with _served(size, tls=tls) as (stripe, target):
            yield _compare(stripe, target, size)
            if size == MEDIUM and not tls:
                yield _moved(stripe, target, size, (size // 2,))
                yield _moved(stripe, target, size, (size // 4, size // 2, size // 4 * 3))


def run_huge() -> Iterator[Comparison]:
    """Measure whether memory stays what it was where the file is much larger."""
    with _served(HUGE) as (stripe, target):
        contenders = {name: client for name, client in _contenders(stripe, target).items() if name in (CURL, OURS)}
        yield compare(_title(stripe, HUGE), UNITS, contenders, runs=1)


@contextmanager
def _served(size: int, *, tls: bool = False) -> Iterator[tuple[Stripe, Path]]:
    """Serve a report of a size; the path is that of a file to come, in the temporary folder."""
    if not (shutil.which("curl") and shutil.which("openssl")):
        raise SystemExit("The downloads are compared with curl, and openssl makes the certificate for TLS.")
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "source.csv", Path(name) / "target.csv"
        write_report(source, size)
        certificate = make_certificate(Path(name)) if tls else None
        with serving(file_server, source, certificate) as server:
            server.facts.connect()
            yield server.facts, target


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
    contenders = _contenders(stripe, target)
    available, needed = _available_memory(), 4 * size  # the body is joined of its chunks
    note = (
        "Memory is what the download added to the peak. Each file takes pages that a virtual machine may have to "
        "fetch from its host, which costs some runs twice the time of others, whoever writes."
    )
    if available > needed:
        contenders["HttpHook.run, then write"] = partial(fresh, _python, http_hook, stripe, target)
    else:
        note += f" HttpHook.run has the body in memory: left out, as only {available >> 20} MiB are available."
    return compare(_title(stripe, size), UNITS, contenders, runs=RUNS, note=note, least=True)


def _contenders(stripe: Stripe, target: Path) -> dict[str, Callable[[], Figures]]:
    clients: dict[str, Client] = {
        OURS: ours,
        "ours, without structure": partial(ours, structure=False),
        "requests by hand, 1 MiB chunks": by_hand,
    }
    return {
        CURL: partial(_twice, partial(curl, stripe, target), target, children=True),
        "curl -o, then sync": partial(_twice, partial(curl, stripe, target, sync=True), target, children=True),
        "curl -o, sha256sum, sync": partial(
            _twice, partial(curl, stripe, target, digest=True, sync=True), target, children=True
        ),
        **{name: partial(fresh, _python, client, stripe, target) for name, client in clients.items()},
    }


def _title(stripe: Stripe, size: int) -> str:
    return f"download, {'TLS' if stripe.ca else 'plain'}, {size >> 20} MiB to a new file"


def _moved(stripe: Stripe, target: Path, size: int, cuts: Sequence[int]) -> Comparison:
    """Compare what the server sent of the file until all of it had come."""

    def moved(client: Client, *cuts: int) -> Figures:
        cut(stripe, *cuts)
        figures = fresh(once, client, stripe, target)
        return {**figures, "moved": cut(stripe) / (1 << 20)}

    contenders: dict[str, Callable[[], Figures]] = {
        "requests by hand, never cut": partial(moved, by_hand),
        "ours": partial(moved, ours, *cuts),
        "requests by hand, from the start again": partial(moved, again_by_hand, *cuts),
    }
    title = f"download, {size >> 20} MiB, cut {'once' if len(cuts) == 1 else f'{len(cuts)} times'}"
    note = "Counted by the server. Ours waits between its tries."
    return compare(title, {"moved": "MiB", "cpu": "s", "wall": "s"}, contenders, runs=1, note=note)


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


def once(client: Client, stripe: Stripe, target: Path) -> Figures:
    """Download one time; to be called in a fresh process."""
    logging.disable()
    target.unlink(missing_ok=True)
    return cost(client(stripe, target))


def curl(stripe: Stripe, target: Path, *, digest: bool = False, sync: bool = False) -> None:
    """Download with the command, and do what else is asked for with others."""
    trust = ("--cacert", stripe.ca) if stripe.ca else ()
    key = f"Authorization: Bearer {stripe.api_key}"
    command("curl", "-sf", *trust, "-H", key, "-o", str(target), stripe.file_url)
    if digest:
        command("sha256sum", str(target))
    if sync:
        command("sync", str(target))


def ours(stripe: Stripe, target: Path, *, structure: bool = True, format: str = "csv") -> Callable[[], object]:
    """Land as the operators do once a run has succeeded; always with size and sha256."""
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.report import check_format, land_report
    from airflow_reportrun.landing.stores import place_of

    check_format(format, None)  # loads its package
    hook, place = StripeReportingHook(), place_of(str(target))
    report_run = hook.retrieve_report_run(stripe.run_id)
    if not structure:  # as of a file that Stripe was asked to compress
        report_run = replace(report_run, parameters={**report_run.parameters, "compress_file": True})
    return lambda: land_report(hook, report_run, place, format=format)


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


def again_by_hand(stripe: Stripe, target: Path) -> Callable[[], object]:
    """Stream, and begin anew after a cut."""
    import requests

    download = by_hand(stripe, target)

    def until_it_came() -> None:
        while True:
            try:
                download()
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                continue
            return

    return until_it_came


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

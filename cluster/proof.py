"""What is there in the end, held against the sandbox's books. None of the package's own code reads it here."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import requests

from airflow_reportrun.sandbox import AtOnce, RequestRecord, RunRecord, StripeSandbox

MONEY = ("gross", "fee", "net")
KEY = "balance_transaction_id"
MANIFESTS = "stripe_report_landings"

Entries = Counter[tuple[Any, ...]]
"""Entries of the books, with how often each is there: its id, its currency and its amounts."""


@dataclass
class Proof:
    """What was found, and what is not as it should be.

    :param superseded: report runs that count nowhere, by why.
    :param duplicates: report runs that nothing explains, and rows that are there more often than in the books.
    :param lost: intervals that are not in the files or not in the table, and rows that are not there.
    """

    superseded: Counter[str] = field(default_factory=Counter)
    duplicates: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Everything that is not as it should be."""
        return [*self.duplicates, *self.lost, *self.wrong]


def books_of(report_type: str, intervals: Sequence[tuple[int, int]]) -> dict[int, bytes]:
    """Return the file of each interval, by its start, as a sandbox writes it that nothing disturbs."""
    found = {}
    sandbox = StripeSandbox(transition=AtOnce(), data_available_end=intervals[-1][1])
    with sandbox, requests.Session() as it:
        it.trust_env = False
        it.headers["Authorization"] = f"Bearer {sandbox.api_key}"
        for start, end in intervals:
            asked = {"report_type": report_type}
            asked |= {"parameters[interval_start]": str(start), "parameters[interval_end]": str(end)}
            run = it.post(f"{sandbox.url}/v1/reporting/report_runs", asked, timeout=30).json()
            found[start] = it.get(run["result"]["url"], timeout=30).content
    return found


def prove_files(proof: Proof, lake: Path, books: Mapping[int, bytes]) -> dict[int, str]:
    """Hold the files against the books; return the report run of each interval, by its start.

    :param lake: the root; the manifests lie beside it.
    """
    beside = lake.with_name(f"{lake.name}_manifests")
    told: dict[int, str] = {}
    known: set[Path] = set()
    for path in _files(beside):
        try:
            manifest = json.loads(path.read_bytes())
            start = manifest["parameters"]["interval_start"]
            data = lake / path.relative_to(beside).parent / manifest["path"]
        except (ValueError, KeyError) as error:
            proof.wrong.append(f"{path} is no manifest: {error!r}")
            continue
        if start in told:
            proof.duplicates.append(f"{start} has two manifests beside files")
        told[start] = manifest["report_run_id"]
        known.add(data)
        contents = data.read_bytes() if data.exists() else None
        if manifest["state"] != "landed":
            proof.wrong.append(f"{path} is still {manifest['state']}")
        elif contents is None or hashlib.sha256(contents).hexdigest() != manifest["sha256"]:
            proof.wrong.append(f"{path} lies about {data}")
        if contents is not None and contents != books.get(start):
            proof.lost.append(f"{data} is not what the books say")
    proof.lost += [f"{start} is not in the files" for start in sorted(books.keys() - told.keys())]
    proof.wrong += [f"{path} has no manifest" for path in _files(lake) if path not in known]
    return told


def prove_table(
    proof: Proof, database: psycopg.Connection[Any], table: str, books: Mapping[int, bytes]
) -> dict[int, str]:
    """Hold a table of PostgreSQL against the books; return the report run of each interval, by its start."""
    told: dict[int, str] = {}
    rows: dict[int, int] = {}
    for (text,) in database.execute(f"SELECT manifest FROM {MANIFESTS}"):  # noqa: S608
        manifest = json.loads(text)
        start = manifest["parameters"]["interval_start"]
        if start in told:
            proof.duplicates.append(f"{start} has two manifests beside the table")
        told[start], rows[start] = manifest["report_run_id"], manifest["rows"]
        if manifest["state"] != "landed":
            proof.wrong.append(f"{start} is still {manifest['state']} in the table")
    there: dict[int, Entries] = defaultdict(Counter)
    runs: dict[int, set[str]] = defaultdict(set)
    columns = ", ".join((KEY, "currency", *MONEY))
    query = f"SELECT extract(epoch FROM _interval_start)::bigint, _report_run_id, {columns} FROM {table}"  # noqa: S608
    for start, run, *entry in database.execute(query):
        there[start][tuple(entry)] += 1
        runs[start].add(run)
    for start, contents in books.items():
        wanted = entries(contents)
        if start not in told:
            proof.lost.append(f"{start} is not in the table")
        if missing := wanted - there[start]:
            proof.lost.append(f"{start}: {missing.total()} rows are not in the table")
        if extra := there[start] - wanted:
            proof.duplicates.append(f"{start}: {extra.total()} rows are too many in the table")
        if start in told and (rows[start] != there[start].total() or runs[start] - {told[start]}):
            proof.wrong.append(f"the manifest of {start} in the table lies")
    return told


def prove_runs(
    proof: Proof, runs: Iterable[RunRecord], requests: Sequence[RequestRecord], *landed: Mapping[int, str]
) -> None:
    """Tell which report run of each interval counts, and why the others don't.

    :param requests: those that create report runs.
    :param landed: the report run of each interval, by its start, in each place.
    """
    unheard = {it.idempotency_key for it in requests if it.status == 500 and "committed=True" in (it.fault or "")}
    first, *others = landed
    for other in others:
        proof.wrong += [
            f"{start} is of {first[start]} in the files and of {other[start]} in the table"
            for start in first.keys() & other.keys()
            if first[start] != other[start]
        ]
    counting = {run for place in landed for run in place.values()}
    for run in runs:
        if run.id in counting:
            continue
        if run.status == "failed":
            proof.superseded["failed"] += 1
        elif run.idempotency_key in unheard:
            proof.superseded["behind a stored 500"] += 1
        elif is_expired(run):
            proof.superseded["file expired"] += 1
        else:
            proof.duplicates.append(f"{run.id} was created for nothing: {run}")


def is_expired(run: RunRecord) -> bool:
    """Tell whether a report run's file was gone within a minute, when most are there for a day or more."""
    return run.file_expires_at is not None and run.file_expires_at <= run.created + 60


def entries(contents: bytes) -> Entries:
    """Read a report."""
    rows = csv.DictReader(io.StringIO(contents.decode()))
    return Counter((row[KEY], row["currency"], *(Decimal(row[name]) for name in MONEY)) for row in rows)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())

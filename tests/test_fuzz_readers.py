"""Whatever lies in a store, or comes as a report: rows, figures and states, or an error of ours."""

from __future__ import annotations

import base64
import io
import json
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from airflow_reportrun.coverage.lake import Lake
from airflow_reportrun.coverage.landings import Landing
from airflow_reportrun.coverage.series import series_of
from airflow_reportrun.landing.contract import Contract
from airflow_reportrun.landing.decision import decide
from airflow_reportrun.landing.formats.parquet import write_parquet
from airflow_reportrun.landing.lakehouse import facts
from airflow_reportrun.landing.lakehouse.facts import COLUMNS, LANDINGS, Facts, text_about
from airflow_reportrun.landing.lakehouse.table import Noted
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.report import Contents
from airflow_reportrun.landing.spool import columns_in, converted
from airflow_reportrun.landing.sql.cells import Cells
from airflow_reportrun.reporting.errors import ManifestError
from airflow_reportrun.reporting.models import ReportRun
from tests.fuzz import ODD, damaged, law, spoilt, tried, written
from tests.test_manifest import written as manifest
from tests.test_models import FILE, RUN

# Reports

NAMES = st.sampled_from(
    [
        *("net", "gross", "created", "created_utc", "currency", "automatic_payout_effective_at", "livemode"),
        *(
            "payment_metadata[a]",
            "payment_metadata[A]",
            "payment_metadata[]",
            "_x",
            "",
            "a\nb",
            "é" * 80,
            "\ufeff",
        ),
    ]
)
CELLS = st.sampled_from(
    [
        *("1.00", "-0.005", "1,5", "1e5", "9" * 40, "NaN", "", ".", "+", "٣", "0" * 50 + "1"),
        *("2024-05-01 00:00:00", "9999-12-31 23:59:59", "0000-00-00", "2024-03-31 02:30:00", "2024-05-01", "true"),
        *("\0", "\ud7ff", "a\r\nb", '"', "\\", "x" * 200_000),
    ]
) | st.text(st.characters(codec="utf-8"), max_size=5)
KINDS = st.sampled_from(["money", "money(2)", "money(37)", "integer", "boolean", "timestamp", "date", "text", "x"])


def _csv(table: list[list[str | None]], end: str) -> bytes:
    rows = (["" if it is None else '"' + it.replace('"', '""') + '"' for it in row] for row in table)
    return "".join(",".join(row) + end for row in rows).encode()


@st.composite
def reports(draw: st.DrawFn) -> bytes:
    """A report as Stripe writes it, and then damaged."""
    header = draw(st.lists(NAMES, min_size=1, max_size=4, unique=draw(st.booleans())))
    row = st.lists(st.none() | CELLS, min_size=len(header), max_size=len(header))
    table: list[list[str | None]] = [list(header), *draw(st.lists(row, max_size=5))]
    return draw(spoilt(st.just(_csv(table, draw(st.sampled_from(["\n", "\r\n"]))))))


def run_of(contents: bytes, parameters: dict[str, Any]) -> ReportRun:
    asked = {"interval_start": 1, "interval_end": 2, **parameters}
    return ReportRun.from_api({**RUN, "parameters": asked, "result": {**FILE, "size": len(contents)}})


def chunks(contents: bytes, size: int) -> Iterator[bytes]:
    return (contents[at : at + size] for at in range(0, len(contents), size))


ECHOED = st.fixed_dictionaries(
    {},
    optional={
        "timezone": st.none() | st.sampled_from(["Etc/UTC", "Europe/Berlin", "Mars/Base", "", "\u00e9", "../x"]),
        "decimal_separator": st.none() | st.sampled_from([".", ",", "", "ab", "é", '"', "\n", "0", "-"]),
    },
)
"""What Stripe may say that it was asked for."""

REPORT: dict[str, st.SearchStrategy[Any]] = {
    "contents": reports() | st.binary(max_size=80),
    "size": st.integers(1, 100) | st.just(1 << 20),
    "echoed": ECHOED,
    "column_types": st.dictionaries(NAMES, KINDS, max_size=2),
    "contract": st.builds(
        Contract, st.sampled_from(["stripe", "snake_case"]), st.sampled_from(["columns", "json"])
    ),
}


@law(few=120, **REPORT)
def test_any_report_is_typed_rows_or_an_error_of_ours(
    contents: bytes, size: int, echoed: dict[str, Any], column_types: dict[str, str], contract: Contract
) -> None:
    """All of them: as many as the check of its structure counts, in a file that reads."""
    run = run_of(contents, echoed)
    told, file = Contents(run, ()), io.BytesIO()
    how: dict[str, Any] = {"column_types": column_types, "contract": contract}
    how |= {"timezone": run.parameters.get("timezone") or "Etc/UTC"}
    how |= {"decimal_separator": run.parameters.get("decimal_separator") or "."}
    assume(not isinstance(tried(lambda: contract.check_types(column_types)), Exception))
    made = tried(lambda: write_parquet(told.watched(chunks(contents, size)), file, **how))
    if not isinstance(made, Exception):
        rows = pyarrow.parquet.ParquetFile(io.BytesIO(file.getvalue())).metadata.num_rows
        assert made.rows == rows


DIGITS = st.tuples(st.integers(0, 3), st.integers(0, 3))


@law(few=100, **REPORT, holds_nul=st.booleans(), digits=st.dictionaries(NAMES, DIGITS, max_size=2))
def test_any_report_is_cells_of_a_table_or_an_error_of_ours(
    contents: bytes,
    size: int,
    echoed: dict[str, Any],
    column_types: dict[str, str],
    contract: Contract,
    holds_nul: bool,
    digits: dict[str, tuple[int, int]],
) -> None:
    """Also without the check of the structure before."""
    run, file = run_of(contents, echoed), io.BytesIO(contents)
    assert run.result is not None
    about: dict[str, Any] = {"file_sha256": "", "rows": 1, "columns": (), "format": "sql", "path": "t"}
    mine = Manifest.of(run, run.result, None, **about)
    timezone = run.parameters.get("timezone") or "Etc/UTC"
    separator = run.parameters.get("decimal_separator") or "."

    def read() -> int:
        columns, told = columns_in(file, mine, column_types, contract, timezone)
        assert told.columns == tuple(it.name for it in columns)
        money = {it.name: digits[it.name] for it in columns if it.kind == "money" and it.name in digits}
        cells = Cells(columns, money, timezone, separator, column_types, holds_nul=holds_nul)
        return sum(converted(file, cells, lambda table: table.num_rows))

    tried(read)


# Manifests

INSTANTS = st.sampled_from([0, 1, 2, 59, 86_400, 1_700_006_400, 1_700_092_800, 253_402_214_399]) | st.integers(
    0, 253_402_214_399
)


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    """A manifest whose interval may be any, and then damaged."""
    start, end = draw(st.tuples(st.none() | INSTANTS, st.none() | INSTANTS))
    parameters: dict[str, Any] = {"interval_start": start, "interval_end": end}
    parameters |= draw(
        st.sampled_from([{}, {"timezone": "Europe/Berlin"}, {"timezone": "Mars"}, {"payout": "po_1"}])
    )
    types = st.sampled_from(["balance.summary.1", "balance.summary.2", "x", "", "a.²", "a." + "9" * 5000])
    told = manifest(parameters=parameters, report_type=draw(types), rows=draw(st.none() | st.integers(0, 2)))
    return draw(damaged(st.just(told), most=1))


def text_of(told: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return told.map(lambda it: json.dumps(it).encode()) | written(told) | st.binary(max_size=30)


@law(few=60, text=text_of(manifests()), other=text_of(manifests()))
def test_any_manifest_is_read_and_compared_or_refused(text: bytes, other: bytes) -> None:
    """Whatever one decides by it."""
    found, there = (tried(lambda it=it: Manifest.from_json(it)) for it in (text, other))  # type: ignore[misc]
    if isinstance(found, Exception):
        return
    assert Manifest.from_json(found.to_json()) == found
    assert found.as_landing().landing
    if not isinstance(there, Exception):
        decide(found, there, intact=True, as_wanted=True)


NOW = 1_800_000_000


@law(
    few=60,
    told=st.lists(manifests(), max_size=4),
    zones=st.lists(st.sampled_from(["Europe/Berlin", "UTC", "Asia/Tokyo"]), max_size=2),
    since=st.none() | st.datetimes(timezones=st.sampled_from([None, UTC])),
    until=st.none() | st.datetimes(timezones=st.sampled_from([None, UTC])),
)
def test_any_landings_make_series_of_a_size_that_can_be_shown(
    told: list[Any], zones: list[str], since: datetime | None, until: datetime | None
) -> None:
    """Intervals of a second, of millennia, backwards, beside each other."""
    read = (tried(lambda it=it: Manifest.from_json(json.dumps(it))) for it in told)  # type: ignore[misc]
    landings = [Landing.of(it, path="x", told_at="x") for it in read if not isinstance(it, Exception)]
    found = tried(lambda: series_of(landings, now=NOW, timezones=zones, since=since, until=until))
    assert not isinstance(found, Exception)
    for series in found:
        json.dumps(series.as_dict())
        assert sum(series.counts().values()) == len(series.intervals) < 1_000_000


FOLDERS = st.lists(
    st.sampled_from(
        [
            *("report_type=balance.summary.1", "report_type=", "stripe_account=acct_1", "filter_currency=usd"),
            *(
                "interval_start=2024-05-01T00-00-00Z",
                "interval_end=2024-05-02T00-00-00Z",
                "interval_end=0001-01-01",
            ),
            *(
                "interval_start=0001-01-01T00-00-00Z",
                "interval_end=9999-12-31T23-59-59Z",
                "lake",
                "_manifests",
                "=",
            ),
        ]
    ),
    max_size=4,
    unique=True,
)
FILES = st.sampled_from(
    ["report.csv", "report-csv.json", "_report.csv.manifest.json", "x.json", "report.", "é.json"]
)


@law(
    few=40,
    files=st.lists(
        st.tuples(st.sampled_from(["root", "root_manifests"]), FOLDERS, FILES, text_of(manifests())), max_size=4
    ),
)
def test_any_files_of_a_store_are_landings_or_nobodys(
    files: list[tuple[str, list[str], str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also those whose names say other than their manifests; each manifest that is told of can be asked for."""
    top = tmp_path_factory.mktemp("store", numbered=True)
    try:
        for root, folders, name, contents in files:
            path = Path(top, root, *folders, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)
        (top / "root").mkdir(exist_ok=True)
        lake = Lake(str(top / "root"))
        found = tried(lake.landings)
        assert not isinstance(found, Exception)
        assert len(found) <= len(files)
        for it in found:
            tried(lambda it=it: lake.manifest(it.told_at))  # type: ignore[misc]
        tried(lambda: series_of(found, now=NOW))
    finally:
        shutil.rmtree(top)


# What a table of a lakehouse tells


def packed(told: Any, version: Any = 1) -> str:
    """Return a text about landings, which a table keeps."""
    text = base64.b64encode(zlib.compress(json.dumps(told).encode())).decode()
    return json.dumps({"version": version, "landings": text})


SOUND = Manifest.from_json(json.dumps(manifest(column_types={"net": "money(2)"})))
TEXTS = Facts({}).changed(Noted(SOUND, None))
(ABOUT,) = (name for name in TEXTS if name.startswith(LANDINGS))
(OF_COLUMNS,) = (name for name in TEXTS if name.startswith(COLUMNS))
TOLD = json.loads(zlib.decompress(base64.b64decode(json.loads(TEXTS[ABOUT] or "")["landings"])))


@law(
    few=80,
    landings=st.builds(packed, damaged(st.just(TOLD)), st.just(1) | ODD)
    | written(damaged(st.just({"version": 1, "landings": "e"}))).map(lambda it: it.decode(errors="replace")),
    columns=st.just(TEXTS[OF_COLUMNS])
    | written(damaged(st.just({"net": "money(2)"}))).map(lambda it: it.decode(errors="replace")),
)
def test_whatever_a_table_tells_is_read_or_refused(landings: str, columns: str) -> None:
    """Of what is landed, of one subject, of its neighbours, and where another landing is added to it."""
    there = Facts({ABOUT: landings, OF_COLUMNS: columns})
    assert text_about(SOUND.subject) == ABOUT
    wider = replace(SOUND.subject, interval_start=0, interval_end=10)
    for ask in (
        lambda: list(there.all()),
        lambda: there.about(SOUND.subject),
        lambda: there.near(wider),
        lambda: there.of_mode(True),
        lambda: there.changed(Noted(SOUND, None)),
    ):
        tried(ask)


@pytest.mark.parametrize(
    "text",
    [
        '{"version":1e999}',
        "[" * 100_000,
        packed("x"),
        packed(["x"]),
        packed([{**TOLD[0], "livemode": "x"}]),
        packed([{**TOLD[0], "report_type": 1}]),
        packed([{**TOLD[0], "parameters": {"interval_end": "soon"}}]),
        packed([{**TOLD[0], "parameters": {"interval_end": 10**400}}]),
        packed(TOLD)[:-20] + '"}',
    ],
)
def test_a_text_that_tells_of_no_landing_is_refused(text: str) -> None:
    """Before anything is decided by it."""
    with pytest.raises(ManifestError, match="tells of no landing"):
        Facts({OF_COLUMNS: TEXTS[OF_COLUMNS] or "", ABOUT: text}).about(SOUND.subject)


def test_a_text_that_grows_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes can be many gigabytes."""
    monkeypatch.setattr(facts, "LONGEST_TEXT", 10_000)
    told = Facts({OF_COLUMNS: TEXTS[OF_COLUMNS] or "", ABOUT: packed([*TOLD, " " * 10_000])})
    with pytest.raises(ManifestError, match="tells of no landing"):
        told.about(SOUND.subject)

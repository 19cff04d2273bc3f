"""What the cells of each report look like, columns that nobody knows, and reports that are compressed."""

from __future__ import annotations

import csv
import io
import logging
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests

from airflow_reportrun.sandbox import AtOnce, ManualClock, StripeSandbox
from airflow_reportrun.sandbox.business import DAY, Books
from airflow_reportrun.sandbox.catalogue import CATALOGUE, ReportType
from airflow_reportrun.sandbox.parameters import RunParameters
from airflow_reportrun.sandbox.reports import write_report

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
OPENED = 1_640_995_200
MARCH_1 = 1_772_323_200
MARCH_2 = MARCH_1 + DAY
BOOKS = Books(OPENED, connected=("acct_baker", "acct_florist"))
ITEMIZED = "balance_change_from_activity.itemized.3"

Form = dict[str, str]


@pytest.fixture
def sandbox(stripe_sandbox: StripeSandbox) -> StripeSandbox:
    stripe_sandbox.configure(clock=ManualClock(MARCH_2 + 12 * 3600), transition=AtOnce())
    return stripe_sandbox


def create(sandbox: StripeSandbox, report_type: str, **parameters: str) -> requests.Response:
    interval = {"interval_start": str(MARCH_1), "interval_end": str(MARCH_2)}
    form = {f"parameters[{name}]": value for name, value in {**interval, **parameters}.items()}
    return requests.post(
        f"{sandbox.url}/v1/reporting/report_runs",
        data={"report_type": report_type, **form},
        auth=(sandbox.api_key, ""),
        timeout=10,
    )


def get(sandbox: StripeSandbox, url: str, **headers: str) -> requests.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(url, auth=(sandbox.api_key, ""), headers=headers, timeout=10)


# Forms


def much_of(report_type: ReportType, **wanted: Any) -> RunParameters:
    """Ask for all that there is of a week, in a time zone that is not UTC where the type takes one."""
    payout = next(
        BOOKS.of("acct_baker" if "connected_account" in report_type.required else None).payouts(MARCH_1, MARCH_2)
    )
    return RunParameters(
        MARCH_1 - 6 * DAY if "interval_start" in report_type.required else None,
        MARCH_2 if "interval_end" in report_type.required else None,
        connected_accounts=frozenset({"acct_baker"} if "connected_account" in report_type.required else ()),
        payout=payout.id if "payout" in report_type.required else None,
        timezone="Asia/Tokyo" if "timezone" in report_type.optional else "Etc/UTC",
        **wanted,
    )


def columns_of(report_type: ReportType, wanted: RunParameters) -> dict[str, list[str | None]]:
    """The cells by column; what is neither quoted nor anything is None, as in the file."""
    names = wanted.columns or report_type.default_columns
    text = b"".join(write_report(BOOKS, report_type, wanted)).decode()
    cells: dict[str, list[str | None]] = {name: [] for name in names}
    for line in text.splitlines()[1:]:
        found = [
            None if not raw else raw[1:-1].replace('""', '"')
            for raw in re.findall(r'(?:^|,)("(?:[^"]|"")*"|)', line)
        ]
        for name, cell in zip(names, found, strict=True):
            cells[name].append(cell)
    return cells


def _is(pattern: str) -> Callable[[str], bool]:
    return lambda cell: re.fullmatch(pattern, cell) is not None


def _is_time(cell: str) -> bool:
    return datetime.strptime(cell, "%Y-%m-%d %H:%M:%S").strftime("%Y-%m-%d %H:%M:%S") == cell


def _is_date(cell: str) -> bool:
    return datetime.strptime(cell, "%Y-%m-%d").strftime("%Y-%m-%d") == cell


DOCUMENTED: dict[str, Callable[[str], bool]] = {
    r"amount|tax|.*_amount|filing_total": _is(r"-?\d+\.(\d\d|\d{6}|\d{18})"),
    r"gross|fee|net|subtotal|total|total_(.*sales|.*refunded|tax_collected)|.*_fee": _is(r"-?\d+\.(\d\d|\d{6})"),
    r"count|quantity": _is(r"\d+"),
    r"is_link|livemode|card_present": _is("true|false"),
    r"accounting_period|open_accounting_period": _is(r"\d{4}-\d\d"),
    r"debit|credit": _is("[A-Z][A-Za-z]+"),
    r"(.*_)?currency": _is("eur|usd"),
    r"(.*_)?country(_code)?": _is("[A-Z]{2}"),
    r"available_on|(.*_)?created|.*_at|(tax|transaction)_date(_start|_end)?": _is_time,
    r"payout_expected_arrival_date|booked_date": _is_date,
    r"balance_transaction_id|fee_transaction_id": _is("txn_[0-9a-z]+"),
    r"charge_id": _is("ch_[0-9a-f]{24}"),
    r"connected_account(_id)?|platform_id": _is("acct_[a-z]+"),
}
"""How the columns are written, by the whole name without ``_utc``."""

ALWAYS_NULL = {"connected_account_country", "transfer_created", "payout_reversed_at"}
"""No payout was returned, and no money moves between accounts."""


def form_of(name: str) -> Callable[[str], bool] | None:
    name = name.removesuffix("_utc")
    return next((form for names, form in DOCUMENTED.items() if re.fullmatch(names, name)), None)


all_types = pytest.mark.parametrize("report_type", CATALOGUE.values(), ids=CATALOGUE)


@all_types
def test_cells_have_the_form_of_their_column(report_type: ReportType) -> None:
    """Each column of the type at once, metadata too: what is in it is written as documented, or NULL."""
    metadata = [f"{word}_metadata[key]" for word in report_type.metadata]
    wanted = much_of(report_type, columns=(*report_type.columns, *metadata))

    for name, cells in columns_of(report_type, wanted).items():
        form = form_of(name)
        wrong = {cell for cell in cells if cell is not None and form and not form(cell)}
        assert not wrong, (name, sorted(wrong)[:3])
        assert "" not in cells, name


@all_types
def test_columns_with_a_type_are_not_empty(report_type: ReportType) -> None:
    """A week has at least one row, and something in each column that is more than a text."""
    found = columns_of(report_type, much_of(report_type, columns=report_type.columns))
    typed = {name for name in found if form_of(name) and name.removesuffix("_utc") not in ALWAYS_NULL}
    typed -= {name for name in found if name.startswith("connected_account") and name != "connected_account"}

    assert {len(cells) for cells in found.values()} != {0}
    assert [name for name in sorted(typed) if not any(found[name])] == []


@all_types
def test_times_are_in_the_zone_that_was_asked_for(report_type: ReportType) -> None:
    """A column and its twin in UTC are the same instants."""
    columns = [name for name in report_type.columns if f"{name}_utc" in report_type.columns]
    twins = tuple(twin for name in columns for twin in (name, f"{name}_utc"))
    if not twins:
        assert "timezone" not in report_type.optional or not any(
            re.fullmatch(r"created|.*_(on|date)|effective_at", name) for name in report_type.columns
        )
        return
    found = columns_of(report_type, much_of(report_type, columns=twins))

    for name in columns:
        assert [
            cell and str(datetime.fromisoformat(f"{cell}+00:00").astimezone(ZoneInfo("Asia/Tokyo")))[:19]
            for cell in found[f"{name}_utc"]
        ] == found[name]


def test_metadata_is_there_or_not() -> None:
    """Nobody has set a key on everything."""
    report_type = CATALOGUE["tax.transactions.itemized.2"]
    column = "tax_transaction_metadata[cost center]"

    cells = columns_of(report_type, much_of(report_type, columns=(column,)))[column]

    assert None in cells
    assert any(cell and cell.startswith("cost center ") for cell in cells)


# Columns that nobody knows


def asked(*columns: str) -> Form:
    return {f"columns][{index}": name for index, name in enumerate(columns)}


def test_unknown_columns_are_refused(sandbox: StripeSandbox) -> None:
    """As Stripe does, unless a test says otherwise."""
    answer = create(sandbox, "activity.itemized.3", **asked("amount", "event_type"))

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "parameters.columns"


def test_unknown_columns_are_let_pass_where_a_test_says_so(
    sandbox: StripeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """They come in their place, filled by the form of their names or NULL, and each run says so once."""
    sandbox.configure(strict=False)
    names = (
        "amount",
        "event_type",
        "activity_start_date",
        "settled_at",
        "surcharge_amount",
        "price_id",
        "card_brand",
    )
    with caplog.at_level(logging.WARNING, logger="airflow_reportrun.sandbox"):
        run = create(sandbox, "activity.itemized.3", **asked(*names)).json()
        known = create(sandbox, "activity.itemized.3", **asked("amount")).json()
        get(sandbox, f"{sandbox.url}/v1/reporting/report_runs/{run['id']}")
    header, *rows = csv.reader(io.StringIO(get(sandbox, run["result"]["url"]).content.decode()))

    assert header == list(names) == run["parameters"]["columns"]
    assert len(rows) > 100
    assert [_ for _ in rows if _[1]] == []
    assert {_is_date(row[2]) and _is_time(row[3]) for row in rows} == {True}
    assert {re.fullmatch(r"-?\d+\.\d\d", row[4]) is not None for row in rows} == {True}
    assert {row[5][:6] for row in rows} == {"price_"}
    assert "American Express" in {row[6] for row in rows}
    assert [record.getMessage() for record in caplog.records] == [
        f"{run['id']} has columns that activity.itemized.3 is not known to have, made up by their names: "
        "'event_type', 'activity_start_date', 'settled_at', 'surcharge_amount', 'price_id', 'card_brand'"
    ]
    assert [record.unknown_columns for record in sandbox.report_runs] == [names[1:], ()]
    assert known["status"] == "succeeded"


def test_replay_of_a_lenient_run_says_nothing(sandbox: StripeSandbox, caplog: pytest.LogCaptureFixture) -> None:
    """The same key is the same run."""
    sandbox.configure(strict=False)
    form = {"report_type": "payouts.itemized.5", "parameters[columns][0]": "colour"}
    form |= {"parameters[interval_start]": str(MARCH_1), "parameters[interval_end]": str(MARCH_2)}
    for _ in range(2):
        url = f"{sandbox.url}/v1/reporting/report_runs"
        headers = {"Idempotency-Key": "once"}
        assert requests.post(url, form, auth=(sandbox.api_key, ""), headers=headers, timeout=10).ok

    assert len(caplog.records) == 1


def test_an_unknown_column_is_one_line_of_the_log(
    sandbox: StripeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is in its name."""
    sandbox.configure(strict=False)
    create(sandbox, "payouts.itemized.5", **asked("colour\nERROR all is lost\x1b[2J"))

    (record,) = caplog.records
    assert record.getMessage().endswith(r"by their names: 'colour\nERROR all is lost\x1b[2J'")


def test_reset_is_strict_again(sandbox: StripeSandbox) -> None:
    """As the sandbox was made."""
    sandbox.configure(strict=False)
    sandbox.reset()

    assert create(sandbox, "payouts.itemized.5", **asked("colour")).status_code == 400
    with StripeSandbox(strict=False, transition=AtOnce()) as other:
        other.reset()
        assert create(other, "payouts.itemized.5", **asked("colour")).status_code == 200


@all_types
def test_no_type_minds_an_unknown_column(report_type: ReportType) -> None:
    """It is NULL, and the others are what they are without it."""
    wanted = much_of(report_type)
    more = columns_of(report_type, replace(wanted, columns=(*report_type.default_columns, "colour")))

    assert set(more.pop("colour")) == {None}
    assert more == columns_of(report_type, wanted)


@pytest.mark.parametrize(("options", "status"), [([], 400), (["--lenient", "--quiet"], 200)])
def test_command_line_is_lenient_on_request(options: list[str], status: int) -> None:
    """It says so even where it is to log nothing."""
    command = [sys.executable, "-m", "airflow_reportrun.sandbox", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        url = re.split("[ ,]", process.stdout.readline())[3]
        try:
            answer = requests.post(
                f"{url}/v1/reporting/report_runs",
                {
                    "report_type": "balance.summary.1",
                    "parameters[interval_start]": str(MARCH_1),
                    "parameters[interval_end]": str(MARCH_2),
                    "parameters[columns][0]": "colour",
                },
                auth=("sk_test_sandbox", ""),
                timeout=10,
            )
        finally:
            process.terminate()
            _, said = process.communicate(timeout=10)

    assert answer.status_code == status
    assert ("made up by their names: 'colour'" in said) == (status == 200)


# Compressed


def compressed(sandbox: StripeSandbox, report_type: str = ITEMIZED) -> tuple[dict[str, Any], bytes]:
    run = create(sandbox, report_type, compress_file="true").json()
    assert run["parameters"]["compress_file"] is True
    answer = get(sandbox, run["result"]["url"])
    assert answer.headers["Content-Type"] == "application/zip"
    return run, answer.content


def test_report_is_compressed_on_request(sandbox: StripeSandbox) -> None:
    """The file is a ZIP with the very report in it, and says so: its type, its name and its size."""
    plain = create(sandbox, ITEMIZED, compress_file="false").json()["result"]
    run, contents = compressed(sandbox)
    file = run["result"]

    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{ITEMIZED}.csv"]
        assert archive.read(f"{ITEMIZED}.csv") == get(sandbox, plain["url"]).content
    assert (file["type"], file["filename"], file["size"]) == ("zip", f"{run['id']}.zip", len(contents))
    assert (plain["type"], plain["filename"][-4:]) == ("csv", ".csv")
    assert file["size"] < plain["size"] / 2


def test_compressed_report_is_the_same_for_the_same_figures(sandbox: StripeSandbox) -> None:
    """Byte for byte, in another run."""
    assert compressed(sandbox)[1] == compressed(sandbox)[1]


def test_part_of_a_compressed_report_can_be_had(sandbox: StripeSandbox) -> None:
    """By its range, if it is still the same."""
    run, contents = compressed(sandbox)
    url = run["result"]["url"]
    etag = get(sandbox, url).headers["ETag"]

    part = get(sandbox, url, Range="bytes=100-", If_Range=etag)

    assert (part.status_code, part.content) == (206, contents[100:])
    assert part.headers["Content-Range"] == f"bytes 100-{len(contents) - 1}/{len(contents)}"


@pytest.mark.parametrize("report_type", ["balance.summary.1", "tax.summarized_export.1", "apps.install_events.1"])
def test_each_type_can_be_compressed(sandbox: StripeSandbox, report_type: str) -> None:
    """Public programs ask for it where the documentation of a type doesn't name it."""
    with zipfile.ZipFile(io.BytesIO(compressed(sandbox, report_type)[1])) as archive:
        assert archive.read(f"{report_type}.csv").startswith(b'"')


def test_compress_file_is_true_or_false(sandbox: StripeSandbox) -> None:
    """Anything else is refused."""
    answer = create(sandbox, ITEMIZED, compress_file="yes")

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "parameters[compress_file]"


def test_file_that_stands_in_is_sent_as_it_is(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Whoever serves a file of their own has it compressed, or not."""
    (tmp_path / "x").write_bytes(b"PK...")
    sandbox.serve_file(tmp_path / "x")
    run, contents = compressed(sandbox)

    assert contents == b"PK..."
    assert (run["result"]["type"], run["result"]["size"]) == ("zip", 5)

"""The report types that ``report-types.md`` and ``accounts.md`` advise are there, and take what is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.report_type_ids import ParameterShape, shape_of
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.docs_blocks import ROOT, programs

START, END = 1714521600, 1717200000  # May 2024
TAKES = {
    "an interval": ParameterShape.INTERVAL,
    "an end": ParameterShape.INTERVAL_END,
    "a payout": ParameterShape.PAYOUT,
}
ROWS = [
    row
    for name in ("report-types.md", "accounts.md")
    for row in re.findall(r"^\| [^|]+ \| `([\w.]+\.\d)` \| ([\w ]+) \|$", (ROOT / "docs" / name).read_text(), re.M)
]


@pytest.fixture
def hook(stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> StripeReportingHook:
    """A hook with a live key, which all types are for."""
    stripe_conn.configure(transition=AtOnce())
    stripe_conn.add_key("sk_live_sandbox")
    connection = f'{{"conn_type": "stripe", "host": "{stripe_conn.url}", "password": "sk_live_sandbox"}}'
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", connection)
    return StripeReportingHook()


@pytest.fixture
def payout(hook: StripeReportingHook, tmp_path: Path) -> str:
    """One that the account has made."""
    run = hook.create_report_run("payouts.itemized.3", ReportParameters(interval_start=START, interval_end=END))
    landed = land_report(hook, run, place_of(f"{tmp_path}/payouts.csv"))
    assert landed
    found = re.search(r"po_\w+", (tmp_path / "payouts.csv").read_text())
    assert found
    return found[0]


def test_there_are_some() -> None:
    """Each once, or a reader has to choose."""
    assert len(ROWS) > 25
    assert len({name for name, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("report_type", "takes"), ROWS)
def test_a_report_type_takes_what_is_said_and_lands(
    hook: StripeReportingHook, payout: str, tmp_path: Path, report_type: str, takes: str
) -> None:
    """By its id alone, as the operator asks for it."""
    shape = TAKES[takes]
    assert shape_of(report_type) == shape
    parameters = {
        ParameterShape.INTERVAL: ReportParameters(interval_start=START, interval_end=END),
        ParameterShape.INTERVAL_END: ReportParameters(interval_end=END),
        ParameterShape.PAYOUT: ReportParameters(payout=payout),
    }[shape]
    run = hook.create_report_run(report_type, parameters)
    land_report(hook, run, place_of(f"{tmp_path}/report.csv"))
    assert len((tmp_path / "report.csv").read_text().splitlines()) > 1


def test_the_account_says_which_it_has(hook: StripeReportingHook, capsys: pytest.CaptureFixture[str]) -> None:
    """By the program of the page, and all that the page names are among them."""
    (program,) = (it for it in programs("docs/report-types.md") if "list_report_types" in it)
    exec(program, {})  # noqa: S102 - our own page
    said = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert {name for name, _ in ROWS} <= said

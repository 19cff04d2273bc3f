"""What the page about the command line shows is what the commands print."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_reportrun.cli import planned
from airflow_reportrun.cli.calendars import SIGNS
from airflow_reportrun.cli.definition import EXIT_CODES
from airflow_reportrun.coverage.series import State
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.docs_tables import hold
from tests.test_cli import call, day
from tests.versions import needs_airflow_3

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
TYPE = "balance_change_from_activity.itemized.3"
END = datetime(2026, 11, 20, tzinfo=UTC)

DAG_FILE = """
from datetime import UTC, datetime
from airflow.providers.common.compat.sdk import DAG
from airflow_reportrun.operators import StripeReportRunOperator

with DAG("stripe_daily_activity", schedule="0 13 * * *", start_date=datetime(2022, 1, 1, tzinfo=UTC)):
    StripeReportRunOperator(
        task_id="activity",
        report_type="balance_change_from_activity.itemized.3",
        interval="day",
        destination="{root}/stripe/",
        retries=5,
    )
"""


@pytest.fixture
def lake(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Some weeks of days, of which some are missing, and the DAG that lands them."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setattr(planned.Existing, "of", classmethod(lambda cls, dag_id: cls()))
    monkeypatch.setattr("time.time", (END + timedelta(days=1, hours=7)).timestamp)
    stripe_conn.configure(transition=AtOnce(), data_available_end=int(END.timestamp()))
    for number in (*range(-3, 5), 6, 7, 8, 9, 13):
        assert call(capsys, "run", TYPE, f"{tmp_path}/stripe/", *day(number))[0] == 0
    (tmp_path / "dag.py").write_text(DAG_FILE.format(root=tmp_path))
    return tmp_path


def shown(lake: Path, command: str, out: str, keep: int = 100) -> str:
    """Return a command and what it prints as a page shows it."""
    lines = [line.rstrip() for line in out.replace(str(lake), "/data").rstrip().splitlines()]
    more = ["…"] if len(lines) > keep else []
    return "\n".join(["```text", f"$ airflow reportrun {command}", *lines[:keep], *more, "```"])


def test_types(capsys: pytest.CaptureFixture[str], lake: Path) -> None:
    """One report type, with its columns."""
    _, out, _ = call(capsys, "types", "balance.summary.1", "--output", "yaml")
    hold(PAGE, "types", shown(lake, "types balance.summary.1 --output yaml", out))


@needs_airflow_3("such ids of runs")
def test_plan(capsys: pytest.CaptureFixture[str], lake: Path) -> None:
    """One day that is landed; its id is another each time."""
    words = ["--from-date", "2026-11-05", "--to-date", "2026-11-06"]
    code, out, _ = call(capsys, "plan", "stripe_daily_activity", *words, f"--dag-file={lake}/dag.py", "-o", "yaml")
    assert code == 0
    out = re.sub("frr_[A-Za-z0-9]+", "frr_ha5JwoI3YB6rJAnWABD1OSHg", out)
    command = f"plan stripe_daily_activity {' '.join(words)} --output yaml"
    # What the key is made of has the folder of the destination in it nowhere, so that it stays the same.
    hold(PAGE, "plan", shown(lake, command, out))


def test_coverage(capsys: pytest.CaptureFixture[str], lake: Path) -> None:
    """A hole, an end, and what Stripe does not have yet."""
    code, out, _ = call(capsys, "coverage", f"{lake}/stripe/")
    assert code == 3
    hold(PAGE, "coverage", shown(lake, "coverage /data/stripe/", out))


@needs_airflow_3("airflow backfill create")
def test_backfills(capsys: pytest.CaptureFixture[str], lake: Path) -> None:
    """The lines to paste, and nothing else."""
    words = ["--dag-id", "stripe_daily_activity"]
    _, out, _ = call(capsys, "coverage", f"{lake}/stripe/", *words, f"--dag-file={lake}/dag.py")
    lines = "\n".join(line for line in out.splitlines() if line.startswith("airflow"))
    hold(PAGE, "backfills", "```text\n" + lines.replace(" --to-date", " \\\n  --to-date") + "\n```")


def test_the_page_has_all_signs_and_codes() -> None:
    """Each state with its sign, and each exit code that the help has."""
    page = PAGE.read_text()
    for state in State:
        assert f"| {SIGNS[state][0]} | `{state}` |" in page
    for code in re.findall(r"^  (\d+) ", EXIT_CODES, re.MULTILINE):
        assert f"| {code} |" in page

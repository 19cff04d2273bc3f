"""The example whose DAG runs are started by Stripe's data, at the pace of a test.

Airflow looks for DAGs in files that have its name in them.
"""

from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "stripe_when_data_is_ready.py"
WATCHED = "StripeReportDataTrigger(report_type=REPORT_TYPE"

source = EXAMPLE.read_text()
assert WATCHED in source
exec(compile(source.replace(WATCHED, f"{WATCHED}, poll_interval=2"), __file__, "exec"))  # noqa: S102 - our own

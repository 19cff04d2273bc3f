"""The examples that recipes are about, with a last day, so that none of them runs by the clock of today.

Airflow looks for DAGs in files that have its name in them.
"""

from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "example_dags"

LAST = "datetime(2026, 4, 1, tzinfo=UTC)"

for name in ("stripe_month_close", "stripe_month_deadline", "stripe_restate_with_approval"):
    source = (EXAMPLES / f"{name}.py").read_text()
    source = source.replace('"catchup": False', f'"catchup": False, "end_date": {LAST}')
    source = source.replace("catchup=False", f"catchup=False, end_date={LAST}")
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, __file__, "exec"), names)  # noqa: S102 - our own

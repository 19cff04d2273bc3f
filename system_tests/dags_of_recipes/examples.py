"""The examples that recipes are about, with a last day, so that none of them runs by the clock of today.

Airflow looks for DAGs in files that have its name in them.
"""

from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "example_dags"

for name in ("stripe_month_close", "stripe_month_deadline", "stripe_restate_with_approval"):
    source = (EXAMPLES / f"{name}.py").read_text()
    for catchup in ('"catchup": False', "catchup=False"):
        end = (
            '"end_date": datetime(2026, 4, 1, tzinfo=UTC)'
            if ":" in catchup
            else "end_date=datetime(2026, 4, 1, tzinfo=UTC)"
        )
        source = source.replace(catchup, f"{catchup}, {end}")
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, __file__, "exec"), names)  # noqa: S102 - our own

"""What tasks of the same account meet: ``python -m benchmarks.live.worker frr_…`` retrieves a run every second.

Each call writes a line of JSON: when it began and how long it took, both in seconds, and its error or null.
"""

from __future__ import annotations

import json
import sys
import time

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.errors import ReportingError

EVERY = 1.0


def main(report_run_id: str) -> None:
    """Retrieve until somebody ends the process; a call has the tries that a task's has."""
    hook = StripeReportingHook()
    while True:
        began, error = time.time(), None
        try:
            hook.retrieve_report_run(report_run_id)
        except ReportingError as refused:
            error = str(refused)
        print(json.dumps({"at": began, "seconds": time.time() - began, "error": error}), flush=True)
        time.sleep(max(0.0, began + EVERY - time.time()))


if __name__ == "__main__":
    main(sys.argv[1])

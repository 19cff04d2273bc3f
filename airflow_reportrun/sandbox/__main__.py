"""Run the sandbox by itself: ``python -m airflow_reportrun.sandbox --port 8181``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .runs import AfterSeconds
from .server import StripeSandbox

if TYPE_CHECKING:
    from .messages import RequestRecord


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m airflow_reportrun.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to bind (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8181, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--api-key", default="sk_test_sandbox", help="the key that is let in (default: %(default)s)"
    )
    parser.add_argument(
        "--pending-seconds",
        type=float,
        default=5.0,
        help="how long a run takes (default: %(default)s)",
    )
    options = parser.parse_args(arguments)

    sandbox = StripeSandbox(
        host=options.host,
        port=options.port,
        api_key=options.api_key,
        transition=AfterSeconds(options.pending_seconds),
        on_request=_print_request,
    )
    try:
        sandbox.start()
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
    print(f"Stripe sandbox on {sandbox.url}, API key {sandbox.api_key}")
    print("Connect Airflow to it with:")
    print(f"  export AIRFLOW_CONN_STRIPE_DEFAULT='{json.dumps(connection)}'")
    print("Stop it with Ctrl-C.", flush=True)
    stopped.wait()
    sandbox.stop()
    return 0


def _print_request(record: RequestRecord) -> None:
    at = datetime.fromtimestamp(record.at, UTC)
    status = "dropped" if record.status is None else str(record.status)
    remarks = [record.request_id]
    if "report_type" in record.form:
        remarks.append(str(record.form["report_type"]))
    if record.replayed:
        remarks.append("replayed")
    print(f"{at:%H:%M:%S}Z  {status:7}  {record.method:4} {record.path}  {'  '.join(remarks)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

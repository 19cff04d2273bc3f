"""Run the sandbox by itself: ``python -m airflow_reportrun.sandbox --port 8181``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .limits import RateLimits
from .runs import AfterSeconds
from .server import StripeSandbox

if TYPE_CHECKING:
    from .messages import RequestRecord


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    options = _parser().parse_args(arguments)
    try:
        sandbox = StripeSandbox(
            host=options.host,
            port=options.port,
            api_key=options.api_key,
            keys=dict(_key(text) for text in options.key),
            connected_accounts=options.connected_account or None,
            rate_limits=RateLimits() if options.rate_limits else None,
            clock=_clock(options.now),
            strict=not options.lenient,
            transition=AfterSeconds(options.pending_seconds),
            on_request=None if options.quiet else _print_json if options.json else _print_request,
        )
        for text in options.fault:
            sandbox.script(text)
        if options.serve_file:
            sandbox.serve_file(options.serve_file)
        sandbox.start()
    except (OSError, ValueError) as error:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m airflow_reportrun.sandbox", description=__doc__)
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="the address to bind; a warning if others reach it (default: %(default)s)",
    )
    add("--port", type=int, default=8181, help="0 takes a free one (default: %(default)s)")
    add("--api-key", default="sk_test_sandbox", help="the secret key (default: %(default)s)")
    add(
        "--key",
        action="append",
        default=[],
        metavar="KEY[=PERMISSION,…]",
        help="another key that is let in, with the permissions of a restricted one; can be repeated",
    )
    add(
        "--connected-account",
        action="append",
        default=[],
        metavar="acct_…",
        help="an account that Stripe-Account may name; can be repeated (default: any)",
    )
    add("--pending-seconds", type=float, default=5.0, help="how long a run takes (default: %(default)s)")
    add("--rate-limits", action="store_true", help="refuse more requests a second than Stripe takes")
    add(
        "--lenient",
        action="store_true",
        help="take columns that a report type is not known to have; the log says so",
    )
    add("--now", type=datetime.fromisoformat, metavar="TIME", help="what time it is at the start, in UTC")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT[*TIMES][@OPERATION]",
        help="something that goes wrong, such as RateLimited*3@retrieve; can be repeated",
    )
    add("--serve-file", metavar="PATH", help="the contents of every report")
    add("--json", action="store_true", help="log in JSON, one object a request")
    add("--quiet", action="store_true", help="log nothing")
    return parser


def _key(text: str) -> tuple[str, list[str] | None]:
    key, given, permissions = text.partition("=")
    return key, permissions.split(",") if given else None


def _clock(start: datetime | None) -> Callable[[], float]:
    if start is None:
        return time.time
    ahead = (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp() - time.time()
    return lambda: time.time() + ahead


def _print_request(record: RequestRecord) -> None:
    at = datetime.fromtimestamp(record.at, UTC)
    status = "broken" if record.status is None else str(record.status)
    remarks = [record.request_id]
    if "report_type" in record.form:
        remarks.append(str(record.form["report_type"]))
    if record.account:
        remarks.append(record.account)
    if record.replayed:
        remarks.append("replayed")
    if record.fault:
        remarks.append(record.fault)
    line = f"{at:%H:%M:%S}Z  {status:6}  {record.method:4} {record.path}  {'  '.join(remarks)}"
    print("".join(one if one.isprintable() else repr(one)[1:-1] for one in line), flush=True)


def _print_json(record: RequestRecord) -> None:
    print(json.dumps(dataclasses.asdict(record)), flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Start a cluster and leave it running, stop it, or break one of its own: ``python -m cluster up|down|chaos``."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from cluster.engine import LAKEHOUSE, ROOT, WAREHOUSE, Cluster, Running, seen
from demo.airflow import free_port

HOME = ROOT / "build" / "cluster"
TOLD = HOME / "running.json"
API_KEY = "sk_test_sandbox"


def up(dags: Path) -> int:
    """Start Airflow and a sandbox, say where they are, and leave them to :func:`down`."""
    if TOLD.exists():
        print("A cluster runs already, or its machine went down with it: make cluster-down", file=sys.stderr)
        return 1
    HOME.mkdir(parents=True, exist_ok=True)
    port = free_port()
    stripe = {"conn_type": "stripe", "host": f"http://127.0.0.1:{port}", "password": API_KEY}
    cluster = Cluster(
        HOME,
        dags,
        {
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
            "AIRFLOW_VAR_STRIPE_LAKE": str(HOME / "lake"),
            "AIRFLOW_VAR_STRIPE_REPORTS": str(HOME / "reports"),
        },
    )
    print(f"Starting PostgreSQL, Redis, a sandbox and {', '.join(cluster.components)} …", flush=True)
    with (HOME / "sandbox.log").open("wb") as log:
        command = [sys.executable, "-m", "airflow_reportrun.sandbox", "--port", str(port), "--rate-limits"]
        sandbox = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        cluster.start_servers()
        cluster.run("connections", "add", "stripe_default", "--conn-json", json.dumps(stripe))
        cluster.add_lakehouse(HOME / "lakehouse")
        cluster.__enter__()
        running = cluster.running()
        running.servers.extend(seen([sandbox]))
        TOLD.write_text(json.dumps(dataclasses.asdict(running)))
    except BaseException:
        cluster.stop()
        sandbox.terminate()
        raise
    print(f"Airflow's UI is at {cluster.url}, without a login; the DAGs are those of {dags}, paused at first.")
    print(f"stripe_default leads to the sandbox at {stripe['host']}, {WAREHOUSE} to a PostgreSQL, ")
    print(f"{LAKEHOUSE} to a catalog of Iceberg tables there.")
    print(f"Logs, and what lands in files, are in {HOME}. Stop it: make cluster-down")
    return 0


def down() -> int:
    """Stop what :func:`up` started."""
    if not TOLD.exists():
        print("No cluster runs.", file=sys.stderr)
        return 1
    Running(**json.loads(TOLD.read_text())).stop()
    TOLD.unlink()
    return 0


def main(command: str) -> int:
    """Run a command."""
    # As Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if command == "up":
        return up(Path(os.environ.get("DAGS") or ROOT / "example_dags").resolve())
    if command == "down":
        return down()
    if command == "chaos":
        from cluster import chaos

        return chaos.main()
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

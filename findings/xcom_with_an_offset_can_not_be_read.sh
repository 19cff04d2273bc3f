#!/usr/bin/env bash
# A task of Airflow that returns a datetime with an offset, such as datetime.fromisoformat makes of +05:30, succeeds,
# and each task that asks for what it returned fails: the offset is stored as an empty name of a zone, and no zone is
# called so. One would guess that the instant comes back, as it does from UTC and from a named zone, or that the first
# task fails, as it does for a value that can't be stored.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow-core==3.3.2
export AIRFLOW_HOME="$home" AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__CORE__DAGS_FOLDER="$home/dags"
mkdir "$home/dags"

cat > "$home/dags/asks.py" <<'PYTHON'
import os
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from airflow import __version__
from airflow.sdk import DAG, task

at = {
    "utc": datetime(2024, 5, 1, 1, 30, tzinfo=timezone.utc),
    "zone": datetime(2024, 5, 1, 7, 0, tzinfo=ZoneInfo("Asia/Kolkata")),
    "offset": datetime.fromisoformat("2024-05-01T07:00:00+05:30"),
}


@task
def give(name):
    return at[name]


@task
def ask(name, instant):
    assert instant == at[name]


with DAG("asks", schedule=None, start_date=at["utc"]) as dag:
    for name in at:
        ask.override(task_id=f"ask_{name}")(name, give.override(task_id=f"give_{name}")(name))

if __name__ == "__main__":
    run = dag.test()
    with open(os.environ["AIRFLOW_HOME"] + "/seen", "w") as file:
        print("airflow", __version__, file=file)
        for it in sorted(run.get_task_instances(), key=lambda it: it.task_id):
            print(it.task_id, it.state, file=file)
PYTHON

"$home/venv/bin/airflow" db migrate > "$home/log" 2>&1
"$home/venv/bin/airflow" dags reserialize >> "$home/log" 2>&1
"$home/venv/bin/python" "$home/dags/asks.py" >> "$home/log" 2>&1 || { tail -50 "$home/log"; exit 1; }
grep -o "ValueError: ZoneInfo keys must be normalized relative paths" "$home/log" | sort -u >> "$home/seen" || true

cat > "$home/expected" <<'TEXT'
airflow 3.3.2
ask_offset failed
ask_utc success
ask_zone success
give_offset success
give_utc success
give_zone success
ValueError: ZoneInfo keys must be normalized relative paths
TEXT
echo "guessed: success six times, and no error"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

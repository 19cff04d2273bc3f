#!/usr/bin/env bash
# An asset that a DAG file names without its watchers loses those that another file gives it, each time that the file
# is parsed, and be it as the inlet of a task. The other file gives them back when it is parsed in its turn, so that
# the trigger ends and begins again and again; where the file without watchers comes soon after it, hardly anybody
# watches. One would guess that a file which says nothing of watchers leaves them alone. Airflow gives the asset in its
# database the watchers of the file that it has parsed last. `Asset.ref` names an asset and leaves them alone.
set -euo pipefail

home=$(mktemp -d)
stop() {
    test -z "${airflow:-}" || kill -9 -- "-$airflow" || true
    wait 2> /dev/null || true  # which says "Killed"
    sleep 1
    rm -rf "$home"
}
trap stop EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow==3.3.2
mkdir "$home/dags"

cat > "$home/watching.py" <<'PYTHON'
import asyncio
import os

from airflow.triggers.base import BaseEventTrigger


def note(words):
    with open(os.environ["AIRFLOW_HOME"] + "/notes", "a") as file:
        print(words, file=file)


class Watches(BaseEventTrigger):
    def __init__(self, asset):
        super().__init__()
        self.asset = asset

    def serialize(self):
        return "watching.Watches", {"asset": self.asset}

    async def run(self):
        note(f"begins {self.asset}")
        try:
            await asyncio.sleep(3600)
        finally:
            note(f"ends {self.asset}")
        yield
PYTHON

dag_file() {
    cat > "$home/dags/$1.py" <<PYTHON
from airflow.sdk import DAG, Asset, AssetWatcher, BaseOperator
from watching import Watches, note

note("parsed $1")
dag = $2
PYTHON
}
for asset in schedule inlet ref; do
    watched="Asset('$asset', watchers=[AssetWatcher(name='watcher', trigger=Watches('$asset'))])"
    dag_file "watched_$asset" "DAG('watched_$asset', schedule=[$watched], is_paused_upon_creation=False)"
done
dag_file named_schedule "DAG('named_schedule', schedule=[Asset('schedule')], is_paused_upon_creation=False)"
dag_file named_inlet "BaseOperator(task_id='task', dag=DAG('named_inlet', schedule=None), inlets=[Asset('inlet')]).dag"
dag_file named_ref "DAG('named_ref', schedule=[Asset.ref(name='ref')], is_paused_upon_creation=False)"

free() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free)
export PATH="$home/venv/bin:$PATH" AIRFLOW_HOME="$home" PYTHONPATH="$home"
export AIRFLOW__CORE__LOAD_EXAMPLES=False NO_PROXY=127.0.0.1
export AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL=10
export AIRFLOW__API__HOST=127.0.0.1 AIRFLOW__API__PORT="$port" AIRFLOW__API__BASE_URL="http://127.0.0.1:$port"
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://127.0.0.1:$port/execution/"
AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=$(free) AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=$(free)
export AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT
setsid airflow standalone > "$home/log" 2>&1 &
airflow=$!

# Files are parsed every ten seconds; eight times are enough to see whether triggers end.
times() { grep -cx "$1" "$home/notes" || true; }
touch "$home/notes"
for _ in $(seq 240); do
    test "$(times "parsed watched_schedule")" -ge 8 && break
    sleep 1
done
test "$(times "parsed watched_schedule")" -ge 8 || { tail -50 "$home/log"; exit 1; }

echo "airflow $(airflow version 2> "$home/errors")" > "$home/seen"
for asset in schedule inlet ref; do
    begun=$(times "begins $asset") ended=$(times "ends $asset")
    echo "another file has it as its $asset: begun $begun times, ended $ended times"
    if ((ended == 0 && begun == 1)); then how=never; elif ((ended >= 3)); then how="again and again"; else how=$ended; fi
    echo "$asset: the trigger ends $how" >> "$home/seen"
done

cat > "$home/expected" <<'TEXT'
airflow 3.3.2
schedule: the trigger ends again and again
inlet: the trigger ends again and again
ref: the trigger ends never
TEXT
echo "guessed: the trigger ends never, in all three"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

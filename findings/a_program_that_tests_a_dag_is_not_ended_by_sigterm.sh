#!/usr/bin/env bash
# What calls dag.test(), and so `airflow dags test`, is not ended by SIGTERM while a task runs, nor at any time after.
# One would guess that the program ends, or at least its task. As it is, the task's on_kill() is called and all goes on,
# since the handler that a task's process has stays in the program: time-outs of CI jobs have to send SIGKILL.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow==3.3.2
export AIRFLOW_HOME="$home" AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__CORE__DAGS_FOLDER="$home/dags"
mkdir "$home/dags"

cat > "$home/dags/waits.py" <<'PYTHON'
import os
import signal
from datetime import datetime, timezone

from airflow.sdk import DAG, BaseOperator


class Ends(BaseOperator):
    def execute(self, context):
        os.kill(os.getpid(), signal.SIGTERM)
        print("the task goes on", flush=True)

    def on_kill(self):
        print("on_kill", flush=True)


with DAG("waits", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=timezone.utc)) as dag:
    Ends(task_id="ends")

if __name__ == "__main__":
    run = dag.test()
    print(str(run.state.value), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("the program goes on", flush=True)
PYTHON

"$home/venv/bin/airflow" db migrate > "$home/log" 2>&1
"$home/venv/bin/airflow" dags reserialize >> "$home/log" 2>&1
printf '%s\n' on_kill "the task goes on" success on_kill "the program goes on" "ended with 0" > "$home/expected"
status=0
"$home/venv/bin/python" "$home/dags/waits.py" > "$home/out" 2>> "$home/log" || status=$?
echo "ended with $status" >> "$home/out"
grep -oE "on_kill|the (task|program) goes on|^success$|ended with [0-9]+" "$home/out" > "$home/seen" || true
echo "guessed: the program ends with 143 (128 + 15)"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

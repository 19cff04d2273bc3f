#!/usr/bin/env bash
# What a trigger gives TaskSuccessEvent as an XCom reaches the next task as text.
# One would guess that a dict stays a dict, as it does when a task in a worker returns it. Airflow's triggerer stores it
# through the model that makes JSON of it, in a column that makes JSON of that once more; a worker decodes once.
set -euo pipefail

home=$(mktemp -d)
end() {
    if test -n "${airflow:-}"; then
        kill -9 -- "-$airflow" || true
        wait "$airflow" 2> /dev/null || true
        sleep 1
    fi
    rm -rf "$home"
}
trap end EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow==3.3.2
mkdir "$home/dags"

cat > "$home/ends.py" <<'PYTHON'
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent


class Ends(BaseTrigger):
    def serialize(self):
        return "ends.Ends", {}

    async def run(self):
        yield TaskSuccessEvent(xcoms={"return_value": {"rows": 3}})
PYTHON

cat > "$home/dags/finding.py" <<'PYTHON'
import os

from airflow.sdk import DAG, BaseOperator, task
from airflow.triggers.base import StartTriggerArgs


class FromTrigger(BaseOperator):
    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(trigger_cls="ends.Ends", next_method="execute")


class FromWorker(BaseOperator):
    def execute(self, context):
        return {"rows": 3}


@task
def look(worker, trigger):
    with open(os.environ["AIRFLOW_HOME"] + "/partial", "w") as file:
        print("from a worker", repr(worker), file=file)
        print("from a trigger", repr(trigger), file=file)
    os.rename(file.name, os.environ["AIRFLOW_HOME"] + "/seen")


with DAG("finding", schedule="@once", is_paused_upon_creation=False):
    look(FromWorker(task_id="worker").output, FromTrigger(task_id="trigger").output)
PYTHON

free() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free)
export PATH="$home/venv/bin:$PATH" AIRFLOW_HOME="$home" PYTHONPATH="$home"
export AIRFLOW__CORE__LOAD_EXAMPLES=False NO_PROXY=127.0.0.1
export AIRFLOW__API__HOST=127.0.0.1 AIRFLOW__API__PORT="$port" AIRFLOW__API__BASE_URL="http://127.0.0.1:$port"
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://127.0.0.1:$port/execution/"
AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=$(free) AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT=$(free)
export AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT
setsid airflow standalone > "$home/log" 2>&1 &
airflow=$!
for _ in $(seq 240); do
    test -e "$home/seen" && break
    sleep 1
done
test -e "$home/seen" || { tail -50 "$home/log"; exit 1; }

cat > "$home/expected" <<'TEXT'
from a worker {'rows': 3}
from a trigger '{"rows": 3}'
TEXT
echo "guessed: {'rows': 3} both times"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

#!/usr/bin/env bash
# While Airflow's database is down, its API server says of each variable in it that there is none.
# One would guess an error of the server's, which a worker asks again about. As it is, a task or a template that names a
# default for the variable goes on with that, such as with another destination.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow==3.3.2 asyncpg==0.32.0 psycopg2-binary==2.9.13
export AIRFLOW_HOME="$home" AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://airflow@/airflow?host=$home"

cat > "$home/ask.py" <<'PYTHON'
from airflow.api_fastapi.execution_api.routes.variables import get_variable
from fastapi import HTTPException

try:
    print(get_variable("where", None))
except HTTPException as error:
    print(error.status_code, error.detail["message"])
PYTHON

echo "404 Variable with key 'where' not found" > "$home/expected"
"$home/venv/bin/python" "$home/ask.py" 2> "$home/log" > "$home/seen"
grep -q "Unable to retrieve variable from secrets backend (MetastoreBackend)" "$home/log" "$home/seen"
grep -E "^[0-9]{3} " "$home/seen" > "$home/answer" || true
echo "guessed: an error of the server's"
echo "seen:"
cat "$home/answer"
diff "$home/expected" "$home/answer"

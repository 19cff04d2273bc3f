#!/usr/bin/env bash
# Airflow takes the slash from the end of an asset's URI and keeps it in the asset's name, which is the text as it was
# typed. So one URI with and without a slash, in two DAGs' schedules, makes two assets of one URI, of which the
# scheduler keeps one inactive. The DAG of that one has no warning, although there is a kind of warning for it. One
# would guess one asset, or else the warning.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow==3.3.2
mkdir "$home/dags"

cat > "$home/dags/readers.py" <<'PYTHON'
from airflow.sdk import DAG, Asset, BaseOperator

for dag_id, uri in (("first", "https://example.com/report/"), ("second", "https://example.com/report")):
    with DAG(dag_id, schedule=[Asset(uri)]) as globals()[dag_id]:
        BaseOperator(task_id="read")
PYTHON

export AIRFLOW_HOME=$home AIRFLOW__CORE__LOAD_EXAMPLES=False
unset PYTHONDONTWRITEBYTECODE
cd "$home"
venv/bin/airflow db migrate > log 2>&1
venv/bin/airflow dags reserialize >> log 2>&1
timeout --signal=INT --kill-after=10 45 venv/bin/airflow scheduler >> log 2>&1 || true

venv/bin/python - > seen <<'PYTHON'
import sqlite3
from importlib.metadata import version

print("apache-airflow", version("apache-airflow"))
database = sqlite3.connect("airflow.db")
print("the URIs:", *(row[0] for row in database.execute("SELECT DISTINCT uri FROM asset")))
print("the assets:", *(row[0] for row in database.execute("SELECT name FROM asset ORDER BY name")))
print("active:", database.execute("SELECT count(*) FROM asset_active").fetchone()[0])
print("warnings:", database.execute("SELECT count(*) FROM dag_warning").fetchone()[0])
PYTHON

cat > expected <<'TEXT'
apache-airflow 3.3.2
the URIs: https://example.com/report
the assets: https://example.com/report https://example.com/report/
active: 1
warnings: 0
TEXT
echo "guessed: one asset, or a warning"
echo "seen:"
cat seen
diff expected seen

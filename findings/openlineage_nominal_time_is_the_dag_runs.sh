#!/usr/bin/env bash
# Airflow's provider of OpenLineage writes its own facet nominalTime over the one that an operator returns, wherever
# the DAG run has a data interval, be it an empty one as Airflow 3's is for a cron string. One would guess that what
# the operator says of its own work counts. It does in runs without a data interval. Other facets of the operator stay.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow==3.3.2 apache-airflow-providers-openlineage==2.20.3
mkdir "$home/dags"

cat > "$home/dags/probe.py" <<'PYTHON'
from datetime import datetime, timezone

from airflow.sdk import DAG, BaseOperator


class Reports(BaseOperator):
    def execute(self, context):
        pass

    def get_openlineage_facets_on_complete(self, task_instance):
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.facet_v2 import external_query_run, nominal_time_run

        the_day_before = nominal_time_run.NominalTimeRunFacet("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
        query = external_query_run.ExternalQueryRunFacet("query_1", "somewhere")
        return OperatorLineage(run_facets={"nominalTime": the_day_before, "externalQuery": query})


with DAG("probe", schedule="0 6 * * *", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False):
    Reports(task_id="task")
PYTHON

export PATH="$home/venv/bin:$PATH" AIRFLOW_HOME="$home" AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__OPENLINEAGE__TRANSPORT="{\"type\": \"file\", \"log_file_path\": \"$home/events\", \"append\": true}"
airflow db migrate > "$home/log" 2>&1
airflow dags reserialize >> "$home/log" 2>&1
airflow dags test probe 2026-01-02T06:00:00+00:00 >> "$home/log" 2>&1 || { tail -50 "$home/log"; exit 1; }

python - "$home/events" > "$home/seen" <<'PYTHON'
import json
import sys
from importlib.metadata import version

print("airflow", version("apache-airflow"), "openlineage", version("apache-airflow-providers-openlineage"))
events = [json.loads(line) for line in open(sys.argv[1])]
(end,) = [it for it in events if it["job"]["name"] == "probe.task" and it["eventType"] == "COMPLETE"]
facets = end["run"]["facets"]
print("externalQuery:", facets["externalQuery"]["externalQueryId"])
print("nominalTime:", facets["nominalTime"]["nominalStartTime"], "to", facets["nominalTime"]["nominalEndTime"])
PYTHON

cat > "$home/expected" <<'TEXT'
airflow 3.3.2 openlineage 2.20.3
externalQuery: query_1
nominalTime: 2026-01-02T06:00:00+00:00 to 2026-01-02T06:00:00+00:00
TEXT
echo "guessed: nominalTime: 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z, as the operator says"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

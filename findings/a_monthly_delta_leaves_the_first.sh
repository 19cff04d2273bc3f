#!/usr/bin/env bash
# A DAG of Airflow that is scheduled by relativedelta(months=1) from the first of April in Berlin has runs on the 31st
# of May and of July, so that no run begins in June or August. One would guess the first of each month by the zone's clocks, as
# the first step, from the start date, has it. Each further step adds a month to the instant in UTC, where midnight in
# Berlin is on the last day of the month before.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow-core==3.3.2
export AIRFLOW_HOME="$home" AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR

cd "$home"
venv/bin/python - > seen 2> log <<'PYTHON' || { cat log; exit 1; }
from datetime import datetime
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from airflow import __version__
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

print("airflow", __version__)
berlin = ZoneInfo("Europe/Berlin")
with DAG("months", schedule=relativedelta(months=1), start_date=datetime(2024, 4, 1, tzinfo=berlin)) as dag:
    pass
stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
restriction, interval = TimeRestriction(stored.start_date, None, catchup=True), None
for _ in range(5):
    run = stored.timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=restriction)
    interval = run.data_interval
    print(run.run_after.in_timezone("Europe/Berlin").isoformat())
PYTHON

cat > expected <<'TEXT'
airflow 3.3.2
2024-04-01T00:00:00+02:00
2024-05-01T00:00:00+02:00
2024-05-31T00:00:00+02:00
2024-07-01T00:00:00+02:00
2024-07-31T00:00:00+02:00
TEXT
echo "guessed: 1 April, 1 May, 1 June, 1 July, 1 August"
echo "seen:"
cat seen
diff expected seen

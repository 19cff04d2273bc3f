#!/usr/bin/env bash
# A backfill of Airflow that begins with the day before a midnight which the clocks skip passes over that day.
# One would guess that --from-date, which is inclusive, includes it: Cairo's 25 April 2024 has a midnight, and only
# the 26th has none. Airflow tells whether a date is a tick by stepping forward from it and back again, and the step
# back from the skipped midnight (01:00) stays there.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow-core==3.3.2

AIRFLOW_HOME="$home" "$home/venv/bin/python" - > "$home/seen" 2> "$home/errors" <<'PYTHON' || { cat "$home/errors"; exit 1; }
from datetime import datetime, timezone

from airflow import __version__
from airflow.timetables.trigger import CronPartitionTimetable

print("airflow", __version__)
days = CronPartitionTimetable("0 0 * * *", timezone="Africa/Cairo", key_format="%Y-%m-%d")
last = datetime(2024, 4, 27, tzinfo=timezone.utc)  # read by the clocks of the timetable
for first in datetime(2024, 4, 25), datetime(2024, 4, 24, 23, 59, 59):
    infos = days.iter_partition_dagrun_infos(earliest=first.replace(tzinfo=timezone.utc), latest=last)
    print("from", first, [info.partition_key for info in infos])
PYTHON

cat > "$home/expected" <<'TEXT'
airflow 3.3.2
from 2024-04-25 00:00:00 ['2024-04-26', '2024-04-27']
from 2024-04-24 23:59:59 ['2024-04-25', '2024-04-26', '2024-04-27']
TEXT
echo "guessed: from 2024-04-25 00:00:00 ['2024-04-25', '2024-04-26', '2024-04-27']"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

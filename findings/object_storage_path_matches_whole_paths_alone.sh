#!/usr/bin/env bash
# match of Airflow's ObjectStoragePath wants a pattern of the whole path, so that "*.csv" matches no file in a folder,
# in any store and on disk; pathlib's, whose interface it has, matches from the end. The pattern "**/*.csv" is no way
# out: full_match takes it, match does not. One would guess what pathlib answers.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow-task-sdk==1.3.2 universal-pathlib==0.3.10

cd "$home"
venv/bin/python - > seen 2> log <<'PYTHON' || { cat log; exit 1; }
from importlib.metadata import version
from pathlib import PurePath

from airflow.sdk import ObjectStoragePath

for package in ("apache-airflow-task-sdk", "universal-pathlib"):
    print(package, version(package))
disk, airflows = PurePath("/lake/2026/report.csv"), ObjectStoragePath("file:///lake/2026/report.csv")
for pattern in ("*.csv", "report.csv", "2026/*.csv", "**/*.csv", "/lake/2026/*.csv"):
    print(f"{pattern}: pathlib {disk.match(pattern)}, Airflow {airflows.match(pattern)}")
print("full_match **/*.csv: Airflow", airflows.full_match("**/*.csv"))
PYTHON

cat > expected <<'TEXT'
apache-airflow-task-sdk 1.3.2
universal-pathlib 0.3.10
*.csv: pathlib True, Airflow False
report.csv: pathlib True, Airflow False
2026/*.csv: pathlib True, Airflow False
**/*.csv: pathlib True, Airflow False
/lake/2026/*.csv: pathlib True, Airflow True
full_match **/*.csv: Airflow True
TEXT
echo "guessed: True each time"
echo "seen:"
cat seen
diff expected seen

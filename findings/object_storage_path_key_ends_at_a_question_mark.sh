#!/usr/bin/env bash
# The key of Airflow's ObjectStoragePath ends at a question mark or a hash, which S3 allows in keys, while the path
# itself writes and reads the whole name: who gives the key to an S3Hook asks for another object. One would guess that
# the key is the path behind the bucket, as the name is its last part.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow-task-sdk==1.3.2 universal-pathlib==0.3.10

cd "$home"
venv/bin/python - > seen 2> log <<'PYTHON' || { cat log; exit 1; }
from importlib.metadata import version

from airflow.sdk import ObjectStoragePath

for package in ("apache-airflow-task-sdk", "universal-pathlib"):
    print(package, version(package))
for name in ("march.csv", "march#1.csv", "closed?.csv"):
    path = ObjectStoragePath("s3://aws_books@bucket/2026") / name
    print("written:", path.path, "| name:", path.name, "| key:", path.key)
PYTHON

cat > expected <<'TEXT'
apache-airflow-task-sdk 1.3.2
universal-pathlib 0.3.10
written: bucket/2026/march.csv | name: march.csv | key: 2026/march.csv
written: bucket/2026/march#1.csv | name: march#1.csv | key: 2026/march
written: bucket/2026/closed?.csv | name: closed?.csv | key: 2026/closed
TEXT
echo "guessed: 2026/ and the name as key, three times"
echo "seen:"
cat seen
diff expected seen

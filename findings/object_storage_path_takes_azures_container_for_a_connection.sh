#!/usr/bin/env bash
# Airflow's ObjectStoragePath takes Azure's own form of a URL, container@account.dfs.core.windows.net, and makes another
# place of it: the container becomes the id of the connection, the account is gone, and the first folder becomes the
# container. One would guess the container and path that adlfs gives for the same URL, or an error.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow-core==3.3.2 apache-airflow-task-sdk==1.3.2 adlfs==2026.5.0
export AIRFLOW_HOME="$home" AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR

cd "$home"
venv/bin/python - > seen 2> log <<'PYTHON' || { cat log; exit 1; }
from adlfs import AzureBlobFileSystem
from airflow import __version__
from airflow.sdk import ObjectStoragePath

print("airflow", __version__)
url = "abfss://books@account.dfs.core.windows.net/2024/may/x.csv"
path = ObjectStoragePath(url)
print("connection", path.conn_id, "container", path.bucket, "key", path.key)
print("adlfs", AzureBlobFileSystem._strip_protocol(url))
PYTHON

cat > expected <<'TEXT'
airflow 3.3.2
connection books container 2024 key may/x.csv
adlfs books/2024/may/x.csv
TEXT
echo "guessed: connection None container books key 2024/may/x.csv, or ValueError"
echo "seen:"
cat seen
diff expected seen

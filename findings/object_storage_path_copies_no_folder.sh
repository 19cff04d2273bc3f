#!/usr/bin/env bash
# copy of Airflow's ObjectStoragePath, given a folder on a disk, says nothing and copies nothing: neither a folder nor
# a file is there then. With recursive=True it copies. One would guess that it copies the folder, or an error, as
# shutil has it.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow-task-sdk==1.3.2

cd "$home"
venv/bin/python - > seen 2> log <<'PYTHON' || { cat log; exit 1; }
import os
import shutil
from importlib.metadata import version

from airflow.sdk import ObjectStoragePath

print("apache-airflow-task-sdk", version("apache-airflow-task-sdk"))
here = ObjectStoragePath(f"file://{os.getcwd()}")
(here / "lake" / "2026").mkdir(parents=True)
(here / "lake" / "2026" / "report.csv").write_text("net\n1.00\n")
try:
    shutil.copy("lake", "shutils")
except IsADirectoryError as error:
    print("shutil.copy", type(error).__name__)
(here / "lake").copy(here / "copied")
print("copy", (here / "copied").exists())
(here / "lake").copy(here / "whole", recursive=True)
print("copy, recursive", (here / "whole" / "2026" / "report.csv").exists())
PYTHON

cat > expected <<'TEXT'
apache-airflow-task-sdk 1.3.2
shutil.copy IsADirectoryError
copy False
copy, recursive True
TEXT
echo "guessed: IsADirectoryError twice, or True twice"
echo "seen:"
cat seen
diff expected seen

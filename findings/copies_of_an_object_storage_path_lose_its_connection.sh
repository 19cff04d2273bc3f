#!/usr/bin/env bash
# A copy of Airflow's ObjectStoragePath, by copy, deepcopy or pickle, has no connection any more, so that it reaches the
# store with whatever the machine has, or not at all. One would guess that a copy is the same path, as for what joining,
# parent and with_suffix make of it, and as when it goes through an XCom.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow-task-sdk==1.3.2

cd "$home"
venv/bin/python - > seen 2> log <<'PYTHON' || { cat log; exit 1; }
import copy
import pickle
from importlib.metadata import version

from airflow.sdk import ObjectStoragePath
from airflow.sdk.serde import deserialize, serialize

print("apache-airflow-task-sdk", version("apache-airflow-task-sdk"))
for path in (ObjectStoragePath("file://books@/data/x.csv"), ObjectStoragePath("file:///data/x.csv", conn_id="books")):
    print("path", path.conn_id)
    print("parent", path.parent.conn_id)
    print("XCom", deserialize(serialize(path)).conn_id)
    print("copy", copy.copy(path).conn_id)
    print("deepcopy", copy.deepcopy(path).conn_id)
    print("pickle", pickle.loads(pickle.dumps(path)).conn_id)
    print("equal", copy.copy(path) == path)
PYTHON

cat > expected <<'TEXT'
apache-airflow-task-sdk 1.3.2
path books
parent books
XCom books
copy None
deepcopy None
pickle None
equal False
path books
parent books
XCom books
copy None
deepcopy None
pickle None
equal False
TEXT
echo "guessed: books each time, and True"
echo "seen:"
cat seen
diff expected seen

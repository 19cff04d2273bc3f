#!/usr/bin/env bash
# A delete of pyiceberg's by "kind != 'a'", or by "kind not in ('a')", takes the rows whose kind is NULL with it where
# their file has no 'a', and leaves them where it has one, though a scan by the same filter shows them in neither case.
# One would guess that a delete takes what a scan shows, however rows lie in files, as one by "kind > 'a'" does. A file
# whose bounds say that no value is 'a' goes as a whole; others are written anew, with the NULLs.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet 'pyiceberg[sql-sqlite,pyarrow]==0.12.0' pyarrow==26.0.1

cd "$home"
venv/bin/python -W ignore - > seen <<'PYTHON'
import os

import pyarrow as pa
import pyiceberg
from pyiceberg.catalog import load_catalog

print("pyiceberg", pyiceberg.__version__)
catalog = load_catalog("it", type="sql", uri="sqlite:///it.db", warehouse=f"file://{os.getcwd()}")
catalog.create_namespace("books")
schema = pa.schema({"kind": pa.string()})
for wanted in "kind != 'a'", "kind not in ('a')", "kind > 'a'":
    for files in [["a", "b", None]], [["a"], ["b", None]]:
        table = catalog.create_table("books.entries", schema)
        for kinds in files:
            table.append(pa.table({"kind": kinds}, schema))
        shown = table.scan(wanted).to_arrow()["kind"].to_pylist()
        table.delete(wanted)
        left = sorted(table.scan().to_arrow()["kind"].to_pylist(), key=str, reverse=True)
        print(f"{wanted}, files {files}: shown {shown}, left by a delete {left}")
        catalog.drop_table("books.entries")
PYTHON

cat > expected <<'TEXT'
pyiceberg 0.12.0
kind != 'a', files [['a', 'b', None]]: shown ['b'], left by a delete ['a', None]
kind != 'a', files [['a'], ['b', None]]: shown ['b'], left by a delete ['a']
kind not in ('a'), files [['a', 'b', None]]: shown ['b'], left by a delete ['a', None]
kind not in ('a'), files [['a'], ['b', None]]: shown ['b'], left by a delete ['a']
kind > 'a', files [['a', 'b', None]]: shown ['b'], left by a delete ['a', None]
kind > 'a', files [['a'], ['b', None]]: shown ['b'], left by a delete ['a', None]
TEXT
echo "guessed: shown ['b'], left by a delete ['a', None], six times"
echo "seen:"
cat seen
diff expected seen

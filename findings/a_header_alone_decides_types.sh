#!/usr/bin/env bash
# A CSV that is a header alone, anywhere among several, makes text of every column of all files in polars, without a
# word. In pyarrow it makes columns of nulls where it is the first, so that the first row of the next file is refused.
# DuckDB finds the types where there are rows. One would guess that a file without rows has no say.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1 polars==2.1.0 pyarrow==26.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
from pathlib import Path

import duckdb
import polars
import pyarrow
import pyarrow.dataset

print("duckdb", duckdb.__version__, "polars", polars.__version__, "pyarrow", pyarrow.__version__)
header, rows = '"currency","count"\n', '"usd","3"\n'
for root, files in (("first", [header, header + rows]), ("last", [header + rows, header])):
    Path(root).mkdir()
    for number, text in enumerate(files):
        Path(root, f"{number}.csv").write_text(text)
    print(root)
    print("duckdb", duckdb.sql(f"SELECT typeof(count) FROM read_csv('{root}/*.csv')").fetchall()[0][0])
    print("polars", polars.read_csv(f"{root}/*.csv")["count"].dtype)
    dataset = pyarrow.dataset.dataset(root, format="csv")
    try:
        print("pyarrow", dataset.to_table().schema.field("count").type)
    except pyarrow.ArrowInvalid:
        print("pyarrow refuses; it expects", dataset.schema.field("count").type)
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1 polars 2.1.0 pyarrow 26.0.1
first
duckdb BIGINT
polars String
pyarrow refuses; it expects null
last
duckdb BIGINT
polars String
pyarrow int64
TEXT
echo "guessed: an integer six times"
echo "seen:"
cat seen
diff expected seen

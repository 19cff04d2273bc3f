#!/usr/bin/env bash
# Where all rows of a lake have no account, its one folder is account=__HIVE_DEFAULT_PARTITION__, and pyarrow can't
# read what pyarrow wrote; pandas can't even when there are others beside it. polars and DuckDB read both. With the
# column's type given pyarrow reads it. One would guess a column of NULLs.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
import os

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet

for package in (duckdb, pandas, polars, pyarrow):
    print(package.__name__, package.__version__)
folders = pyarrow.dataset.partitioning(pyarrow.schema([("account", pyarrow.string())]), flavor="hive")


def show(what, read):
    try:
        print(" ", what, read())
    except pyarrow.ArrowInvalid as error:
        print(" ", what, error)


for net, account in ((1, None), (2, "acct_b")):
    table = pyarrow.table({"net": [net], "account": pyarrow.array([account], pyarrow.string())})
    pyarrow.dataset.write_dataset(
        table,
        "lake",
        format="parquet",
        partitioning=folders,
        basename_template=f"{net}-{{i}}.parquet",
        existing_data_behavior="overwrite_or_ignore",
    )
    print(*sorted(os.listdir("lake")))
    everything = "'lake/**/*.parquet', hive_partitioning=true"
    show("DuckDB", lambda: duckdb.sql(f"SELECT * FROM read_parquet({everything})").fetchall())
    show("polars", lambda: polars.read_parquet("lake", hive_partitioning=True).rows())
    show("pyarrow, type given", lambda: pyarrow.dataset.dataset("lake", partitioning=folders).to_table().to_pylist())
    show("pyarrow", lambda: pyarrow.parquet.read_table("lake").to_pylist())
    show("pandas", lambda: pandas.read_parquet("lake").to_dict("records"))
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1
pandas 3.1.1
polars 2.1.0
pyarrow 26.0.1
account=__HIVE_DEFAULT_PARTITION__
  DuckDB [(1, None)]
  polars [(1, None)]
  pyarrow, type given [{'net': 1, 'account': None}]
  pyarrow No non-null segments were available for field 'account'; couldn't infer type
  pandas No non-null segments were available for field 'account'; couldn't infer type
account=__HIVE_DEFAULT_PARTITION__ account=acct_b
  DuckDB [(1, None), (2, 'acct_b')]
  polars [(1, None), (2, 'acct_b')]
  pyarrow, type given [{'net': 1, 'account': None}, {'net': 2, 'account': 'acct_b'}]
  pyarrow [{'net': 1, 'account': None}, {'net': 2, 'account': 'acct_b'}]
  pandas Cannot yet unify dictionaries with nulls
TEXT
echo "guessed: one row, then two, five times each"
echo "seen:"
cat seen
diff expected seen

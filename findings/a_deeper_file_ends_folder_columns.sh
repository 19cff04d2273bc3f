#!/usr/bin/env bash
# Where one file of a Hive layout lies a folder deeper than the others, DuckDB reads all of them and leaves out every
# folder column, the common ones too, without a word; polars refuses; pandas and pyarrow keep all folder columns and
# give NULL where a file has none. One would guess that the folders which all files have in common stay columns.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet

modules = duckdb, pandas, polars, pyarrow
print(*(f"{module.__name__} {module.__version__}" for module in modules))


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def by_duckdb(root):
    relation = duckdb.sql(f"SELECT * FROM read_parquet('{root}/**/*.parquet')")
    return [dict(zip(relation.columns, row)) for row in relation.fetchall()]


READERS = {
    "duckdb": by_duckdb,
    "pandas": lambda root: pandas.read_parquet(root).to_dict("records"),
    "polars": lambda root: polars.read_parquet(f"{root}/").to_dicts(),
    "pyarrow": lambda root: pyarrow.dataset.dataset(root, partitioning="hive").to_table().to_pylist(),
}


def show(root):
    for name, read in READERS.items():
        try:
            print(name, *(dict(sorted(row.items())) for row in read(root)))
        except Exception as error:
            print(name, "refuses:", type(error).__name__)


write(Path("lake/report=a/0.parquet"), net=[1])
write(Path("lake/report=a/currency=usd/0.parquet"), net=[2])
show("lake")
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1 pandas 3.1.1 polars 2.1.0 pyarrow 26.0.1
duckdb {'net': 1} {'net': 2}
pandas {'currency': nan, 'net': 1, 'report': 'a'} {'currency': 'usd', 'net': 2, 'report': 'a'}
polars refuses: SchemaFieldNotFoundError
pyarrow {'currency': None, 'net': 1, 'report': 'a'} {'currency': 'usd', 'net': 2, 'report': 'a'}
TEXT
echo "guessed: duckdb {'net': 1, 'report': 'a'} {'net': 2, 'report': 'a'}, or an error"
echo "seen:"
cat seen
diff expected seen

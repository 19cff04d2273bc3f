#!/usr/bin/env bash
# Two Parquet files whose column differs in case alone (net, Net): DuckDB takes both for one column, polars refuses
# the second, pandas and pyarrow give NULL for its values, without a word. One would guess one column, or an error.
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


write(Path("lake/0.parquet"), net=[1])
write(Path("lake/1.parquet"), Net=[2])
show("lake")
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1 pandas 3.1.1 polars 2.1.0 pyarrow 26.0.1
duckdb {'net': 1} {'net': 2}
pandas {'net': 1.0} {'net': nan}
polars refuses: SchemaError
pyarrow {'net': 1} {'net': None}
TEXT
echo "guessed: 1 and 2, or an error, four times"
echo "seen:"
cat seen
diff expected seen

#!/usr/bin/env bash
# A folder of a Hive layout that is named like a column of the files (currency=eur, and the file says usd) gives its
# value to every row in DuckDB, polars and pyarrow: what the file says is not seen, without a word. pandas refuses the
# same folder, also where both say the same, since its folder columns are categories. One would guess an error where
# the two differ, or the file's own value, and none where they agree.
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


write(Path("agree/currency=usd/0.parquet"), currency=["usd"], net=[1])
write(Path("differ/currency=eur/0.parquet"), currency=["usd"], net=[1])
for root in ("agree", "differ"):
    print(root)
    show(root)
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1 pandas 3.1.1 polars 2.1.0 pyarrow 26.0.1
agree
duckdb {'currency': 'usd', 'net': 1}
pandas refuses: ArrowTypeError
polars {'currency': 'usd', 'net': 1}
pyarrow {'currency': 'usd', 'net': 1}
differ
duckdb {'currency': 'eur', 'net': 1}
pandas refuses: ArrowTypeError
polars {'currency': 'eur', 'net': 1}
pyarrow {'currency': 'eur', 'net': 1}
TEXT
echo "guessed: four times usd for 'agree'; an error or usd for 'differ'"
echo "seen:"
cat seen
diff expected seen

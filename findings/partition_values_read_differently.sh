#!/usr/bin/env bash
# One folder name of a Hive layout is three types to three readers. polars takes the compact form of an instant
# (2024-05-01T013000Z) for an instant, true for a boolean and 1e5 for a float, where DuckDB and pyarrow leave text;
# leading zeros are cut off by polars and pyarrow and kept by DuckDB; a plain date is a date for polars and DuckDB and
# text for pyarrow. One would guess that who guesses types at all guesses numbers and dates, as DuckDB does.
# Text for all three is what has a letter or a sign that no number or time has.
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
import pyarrow.parquet

print("duckdb", duckdb.__version__, "polars", polars.__version__, "pyarrow", pyarrow.__version__)
values = ["2024-05-01T013000Z", "2024-05-01", "true", "1e5", "007", "2024-05-01_013000Z"]
for number, value in enumerate(values):
    root = Path(str(number))
    folder = root / f"key={value}"
    folder.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), folder / "0.parquet")
    query = f"SELECT typeof(key) FROM read_parquet('{root}/**/*.parquet')"
    by_duckdb = duckdb.sql(query).fetchall()[0][0]
    by_polars = polars.read_parquet(f"{root}/", hive_partitioning=True)["key"].dtype.base_type()
    by_pyarrow = pyarrow.dataset.dataset(str(root), partitioning="hive").schema.field("key").type
    print(value, "|", by_duckdb, "|", by_polars, "|", by_pyarrow)
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1 polars 2.1.0 pyarrow 26.0.1
2024-05-01T013000Z | VARCHAR | Datetime | string
2024-05-01 | DATE | Date | string
true | VARCHAR | Boolean | string
1e5 | VARCHAR | Float64 | string
007 | VARCHAR | Int64 | int32
2024-05-01_013000Z | VARCHAR | String | string
TEXT
echo "guessed: text for the first, third and fourth, a date and a number for the second and fifth, for all of them"
echo "seen:"
cat seen
diff expected seen

#!/usr/bin/env bash
# DuckDB makes a DOUBLE of a decimal that is declared with more than 38 digits: of a column of a Parquet file, whatever
# its numbers are, and of a Decimal that is given to a query, without a word. One would guess an error, which it gives
# for the same column of an Arrow table.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1 pyarrow==26.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
from decimal import Decimal

import duckdb
import pyarrow
import pyarrow.parquet

print("duckdb", duckdb.__version__, "pyarrow", pyarrow.__version__)
wide = pyarrow.table({"net": pyarrow.array([Decimal("12345678901234567.25")], pyarrow.decimal256(44, 2))})
pyarrow.parquet.write_table(wide, "wide.parquet")
print("Parquet", *duckdb.sql("SELECT typeof(net), net::VARCHAR FROM 'wide.parquet'").fetchall()[0])
try:
    print("Arrow", *duckdb.sql("SELECT typeof(net), net::VARCHAR FROM wide").fetchall()[0])
except duckdb.NotImplementedException:
    print("Arrow NotImplementedException")
for digits in (38, 39):
    value = Decimal("1" * (digits - 2) + ".25")
    print(digits, "digits", *duckdb.execute("SELECT typeof(?)", [value]).fetchall()[0])
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1 pyarrow 26.0.1
Parquet DOUBLE 1.2345678901234568e+16
Arrow NotImplementedException
38 digits DECIMAL(38,2)
39 digits DOUBLE
TEXT
echo "guessed: an error for the Parquet file and for 39 digits"
echo "seen:"
cat seen
diff expected seen

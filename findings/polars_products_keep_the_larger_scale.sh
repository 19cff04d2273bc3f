#!/usr/bin/env bash
# A product of two decimals has in polars as many places as the factor with more of them: a rate of 0.05 of 0.05 is
# 0.00, without a word. polars' own SQL has the places of both factors, as DuckDB and pyarrow have, so that one
# product of one frame is two numbers. One would guess the places of both, and the same of an expression and of SQL.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1 polars==2.1.0 pyarrow==26.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
from decimal import Decimal

import duckdb
import polars
import pyarrow
import pyarrow.compute

for package in (duckdb, polars, pyarrow):
    print(package.__name__, package.__version__)
for gross, rate in (("0.05", "0.05"), ("1234.56", "0.0075"), ("0.10", "0.25")):
    table = pyarrow.table({"gross": [Decimal(gross)], "rate": [Decimal(rate)]})
    frame = polars.from_arrow(table)
    print(f"{gross} * {rate}")
    print("  DuckDB", duckdb.sql('SELECT gross * rate FROM "table"').fetchall()[0][0])
    print("  pyarrow", pyarrow.compute.multiply(table["gross"], table["rate"])[0])
    print("  polars, SQL", frame.sql("SELECT gross * rate AS fee FROM self")["fee"][0])
    print("  polars, an expression", frame.select(polars.col("gross") * polars.col("rate")).item())
    print("  polars, columns", (frame["gross"] * frame["rate"])[0])
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1
polars 2.1.0
pyarrow 26.0.1
0.05 * 0.05
  DuckDB 0.0025
  pyarrow 0.0025
  polars, SQL 0.0025
  polars, an expression 0.00
  polars, columns 0.00
1234.56 * 0.0075
  DuckDB 9.259200
  pyarrow 9.259200
  polars, SQL 9.259200
  polars, an expression 9.2592
  polars, columns 9.2592
0.10 * 0.25
  DuckDB 0.0250
  pyarrow 0.0250
  polars, SQL 0.0250
  polars, an expression 0.02
  polars, columns 0.02
TEXT
echo "guessed: 0.0025, 9.259200 and 0.0250, five times each"
echo "seen:"
cat seen
diff expected seen

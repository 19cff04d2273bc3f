#!/usr/bin/env bash
# One Decimal("NaN") in a column of Decimals of a pandas DataFrame, and DuckDB reads the whole column as FLOAT, with
# about seven digits, without a word. One would guess NULL for it and decimals for the others, as where None is in its
# place, or at worst DOUBLE, as where a float is.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1 pandas==3.1.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
from decimal import Decimal

import duckdb
import pandas

print("duckdb", duckdb.__version__, "pandas", pandas.__version__)
for other in (None, 0.5, Decimal("NaN")):
    frame = pandas.DataFrame({"net": pandas.Series([Decimal("123456789.12"), other], dtype=object)})
    print(repr(other), *duckdb.sql("SELECT typeof(net), net::VARCHAR FROM frame LIMIT 1").fetchall()[0])
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1 pandas 3.1.1
None DECIMAL(11,2) 123456789.12
0.5 DOUBLE 123456789.12
Decimal('NaN') FLOAT 123456790.0
TEXT
echo "guessed: DECIMAL, DOUBLE, DECIMAL or DOUBLE"
echo "seen:"
cat seen
diff expected seen

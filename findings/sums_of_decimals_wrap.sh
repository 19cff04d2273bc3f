#!/usr/bin/env bash
# A sum of decimals that needs more than 38 digits, as of a column with 18 places in 20 digits, is another number, often
# a negative one, without a word: in pyarrow, in a group of polars, and in a query of deltalake. One would guess an
# error, which a column's own sum gives in polars, addition in pyarrow, and everything in DuckDB.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet deltalake==1.6.6 duckdb==2.0.1 polars==2.1.0 pyarrow==26.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
from decimal import Decimal

import deltalake
import duckdb
import polars
import pyarrow
import pyarrow.compute

for package in (deltalake, duckdb, polars, pyarrow):
    print(package.__name__, package.__version__)
nets = [Decimal("90000000000000000000.000000000000000001")] * 3
table = pyarrow.table({"report": [1] * 3, "net": pyarrow.array(nets, pyarrow.decimal128(38, 18))})
frame = polars.from_arrow(table)
deltalake.write_deltalake("lake", table)
lake = deltalake.QueryBuilder().register("lake", deltalake.DeltaTable("lake"))


def show(what, total):
    try:
        print(what, total())
    except (duckdb.OutOfRangeException, polars.exceptions.ComputeError, pyarrow.ArrowInvalid) as error:
        print(what, type(error).__name__)


show("DuckDB", lambda: duckdb.sql("SELECT sum(net) FROM \"table\"").fetchall()[0][0])
show("polars, a column", lambda: frame["net"].sum())
show("polars, a group", lambda: frame.group_by("report").agg(polars.col("net").sum())["net"][0])
show("pyarrow, addition", lambda: pyarrow.compute.add(table["net"], table["net"])[0])
show("pyarrow, a column", lambda: pyarrow.compute.sum(table["net"]))
show("pyarrow, a group", lambda: table.group_by("report").aggregate([("net", "sum")])["net_sum"][0])
show("deltalake", lambda: pyarrow.table(lake.execute("SELECT sum(net) AS total FROM lake"))["total"][0])
PYTHON

cat > expected <<'TEXT'
deltalake 1.6.6
duckdb 2.0.1
polars 2.1.0
pyarrow 26.0.1
DuckDB OutOfRangeException
polars, a column ComputeError
polars, a group -70282366920938463463.374607431768211453
pyarrow, addition ArrowInvalid
pyarrow, a column -70282366920938463463.374607431768211453
pyarrow, a group -70282366920938463463.374607431768211453
deltalake -70282366920938463463.374607431768211453
TEXT
echo "guessed: an error seven times"
echo "seen:"
cat seen
diff expected seen

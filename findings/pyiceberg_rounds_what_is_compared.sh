#!/usr/bin/env bash
# pyiceberg rounds the number in a filter to the column's type before it compares, a float for a column of decimals, and
# text or a Decimal for one of integers: what is at most 1.195 is also 1.20 in a column with two places, for a delete,
# too, and 2 is not more than 1.5. One would guess that numbers are compared, or that one which the column can't hold is
# refused: so are floats for integers, and Decimals for decimals, even those with fewer places than the column.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet 'pyiceberg[sql-sqlite,pyarrow]==0.12.0' pyarrow==26.0.1

cd "$home"
venv/bin/python -W ignore - > seen <<'PYTHON'
import os
from decimal import Decimal

import pyarrow as pa
import pyiceberg
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import GreaterThan, LessThanOrEqual

print("pyiceberg", pyiceberg.__version__)
catalog = load_catalog("it", type="sql", uri="sqlite:///it.db", warehouse=f"file://{os.getcwd()}")
catalog.create_namespace("books")
fees = pa.array([Decimal("1.19"), Decimal("1.20"), Decimal("1.21")], pa.decimal128(20, 2))
rows = pa.table({"fee": fees, "count": pa.array([1, 2, 3], pa.int64())})
table = catalog.create_table("books.fees", rows.schema)
table.append(rows)


def show(what, column, wanted):
    try:
        print(f"{what}:", *(str(it) for it in table.scan(wanted).to_arrow()[column].to_pylist()))
    except (TypeError, ValueError) as error:
        print(f"{what}: {type(error).__name__}")


show("fee <= 1.195", "fee", LessThanOrEqual("fee", 1.195))
show("fee > 1.195", "fee", GreaterThan("fee", 1.195))
show("fee <= Decimal 1.195", "fee", LessThanOrEqual("fee", Decimal("1.195")))
show("fee <= Decimal 1.2", "fee", LessThanOrEqual("fee", Decimal("1.2")))
show("count > 1.5", "count", "count > 1.5")
show("count > Decimal 1.5", "count", GreaterThan("count", Decimal("1.5")))
show("count > float 1.5", "count", GreaterThan("count", 1.5))
table.delete(LessThanOrEqual("fee", 1.195))
print("after a delete of fee <= 1.195:", *(str(it) for it in table.scan().to_arrow()["fee"].to_pylist()))
PYTHON

cat > expected <<'TEXT'
pyiceberg 0.12.0
fee <= 1.195: 1.19 1.20
fee > 1.195: 1.21
fee <= Decimal 1.195: ValueError
fee <= Decimal 1.2: ValueError
count > 1.5: 3
count > Decimal 1.5: 3
count > float 1.5: TypeError
after a delete of fee <= 1.195: 1.21
TEXT
echo "guessed: 1.19, then 1.20 1.21, and 2 3 for the integers, or an error; 1.20 1.21 after the delete"
echo "seen:"
cat seen
diff expected seen

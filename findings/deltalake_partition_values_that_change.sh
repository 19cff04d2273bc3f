#!/usr/bin/env bash
# A Delta table can't be partitioned by negative decimals with a fraction: deltalake writes -0.05 as 0.-5, and refuses
# to read that back. An empty text as the value of a partition is NULL to DeltaTable.to_pyarrow_table, and itself to
# deltalake's queries and to polars. One would guess that -0.05 comes back as 1.50 does, and one answer of all readers.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet deltalake==1.6.6 polars==2.1.0 pyarrow==26.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
from decimal import Decimal

import deltalake
import polars
import pyarrow

print("deltalake", deltalake.__version__, "polars", polars.__version__)
kind = pyarrow.decimal128(10, 2)
for name, value in {
    "one": pyarrow.array([Decimal("1.50")], kind),
    "minus": pyarrow.array([Decimal("-0.05")], kind),
    "empty": pyarrow.array([""]),
}.items():
    table = pyarrow.table({"key": value, "net": [1]})
    try:
        deltalake.write_deltalake(name, table, partition_by=["key"])
        lake = deltalake.DeltaTable(name)
        query = deltalake.QueryBuilder().register("lake", lake).execute("SELECT key FROM lake")
        seen = lake.to_pyarrow_table()["key"], pyarrow.table(query)["key"], polars.read_delta(name)["key"]
        print(name, *(repr(column.to_pylist()[0] if hasattr(column, "to_pylist") else column[0]) for column in seen))
    except deltalake.exceptions.DeltaError as error:
        print(name, str(error).splitlines()[0])
PYTHON

cat > expected <<'TEXT'
deltalake 1.6.6 polars 2.1.0
one Decimal('1.50') Decimal('1.50') Decimal('1.50')
minus Kernel error: Failed to parse value '0.-5' as 'decimal(10,2)'
empty None '' ''
TEXT
echo "guessed: 1.50, -0.05 and the same text or NULL, three times each"
echo "seen:"
cat seen
diff expected seen

#!/usr/bin/env bash
# polars.concat, which refuses a frame whose column is of another type than the first one's, takes decimals of any
# scale and precision: it rounds them to the first frame's scale, and makes NULL of those that have no room, without a
# word. One would guess SchemaError, as for an Int32 after an Int64 and for other units of timestamps, and as
# scan_parquet gives it for files of such types. how="vertical_relaxed" takes a type that holds both.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet polars==2.1.0

cd "$home"
venv/bin/python - > seen <<'PYTHON'
from decimal import Decimal

import polars

print("polars", polars.__version__)


def frame(name, value, kind):
    made = polars.DataFrame({"fee": [value]}, schema={"fee": kind})
    made.write_parquet(f"{name}.parquet")
    return made


def show(what, make):
    try:
        print(f"{what}:", *(str(value) for value in make()["fee"]))
    except polars.exceptions.SchemaError:
        print(f"{what}: SchemaError")


few = frame("few", Decimal("1.50"), polars.Decimal(20, 2))
many = frame("many", Decimal("0.00125"), polars.Decimal(20, 5))
narrow = frame("narrow", Decimal("1.50"), polars.Decimal(4, 2))
large = frame("large", Decimal("1234.50"), polars.Decimal(20, 2))
whole = frame("whole", 1, polars.Int64)
short = frame("short", 1, polars.Int32)
show("few, many", lambda: polars.concat([few, many]))
show("few, many, lazily", lambda: polars.concat([few.lazy(), many.lazy()]).collect())
show("few, many, diagonally", lambda: polars.concat([few, many], how="diagonal"))
show("narrow, large", lambda: polars.concat([narrow, large]))
show("few, many, relaxed", lambda: polars.concat([few, many], how="vertical_relaxed"))
show("narrow, large, relaxed", lambda: polars.concat([narrow, large], how="vertical_relaxed"))
show("few, many, as files", lambda: polars.scan_parquet(["few.parquet", "many.parquet"]).collect())
show("Int64, Int32", lambda: polars.concat([whole, short]))
PYTHON

cat > expected <<'TEXT'
polars 2.1.0
few, many: 1.50 0.00
few, many, lazily: 1.50 0.00
few, many, diagonally: 1.50 0.00
narrow, large: 1.50 None
few, many, relaxed: 1.50000 0.00125
narrow, large, relaxed: 1.50 1234.50
few, many, as files: SchemaError
Int64, Int32: SchemaError
TEXT
echo "guessed: SchemaError four times, before the relaxed ones"
echo "seen:"
cat seen
diff expected seen

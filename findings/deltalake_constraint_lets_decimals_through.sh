#!/usr/bin/env bash
# A CHECK constraint of a Delta table with an upper bound, "net < 100", keeps an integer of 1000 out and lets a decimal
# of 1000 in, without a word; "net > 0" keeps a negative decimal out. One would guess that a constraint holds for all
# numbers, or is refused for those that it can't be checked for.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet deltalake==1.6.6 pyarrow==26.0.1

"$home/venv/bin/python" - "$home" > "$home/seen" <<'PYTHON'
import sys
from decimal import Decimal

import deltalake
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

print("deltalake", deltalake.__version__)
tries = [
    ("net < 100", pa.int64(), 1, 1000),
    ("net < 100", pa.decimal128(10, 2), Decimal(1), Decimal(1000)),
    ("net > 0", pa.decimal128(10, 2), Decimal(1), Decimal(-1)),
]
for number, (constraint, kind, fits, does_not) in enumerate(tries):
    path = f"{sys.argv[1]}/{number}"
    write_deltalake(path, pa.table({"net": pa.array([fits], kind)}))
    DeltaTable(path).alter.add_constraint({"c": constraint})
    try:
        write_deltalake(path, pa.table({"net": pa.array([does_not], kind)}), mode="append")
        said = "let in"
    except Exception:
        said = "refused"
    print(f"{constraint}, {kind}, {does_not}: {said}")
PYTHON

cat > "$home/expected" <<'TEXT'
deltalake 1.6.6
net < 100, int64, 1000: refused
net < 100, decimal128(10, 2), 1000: let in
net > 0, decimal128(10, 2), -1: refused
TEXT
echo "guessed: refused, three times"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

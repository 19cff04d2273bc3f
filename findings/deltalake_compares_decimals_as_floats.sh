#!/usr/bin/env bash
# A number in a filter of deltalake's is a float beside a decimal column, so that net = 12345678901234567.10 finds no
# row, and a delete by net <= 12345678901234567.10 takes 12345678901234567.11 with it. One would guess that a number
# with a point is compared as it is written, as in other databases. As text, in quotes, it is.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet deltalake==1.6.6 pyarrow==26.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
from decimal import Decimal

import deltalake
import pyarrow

print("deltalake", deltalake.__version__)
nets = [Decimal("12345678901234567.10"), Decimal("12345678901234567.11")]
table = pyarrow.table({"net": pyarrow.array(nets, pyarrow.decimal128(38, 2))})
for number in ("12345678901234567.10", "'12345678901234567.10'"):
    for sign in ("=", "<="):
        deltalake.write_deltalake("lake", table, mode="overwrite")
        lake = deltalake.QueryBuilder().register("lake", deltalake.DeltaTable("lake"))
        found = pyarrow.table(lake.execute(f"SELECT net FROM lake WHERE net {sign} {number}")).num_rows
        deleted = deltalake.DeltaTable("lake").delete(f"net {sign} {number}")["num_deleted_rows"]
        print(f"net {sign} {number}: found {found}, deleted {deleted}")
PYTHON

cat > expected <<'TEXT'
deltalake 1.6.6
net = 12345678901234567.10: found 0, deleted 0
net <= 12345678901234567.10: found 2, deleted 2
net = '12345678901234567.10': found 1, deleted 1
net <= '12345678901234567.10': found 1, deleted 1
TEXT
echo "guessed: 1 each time"
echo "seen:"
cat seen
diff expected seen

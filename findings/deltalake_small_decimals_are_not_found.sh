#!/usr/bin/env bash
# A filter on a decimal column finds nothing in a Delta table whose only row is 0.000001, or 12345678901234567890.123456:
# DeltaTable.to_pyarrow_dataset leaves the file out. deltalake writes the statistics of decimals as floats, with an
# exponent where they are small or large, and reads such a bound as NULL. One would guess the row, which is found for
# 0.10, by deltalake's own queries, and without statistics of that column (delta.dataSkippingStatsColumns).
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet deltalake==1.6.6 pyarrow==26.0.1

"$home/venv/bin/python" - "$home" > "$home/seen" <<'PYTHON'
import re
import sys
from decimal import Decimal
from pathlib import Path

import deltalake
import pyarrow
import pyarrow.dataset
from deltalake import DeltaTable, QueryBuilder, write_deltalake

print("deltalake", deltalake.__version__, "pyarrow", pyarrow.__version__)
money = pyarrow.decimal128(38, 6)


def look(amount, configuration=None):
    """Write a row, and look for it."""
    folder = f"{sys.argv[1]}/{amount}{'' if configuration is None else ' without'}"
    rows = pyarrow.table({"day": ["2024-05-01"], "net": pyarrow.array([Decimal(amount)], money)})
    write_deltalake(folder, rows, configuration=configuration)
    log = next(Path(folder).glob("_delta_log/*.json")).read_text()
    (bound, *_) = re.findall(r'minValues.*?net\\":([^,}]+)', log) or ["none"]
    table = DeltaTable(folder)
    wanted = pyarrow.dataset.field("net") == pyarrow.scalar(Decimal(amount), money)
    found = table.to_pyarrow_dataset().to_table(filter=wanted).num_rows
    query = f"SELECT * FROM t WHERE net = CAST('{amount}' AS DECIMAL(38, 6))"
    own = QueryBuilder().register("t", table).execute(query).read_all().num_rows
    print(f"{amount}: statistics {bound}, pyarrow finds {found}, deltalake finds {own}")


look("0.100000")
look("0.000001")
look("12345678901234567890.123456")
look("0.000001", {"delta.dataSkippingStatsColumns": "day"})
PYTHON

cat > "$home/expected" <<'TEXT'
deltalake 1.6.6 pyarrow 26.0.1
0.100000: statistics 0.1, pyarrow finds 1, deltalake finds 1
0.000001: statistics 1e-6, pyarrow finds 0, deltalake finds 1
12345678901234567890.123456: statistics 1.234567890123457e+19, pyarrow finds 0, deltalake finds 1
0.000001: statistics none, pyarrow finds 1, deltalake finds 1
TEXT
echo "guessed: 1 each time"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

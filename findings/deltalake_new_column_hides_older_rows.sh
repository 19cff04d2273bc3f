#!/usr/bin/env bash
# Where a Delta table gets a column with a later write, DeltaTable.to_pyarrow_dataset shows NULL in it for the rows from
# before. A filter for NULL finds none of them, and a filter for what is not NULL finds them. One would guess that a
# filter finds what a scan without one shows, as deltalake's own queries do. The dataset's promise about the older file,
# which has no statistics of the column, is bounds of NULL. Where the column was there and NULL, its rows are found.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet deltalake==1.6.6 pyarrow==26.0.1

"$home/venv/bin/python" - "$home" > "$home/seen" <<'PYTHON'
import sys

import deltalake
import pyarrow
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from pyarrow.dataset import field

print("deltalake", deltalake.__version__, "pyarrow", pyarrow.__version__)
newer = pyarrow.table({"id": [2], "note": ["new"]})
befores = {
    "without the column": pyarrow.table({"id": [1]}),
    "with NULL in it": pyarrow.table({"id": [1], "note": pyarrow.array([None], pyarrow.string())}),
}
for name, before in befores.items():
    folder = f"{sys.argv[1]}/{name}"
    write_deltalake(folder, before)
    write_deltalake(folder, newer, mode="append", schema_mode="merge")
    table = DeltaTable(folder)
    dataset = table.to_pyarrow_dataset()
    for what, wanted in ("all", None), ("NULL", field("note").is_null()), ("not NULL", field("note").is_valid()):
        rows = dataset.to_table(filter=wanted).sort_by("id")
        print(f"{name}, {what}:", list(zip(*rows.to_pydict().values())))
    query = "SELECT id FROM t WHERE note IS NULL"
    own = QueryBuilder().register("t", table).execute(query).read_all()
    print(f"{name}, deltalake's own NULL:", pyarrow.table(own)["id"].to_pylist())
PYTHON

cat > "$home/expected" <<'TEXT'
deltalake 1.6.6 pyarrow 26.0.1
without the column, all: [(1, None), (2, 'new')]
without the column, NULL: []
without the column, not NULL: [(1, None), (2, 'new')]
without the column, deltalake's own NULL: [1]
with NULL in it, all: [(1, None), (2, 'new')]
with NULL in it, NULL: [(1, None)]
with NULL in it, not NULL: [(2, 'new')]
with NULL in it, deltalake's own NULL: [1]
TEXT
echo "guessed: the same of both tables, [(1, None)] for NULL and [(2, 'new')] for what is not"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

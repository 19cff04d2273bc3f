#!/usr/bin/env bash
# A table of DuckDB's that has an index can lose no column, not even one that the index has nothing of, nor be renamed.
# One would guess that this is so for the columns of the index alone, as elsewhere. Columns may be added.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1

"$home/venv/bin/python" - > "$home/seen" <<'PYTHON'
import duckdb

print("duckdb", duckdb.__version__)
for kind in ("no", "an"):
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE activity (day DATE, net DECIMAL(38, 6), memo TEXT)")
        if kind == "an":
            connection.execute("CREATE INDEX by_day ON activity (day)")
        for change in ("ADD COLUMN fee DECIMAL(38, 6)", "DROP COLUMN memo", "RENAME TO kept"):
            try:
                connection.execute(f"ALTER TABLE activity {change}")
                print(kind, "index:", change, "done")
            except duckdb.Error as error:
                print(kind, "index:", change, type(error).__name__)
PYTHON

cat > "$home/expected" <<'TEXT'
duckdb 2.0.1
no index: ADD COLUMN fee DECIMAL(38, 6) done
no index: DROP COLUMN memo done
no index: RENAME TO kept done
an index: ADD COLUMN fee DECIMAL(38, 6) done
an index: DROP COLUMN memo DependencyException
an index: RENAME TO kept DependencyException
TEXT
echo "guessed: done six times"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

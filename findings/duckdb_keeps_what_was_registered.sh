#!/usr/bin/env bash
# What was registered with DuckDB in a transaction stays in memory until the commit, though it was unregistered.
# One would guess that unregister lets it go. So a large load in one transaction, batch by batch, holds all of its
# batches; without a transaction of one's own each goes at once. One statement that reads a stream holds none.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1 pyarrow==26.0.1

"$home/venv/bin/python" - > "$home/seen" <<'PYTHON'
import duckdb
import pyarrow as pa

print("duckdb", duckdb.__version__, "pyarrow", pa.__version__)


def load(connection, count):
    for number in range(count):
        connection.register("batch", pa.table({"net": pa.repeat(number, 1 << 17)}))  # a MiB
        connection.execute("INSERT INTO activity SELECT net FROM batch")
        connection.unregister("batch")
    return pa.total_allocated_bytes() >> 20


with duckdb.connect() as connection:
    connection.execute("CREATE TABLE activity (net BIGINT)")
    print("no transaction:", load(connection, 20), "MiB are held")
    connection.begin()
    print("a transaction:", load(connection, 20), "MiB are held")
    connection.commit()
    print("after the commit:", pa.total_allocated_bytes() >> 20, "MiB are held")
PYTHON

cat > "$home/expected" <<'TEXT'
duckdb 2.0.1 pyarrow 26.0.1
no transaction: 0 MiB are held
a transaction: 20 MiB are held
after the commit: 0 MiB are held
TEXT
echo "guessed: 0 MiB three times"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

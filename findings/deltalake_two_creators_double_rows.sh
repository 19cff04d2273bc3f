#!/usr/bin/env bash
# Two writers that find no Delta table and overwrite the rows of the same predicate both succeed, and the rows of both
# are there; where their columns differ, the table has those of the second, and the first one's rows lost theirs. One
# would guess CommitFailedError for the second, which it gets once the table exists, and with max_commit_retries=0.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet deltalake==1.6.6 pyarrow==26.0.1

"$home/venv/bin/python" - "$home" > "$home/seen" <<'PYTHON'
import sys
import threading

import deltalake
import pyarrow
from deltalake import CommitProperties, DeltaTable, write_deltalake

print("deltalake", deltalake.__version__)


def overtaken(name, column, exists=False, retries=None):
    """Write the rows of a day, and let another one write the same day while they are on their way."""
    table = f"{sys.argv[1]}/{name}"
    options = {"mode": "overwrite", "predicate": "day = '2024-05-01'", "schema_mode": "merge"}
    if exists:
        write_deltalake(table, pyarrow.table({"day": ["2024-04-30"], "net": [0]}))

    def other():
        write_deltalake(table, pyarrow.table({"day": ["2024-05-01"], "net": [1]}), **options)

    mine = pyarrow.table({"day": ["2024-05-01"], column: [1]})

    def rows():
        writing = threading.Thread(target=other)
        writing.start()
        writing.join()
        yield from mine.to_batches()

    try:
        properties = CommitProperties(max_commit_retries=retries)
        reader = pyarrow.RecordBatchReader.from_batches(mine.schema, rows())
        write_deltalake(table, reader, commit_properties=properties, **options)
        ended = "both succeed"
    except deltalake.exceptions.CommitFailedError:
        ended = "CommitFailedError"
    found = DeltaTable(table).to_pyarrow_table()
    of_the_day = sum(day == "2024-05-01" for day in found["day"].to_pylist())
    print(f"{name}: {ended}, {of_the_day} of the day, columns {', '.join(found.column_names)}")


overtaken("no table", "net")
overtaken("no table, another column", "fee")
overtaken("no table, no retries", "net", retries=0)
overtaken("a table", "net", exists=True)
PYTHON

cat > "$home/expected" <<'TEXT'
deltalake 1.6.6
no table: both succeed, 2 of the day, columns day, net
no table, another column: both succeed, 2 of the day, columns day, fee
no table, no retries: CommitFailedError, 1 of the day, columns day, net
a table: CommitFailedError, 1 of the day, columns day, net
TEXT
echo "guessed: CommitFailedError and 1 of the day, each time"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

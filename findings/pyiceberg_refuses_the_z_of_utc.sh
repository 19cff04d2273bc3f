#!/usr/bin/env bash
# A filter of pyiceberg on instants takes no text that ends in Z, as JSON, Stripe and SQL have them, and says that it
# has to be ISO-8601, where Z is that; only an offset in digits will do. A datetime without a zone, which is refused
# when it is written, is taken for UTC in a filter, and the same as text is refused. One would guess that Z is taken,
# and that what has no zone is refused each time.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet pyarrow==26.0.1 'pyiceberg[sql-sqlite]==0.12.0'

cd "$home"
venv/bin/python - > seen <<'PYTHON'
import os
from contextlib import redirect_stdout
from datetime import UTC, datetime
from importlib.metadata import version

import pyarrow
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import EqualTo

for package in ("pyarrow", "pyiceberg"):
    print(package, version(package))
catalog = SqlCatalog("books", uri="sqlite:///catalog.db", warehouse=f"file://{os.getcwd()}/warehouse")
catalog.create_namespace("stripe")
rows = pyarrow.table({"created": pyarrow.array([datetime(2026, 1, 1, tzinfo=UTC)])})
table = catalog.create_table("stripe.rows", schema=rows.schema)
table.append(rows)


def show(what, do):
    try:
        print(what, do())
    except ValueError as error:
        print(what, str(error).partition("\n")[0])


for text in ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00"):
    show("text", lambda: len(table.scan(f"created = '{text}'").to_arrow()))
for at in (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1)):
    show(f"datetime, {at.tzinfo}", lambda: len(table.scan(EqualTo("created", at)).to_arrow()))
naive = pyarrow.table({"created": pyarrow.array([datetime(2026, 1, 1)])})
with redirect_stdout(open(os.devnull, "w")):  # it shows a table of the types
    said = ""
    try:
        table.append(naive)
    except ValueError as error:
        said = str(error).partition("\n")[0]
print("written, None", said)
PYTHON

cat > expected <<'TEXT'
pyarrow 26.0.1
pyiceberg 0.12.0
text 1
text Invalid timestamp with zone: 2026-01-01T00:00:00Z (must be ISO-8601)
text Missing zone offset: 2026-01-01T00:00:00 (must be ISO-8601)
datetime, UTC 1
datetime, None 1
written, None Mismatch in fields:
TEXT
echo "guessed: 1, 1, refused, 1, refused, refused"
echo "seen:"
cat seen
diff expected seen

#!/usr/bin/env bash
# DeltaTable.load_as_version with a time from before a Delta table was created gives its first version, which was
# written later, without a word; and a datetime without a zone is taken for UTC, wherever the machine is. One would guess an
# error for the first, and the machine's zone for the second, as datetime.timestamp() has it.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet deltalake==1.6.6 pyarrow==26.0.1

cd "$home"
TZ=Asia/Kolkata venv/bin/python - > seen <<'PYTHON'
import time
from datetime import datetime, timedelta, timezone

import deltalake
import pyarrow

print("deltalake", deltalake.__version__)
deltalake.write_deltalake("lake", pyarrow.table({"net": [1]}))
time.sleep(1)
between = datetime.now(timezone.utc)
time.sleep(1)
deltalake.write_deltalake("lake", pyarrow.table({"net": [2]}), mode="append")


def show(what, instant):
    lake = deltalake.DeltaTable("lake")
    lake.load_as_version(instant)
    print(what, lake.version())


show("a day before there was a table", between - timedelta(days=1))
show("between the versions", between)
show("the same by the machine's clock", between.astimezone().replace(tzinfo=None))
show("the same by UTC, without a zone", between.replace(tzinfo=None))
PYTHON

cat > expected <<'TEXT'
deltalake 1.6.6
a day before there was a table 0
between the versions 0
the same by the machine's clock 1
the same by UTC, without a zone 0
TEXT
echo "guessed: an error, 0, 0, an error (by this machine's clock UTC's is before the table)"
echo "seen:"
cat seen
diff expected seen

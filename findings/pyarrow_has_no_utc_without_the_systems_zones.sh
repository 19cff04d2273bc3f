#!/usr/bin/env bash
# Where the system has no database of time zones, as in slim containers, pyarrow does not know UTC by its name either,
# though Python finds it in the package tzdata, which pyarrow's own conversion to Python uses. One would guess that
# UTC needs no database, and that one package serves both. A cast to timestamps with a zone means UTC and needs none.
# It takes Linux, and leave to mount something in a namespace of one's own.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet pyarrow==26.0.1 tzdata==2026.3

cat > "$home/look.py" <<'PYTHON'
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

print("pyarrow", pa.__version__)
there = pa.array([datetime(2026, 11, 1)], pa.timestamp("us"))
looks = {
    "Python knows Europe/Berlin": lambda: ZoneInfo("Europe/Berlin"),
    "assume_timezone UTC": lambda: pc.assume_timezone(there, "UTC"),
    "assume_timezone Europe/Berlin": lambda: pc.assume_timezone(there, "Europe/Berlin"),
    "a cast to UTC": lambda: there.cast(pa.timestamp("us", "UTC")),
    "to Python": lambda: there.cast(pa.timestamp("us", "UTC")).to_pylist(),
}
for name, look in looks.items():
    try:
        look()
        print(f"{name}: done")
    except Exception as error:
        print(f"{name}: {type(error).__name__}")
PYTHON
unshare --map-root-user --mount sh -c 'mount -t tmpfs tmpfs /usr/share/zoneinfo && exec "$@"' sh \
  "$home/venv/bin/python" "$home/look.py" > "$home/seen"

cat > "$home/expected" <<'TEXT'
pyarrow 26.0.1
Python knows Europe/Berlin: done
assume_timezone UTC: ArrowInvalid
assume_timezone Europe/Berlin: ArrowInvalid
a cast to UTC: done
to Python: done
TEXT
echo "guessed: done five times"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

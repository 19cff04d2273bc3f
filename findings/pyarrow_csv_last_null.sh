#!/usr/bin/env bash
# pyarrow reads an empty, unquoted cell at the very end of a CSV as "", where the line before it had been NULL.
# With quoted_strings_can_be_null=False an unquoted empty cell is NULL and a quoted one "". One would guess that the
# newline at the end of the file makes no difference. Without it, the last cell is taken for quoted when the cell
# before it is; where that is unquoted, the last one is NULL again.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet pyarrow==26.0.1

"$home/venv/bin/python" - > "$home/seen" <<'PYTHON'
import io

import pyarrow
from pyarrow import csv

print("pyarrow", pyarrow.__version__)
nulls = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
for end in ('"payouts",\n', '"payouts",', "payouts,"):
    text = f'"category","currency"\n{end}'
    cells = csv.read_csv(io.BytesIO(text.encode()), convert_options=nulls)["currency"].to_pylist()
    print(repr(end), cells)
PYTHON

cat > "$home/expected" <<'TEXT'
pyarrow 26.0.1
'"payouts",\n' [None]
'"payouts",' ['']
'payouts,' [None]
TEXT
echo "guessed: [None] three times"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

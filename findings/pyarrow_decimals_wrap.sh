#!/usr/bin/env bash
# pyarrow gives another number, and no error, for a decimal whose digits in front don't fit its type: when a CSV is
# read into decimal128(38, 18), and when decimals are cast to more places, with safe=True, as it is by default.
# One would guess ArrowInvalid, which it raises for places behind the point that don't fit, and for most numbers with
# too many digits in front, too: for those of which more than 38 digits are left when the 128 bits have overflowed.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet pyarrow==26.0.1

"$home/venv/bin/python" - > "$home/seen" <<'PYTHON'
import io
from decimal import Decimal

import pyarrow
from pyarrow import csv

print("pyarrow", pyarrow.__version__)
wide = pyarrow.decimal128(38, 18)


def told(read):
    try:
        return read()
    except pyarrow.ArrowInvalid:
        return "ArrowInvalid"


for digits in (20, 21, 30):
    text = "9" * digits + ".99"
    types = csv.ConvertOptions(column_types={"net": wide})
    source = io.BytesIO(f"net\n{text}\n".encode())
    print(digits, "digits, read:", told(lambda: csv.read_csv(source, convert_options=types)["net"][0]))
    few = pyarrow.array([Decimal(text)], pyarrow.decimal128(38, 2))
    print(digits, "digits, cast:", told(lambda: few.cast(wide, safe=True)[0]))
print("places:", told(lambda: pyarrow.array([Decimal("0.001")]).cast(pyarrow.decimal128(38, 2))[0]))
PYTHON

cat > "$home/expected" <<'TEXT'
pyarrow 26.0.1
20 digits, read: 99999999999999999999.990000000000000000
20 digits, cast: 99999999999999999999.990000000000000000
21 digits, read: ArrowInvalid
21 digits, cast: ArrowInvalid
30 digits, read: 18960114910927365649.461927446130393088
30 digits, cast: 18960114910927365649.461927446130393088
places: ArrowInvalid
TEXT
echo "guessed: the number with 20 digits, else ArrowInvalid"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

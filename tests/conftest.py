from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cache
from pathlib import Path
from typing import Any

# Airflow reads its configuration on import, and none of the machine's may count here.
_HOME = Path(tempfile.mkdtemp(prefix="airflow-reportrun-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
    # What gcsfs asks of a bucket's kind goes to Google by gRPC, wherever the connection's endpoint is.
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
}

import pytest  # noqa: E402
from hypothesis import HealthCheck, Phase, settings  # noqa: E402

from airflow_reportrun.reporting import budget  # noqa: E402
from tests.azure import running_azure  # noqa: E402
from tests.gs import running_gs  # noqa: E402
from tests.s3 import S3, running_s3  # noqa: E402
from tests.shelves import Bucket, Buckets  # noqa: E402
from tests.versions import AIRFLOW_2, BEFORE_3_3  # noqa: E402

# Airflow 2 runs tasks in another way; a test sees the same of it.
if AIRFLOW_2:
    sys.modules["tests.task_runner"] = importlib.import_module("tests.task_runner_2")

# They are about Airflow 3, as what it is told is seen there, and about 3.3.
collect_ignore = ["test_crashes.py", "test_secret_scan.py"] * AIRFLOW_2 + ["test_docs_intervals.py"] * BEFORE_3_3
pytest_plugins = ["airflow_reportrun.sandbox.pytest_plugin", "tests.databases", "tests.deltas", "tests.icebergs"]
pytest_plugins += ["tests.cases"] * ("FUZZ" in os.environ)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many tests run at a time: they mostly wait, for servers, processes and timers."""
    return 3 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return what hands out tests where they are to be handed out by files."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.pieces import PieceScheduling  # not everybody who runs a test has xdist

    return PieceScheduling(config, log)


@pytest.fixture(autouse=True, scope="session")
def plenty() -> Iterator[None]:
    """No test waits for the pace that Stripe's real limits would take, but those about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "SHARE", 1e6)
        yield


# A machine's load is no failure of ours.
settings.register_profile(
    "default",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=int(os.environ.get("FUZZ", "100")),
)
# make mutants: each mutant meets the same cases, and the first that fails is enough.
settings.register_profile(
    "mutants",
    settings.get_profile("default"),
    max_examples=20,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("default")


@pytest.fixture(scope="session")
def buckets() -> Iterator[Buckets]:
    """Servers of object stores by scheme, from when one is asked for, and Airflow's connections to them."""
    servers: dict[str, Callable[[], AbstractContextManager[Bucket]]]
    servers = {"s3": running_s3, "gs": running_gs, "abfs": running_azure}
    with ExitStack() as stack:

        @cache
        def running(scheme: str) -> Bucket:
            server = stack.enter_context(servers[scheme]())
            os.environ |= server.environ
            return server

        yield running


@pytest.fixture(scope="session")
def s3(buckets: Buckets) -> S3:
    """The one that speaks S3."""
    server = buckets("s3")
    assert isinstance(server, S3)
    return server

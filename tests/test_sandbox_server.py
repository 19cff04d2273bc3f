"""The server's life, its controls, and the ways to start it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING

import pytest
import requests
import uvicorn

from airflow_reportrun.sandbox import (
    AfterReads,
    AfterSeconds,
    AtOnce,
    CutBody,
    Drips,
    ManualClock,
    RateLimited,
    Redirected,
    Refused,
    RequestRecord,
    RunFails,
    Slow,
    StripeSandbox,
    Unavailable,
)
from airflow_reportrun.sandbox.__main__ import main
from airflow_reportrun.sandbox.app import Application
from airflow_reportrun.sandbox.scripting import Scripted, parse
from airflow_reportrun.sandbox.state import Settings, State
from tests.until import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import Message

FORM = {
    "report_type": "balance.summary.1",
    "parameters[interval_start]": "1772323200",
    "parameters[interval_end]": "1772409600",
}
RUNS = "/v1/reporting/report_runs"


def create(sandbox: StripeSandbox, **headers: str) -> requests.Response:
    return requests.post(sandbox.url + RUNS, data=FORM, auth=(sandbox.api_key, ""), headers=headers, timeout=10)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_block_starts_and_stops_a_server() -> None:
    """Its port is free again after the block, and two sandboxes do not meet."""
    with StripeSandbox() as one, StripeSandbox() as other:
        create(one)
        port = int(one.url.rpartition(":")[2])

        assert one.url != other.url
        assert (len(one.report_runs), len(other.report_runs)) == (1, 0)
        assert not is_free(port)

    assert is_free(port)


def test_stopped_server_comes_back_to_its_port_and_its_runs() -> None:
    """An outage can be played with `stop` and `start`."""
    sandbox = StripeSandbox()
    with sandbox:
        create(sandbox)
        url = sandbox.url

    with pytest.raises(requests.ConnectionError):
        create(sandbox)
    with sandbox:
        create(sandbox)

    assert sandbox.url == url
    assert len(sandbox.report_runs) == 2


def test_it_listens_to_this_machine_alone_unless_it_is_told_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    """And says so when it is told."""
    with StripeSandbox() as sandbox:
        assert sandbox.url.startswith("http://127.0.0.1:")
    with StripeSandbox(host="localhost"):
        pass
    assert caplog.messages == []
    with StripeSandbox(host="0.0.0.0"):  # noqa: S104 - what is tested
        (said,) = caplog.messages
    assert "listens on 0.0.0.0, and so not to this machine alone" in said


def test_used_port_is_named(stripe_sandbox: StripeSandbox) -> None:
    """The error says which address is taken instead of waiting for it."""
    port = int(stripe_sandbox.url.rpartition(":")[2])

    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
        StripeSandbox(port=port).start()


@pytest.mark.parametrize("end", [StripeSandbox.stop, StripeSandbox.reset])
def test_end_does_not_wait_for_slow_answers(end: Callable[[StripeSandbox], None]) -> None:
    """A stop or a reset lets the requests go that are still being delayed."""
    with StripeSandbox() as sandbox, ThreadPoolExecutor(1) as pool:
        sandbox.inject(Slow(60))
        slow = pool.submit(create, sandbox)
        until(lambda: sandbox.report_runs)

        end(sandbox)

        assert slow.result(timeout=5).status_code == 200


def test_reset_restores_the_initial_state(tmp_path: Path) -> None:
    """Runs, the log, faults and settings are forgotten, idempotency keys too."""
    report = tmp_path / "report.csv"
    report.write_text("x")
    with StripeSandbox(transition=AfterReads(3)) as sandbox:
        first = create(sandbox, **{"Idempotency-Key": "k"}).json()
        sandbox.configure(transition=AtOnce(), data_available_end=1_772_400_000)
        sandbox.serve_file(report)
        sandbox.inject(Unavailable())
        sandbox.inject(RunFails())

        sandbox.reset()
        again = create(sandbox, **{"Idempotency-Key": "k"})

        assert again.status_code == 200
        assert again.json()["status"] == "pending"
        assert again.json()["id"] != first["id"]
        assert [run.id for run in sandbox.report_runs] == [again.json()["id"]]
        assert len(sandbox.requests) == 1


def test_seed_repeats_the_ids_and_its_absence_does_not() -> None:
    """Ids differ between sandboxes unless a test wants them to be the same."""
    ids = []
    for seed in (7, 7, None, None):
        with StripeSandbox(seed=seed) as sandbox:
            ids.append(create(sandbox).json()["id"])

    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_log_records_what_was_asked(stripe_sandbox: StripeSandbox) -> None:
    """A record holds the decoded form and the headers of interest, and cannot be changed."""
    headers = {"Idempotency-Key": "k", "Stripe-Account": "acct_one", "Stripe-Version": "2026-10-28.endive"}

    response = create(stripe_sandbox, **headers)

    [record] = stripe_sandbox.requests_to("create")
    assert (record.method, record.path, record.status) == ("POST", RUNS, 200)
    assert record.form["parameters"] == {"interval_start": "1772323200", "interval_end": "1772409600"}
    assert record.headers["stripe-version"] == "2026-10-28.endive"
    assert (record.idempotency_key, record.account) == ("k", "acct_one")
    assert record.request_id == response.headers["Request-Id"]
    assert not record.replayed
    assert stripe_sandbox.requests_to("list") == []
    with pytest.raises(FrozenInstanceError):
        setattr(record, "status", 500)  # noqa: B010 - a plain assignment is what mypy refuses


def test_runs_are_listed_to_tests_as_they_are(stripe_sandbox: StripeSandbox) -> None:
    """Oldest first, over all accounts, with the number of times each was retrieved."""
    ids = [
        create(stripe_sandbox).json()["id"],
        create(stripe_sandbox, **{"Stripe-Account": "acct_1"}).json()["id"],
    ]
    for _ in range(2):
        requests.get(f"{stripe_sandbox.url}{RUNS}/{ids[0]}", auth=(stripe_sandbox.api_key, ""), timeout=10)

    first, second = stripe_sandbox.report_runs

    assert [first.id, second.id] == ids
    assert (first.status, first.reads, first.account) == ("succeeded", 2, None)
    assert (second.status, second.reads, second.account) == ("pending", 0, "acct_1")
    assert first.parameters == {"interval_start": 1772323200, "interval_end": 1772409600}


def test_parallel_creates_under_one_key_begin_one_run(stripe_sandbox: StripeSandbox) -> None:
    """All others replay it or are told that the key is in use."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: create(stripe_sandbox, **{"Idempotency-Key": "k"}), range(24)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(stripe_sandbox.report_runs) == 1


def test_other_processes_have_controls_too(stripe_sandbox: StripeSandbox) -> None:
    """They show the log and the runs and reset, at paths that are not Stripe's and need no key."""
    run_id = create(stripe_sandbox).json()["id"]

    log = requests.get(f"{stripe_sandbox.url}/_sandbox/requests", timeout=10).json()["requests"]
    runs = requests.get(f"{stripe_sandbox.url}/_sandbox/report_runs", timeout=10).json()["report_runs"]
    reset = requests.post(f"{stripe_sandbox.url}/_sandbox/reset", timeout=10)

    assert [record["operation"] for record in log] == ["create"]
    assert [run["id"] for run in runs] == [run_id]
    assert reset.status_code == 200
    assert stripe_sandbox.report_runs == []
    assert stripe_sandbox.requests == []


def test_controls_answer_to_this_machine_only() -> None:
    """A client elsewhere is refused, whatever it says about where it comes from."""
    state = State(Settings(ManualClock(), AtOnce(), 0), seed=None)
    application = Application(
        current=lambda: state,
        reset=lambda: None,
        script=lambda text: None,
        advance=lambda seconds: None,
        connection_of=lambda scope: None,
        refuse=lambda seconds: None,
        api_key=lambda: "sk_test_sandbox",
        on_request=None,
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/_sandbox/requests",
        "query_string": b"",
        "headers": [(b"x-forwarded-for", b"127.0.0.1")],
        "client": ("192.0.2.1", 50000),
    }
    asyncio.run(application.asgi()(scope, receive, send))

    assert sent[0]["status"] == 403


def test_listener_hears_of_every_request() -> None:
    """`on_request` sees the records of the log."""
    heard: list[RequestRecord] = []
    with StripeSandbox(on_request=heard.append) as sandbox:
        create(sandbox)
        requests.get(sandbox.url, timeout=10)

        assert heard == sandbox.requests
        assert [record.status for record in heard] == [200, 401]


def test_program_names_a_used_port(stripe_sandbox: StripeSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """It fails with a sentence instead of a traceback."""
    code = main(["--port", stripe_sandbox.url.rpartition(":")[2]])

    assert code == 1
    assert "cannot listen on 127.0.0.1:" in capsys.readouterr().err


def test_program_serves_until_it_is_stopped() -> None:
    """It prints the Airflow connection and a line a request, and leaves quietly on SIGTERM."""
    program = subprocess.Popen(
        [sys.executable, "-m", "airflow_reportrun.sandbox", "--port", "0", "--pending-seconds", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    lines = [program.stdout.readline() for _ in range(4)]
    connection = json.loads(lines[2].split("=", 1)[1].strip().strip("'"))
    response = requests.post(connection["host"] + RUNS, data=FORM, auth=(connection["password"], ""), timeout=10)
    program.send_signal(signal.SIGTERM)
    rest, complaints = program.communicate(timeout=10)

    assert connection["conn_type"] == "stripe"
    assert response.json()["status"] == "succeeded"
    assert "200     POST /v1/reporting/report_runs  req_" in rest
    assert (program.returncode, complaints) == (0, "")


def test_program_says_on_stderr_that_others_reach_it() -> None:
    """Its log of requests stays a log of requests."""
    program = subprocess.Popen(
        [sys.executable, "-m", "airflow_reportrun.sandbox", "--port", "0", "--host", "0.0.0.0", "--quiet"],  # noqa: S104
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    printed = [program.stdout.readline() for _ in range(4)]
    program.send_signal(signal.SIGTERM)
    rest, complaints = program.communicate(timeout=10)

    assert "not to this machine alone" in complaints
    assert "not to this machine alone" not in "".join(printed) + rest


def control(sandbox: StripeSandbox, name: str, body: str) -> requests.Response:
    return requests.post(f"{sandbox.url}/_sandbox/{name}", data=body, timeout=10)


def test_other_processes_can_inject_faults_and_move_the_time(stripe_sandbox: StripeSandbox) -> None:
    """Faults are text then, one a line; what can't be read is refused with a reason."""
    stripe_sandbox.configure(transition=AfterSeconds(3600))

    assert control(stripe_sandbox, "faults", "Unavailable*2\nRateLimited(reason='endpoint-rate')").ok
    statuses = [create(stripe_sandbox).status_code for _ in range(4)]
    control(stripe_sandbox, "advance", "3600")
    runs = requests.get(stripe_sandbox.url + RUNS, auth=(stripe_sandbox.api_key, ""), timeout=10).json()["data"]

    assert statuses == [503, 503, 429, 200]
    assert [run["status"] for run in runs] == ["succeeded"]
    for name, body, message in (
        ("faults", "Unheard", "is no fault; there are"),
        ("faults", "Slow(minutes=1)", "can't be read"),
        ("faults", "Slow(open('x'))", "can't be read"),
        ("faults", "Slow(1 2)", "can't be read"),
        ("faults", "Slow(1)+(2)", "something behind the brackets"),
        ("faults", "Unavailable@nowhere", "neither an operation"),
        ("faults", "Unavailable\nUnheard", "is no fault"),
        ("faults", "Slow('x')", "is a number from 0"),
        ("advance", "-1", "forward only"),
        ("advance", "later", "could not convert"),
    ):
        refused = control(stripe_sandbox, name, body)
        assert refused.status_code == 400
        assert message in refused.json()["error"]
    assert create(stripe_sandbox).ok  # a body that is wrong in one line does nothing


def test_every_fault_can_be_written_as_the_log_shows_it() -> None:
    """And comes back the same."""
    for fault in (
        RateLimited(),
        Slow(0.5),
        Drips(seconds=0.5, after=7),
        CutBody(5, "chunked"),
        RunFails('It\'s "over".'),
        Redirected("https://elsewhere.example/"),
    ):
        assert parse(f"{fault!r}*3@GET /v1/files/*") == Scripted(fault, 3, "GET /v1/files/*")


def test_time_can_be_moved_on_whatever_the_clock(stripe_sandbox: StripeSandbox) -> None:
    """Forward only, until a reset."""
    stripe_sandbox.configure(clock=ManualClock(1_772_452_800))

    stripe_sandbox.advance(60)
    moved = create(stripe_sandbox).json()["created"]
    with pytest.raises(ValueError, match="forward only"):
        stripe_sandbox.advance(-1)
    with pytest.raises(ValueError, match="at most a century"):
        stripe_sandbox.advance(float("inf"))

    assert moved == 1_772_452_860


@pytest.fixture
def run_program(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., list[str]]]:
    """Runs the program in this process, uses its address, stops it by SIGTERM, and returns its log."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*options: str, use: Callable[[str], None]) -> list[str]:
        printed: list[str] = []

        def follow() -> None:
            while "Ctrl-C" not in "".join(printed):
                time.sleep(0.01)
                printed.append(capsys.readouterr().out)
            try:
                use("".join(printed).split()[3].rstrip(","))
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        with ThreadPoolExecutor(1) as pool:
            followed = pool.submit(follow)
            assert main(["--port", "0", "--pending-seconds", "0", *options]) == 0
            followed.result()
        log: list[str] = capsys.readouterr().out.splitlines()
        return log

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_program_takes_options(run_program: Callable[..., list[str]], tmp_path: Path) -> None:
    """Keys, accounts, limits, faults, the time and the contents of the reports; the log says what went wrong."""
    report = tmp_path / "report.csv"
    report.write_text('"a"\n"1"\n')
    answers: list[requests.Response] = []

    def use(url: str) -> None:
        def ask(key: str, **headers: str) -> requests.Response:
            answers.append(requests.post(url + RUNS, data=FORM, auth=(key, ""), headers=headers, timeout=10))
            return answers[-1]

        ask("sk_test_sandbox")
        ask("sk_live_other", **{"Stripe-Account": "acct_one"})
        ask("rk_test_reader")
        ask("sk_test_sandbox", **{"Stripe-Account": "acct_two"})
        requests.get(f"{url}/v1/reporting/report_types", auth=("sk_test_sandbox", ""), timeout=10)
        file = answers[1].json()["result"]
        assert file["size"] == 8
        assert answers[1].json()["created"] // 60 == 1_772_452_800 // 60

    log = run_program(
        *("--key", "sk_live_other", "--key", "rk_test_reader=file_read,event_read"),
        *("--connected-account", "acct_one", "--now", "2026-03-02T12:00", "--rate-limits"),
        *("--fault", "Unavailable*1", "--serve-file", str(report)),
        use=use,
    )

    assert [answer.status_code for answer in answers] == [503, 200, 403, 403]
    assert len(log) == 5
    assert log[0].endswith("balance.summary.1  Unavailable()")
    assert log[1].startswith("12:00:")
    assert log[1].endswith("acct_one")


def test_a_request_is_one_line_of_the_log(run_program: Callable[..., list[str]]) -> None:
    """Whatever is in its path and its form."""

    def use(url: str) -> None:
        requests.get(f"{url}{RUNS}/frr%0Aé%1b", auth=("sk_test_sandbox", ""), timeout=10)
        form = {**FORM, "report_type": "a\nb"}
        requests.post(url + RUNS, data=form, auth=("sk_test_sandbox", ""), timeout=10)

    lines = run_program(use=use)
    assert [rf"{RUNS}/frr\né\x1b  req" in lines[0], lines[1].endswith(r"  a\nb"), len(lines)] == [True, True, 2]


@pytest.mark.parametrize(("option", "logged"), [("--json", 1), ("--quiet", 0)])
def test_program_logs_as_it_is_told(run_program: Callable[..., list[str]], option: str, logged: int) -> None:
    """In JSON for machines, or nothing."""
    log = run_program(option, use=lambda url: requests.get(url, timeout=10).close())

    assert [json.loads(line)["status"] for line in log] == [401] * logged


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--fault", "Nothing"], "is no fault"),
        (["--key", "rk_test_x=all"], "is no permission"),
        (["--serve-file", "/nowhere.csv"], "no file to serve"),
    ],
)
def test_program_names_what_is_wrong(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it listens."""
    assert main(["--port", "0", *options]) == 1
    assert complaint in capsys.readouterr().err


def test_server_that_does_not_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of handing out an address at which nobody listens; the port is free again."""
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    sandbox = StripeSandbox()

    with pytest.raises(RuntimeError, match="did not start on http"):
        sandbox.start()

    assert is_free(int(sandbox.url.rpartition(":")[2]))


def test_manual_clock_moves_forward_only() -> None:
    """As time does."""
    with pytest.raises(ValueError, match="forward only"):
        ManualClock().advance(-1)


def test_program_line_tells_a_broken_answer_and_a_replay(run_program: Callable[..., list[str]]) -> None:
    """In words, since there is no status."""

    def use(url: str) -> None:
        def ask() -> requests.Response:
            headers = {"Idempotency-Key": "k"}
            return requests.post(url + RUNS, FORM, auth=("sk_test_sandbox", ""), headers=headers, timeout=10)

        with pytest.raises(requests.ConnectionError):
            ask()
        ask()

    broken, replayed = run_program("--fault", "Dropped(committed=True)", use=use)

    assert "Z  broken  POST /v1/reporting/report_runs  req_" in broken
    assert replayed.endswith("balance.summary.1  replayed")


def test_request_of_a_server_that_is_gone_has_no_connection() -> None:
    """Nothing to write to, and nothing to refuse."""
    sandbox = StripeSandbox()
    assert sandbox._connection_of({"client": ("127.0.0.1", 1)}) is None
    sandbox._refuse(60)
    with sandbox:
        assert create(sandbox).ok
        assert sandbox._connection_of({"client": ("127.0.0.1", 1)}) is None


def test_what_nobody_foresaw_is_an_error_of_stripes_and_in_the_log(
    stripe_sandbox: StripeSandbox, tmp_path: Path
) -> None:
    """And the idempotency key of a create is free again."""
    report = tmp_path / "report.csv"
    report.write_text("x")
    stripe_sandbox.configure(transition=AtOnce())
    stripe_sandbox.serve_file(report)
    report.unlink()

    broken = create(stripe_sandbox, **{"Idempotency-Key": "k"})
    report.write_text("x")
    again = create(stripe_sandbox, **{"Idempotency-Key": "k"})

    assert (broken.status_code, broken.json()["error"]["type"]) == (500, "api_error")
    assert again.status_code == 200
    assert [record.status for record in stripe_sandbox.requests] == [500, 200]


def test_reset_lets_the_first_key_in_and_listens(stripe_sandbox: StripeSandbox) -> None:
    """What one test does to the server is no matter of the next."""
    stripe_sandbox.api_key = "sk_test_rotated"
    stripe_sandbox.inject(Refused(seconds=60))
    with pytest.raises(requests.ConnectionError):
        create(stripe_sandbox)

    stripe_sandbox.reset()

    assert stripe_sandbox.api_key == "sk_test_sandbox"
    assert create(stripe_sandbox).ok


def test_start_of_a_server_that_runs_changes_nothing(stripe_sandbox: StripeSandbox) -> None:
    """The fixture starts it for each test, in case that one has stopped it."""
    url = stripe_sandbox.url
    assert stripe_sandbox.start() is stripe_sandbox
    assert (stripe_sandbox.url, create(stripe_sandbox).ok) == (url, True)


def test_client_that_leaves_in_the_middle_of_a_form_is_nobody(stripe_sandbox: StripeSandbox) -> None:
    """It is neither answered nor logged."""
    host, port = stripe_sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plug:
        plug.sendall(f"POST {RUNS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na=".encode())

    assert create(stripe_sandbox).ok
    assert [record.status for record in stripe_sandbox.requests] == [200]

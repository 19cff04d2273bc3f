"""What a retry knows of the tries before it, with Airflow's state store and without."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from airflow_reportrun import triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.reporting.parameters import ReportParameters, form_encode
from airflow_reportrun.sandbox import AtOnce, Dropped, RunFails, StripeSandbox
from airflow_reportrun.submission.memory import CLOCK_SKEW, STORE_KEY, Memory, Submission
from airflow_reportrun.waiting import pace
from tests.task_runner import START, TaskRunner, Try, in_dag
from tests.versions import needs_airflow

DAY = 86_400
needs_store = needs_airflow(3, 3, "state store")
STORES = [pytest.param(True, id="store", marks=needs_store), pytest.param(False, id="no store")]


@pytest.fixture(autouse=True)
def _waits_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    monkeypatch.setattr(pace, "LONGEST_PAUSE", 0.05)


@pytest.fixture(params=[False, True], ids=["sync", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    """Both ways of waiting have the same memory."""
    return bool(request.param)


def run_operator(**kwargs: Any) -> Any:
    return in_dag(StripeReportRunOperator, **{"report_type": "balance.summary.1", "poll_interval": 0.01, **kwargs})


def complete(task: Any, runner: TaskRunner, **how: Any) -> Try:
    tried = runner.run(task, **how)
    while tried.state == "deferred":
        tried = runner.resume(task, tried, **how)
    return tried


def days_pass(sandbox: StripeSandbox, days: float) -> None:
    """Let Stripe forget its idempotency keys."""
    sandbox.configure(clock=lambda: time.time() + days * DAY)


@needs_store
def test_a_retry_attaches_when_stripe_has_forgotten_the_key(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """Stripe keeps keys for a day; the id of the run is kept for longer."""
    task, runner = run_operator(deferrable=deferrable), TaskRunner()
    first = complete(task, runner)
    days_pass(stripe_conn, 2)
    again = complete(task, runner, try_number=2)
    assert first.returned == again.returned
    assert len(stripe_conn.report_runs) == 1
    assert len(stripe_conn.requests_to("create")) == 1


def test_without_a_store_a_retry_after_a_day_creates_another(stripe_conn: StripeSandbox) -> None:
    """Which the docs say: there is nothing left to know the first one by."""
    task, runner = run_operator(), TaskRunner(store=None)
    complete(task, runner)
    days_pass(stripe_conn, 2)
    assert complete(task, runner, try_number=2).state == "success"
    assert len(stripe_conn.report_runs) == 2


@needs_store
def test_a_retry_whose_templates_render_differently_attaches_and_says_so(
    stripe_conn: StripeSandbox, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """One report run, and the file and the result are about what was asked for."""
    runner = TaskRunner()
    first = complete(run_operator(deferrable=deferrable, currency="usd"), runner)
    moved = {"interval_start": "2024-04-01T00:00:00Z", "interval_end": "2024-04-02T00:00:00Z"}
    changed = run_operator(deferrable=deferrable, currency="eur", **moved)
    again = complete(changed, runner, try_number=2)
    assert first.returned == again.returned
    assert len(stripe_conn.report_runs) == 1
    assert "currency is usd and not eur" in caplog.text
    assert "clear the task to ask anew" in caplog.text


@needs_store
@pytest.mark.parametrize(
    "now",
    [
        {},
        {"interval_start": "2024-04-01T00:00:00Z", "interval_end": "2024-04-02T00:00:00Z"},
        {"interval": "month"},
    ],
)
@pytest.mark.parametrize("report_type", ["balance.summary.1", "ending_balance_reconciliation.summary.1"])
def test_a_retry_that_attaches_logs_no_interval_that_it_does_not_use(
    stripe_conn: StripeSandbox, now: dict[str, Any], report_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that counts is that of the report run; who reads the log would take the other for it."""
    if report_type.startswith("ending"):
        now = {name: value for name, value in now.items() if name != "interval_start"}
    runner = TaskRunner()
    complete(run_operator(report_type=report_type), runner)
    assert "Interval [" in caplog.text or report_type.startswith("ending")
    caplog.clear()
    tried = complete(run_operator(report_type=report_type, **now), runner, try_number=2)
    assert tried.state == "success", tried.error
    assert "Attached to report run" in caplog.text
    assert "Interval [" not in caplog.text
    assert not now or "interval_end is 2024-05-02 00:00:00 UTC and not" in caplog.text


@needs_store
def test_a_destination_that_was_taken_meanwhile_is_refused_before_another_run_is_created(
    stripe_conn: StripeSandbox, tmp_path: Any
) -> None:
    """The first one failed, so the retry would create one."""
    destination = str(tmp_path / "x.csv")
    runner = TaskRunner()
    stripe_conn.inject(RunFails("No."))
    assert complete(run_operator(destination=destination), runner).state == "up_for_retry"
    other = run_operator(destination=destination, currency="eur")
    assert complete(other, TaskRunner(run_id="somebody_else")).state == "success"
    created = len(stripe_conn.report_runs)
    tried = complete(run_operator(destination=destination), runner, try_number=2)
    assert tried.state == "failed"
    assert "another report is landed there" in str(tried.error)
    assert len(stripe_conn.report_runs) == created


@needs_store
@pytest.mark.parametrize(
    "broken",
    [
        {"currency": "nope"},
        {"interval_start": "", "interval_end": ""},
        {"currency": "{{ none }}"},
        {"interval": "day", "interval_start": "x", "interval_end": "y"},
    ],
)
def test_a_retry_attaches_also_when_its_templates_have_come_to_nonsense(
    stripe_conn: StripeSandbox, broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What is known needs no asking; the log says what is wrong."""
    runner = TaskRunner()
    first = complete(run_operator(currency="usd"), runner)
    task = run_operator(**{"currency": "usd", **broken})
    task.dag.render_template_as_native_obj = True
    again = complete(task, runner, try_number=2)
    assert first.returned == again.returned, again.error
    assert "can't be asked for" in caplog.text


@needs_store
def test_a_run_that_stripe_does_not_show_any_more_is_said(stripe_conn: StripeSandbox) -> None:
    """A clear leads out of it."""
    runner = TaskRunner()
    complete(run_operator(), runner)
    stripe_conn.reset()
    tried = complete(run_operator(), runner, try_number=2)
    assert tried.state == "failed"
    assert "Clear the task to ask for a new one" in str(tried.error)
    assert complete(run_operator(), runner, try_number=3, max_tries=5).state == "success"


@needs_store
def test_a_change_after_a_crash_before_the_answer_attaches(stripe_conn: StripeSandbox) -> None:
    """What is asked for is kept before it is sent, so the same request can be sent again."""
    runner = TaskRunner()
    stripe_conn.inject(Dropped(committed=True), times=6)
    assert runner.run(run_operator(currency="usd")).state == "up_for_retry"
    tried = complete(run_operator(currency="eur"), runner, try_number=2)
    assert tried.returned["report_run_id"] == stripe_conn.report_runs[0].id
    assert len(stripe_conn.report_runs) == 1


@needs_store
def test_the_file_goes_where_the_interval_that_was_asked_for_belongs(
    stripe_conn: StripeSandbox, tmp_path: Any
) -> None:
    """Not where a template that renders differently would put it."""
    runner, destination = TaskRunner(), str(tmp_path / "{interval_start:%Y-%m-%d}.csv")
    complete(run_operator(), runner)
    moved = {"interval_start": "2024-04-01T00:00:00Z", "interval_end": "2024-04-02T00:00:00Z"}
    complete(run_operator(destination=destination, **moved), runner, try_number=2)
    assert [path.name for path in tmp_path.glob("*.csv")] == ["2024-05-01.csv"]


@needs_store
def test_a_failed_run_is_followed_by_the_same_question(stripe_conn: StripeSandbox) -> None:
    """Pinned with the first submission, until the task is cleared."""
    runner = TaskRunner()
    stripe_conn.inject(RunFails("No."))
    complete(run_operator(currency="usd"), runner)
    assert complete(run_operator(currency="eur"), runner, try_number=2).state == "success"
    assert [run.parameters["currency"] for run in stripe_conn.report_runs] == ["usd", "usd"]
    complete(run_operator(currency="eur"), runner, try_number=3, max_tries=5)
    assert stripe_conn.report_runs[-1].parameters["currency"] == "eur"


def test_what_was_refused_is_not_kept(stripe_conn: StripeSandbox) -> None:
    """Nothing was created, so a task that was mended asks for what it should."""
    runner = TaskRunner()
    assert complete(run_operator(columns=["weather"]), runner).state == "failed"
    assert complete(run_operator(columns=["currency"]), runner, try_number=2).state == "success"
    assert stripe_conn.report_runs[0].parameters["columns"] == ["currency"]


@needs_store
def test_another_account_is_asked_anew(stripe_conn: StripeSandbox, caplog: pytest.LogCaptureFixture) -> None:
    """The run of the first submission can't be seen from there."""
    runner = TaskRunner()
    complete(run_operator(stripe_account="acct_1"), runner)
    complete(run_operator(stripe_account="acct_2"), runner, try_number=2)
    assert [run.account for run in stripe_conn.report_runs] == ["acct_1", "acct_2"]
    assert "another account" in caplog.text


@pytest.mark.parametrize("remembers", STORES)
def test_the_report_run_of_a_deleted_namesake_is_not_ours(stripe_conn: StripeSandbox, remembers: bool) -> None:
    """A DAG run that is deleted and created again has the same ids, hence the same key; its figures are old."""
    started = {"start_date": datetime.now(UTC)}
    stripe_conn.configure(clock=lambda: time.time() - 3600, transition=AtOnce())
    former = complete(run_operator(), TaskRunner(store={} if remembers else None))
    stripe_conn.configure(clock=time.time)
    runner = TaskRunner(store={} if remembers else None, dag_run=started)
    ours = complete(run_operator(), runner)
    again = complete(run_operator(), runner, try_number=2)
    assert former.returned["report_run_id"] != ours.returned["report_run_id"]
    assert ours.returned == again.returned
    assert len(stripe_conn.report_runs) == 2


SKEWS = pytest.mark.parametrize("ahead", [-7200, -600, 600, 7200])


@SKEWS
@pytest.mark.parametrize("remembers", STORES)
@pytest.mark.parametrize("lost", [1, 6], ids=["in one call", "in one try"])
def test_a_clock_that_is_wrong_makes_no_namesake_of_ourselves(
    stripe_conn: StripeSandbox,
    monkeypatch: pytest.MonkeyPatch,
    deferrable: bool,
    ahead: int,
    remembers: bool,
    lost: int,
) -> None:
    """The answer is lost, and what comes back for the same key is our own, whatever the time is here."""
    monkeypatch.setattr(StripeReportingHook, "sleep", lambda self, seconds: None)
    stripe_conn.configure(clock=lambda: time.time() - ahead)
    stripe_conn.inject(Dropped(committed=True), times=lost)
    task = run_operator(deferrable=deferrable, wait_for_data=False, timeout=10 * DAY)
    runner = TaskRunner(store={} if remembers else None, dag_run={"start_date": datetime.now(UTC)})
    first = complete(task, runner)
    assert first.state == ("success" if lost == 1 else "up_for_retry"), first.error
    assert complete(task, runner, try_number=2).state == "success"
    assert len(stripe_conn.report_runs) == 1


@pytest.mark.parametrize("late", [-7200, 7200])
def test_what_one_try_sent_is_its_own_though_the_dag_run_began_by_another_clock(
    stripe_conn: StripeSandbox, late: int
) -> None:
    """Before Airflow 3.3 the scheduler's clock says when it began, and the worker's what time it is."""
    stripe_conn.inject(Dropped(committed=True))
    began = datetime.now(UTC) + timedelta(seconds=late)
    assert complete(run_operator(), TaskRunner(store=None, dag_run={"start_date": began})).state == "success"
    assert len(stripe_conn.report_runs) == 1


@SKEWS
@pytest.mark.parametrize("remembers", STORES)
def test_a_namesake_is_told_by_its_age(stripe_conn: StripeSandbox, ahead: int, remembers: bool) -> None:
    """By Stripe's clock alone, so that no old figures come of a clock that is wrong here."""
    options = {"wait_for_data": False, "timeout": 10 * DAY}
    stripe_conn.configure(clock=lambda: time.time() - ahead - 1800, transition=AtOnce())
    former = complete(run_operator(**options), TaskRunner(store={} if remembers else None))
    stripe_conn.configure(clock=lambda: time.time() - ahead)
    stripe_conn.inject(Dropped(committed=True))
    runner = TaskRunner(store={} if remembers else None, dag_run={"start_date": datetime.now(UTC)})
    ours = complete(run_operator(**options), runner)
    again = complete(run_operator(**options), runner, try_number=2)
    assert former.returned["report_run_id"] != ours.returned["report_run_id"]
    assert ours.returned == again.returned
    assert len(stripe_conn.report_runs) == 2


def test_a_clear_of_a_sibling_makes_no_namesake_of_ourselves(stripe_conn: StripeSandbox) -> None:
    """Without a store the start of the DAG run is all there is to go by, and a clear moves it."""
    stripe_conn.configure(clock=lambda: time.time() - 3600, transition=AtOnce())
    runner = TaskRunner(store=None, dag_run={"start_date": datetime.now(UTC) - timedelta(hours=2)})
    complete(run_operator(), runner)
    runner.dag_run = {"start_date": datetime.now(UTC), "clear_number": 1}
    complete(run_operator(), runner, try_number=2)
    assert len(stripe_conn.report_runs) == 1


@pytest.mark.parametrize("remembers", STORES)
@pytest.mark.parametrize("fresh", [True, "True"])
def test_fresh_asks_for_a_run_of_its_own_once(stripe_conn: StripeSandbox, remembers: bool, fresh: Any) -> None:
    """Whatever is known under the same ids; the retries attach to it."""
    complete(run_operator(), TaskRunner(store=None))
    runner = TaskRunner(store={} if remembers else None, dag_run={"start_date": datetime.now(UTC)})
    first = complete(run_operator(fresh=fresh), runner)
    again = complete(run_operator(fresh=fresh), runner, try_number=2)
    assert first.returned == again.returned
    assert len(stripe_conn.report_runs) == 2


@pytest.mark.parametrize("fresh", [False, "False", "", None, "None"])
def test_what_is_not_fresh_attaches(stripe_conn: StripeSandbox, fresh: Any) -> None:
    """As templates over dag_run.conf render it."""
    complete(run_operator(), TaskRunner())
    complete(run_operator(fresh=fresh), TaskRunner())
    assert len(stripe_conn.report_runs) == 1


def adoptable(sandbox: StripeSandbox, **options: Any) -> str:
    tried = TaskRunner(run_id="somebody_else").run(run_operator(wait_for_completion=False, **options))
    return str(tried.returned["report_run_id"])


def test_adopts_a_run_that_exists(stripe_conn: StripeSandbox, deferrable: bool, tmp_path: Any) -> None:
    """It is waited for and downloaded, and no other is created."""
    run_id = adoptable(stripe_conn)
    task = run_operator(
        report_run_id="{{ dag_run.conf.get('report_run_id', '') }}",
        deferrable=deferrable,
        destination=str(tmp_path / "x.csv"),
    )
    tried = complete(task, TaskRunner(dag_run={"conf": {"report_run_id": run_id}}))
    assert tried.returned["report_run_id"] == run_id, tried.error
    assert (tmp_path / "x.csv").stat().st_size == tried.returned["size"]
    assert len(stripe_conn.report_runs) == 1
    for nothing in ({}, {"report_run_id": None}):
        assert complete(task, TaskRunner(dag_run={"conf": nothing})).state == "success"
    assert len(stripe_conn.report_runs) == 2


def test_adopts_a_run_that_was_clipped(stripe_conn: StripeSandbox) -> None:
    """It is what the task itself would create."""
    stripe_conn.configure(data_available_start=int(START.timestamp()) + 3600)
    run_id = adoptable(stripe_conn, on_missing_data="clip")
    assert complete(run_operator(report_run_id=run_id, on_missing_data="clip"), TaskRunner()).state == "success"
    tried = complete(run_operator(report_run_id=run_id), TaskRunner())
    assert "interval_start is 2024-05-01 01:00:00 UTC and not 2024-05-01 00:00:00 UTC" in str(tried.error)


def test_does_not_adopt_a_run_whose_file_has_expired(stripe_conn: StripeSandbox) -> None:
    """Green without a file would be worse than red."""
    stripe_conn.configure(clock=lambda: time.time() - 400 * DAY, transition=AtOnce())
    run_id = adoptable(stripe_conn, wait_for_data=False)
    tried = complete(run_operator(report_run_id=run_id), TaskRunner())
    assert "has a file that expired" in str(tried.error)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"currency": "eur"}, "currency is None and not eur"),
        ({"report_type": "balance_change_from_activity.summary.1"}, "report_type is balance.summary.1 and not"),
        ({"interval": "month"}, "interval_end is 2024-05-02 00:00:00 UTC and not 2024-05-01 00:00:00 UTC"),
    ],
)
def test_refuses_to_adopt_what_it_would_not_ask_for(
    stripe_conn: StripeSandbox, options: dict[str, Any], words: str
) -> None:
    """Another day under this day's name would close a book on the wrong figures."""
    run_id = adoptable(stripe_conn)
    tried = complete(run_operator(report_run_id=run_id, **options), TaskRunner())
    assert tried.state == "failed"
    assert words in str(tried.error)
    assert len(stripe_conn.report_runs) == 1


def test_a_failed_run_that_was_adopted_stays_failed(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """A retry would adopt the same one."""
    stripe_conn.inject(RunFails("No."))
    run_id = adoptable(stripe_conn)
    task = run_operator(report_run_id=run_id, deferrable=deferrable)
    for try_number in (1, 2):
        tried = complete(task, TaskRunner(), try_number=try_number)
        assert tried.state == "failed"
        assert "failed: No." in str(tried.error)
    assert len(stripe_conn.report_runs) == 1


PREFERENCES = ["balance.summary.9", "balance.summary.1", "balance_change_from_activity.summary.2"]


def test_takes_the_first_report_type_that_the_account_has(stripe_conn: StripeSandbox) -> None:
    """Versions drift, and not every account has the newest."""
    tried = complete(run_operator(report_type=PREFERENCES), TaskRunner())
    assert tried.returned["report_type"] == "balance.summary.1"


@needs_store
def test_the_choice_is_kept_for_the_retries(stripe_conn: StripeSandbox) -> None:
    """A version that appears meanwhile does not make another report of it."""
    runner = TaskRunner()
    complete(run_operator(report_type=PREFERENCES), runner)
    newer = ["balance_change_from_activity.summary.2", *PREFERENCES]
    tried = complete(run_operator(report_type=newer), runner, try_number=2)
    assert tried.returned["report_type"] == "balance.summary.1"
    assert len(stripe_conn.requests_to("list_types")) == 1
    assert len(stripe_conn.report_runs) == 1


def test_says_what_the_account_has_when_none_will_do(stripe_conn: StripeSandbox) -> None:
    """The author needs the versions that exist."""
    tried = complete(run_operator(report_type=["balance.summary.8", "balance.summary.9"]), TaskRunner())
    assert tried.state == "failed"
    assert "The account has balance.summary.1." in str(tried.error)
    tried = complete(run_operator(report_type=["tax.summary.1", "tax.summary.2"]), TaskRunner())
    assert "others, and none of a like name" in str(tried.error)


def test_parameters_survive_the_store() -> None:
    """Columns, extras and instants come back as they were sent."""
    extra = {"x": {"y": [True]}, "connected_accounts": ("acct_1", "acct_2"), "z": MappingProxyType({"a": 1})}
    parameters = ReportParameters(interval_start=1, interval_end=2, columns=("b", "a"), extra=extra)
    stored = json.loads(json.dumps(parameters.as_dict()))
    assert stored == parameters.as_dict()
    assert ReportParameters.from_dict(stored).as_dict() == stored
    assert form_encode(stored) == form_encode({**parameters.as_dict(), **extra})


SUBMISSION: dict[str, Any] = {
    "scope": "",
    "stripe_account": None,
    "livemode": False,
    "report_type": "balance.summary.1",
    "parameters": {"interval_start": 1, "interval_end": 2},
    "attempt": 2,
    "idempotency_key": "key",
    "report_run_id": "frr_1",
    "request_id": "req_1",
}


class Store(dict[str, Any]):
    """The part of Airflow's accessor that is used."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self[key] = value


def recall(store: Any, *, max_tries: int = 3, try_number: int = 1, **dag_run: Any) -> Memory:
    from types import SimpleNamespace

    ti = SimpleNamespace(max_tries=max_tries, try_number=try_number)
    began = SimpleNamespace(**{"start_date": datetime.fromtimestamp(1000, UTC), "clear_number": 0, **dag_run})
    context: Any = {"ti": ti, "dag_run": began, "task_state_store": store}
    return Memory.recall(context, clock=lambda: 9000.0)


def test_reads_what_other_versions_kept() -> None:
    """Fields of another version are passed over; what can't be read is forgotten, and not a crash."""
    kept = {"max_tries": 3, "first_try": 5000.0, "submission": {**SUBMISSION, "novelty": 1}}
    assert recall(Store({STORE_KEY: kept})).submission == Submission(**SUBMISSION)
    unreadable = {"max_tries": 3, "first_try": 5000.0, "submission": {"scope": ""}}
    memory = recall(Store({STORE_KEY: unreadable}))
    assert (memory.first_try, memory.submission) == (5000.0, None)


def test_a_first_try_that_left_nothing_began_with_the_dag_run() -> None:
    """It was made by an Airflow without a store: a report run of then is our own."""
    assert recall(Store(), try_number=2).earliest == 1000.0 - CLOCK_SKEW
    assert recall(Store(), try_number=2, clear_number=1).earliest == 0.0
    assert recall(Store(), try_number=1).earliest == 9000.0 - CLOCK_SKEW
    assert recall(Store(), try_number=2).first_try == 9000.0
    cleared = {"max_tries": 2, "first_try": 5000.0, "submission": SUBMISSION}
    memory = recall(Store({STORE_KEY: cleared}), try_number=4)
    assert (memory.first_try, memory.submission) == (9000.0, None)


def test_a_dag_run_that_has_not_started_is_no_trouble() -> None:
    """As in a test of one task by itself."""
    assert recall(None, start_date=None).first_try == 9000.0


@needs_store
@pytest.mark.parametrize(
    "damage",
    [
        {"first_try": "x"},
        {"first_try": None},
        {"earliest": None},
        {"max_tries": "3"},
        {"submission": []},
        {"submission": {"parameters": "x"}},
        {"submission": {"parameters": None}},
        {"submission": {"parameters": {"interval_end": "soon"}}},
        {"submission": {"attempt": 0}},
        {"submission": {"idempotency_key": None, "report_run_id": None}},
        {"submission": {"idempotency_key": "", "report_run_id": None}},
        {"submission": {"idempotency_key": "ключ", "report_run_id": None}},
        {"submission": {"report_run_id": "file_1"}},
        {"submission": {"report_type": "", "report_run_id": None}},
        {"first_try": 10**400},
        {"first_try": 1e300},
        {"earliest": 10**400},
    ],
)
def test_a_damaged_memory_leads_to_the_same_report_run(
    stripe_conn: StripeSandbox, damage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The key is derived from the task instance, so that what was kept can be passed over."""
    runner = TaskRunner()
    first = complete(run_operator(), runner)
    assert runner.store is not None
    (entry,) = runner.store.values()
    if isinstance(damage.get("submission"), dict):
        damage = {"submission": {**entry["submission"], **damage["submission"]}}
    runner.store = {name: {**entry, **damage} for name in runner.store}
    again = complete(run_operator(), runner, try_number=2)
    assert again.state == "success", again.error
    assert again.returned["report_run_id"] == first.returned["report_run_id"]
    assert len(stripe_conn.report_runs) == 1
    assert "passed over" in caplog.text or damage.get("max_tries")

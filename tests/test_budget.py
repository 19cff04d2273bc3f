from __future__ import annotations

import heapq
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.reporting.budget import RECOVERY, ROOM_RECOVERY, Budget, Turn, budget_of

CREATE = "create_report_run"
RETRIEVE = "retrieve_report_run"
FILE = "retrieve_file"
CONTENTS = "read_file"
OPERATIONS = (CREATE, RETRIEVE, FILE, CONTENTS)

EPSILON = 1e-6


@dataclass
class Clients:
    """Requests that wait for their turns as the hooks do, asleep until each asks again, in made-up time."""

    budget: Budget
    now: float = 1000.0
    sent: list[tuple[float, str]] = field(default_factory=list)
    asked: int = 0
    _waiting: list[tuple[float, int, str, Turn]] = field(default_factory=list)
    _number: int = 0

    def ask(self, operation: str, times: int = 1) -> None:
        """Let so many begin to wait."""
        for _ in range(times):
            self._number += 1
            heapq.heappush(self._waiting, (self.now, self._number, operation, self.budget.turn(operation)))

    def run(self, until: float = float("inf"), late: float = 0.0) -> list[Turn]:
        """Go on until so many seconds, and return the turns of what was sent; who wakes does so a bit late."""
        begun = []
        while self._waiting and self._waiting[0][0] <= until:
            at, number, operation, turn = heapq.heappop(self._waiting)
            self.now = max(self.now, at)
            self.asked += 1
            if pause := turn.pause(self.now):
                heapq.heappush(self._waiting, (self.now + pause + late, number, operation, turn))
            else:
                self.sent.append((self.now, operation))
                begun.append(turn)
        if until != float("inf"):
            self.now = max(self.now, until)
        return begun


def fullest(times: list[float], seconds: float) -> int:
    """Return how many fall in the fullest window of so many seconds."""
    return max((bisect_right(times, t + seconds + EPSILON) - bisect_left(times, t) for t in times), default=0)


def at(sent: list[tuple[float, str]], *operations: str) -> list[float]:
    return [time for time, operation in sent if operation in operations]


@given(
    limit=st.sampled_from([0.5, 1, 3, 25, 100, 1000]),
    steps=st.lists(
        st.tuples(
            st.sampled_from(OPERATIONS),
            st.integers(1, 40),
            st.floats(0, 3),
            st.none() | st.sampled_from(OPERATIONS),
        ),
        max_size=12,
    ),
    late=st.floats(0, 0.05),
    seconds=st.floats(0, 20),
)
def test_no_window_has_more_than_the_rate_and_a_burst(
    limit: float, steps: list[tuple[str, int, float, str | None]], late: float, seconds: float
) -> None:
    """Of all, of each endpoint and about files, whoever asks when, wakes late or is refused."""
    clients = Clients(Budget(limit))
    for operation, times, pause, refused in steps:
        clients.ask(operation, times)
        for turn in clients.run(until=clients.now + pause, late=late):
            turn.ended()
            if refused == operation:
                turn.refused("endpoint-rate", clients.now)
    clients.run(late=late)
    assert len(clients.sent) == sum(times for _, times, _, _ in steps)
    assert (
        fullest(at(clients.sent, *OPERATIONS), seconds) <= limit * 0.6 * seconds + max(1, min(5, limit / 5)) + 0.01
    )
    for operation in OPERATIONS:
        endpoint = max(25, limit / 4)
        assert fullest(at(clients.sent, operation), seconds) <= endpoint * 0.6 * seconds + 5.01
    assert fullest(at(clients.sent, FILE, CONTENTS), seconds) <= 12 * seconds + 4.01


@pytest.mark.parametrize(("limit", "most"), [(25, 20), (100, 65), (5, 4), (1, 1)])
def test_the_fullest_second_leaves_a_part_of_the_limit(limit: float, most: int) -> None:
    """A burst and the rate together stay below what Stripe allows, also of an account that is allowed little."""
    clients = Clients(Budget(limit))
    for number in range(200):
        clients.ask(f"list_{number}")
    clients.run()
    assert fullest(at(clients.sent, *(f"list_{number}" for number in range(200))), 1.0) == most


def test_a_small_task_does_not_wait() -> None:
    """Look, create, retrieve, the file and its contents, all at once."""
    clients = Clients(Budget(25))
    for operation in ("retrieve_report_type", *OPERATIONS):
        clients.ask(operation)
    clients.run()
    assert [time for time, _ in clients.sent] == [1000.0] * 5


def test_a_thousand_go_at_the_rate_in_the_order_in_which_they_came() -> None:
    """None waits longer than its place in the queue, and each asks a few times only."""
    clients = Clients(Budget(25))
    clients.ask(CREATE, 1000)
    clients.run()
    assert clients.now - 1000 == pytest.approx(995 / 15, rel=0.01)
    assert clients.asked <= 4000


def test_a_queue_at_one_endpoint_keeps_nobody_else_waiting() -> None:
    """A thousand creates of a live account take 15 a second of the 60 that there are."""
    clients = Clients(Budget(100))
    clients.ask(CREATE, 1000)
    clients.run(until=1010)
    clients.ask(RETRIEVE)
    clients.run(until=1010.1)
    assert at(clients.sent, RETRIEVE)


def refused(budget: Budget, reason: str, now: float, operation: str = CREATE) -> None:
    turn = budget.turn(operation)
    assert turn.pause(now) == 0
    turn.ended()
    turn.refused(reason, now)


def rate(budget: Budget, operation: str, now: float, seconds: float = 10.0) -> float:
    """Return the requests a second of those who have many."""
    clients = Clients(budget, now=now)
    clients.ask(operation, 2000)
    for turn in clients.run(until=now + seconds):
        turn.ended()
    return len(clients.sent) / seconds


@pytest.mark.parametrize(
    ("reason", "operation", "slowed", "others"),
    [
        ("global-rate", CREATE, (CREATE, FILE), ()),
        ("something-new", CREATE, (CREATE, FILE), ()),
        ("endpoint-rate", CREATE, (CREATE,), (RETRIEVE, FILE)),
        ("resource-specific", FILE, (FILE, CONTENTS), (CREATE,)),
        ("resource-specific", CREATE, (CREATE,), (FILE,)),
    ],
)
def test_a_refusal_slows_down_what_it_is_about(
    reason: str, operation: str, slowed: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """To about a half, and nothing else."""
    for asked in (*slowed, *others):
        fresh, budget = Budget(25), Budget(25)
        refused(budget, reason, 1000.0, operation)
        part = rate(budget, asked, 1001.0) / rate(fresh, asked, 1001.0)
        assert (0.4 < part < 0.75) is (asked in slowed)
        assert (part > 0.9) is (asked in others)


def test_a_storm_counts_once() -> None:
    """Twenty refusals of what was under way at once tell one thing."""
    once, storm = Budget(25), Budget(25)
    refused(once, "global-rate", 1000.0)
    turns = [storm.turn(f"list_{number}") for number in range(5)]
    assert not any(turn.pause(1000.0) for turn in turns)
    for turn in turns:
        turn.ended()
        turn.refused("global-rate", 1000.5)
    assert rate(storm, CREATE, 1001.0) == pytest.approx(rate(once, CREATE, 1001.0), abs=0.3)


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["global-rate", "endpoint-rate"])), max_size=30))
def test_it_recovers(refusals: list[tuple[float, str]]) -> None:
    """However often it was refused, it still goes on, and is as fast as ever two minutes after the last time."""
    budget, clients = Budget(25), Clients(Budget(25))
    clients.budget = budget
    for pause, reason in refusals:
        clients.now += pause
        clients.ask(CREATE)
        began = clients.now
        (turn,) = clients.run()
        assert clients.now - began < 3
        turn.ended()
        turn.refused(reason, clients.now)
    assert rate(budget, CREATE, clients.now + RECOVERY) == pytest.approx(rate(Budget(25), CREATE, 0.0), abs=0.11)


def test_who_waits_goes_by_what_was_learned_meanwhile() -> None:
    """A refusal slows down those in the queue, too, without their asking over and over."""
    clients = Clients(Budget(25))
    clients.ask(CREATE, 500)
    first, *_ = clients.run(until=1001)
    first.refused("global-rate", clients.now)
    clients.sent.clear()
    clients.run(until=1011)
    assert 60 < len(clients.sent) < 95
    clients.run()
    assert clients.asked < 3000


@pytest.mark.parametrize("reason", ["global-concurrency", "endpoint-concurrency"])
def test_a_refusal_for_concurrency_narrows_what_may_be_under_way(reason: str) -> None:
    """To half of what was, one at least; one more may follow each ten seconds; the rate stays."""
    budget = Budget(25)
    turns = [budget.turn(CREATE) for _ in range(5)]
    assert [turn.pause(999.0) for turn in turns] == [0] * 5
    for turn in turns:
        turn.ended()
        turn.refused(reason, 1000.0)

    def under_way(operation: str, now: float) -> int:
        turns = [budget.turn(operation) for _ in range(5)]
        number = sum(not turn.pause(now + place / 10) for place, turn in enumerate(turns))
        for turn in turns:
            turn.ended()
            turn.ended()
        return number

    assert under_way(CREATE, 1001.0) == 2
    assert under_way(RETRIEVE, 1003.0) == (2 if reason == "global-concurrency" else 5)
    assert under_way(CREATE, 1001.0 + ROOM_RECOVERY) == 3
    assert under_way(CREATE, 1001.0 + 3 * ROOM_RECOVERY) == 5


def test_who_finds_no_room_looks_again_within_seconds() -> None:
    """Not in step with others, and not less often the longer it takes."""
    budget = Budget(25)
    refused(budget, "global-concurrency", 1000.0)
    assert budget.turn(CREATE).pause(1001.0) == 0
    waits = budget.turn(RETRIEVE)
    pauses = [waits.pause(1001.0) for _ in range(50)]
    assert all(0 < pause <= 2 for pause in pauses)
    assert len(set(pauses)) > 40


def test_threads_share_it() -> None:
    """Sixteen threads that ask at once get no more than one would."""
    budget, clock, sent = Budget(25), iter(range(10**9)), Counter[int]()
    lock = threading.Lock()

    def now() -> float:
        with lock:
            return next(clock) / 1000

    def work() -> None:
        for _ in range(20):
            turn = budget.turn(CREATE)
            while True:
                at = now()
                if not turn.pause(at):
                    break
            turn.ended()
            with lock:
                sent[int(at)] += 1

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent.values()) == 320
    assert max(sent.values()) <= 20


def test_each_account_and_key_has_its_own() -> None:
    """And all who ask with the same ones share it; no key stands in it."""
    ours = ("https://api.stripe.com", "sk_test_1", None, 25)
    assert budget_of(*ours) is budget_of(*ours)
    others: list[Any] = [
        ("https://gw.test", "sk_test_1", None, 25),
        ("https://api.stripe.com", "sk_test_2", None, 25),
        ("https://api.stripe.com", "sk_test_1", "acct_1", 25),
        ("https://api.stripe.com", "sk_test_1", None, 40),
    ]
    assert len({id(budget_of(*it)) for it in [ours, *others]}) == 5

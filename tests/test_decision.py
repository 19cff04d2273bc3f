"""What may be replaced: one answer, whatever is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.landing.decision import Answer, decide, refusal
from airflow_reportrun.landing.manifest import Manifest
from tests.landings import day, manifest_of

MINE = manifest_of("frr_2", 1, contents=b"mine", created="2024-05-03T12:00:00Z")
OLDER = manifest_of("frr_1", 1, contents=b"older", created="2024-05-03T11:00:00Z")
NEWER = manifest_of("frr_3", 1, contents=b"newer", created="2024-05-03T13:00:00Z")
SAME = manifest_of("frr_1", 1, contents=b"mine", created="2024-05-03T11:00:00Z")
NEXT = manifest_of("frr_4", 1, start=day(2), end=day(3))


@pytest.mark.parametrize(
    ("there", "intact", "as_wanted", "answer"),
    [
        (None, False, False, Answer.REPLACE),
        (MINE, True, True, Answer.LANDED),
        (MINE, True, False, Answer.REPLACE),
        (MINE, False, False, Answer.REPLACE),
        (OLDER, True, True, Answer.REPLACE),
        (NEWER, True, True, Answer.NEWER),
        (NEWER, True, False, Answer.NEWER),
        (NEWER, False, False, Answer.REPLACE),
        (SAME, True, True, Answer.CONFIRMED),
        (SAME, True, False, Answer.REPLACE),
        (replace(OLDER, report_run_created=None), True, True, Answer.REPLACE),
        (NEXT, True, True, Answer.ANOTHERS),
        (NEXT, False, False, Answer.ANOTHERS),
        (NEXT.as_landing(), False, False, Answer.ANOTHERS),
        (NEWER.as_landing(), True, True, Answer.REPLACE),
        (MINE.as_landing(), True, True, Answer.REPLACE),
    ],
)
def test_what_is_there_decides(there: Manifest | None, intact: bool, as_wanted: bool, answer: Answer) -> None:
    """Age protects what is intact, whatever its form; what is another's is never touched."""
    assert decide(MINE, there, intact=intact, as_wanted=as_wanted) is answer


def test_who_has_no_report_run_yet_is_refused_what_is_anothers() -> None:
    """And not what is its own, or nobody's where no data is seen."""
    assert refusal(MINE.subject, None) is None
    assert refusal(MINE.subject, None, unknown=True) is Answer.NOBODYS
    assert refusal(MINE.subject, NEXT) is Answer.ANOTHERS
    assert refusal(MINE.subject, OLDER) is None


def test_contents_that_are_not_known_yet_confirm_nothing() -> None:
    """Before the download there is no digest."""
    unknown = replace(MINE, file_sha256="")
    assert decide(unknown, replace(SAME, file_sha256=""), intact=True, as_wanted=True) is Answer.REPLACE


def test_data_without_a_manifest_is_somebodys() -> None:
    """Unless the asker may take it; a manifest of ours says that it is ours."""
    assert decide(MINE, None, intact=False, as_wanted=False, unknown=True) is Answer.NOBODYS
    assert decide(MINE, OLDER, intact=False, as_wanted=False, unknown=True) is Answer.REPLACE


@given(st.permutations([OLDER, MINE, NEWER]), st.lists(st.booleans(), min_size=3, max_size=3))
def test_the_newest_is_there_in_the_end(order: list[Manifest], as_wanted: list[bool]) -> None:
    """Whoever comes in which order, and in whichever form."""
    there: Manifest | None = None
    for mine, wanted in zip(order, as_wanted, strict=True):
        if decide(mine, there, intact=there is not None, as_wanted=wanted) is Answer.REPLACE:
            there = mine
    assert there == NEWER

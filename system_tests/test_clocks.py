from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from system_tests.plan import CLOCKS_CHANGE, account
from system_tests.stage import Stage

HOUR = 3600


@pytest.mark.parametrize("season", CLOCKS_CHANGE)
@pytest.mark.parametrize("kind", ["midnight", "night", "partition"])
def test_a_backfill_over_a_change_of_the_clocks_tiles_time(stage: Stage, kind: str, season: str) -> None:
    """To the second, with one day of 23 or 25 hours, and one report run each, for ticks and for partitions."""
    dag_id = f"clocks_{kind}_{season}"
    intervals = stage.intervals(account(dag_id))
    lengths = [end - start for start, end in intervals]

    assert [end for _, end in intervals[:-1]] == [start for start, _ in intervals[1:]], stage.story(dag_id)
    assert sorted(lengths) == sorted([24 * HOUR] * 7 + [23 * HOUR if season == "spring" else 25 * HOUR])
    assert len(stage.creates(account(dag_id))) == 8, stage.story(dag_id)


@pytest.mark.parametrize("season", CLOCKS_CHANGE)
def test_a_tick_carries_the_day_before_it_and_a_partition_its_own(stage: Stage, season: str) -> None:
    """In the schedule's zone, from midnight to midnight."""
    first, _ = CLOCKS_CHANGE[season]
    midnights = [int((first + timedelta(days=day)).timestamp()) for day in range(-1, 9)]
    days = list(pairwise(midnights))
    assert stage.intervals(account(f"clocks_midnight_{season}")) == days[:8]
    assert stage.intervals(account(f"clocks_partition_{season}")) == days[1:]

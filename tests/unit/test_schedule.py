"""A seed decides a day of faults, and the seeds of the tests have every kind of fault between them."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import main, options_of
from tests.support.schedule import KINDS, SHARES, USUAL_SEEDS, elsewhere, schedule
from tests.support.world import ROLES


@pytest.mark.parametrize("first", [1, 9, 41])
def test_eight_seeds_in_a_row_have_every_kind_on_either_kind_of_machine(first: int) -> None:
    seeds = range(first, first + 2 * SHARES)
    for there in (False, True):
        mine = [seed for seed in seeds if elsewhere(seed) is there]
        assert len(mine) == SHARES
        met = {fault.kind for seed in mine for fault in schedule(seed, 60)}
        assert met == {kind.name for kind in KINDS if not (kind.embedded and there)}


def test_the_usual_seeds_have_every_kind_on_one_machine_and_a_day_on_the_other() -> None:
    alone = [seed for seed in USUAL_SEEDS if not elsewhere(seed)]
    assert {fault.kind for seed in alone for fault in schedule(seed, 60)} == {kind.name for kind in KINDS}
    assert len(alone) < len(USUAL_SEEDS)


def test_the_same_seed_makes_the_same_day_and_another_another() -> None:
    assert schedule(7, 60) == schedule(7, 60)
    assert schedule(7, 60) != schedule(7 + 2 * SHARES, 60)


def test_every_process_is_killed_and_all_but_the_broker_stopped() -> None:
    names = {kind.name for kind in KINDS}
    assert {f"kill {role}" for role in ROLES} <= names
    assert {f"stop {role}" for role in ROLES if role != "broker"} <= names


def test_options_of_a_benchmark_are_numbers() -> None:
    assert options_of(["--seeds", "40", "--first", "9"]) == {"seeds": 40, "first": 9}
    assert options_of([]) == {}
    assert options_of(["--seeds"]) is None
    assert options_of(["--seeds", "many"]) is None
    assert main(["faults", "--seeds"]) == 2

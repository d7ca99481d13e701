"""Tests wait for what happens: their clock stands still while others have the processors."""

from __future__ import annotations

import pytest

from tests.support.waiting import OwnClock, Patience, Work, wait_for


class Machine:
    """A machine whose clocks a test moves."""

    def __init__(self) -> None:
        self.wall, self.stalled, self.spent, self.runnable = 0.0, 0.0, 0.0, False

    def clock(self) -> OwnClock:
        return OwnClock(lambda: self.wall, lambda: self.stalled, lambda: Work(self.spent, self.runnable))

    def passes(self, wall: float, stalled: float = 0.0, spent: float = 0.0) -> None:
        self.wall += wall
        self.stalled += stalled
        self.spent += spent


def test_on_a_machine_of_its_own_the_clock_is_the_walls() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.runnable = True
    machine.passes(10, spent=3)
    assert clock.now() == 10


def test_while_others_have_the_processors_time_is_what_ours_got() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.runnable = True
    machine.passes(60, stalled=60, spent=2)
    assert clock.now() == 2
    machine.passes(10, stalled=4, spent=3)
    assert clock.now() == 8, "for six seconds nobody waited"


def test_while_ours_have_nothing_to_do_time_passes_however_busy_the_others_are() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(60, stalled=60)
    assert clock.now() == 60


def test_a_wait_is_given_up_after_ticks_without_change_and_not_by_the_time_that_it_took() -> None:
    machine = Machine()
    patience = Patience(100, machine.clock())
    machine.runnable = True
    for _ in range(50):
        machine.passes(60, stalled=60, spent=0.1)
        assert patience.tick("as before", 0)
    for number in range(50):
        machine.passes(9)
        assert patience.tick(f"step {number}", 0)
    machine.passes(9)
    assert patience.tick("the last step", 0)
    machine.passes(9)
    assert patience.tick("the last step", 0)
    machine.passes(2)
    assert not patience.tick("the last step", 0)


def test_what_was_waited_for_in_vain_is_told_with_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"in vain for the tide: for 0 ticks nothing changed; last: ebb"):
        wait_for(lambda: False, "the tide", moves=lambda: "ebb", ticks=0, pause_s=0.01)

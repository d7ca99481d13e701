"""A reader's word on each kind of region in a proposal: taken once, in any order, and the words for it."""

from __future__ import annotations

from itertools import permutations
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.ledger.proposal_words import (
    KindAnswer,
    accepted_by,
    answered,
    are_open,
    in_words,
    rejected_by,
    some_rejected,
    state_of,
)

KINDS = MappingProxyType({1: "tumor", 2: "lymph_nodes", 3: "lymph_nodes"})
TUMOUR, NODES = {1}, {2, 3}


def said(*words: tuple[set[int], set[int], str]) -> dict[str, KindAnswer]:
    answers: dict[str, KindAnswer] = {}
    for accepted, rejected, by in words:
        answers = answered(answers, KINDS, accepted, rejected, by)
    return answers


def test_words_on_different_kinds_come_to_the_same_in_any_order() -> None:
    words = [(TUMOUR, set[int](), "A"), (NODES, set[int](), "B")]
    one, other = (said(*order) for order in permutations(words))
    assert one == other
    assert accepted_by(one) == {1: "A", 2: "B", 3: "B"}
    assert (state_of(one), are_open(one)) == ("accepted", False)


@pytest.mark.parametrize(
    ("words", "state", "text"),
    [
        ([(TUMOUR, set(), "A")], "accepted", "the tumour was accepted, the lymph nodes wait for confirmation"),
        (
            [(set(), TUMOUR, "A")],
            "sent",
            "the tumour was rejected by the reader, the lymph nodes wait for confirmation",
        ),
        ([(TUMOUR, NODES, "A")], "accepted", "the tumour was accepted, the lymph nodes were rejected by the reader"),
        ([(set(), {1, 2, 3}, "A")], "rejected", "the tumour was rejected by the reader, the lymph nodes were rejected"),
        ([(set(), {2}, "A")], "sent", "the tumour waits for confirmation, the lymph nodes wait for confirmation"),
    ],
)
def test_what_was_said_is_told_kind_by_kind(words: list[tuple[set[int], set[int], str]], state: str, text: str) -> None:
    answers = said(*words)
    assert state_of(answers) == state
    assert in_words(answers).startswith(text)


def test_of_a_kind_some_regions_of_which_are_right_these_count_alone() -> None:
    answers = said(({2}, {3}, "A"))
    assert accepted_by(answers) == {2: "A"}
    assert (rejected_by(answers), some_rejected(answers)) == ({}, False)


numbers = st.sets(st.sampled_from(sorted(KINDS)))


@given(first=numbers, against=numbers, then=numbers, then_against=numbers)
def test_a_kind_is_answered_once(first: set[int], against: set[int], then: set[int], then_against: set[int]) -> None:
    once = said((first, against, "A"))
    twice = answered(once, KINDS, then, then_against, "B")
    assert answered(twice, KINDS, then, then_against, "B") == twice
    assert all(twice[kind] == one for kind, one in once.items() if one["answer"])
    assert not set(accepted_by(twice)) & set(rejected_by(twice))

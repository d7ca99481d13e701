"""Molecular subtype by St Gallen 2013, every row of the table and every gap."""

from __future__ import annotations

import itertools

import pytest

from pipeline.signature.subtype import molecular_subtype


@pytest.mark.parametrize(
    ("er", "pr", "her2", "ki67", "subtype"),
    [
        (90, 80, "negative", 10, "luminal A"),
        (1, 20, "negative", 19.9, "luminal A"),
        (90, 80, "negative", 20, "luminal B"),
        (90, 19, "negative", 10, "luminal B"),
        (90, 0, "negative", 10, "luminal B"),
        (90, 80, "positive", 5, "luminal B"),
        (90, None, "positive", None, "luminal B"),
        (0, 0, "positive", 50, "HER2-positive"),
        (0, 0.9, "positive", None, "HER2-positive"),
        (0, 0, "negative", 80, "triple-negative"),
        (0, 0, "negative", None, "triple-negative"),
        (90, None, "negative", 30, "luminal B"),
        (90, 5, "negative", None, "luminal B"),
    ],
)
def test_the_table_gives_the_subtype(
    er: float | None, pr: float | None, her2: str, ki67: float | None, subtype: str
) -> None:
    assert molecular_subtype(er, pr, her2, ki67) == subtype


@pytest.mark.parametrize(
    ("er", "pr", "her2", "ki67"),
    [
        (None, None, None, None),
        (90, 80, None, 10),
        (90, 80, "negative", None),
        (90, None, "negative", 10),
        (0, 30, "negative", 10),
        (0, 30, "positive", 10),
        (None, 0, "negative", 10),
        (0, None, "positive", 10),
    ],
)
def test_what_the_rules_do_not_cover_is_unclassified(
    er: float | None, pr: float | None, her2: str | None, ki67: float | None
) -> None:
    assert molecular_subtype(er, pr, her2, ki67) == "unclassified"


def test_a_fact_more_never_changes_a_subtype_that_was_sure() -> None:
    values = (None, 0.0, 10.0, 50.0)
    for er, pr, ki67 in itertools.product(values, repeat=3):
        for her2 in (None, "positive", "negative"):
            less = molecular_subtype(er, pr, her2, ki67)
            for more in (0.0, 10.0, 50.0):
                if less != "unclassified" and ki67 is None:
                    assert molecular_subtype(er, pr, her2, more) == less
                if less != "unclassified" and pr is None:
                    assert molecular_subtype(er, more, her2, ki67) == less


def test_a_percentage_beyond_100_is_refused() -> None:
    with pytest.raises(ValueError, match="PR 120 is not in"):
        molecular_subtype(1, 120, "negative", 5)

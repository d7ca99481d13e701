"""The one choice between candidates, of whole exams and of tables of names."""

from __future__ import annotations

import pytest

from pipeline.sequences.candidates import Weighed, best, preference, without_fragments
from pipeline.sequences.name_matching import NamedSeries, match_names
from pipeline.sequences.rules import rules

GOOD, CLOSE, POOR = Weighed(0.9, "good"), Weighed(0.87, "close"), Weighed(0.5, "poor")


def test_the_best_is_taken_where_it_stands_out() -> None:
    choice = best([POOR, GOOD], 0.05)
    assert choice.taken == GOOD
    assert choice.nearest == (GOOD,)


def test_nothing_is_taken_where_another_is_as_good() -> None:
    choice = best([CLOSE, POOR, GOOD], 0.05)
    assert choice.taken is None
    assert choice.nearest == (GOOD, CLOSE)


def test_one_of_those_as_good_is_taken_where_somebody_says_which() -> None:
    assert best([CLOSE, POOR, GOOD], 0.05, lambda nearest: nearest[-1]).taken == CLOSE


def test_a_margin_of_nothing_always_decides() -> None:
    assert best([GOOD, Weighed(0.9, "its equal")], 0.0).taken == GOOD


def test_of_nothing_nothing_is_taken() -> None:
    assert best([], 0.05, lambda nearest: nearest[0]).taken is None


def test_a_fragment_is_named_with_what_it_is_a_fragment_of() -> None:
    whole, fragments = without_fragments([60, 5, 80], lambda mine, other: mine < other / 3)
    assert whole == [60, 80]
    assert fragments == [(5, 60)]


def test_the_rule_table_gives_points_for_what_a_name_says() -> None:
    points, named = preference(frozenset({"repeat", "cropped", "t2"}), {"repeat": 0.06, "cropped": -0.2, "late": -0.2})
    assert points == pytest.approx(-0.14)
    assert named == ["repeat", "cropped"]


def test_a_trial_of_a_few_slices_is_not_chosen_by_its_name() -> None:
    rows = [NamedSeries("SIEMENS", "t2_tse_tra_fs", images, "1", n) for n, images in enumerate((40, 6))]
    assert [label.chosen for label in match_names(rows, rules())] == ["t2", None]


def test_of_two_scans_with_one_name_the_later_is_chosen() -> None:
    rows = [NamedSeries("SIEMENS", "t2_tse_tra_fs", 40, "1", n) for n in range(2)]
    assert [label.chosen for label in match_names(rows, rules())] == [None, "t2"]


@pytest.mark.parametrize(
    ("vendor", "suppressed", "plain"),
    [
        ("SIEMENS", "t2_tse_tra_fs", "t2_tse_tra"),
        ("GE MEDICAL SYSTEMS", "WATER: Ax T2 FLEX", "Ax T2 FSE"),
        ("Philips", "T2W_TSE_SPAIR", "T2W_TSE"),
        ("", "横断位T2压脂", "横断位T2"),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_what_the_rule_table_prefers_is_chosen_in_whatever_order_it_was_scanned(
    vendor: str, suppressed: str, plain: str, first: int
) -> None:
    """A preference of 0.1 is a whole margin: it decides between two names that are otherwise as good."""
    names = [suppressed, plain] if first == 0 else [plain, suppressed]
    rows = [NamedSeries(vendor, name, 40, "1", n) for n, name in enumerate(names)]
    labels = match_names(rows, rules())
    assert [label.confidence for label in labels] == [labels[0].confidence] * 2
    assert labels[first].chosen == "t2"


def test_names_less_than_a_margin_apart_are_as_good() -> None:
    """0.06 for a repeat does not outweigh a later scan."""
    rows = [
        NamedSeries("SIEMENS", name, 40, "1", n) for n, name in enumerate(("t2_tse_tra_fs repeat", "t2_tse_tra_fs"))
    ]
    assert [label.chosen for label in match_names(rows, rules())] == [None, "t2"]

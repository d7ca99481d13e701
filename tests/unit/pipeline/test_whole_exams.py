"""What is taken as T1+C, T2 and ADC from whole exams of every maker, and when a person has to decide."""

from __future__ import annotations

import pytest

from config.schema import Sequences
from pipeline.sequences import match
from pipeline.sequences.name_matching import NamedSeries, match_names
from pipeline.sequences.rules import rules
from tests.support.exams import exam, seg, uid
from tests.support.whole_exams import CASES, UNDECIDED, Case, Series, rest, sagittal, t1

# Exams whose names tell something.
TELLING = {name: c for name, c in CASES.items() if name not in {"names that say nothing", "contrast start time"}}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_sequence_of_a_whole_exam_is_found(case: Case) -> None:
    found = match(exam(*case.parts), Sequences())
    assert {name: s.series_uid for name, s in found.chosen.items()} == {
        "t1c": uid(case.t1c),
        "t2": uid(case.t2),
        "adc": uid(case.adc),
    }
    assert found.chosen["t1c"].phase == case.phase
    assert len(found.chosen["t1c"].frames) == 6
    assert found.reasons == ()


@pytest.mark.parametrize("case", TELLING.values(), ids=TELLING.keys())
def test_names_and_counts_alone_choose_series_of_the_same_kind(case: Case) -> None:
    facts = exam(*case.parts).series
    rows = [
        NamedSeries(str(s.tag("Manufacturer")), str(s.tag("SeriesDescription")), len(s.instances) * 20, "1", n)
        for n, s in enumerate(facts)
    ]
    chosen = {found.chosen: s for found, s in zip(match_names(rows, rules()), facts, strict=True) if found.chosen}
    assert chosen["t1c"].tag("SeriesDescription") == _name(case, case.t1c)
    assert chosen["t2"].tag("SeriesDescription") == _name(case, case.t2) or case.t2 == 2
    assert chosen["adc"].tag("SeriesDescription") == _name(case, case.adc)


def _name(case: Case, number: int) -> object:
    return next(p[0].tags["SeriesDescription"] for p in case.parts if p[0].tags["SeriesNumber"] == number)


@pytest.mark.parametrize(("parts", "code", "named"), UNDECIDED.values(), ids=UNDECIDED.keys())
def test_what_only_a_person_can_decide_is_left_to_one_and_both_are_named(
    parts: list[Series], code: str, named: tuple[int, int]
) -> None:
    found = match(exam(*parts), Sequences())
    (reason,) = [r for r, c in zip(found.reasons, found.codes, strict=True) if c == code]
    assert all(uid(number) in reason for number in named)
    assert code.removeprefix("ambiguous-") not in found.chosen


def test_the_roi_decides_between_the_breasts() -> None:
    right = sagittal(30, "fl3d sag uni R", -60.0, 1500)
    parts = [*rest(), *sagittal(20, "fl3d sag uni L", 40.0, 600), *right]
    found = match(exam(*parts, seg(right[1])), Sequences())
    assert found.chosen["t1c"].series_uid == uid(31)
    assert found.chosen["t1c"].phase == "post 1 of 2"


@pytest.mark.parametrize(
    "parts",
    [[t1(10, "t1_fl3d_tra", 600, agent=False)], [t1(10, "Ax VIBRANT SUB", 600)], []],
    ids=["plain", "sub", "none"],
)
def test_an_exam_without_contrast_has_no_t1c(parts: list[Series]) -> None:
    found = match(exam(*rest(), *parts), Sequences())
    assert "t1c" not in found.chosen
    assert "no-t1c" in found.codes

"""What is taken as T1+C, T2 and ADC from whole exams of every maker, and when a person has to decide."""

from __future__ import annotations

import pytest

from config.schema import Sequences
from pipeline.sequences import match
from pipeline.sequences.name_matching import NamedSeries, match_names
from pipeline.sequences.rules import rules
from tests.support.exams import EPI, T2, diffusion, exam, seg, series, uid
from tests.support.whole_exams import (
    ADC,
    CASES,
    DERIVED,
    GE,
    PHILIPS,
    UNDECIDED,
    Case,
    Series,
    rest,
    sagittal,
    t1,
    volumes,
    whole,
)  # fmt: skip

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


FEW: dict[str, tuple[list[Series], int, str]] = {
    "plain T1 after contrast": ([t1(10, "t1_fl3d_tra", 600)], 10, "post 1 of 1"),
    "plain T1 after contrast by its name": ([t1(10, "AX T1 FS +C", 600, agent=False)], 10, "post 1 of 1"),
    "spin echo after contrast": (
        [t1(10, "T1 SE TRA POST GD", 600, ScanningSequence="SE", RepetitionTime=550.0, EchoTime=12.0)],
        10, "post 1 of 1",
    ),
    "dynamic without pre, by the agent": (volumes(10, ["post 1", "post 2", "post 3"], pre=0), 10, "post 1 of 3"),
    "dynamic without pre, by names": (
        volumes(10, ["dyn 1st post", "dyn 2nd post"], pre=0, tagged=False), 10, "post 1 of 2",
    ),
    "dynamic without pre in one series": ([whole(10, "dyn post 5 phases", 5)], 10, "post 1 of 5"),
    "one pre, one post, MIP": (
        [
            t1(10, "t1_fl3d_pre", 500, agent=False),
            t1(11, "t1_fl3d_post", 600),
            t1(12, "MIP_SUB", 650, ImageType=["DERIVED", "SECONDARY", "MIP"]),
        ],
        11, "post 1 of 1",
    ),
    "one pre, one post, MIP, of one name": (
        [
            t1(10, "t1_fl3d_tra_dyn", 500),
            t1(11, "t1_fl3d_tra_dyn", 600),
            t1(12, "t1_fl3d_tra_dyn_SUB_MIP", 600, **DERIVED),
        ],
        11, "post 1 of 1",
    ),
    "one pre, one post, MIP of GE": (
        [
            t1(10, "Ax VIBRANT", 500, vendor=GE),
            t1(1001, "Ph1/Ax VIBRANT", 600, vendor=GE),
            t1(1003, "MIP", 650, vendor=GE, **DERIVED),
        ],
        1001, "post 1 of 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("around", [True, False], ids=["with T2 and DWI", "alone"])
@pytest.mark.parametrize(("parts", "number", "phase"), FEW.values(), ids=FEW.keys())
def test_t1_after_contrast_is_found_in_a_short_protocol(
    parts: list[Series], number: int, phase: str, around: bool
) -> None:
    found = match(exam(*(rest() if around else ()), *parts), Sequences())
    assert (found.chosen["t1c"].series_uid, found.chosen["t1c"].phase) == (uid(number), phase)
    assert set(found.absent) == (set() if around else {"t2", "adc"})


DIFFUSION: dict[str, tuple[list[Series], tuple[float, ...]]] = {
    "only a map": ([series(4, "ep2d_diff_ADC", **EPI, **ADC)], ()),  # type: ignore[arg-type]
    "only a map, by its name": ([series(4, "ADC map", ImageType=["DERIVED", "SECONDARY", "M"])], ()),
    "only a map of Philips": ([series(4, "dADC", vendor=PHILIPS, **ADC)], ()),  # type: ignore[arg-type]
    "only DWI": ([diffusion(4, "ep2d_diff", [0.0, 800.0])], (0.0, 800.0)),
    "only DWI without b 0": ([diffusion(4, "DWI", [50.0, 400.0, 800.0])], (50.0, 800.0)),
    "only DWI, a series per b": ([diffusion(4, "DWI b0", [0.0]), diffusion(5, "DWI b800", [800.0])], (0.0, 800.0)),
}


@pytest.mark.parametrize(("parts", "b_values"), DIFFUSION.values(), ids=DIFFUSION.keys())
def test_adc_is_found_in_an_exam_that_has_nothing_else(parts: list[Series], b_values: tuple[float, ...]) -> None:
    found = match(exam(*parts), Sequences())
    assert found.chosen["adc"].series_uid == uid(4)
    assert tuple(sorted(found.chosen["adc"].frames_by_b)) == b_values
    assert set(found.absent) == {"t1c", "t2"}


def test_the_t2_series_that_a_roi_was_drawn_on_is_t2() -> None:
    first, other = series(2, "t2_tse_tra", **T2), series(7, "t2_tse_tra other", shift_mm=5.0, **T2)  # type: ignore[arg-type]
    assert "ambiguous-t2" in match(exam(first, other), Sequences()).codes
    assert match(exam(first, other, seg(other)), Sequences()).chosen["t2"].series_uid == uid(7)

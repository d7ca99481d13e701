"""What an operator chose for an exam comes before every rule, unless it cannot be that sequence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.schema import Sequences
from pipeline.catalog import InstanceFacts
from pipeline.records import Sequence
from pipeline.sequences import Match, match
from tests.support.exams import EPI, T1, T2, diffusion, exam, series, uid

AGENT = {"ContrastBolusAgent": "Gadobutrol"}
ADC = {"ImageType": ["DERIVED", "PRIMARY", "ADC"]}


def matched(choices: dict[Sequence, str], *more: list[InstanceFacts], phase: str = "first_post", **use: str) -> Match:
    parts = (
        series(2, "t2_tse_tra", **T2),
        series(4, "ep2d_diff_ADC", **EPI, **ADC),
        *(series(10 + p, "t1_fl3d_dyn", start_s=600 + 90 * p, **T1, **(AGENT if p else {})) for p in range(4)),
        *more,
    )
    settings = Sequences.model_validate({"phase": phase, "use": use})
    return match(replace(exam(*parts), choices=choices), settings)


def why_absent(name: Sequence, *more: list[InstanceFacts]) -> str:
    result = matched({name: uid(50)}, *more)
    assert name not in result.chosen
    assert "unfit-choice" in result.codes
    return result.absent[name].why


@pytest.mark.parametrize(
    ("name", "part", "why"),
    [
        ("t2", series(50, "unnamed"), "chosen by an operator"),
        ("adc", series(50, "unnamed"), "ADC map: chosen by an operator"),
        ("t1c", series(50, "unnamed"), "chosen by an operator; first phase after contrast of 1"),
        ("adc", diffusion(50, "ep2d_diff", [0.0, 800.0]), "chosen by an operator"),
    ],
)
def test_a_series_that_the_rules_would_not_take_is_taken(name: Sequence, part: list[InstanceFacts], why: str) -> None:
    result = matched({name: uid(50)}, part)
    assert result.chosen[name].series_uid == uid(50)
    assert why in result.chosen[name].why
    assert set(result.chosen) == {"t1c", "t2", "adc"}
    label = next(one for one in result.labels if one.series_uid == uid(50))
    assert label.why == "chosen by an operator" or name == "t1c"


def test_a_word_on_this_exam_comes_before_the_settings_of_the_site() -> None:
    both = series(50, "one", **T2), series(51, "other", **T2)
    assert matched({}, *both, t2=uid(51)).chosen["t2"].series_uid == uid(51)
    assert matched({"t2": uid(50)}, *both, t2=uid(51)).chosen["t2"].series_uid == uid(50)


def test_a_series_of_one_phase_is_taken_whatever_phase_the_settings_want() -> None:
    assert matched({"t1c": uid(13)}, phase="nth:2").chosen["t1c"].series_uid == uid(13)


def test_a_series_that_was_chosen_as_one_sequence_is_taken_for_no_other() -> None:
    result = matched({"t1c": uid(2)})
    assert result.chosen["t1c"].series_uid == uid(2)
    assert "t2" not in result.chosen


def test_a_series_that_is_no_volume_is_refused_with_the_reason() -> None:
    crossed = [
        replace(one, tags={**one.tags, "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]})
        for one in series(50, "localizer", slices=3)[:1]
    ]
    assert "several planes" in why_absent("t2", [*series(50, "localizer", slices=4)[1:], *crossed])
    assert "has 2 slices" in why_absent("t2", series(50, "short", slices=2))
    nowhere = [replace(i, tags={k: v for k, v in i.tags.items() if "Patient" not in k}) for i in series(50, "x")]
    assert "do not say where they lie" in why_absent("adc", nowhere)
    assert "holds 2 volumes" in why_absent("t2", series(50, "dual echo", phases=2, **T2))
    assert "holds 2 volumes" in why_absent("adc", series(50, "maps", phases=2))
    assert "shows nothing" in why_absent("t2", series(50, "elsewhere", shift_mm=500, **T2))


def test_a_series_that_is_gone_leaves_the_sequence_absent_and_no_other_takes_its_place() -> None:
    assert "it is not in the exam" in why_absent("t2")

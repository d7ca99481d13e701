"""What stays of a series' name when its files have gone: every rule reads it as before, and nobody a person."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.body_part import exam_rules
from pipeline.analysis.remaining_words import RemainingWords
from pipeline.sequences.name_verdict import judge, readings_of
from pipeline.sequences.rules import rules

WORDS = RemainingWords(rules(), exam_rules())
# Of names as scanners and people write them.
PIECES = [
    "t1", "t2", "tse", "fl3d", "vibe", "fs", "dyn", "Ph2/", "sub", "SUB_S8-S5", "(10037/801/1)-(10037/800/1)", "ADC",
    "b50_800", "ep2d_diff", "head", "LWS", "localizer", "乳腺", "增强", "後", "pre", "post", "+C", "phase 3", "не",
]  # fmt: skip
names = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=6).map(" ".join)


@settings(max_examples=60)
@given(names, st.sampled_from(["", "SIEMENS", "GE MEDICAL SYSTEMS", "Philips"]))
def test_every_rule_reads_what_stays_as_it_read_the_name(name: str, vendor: str) -> None:
    assert readings_of(WORDS.of(name), rules()) == readings_of(name, rules())
    assert judge(WORDS.of(name), vendor, rules()) == judge(name, vendor, rules())


@given(names)
@settings(max_examples=30)
def test_cleaning_again_changes_nothing(name: str) -> None:
    assert WORDS.of(WORDS.of(name)) == WORDS.of(name)


@pytest.mark.parametrize(
    ("name", "remaining"),
    [
        ("DOE JANE t1_vibe_fs dyn 3", "* t1_*_fs dyn 3"),
        ("t2_tse_dixon Müller 1975-03-02", "t2_tse_* 0-0-0"),
        ("ep2d_diff_b50_800_ADC 12345678", "ep2d_*0_0_ADC 0"),
        ("王小明 T2", "* T2"),
        ("Head MRI 123-45-6789", "Head * 0-0-0"),
        ("Sandifer", "*"),
    ],
)
def test_names_and_numbers_of_people_do_not_stay(name: str, remaining: str) -> None:
    assert WORDS.of(name) == remaining

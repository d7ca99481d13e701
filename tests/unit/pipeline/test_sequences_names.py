"""Series told by their names alone, one by one and as whole exams."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.matching import NEVER_T1C, T1C, own_names, scored, usable
from pipeline.errors import InputRejected
from pipeline.sequences.name_matching import NamedSeries, match_names
from pipeline.sequences.name_table import read_rows
from pipeline.sequences.name_verdict import judge, normalise
from pipeline.sequences.rules import LABELS, rules

RULES = rules()


def label(name: str, vendor: str = "SIEMENS") -> str:
    return judge(name, vendor, RULES).label


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("t1_fl3d_tra_dynaVIEWS_1+4", "t1_dynamic"),
        ("T1 AX FS PRE", "t1_pre"),
        ("t1 VIBE -pre sat u b", "t1_static"),
        ("AX T1 POST", "t1_post"),
        ("Post menopausal scout", "localizer"),
        ("sub_2nd pass", "subtraction"),
        ("SUB_MIP_TRA", "mip"),
        ("ep2d_diff_b50_800_ADC", "adc"),
        ("ep2d_diff_b50_800_TRACEW", "dwi"),
        ("t2_tse_tra_spair", "t2"),
        ("t2_tirm_tra", "t2_stir"),
        ("dynamic: SER", "parametric_map"),
        ("<MPR Thick Range>", "reformat"),
        ("B0Map axi", "other"),
        ("", "other"),
        ("T1 增强", "t1_post"),
        ("T1 平扫", "t1_pre"),
        ("增强前", "t1_pre"),
        ("动态增强", "t1_dynamic"),
        ("动态", "t1_dynamic"),
        ("T2 压脂", "t2"),
        ("Ax FRFSE fs", "t2"),
        ("Ax FSE fs", "other"),
        ("Sagittal-2DFSE with fat/supp.", "other"),
        ("BILAT T2 GRE", "other"),
        ("GRE T2 sag", "other"),
        ("t2 3D FFE", "other"),
        ("t2_tse_tra_greyscale", "t2"),
        ("ax t1 tse", "t1_static"),
        ("平扫+增强", "t1_dynamic"),
        ("弥散 b=800", "dwi"),
        ("表观弥散系数 ADC", "adc"),
        ("减影", "subtraction"),
        ("最大密度投影", "mip"),
        ("定位像", "localizer"),
        ("多平面重建", "reformat"),
    ],
)
def test_a_name_says_what_it_says(name: str, expected: str) -> None:
    assert label(name) == expected


@pytest.mark.parametrize("name", ["Ph1/Ax Any Name", "WATER: Ph3/Sag Any Name", "ISPY2: Ph2/something"])
def test_ge_phases_are_after_contrast(name: str) -> None:
    assert label(name, "GE MEDICAL SYSTEMS") == "t1_post"


@given(st.text(max_size=60), st.sampled_from(["GE", "SIEMENS", "Philips", ""]))
def test_any_name_gets_a_label_and_a_reason(name: str, vendor: str) -> None:
    verdict = judge(name, vendor, RULES)
    assert verdict.label in LABELS
    assert 0 < verdict.confidence <= 1
    assert verdict.why


@given(st.sampled_from(["SUB", "MIP", "MPR", "localizer", "PRE"]), st.sampled_from(["dyn", "t1 post", "Ph1/dyn +C"]))
def test_no_word_makes_up_for_a_veto(veto: str, name: str) -> None:
    if veto == "PRE" and name != "dyn":
        return
    assert label(f"{name} {veto}") not in T1C


def test_the_phases_of_its_exam_make_a_series_the_mask() -> None:
    rows = [
        NamedSeries("GE", "AX SPECIAL", 100, "1", 500),
        NamedSeries("GE", "Ph1/AX SPECIAL", 100, "1", 501),
        NamedSeries("GE", "Ph2/AX SPECIAL", 100, "1", 502),
    ]
    found = match_names([NamedSeries("GE", "VIBRANT", 100, "1", 400), *rows], RULES)
    assert [f.label for f in found[2:]] == ["t1_post", "t1_post"]
    assert found[2].chosen == "t1c"


def test_many_images_make_a_ge_series_the_whole_dynamic() -> None:
    rows = [
        NamedSeries("GE", "AX Sen Vibrant MASK", 116, "1", 3),
        NamedSeries("GE", "AX Sen Vibrant MultiPhase", 580, "1", 5),
        NamedSeries("GE", "AX Sen Vibrant +C", 116, "1", 9),
    ]
    assert [f.label for f in match_names(rows, RULES)] == ["t1_pre", "t1_dynamic", "t1_post"]


@pytest.mark.parametrize(
    "late", ["AX Sen Vibrant+f +C", "SAG VIBRANT POST", "AX DELAYED VIBRANT", "Registered AX Sen Vibrant +C"]
)
@pytest.mark.parametrize("images", [(580, 116), (None, None)])
@pytest.mark.parametrize("number", [2, 9])
def test_a_late_series_is_not_chosen_before_the_whole_dynamic(
    late: str, images: tuple[int | None, int | None], number: int
) -> None:
    rows = [
        NamedSeries("GE", "AX Sen Vibrant MASK", images[1], "1", 3),
        NamedSeries("GE", "AX Sen Vibrant MultiPhase", images[0], "1", 5),
        NamedSeries("GE", late, images[1], "1", number),
    ]
    assert [f.chosen for f in match_names(rows, RULES)] == [None, "t1c", None]


def test_phases_that_are_series_of_their_own_are_chosen_beside_the_whole_dynamic() -> None:
    rows = [
        NamedSeries("GE", "Ax Vibrant MultiPhase", 192, "1", 5),
        *(NamedSeries("GE", f"Ph{n}/Ax Vibrant MultiPhase", 192, "1", 500 + n) for n in (1, 2, 3)),
        NamedSeries("GE", "Ax T1 dyn original", 768, "1", 4),
    ]
    assert [f.chosen for f in match_names(rows, RULES)].index("t1c") == 1


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("WATER:IDEAL", "t2"),
        ("Water: SAG IDEAL RT", "t2"),
        ("AX IDEAL", "t2"),
        ("FAT:IDEAL", "other"),
        ("InPhase:IDEAL", "other"),
        ("T2 Dixon (in-phase)", "other"),
        ("IDEAL IQ", "other"),
        ("WATER: AX T1 IDEAL", "t1_static"),
    ],
)
def test_parts_of_an_ideal_acquisition_are_told_apart(name: str, label: str) -> None:
    assert match_names([NamedSeries("GE", name)], RULES)[0].label == label


@pytest.mark.parametrize("count", ["1-pre_5-post", "1pre_5post", "1 PRE + 5 POST", "1-pre-5-post", "1+5", "pre_5post"])
def test_a_name_that_counts_volumes_before_and_after_contrast_is_the_whole_dynamic(count: str) -> None:
    rows = [
        NamedSeries("SIEMENS", f"fl3d_dynamic_{count}", 960, "1", 5),
        NamedSeries("SIEMENS", "t1_fl3d_sag_post", 160, "1", 9),
    ]
    found = match_names(rows, RULES)
    assert (found[0].label, found[0].chosen) == ("t1_dynamic", "t1c")


def test_exams_do_not_mix() -> None:
    mask = NamedSeries("GE", "Ax Vibrant MultiPhase", 192, "1", 5)
    phase = NamedSeries("GE", "Ph1/Ax Vibrant MultiPhase", 192, "2", 6)
    together = match_names([mask, phase], RULES)
    alone = [match_names([row], RULES)[0] for row in (mask, phase)]
    assert [t.label for t in together] == [a.label for a in alone]


def test_a_table_is_read_in_order(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('vendor,series_description,instances\nGE,"a, b",12\nSIEMENS,增强,\n', encoding="utf-8")
    assert read_rows(table) == (NamedSeries("GE", "a, b", 12), NamedSeries("SIEMENS", "增强"))


def test_a_table_in_gb18030_is_read(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes("vendor,series_description\nGE,动态增强扫描\n".encode("gb18030"))
    assert read_rows(table)[0].description == "动态增强扫描"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("vendor,name\nGE,x\n", "series_description"), ("vendor,series_description,instances\nGE,x,many\n", "row 0")],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(InputRejected, match=reason):
        read_rows(table)


def test_names_that_the_rules_were_not_written_from_are_recognised() -> None:
    names = own_names()
    for closed in (False, True):
        half = [n for n in names if n.closed == closed]
        assert len(half) > 400
        assert sum(n.right for n in half) / len(half) >= 0.95
    assert not [n.name for n in names if n.truth in NEVER_T1C and n.found in T1C]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Übersicht_KM", "ubersicht km"),
        ("T1 après INJECTION", "t1 apres injection"),
        ("動態增強", "动态增强"),
        ("ダイナミック", "ダイナミック"),
        ("조영전", "조영전"),
        ("Т1 после", "t1 после"),
        ("ｔ２　ＳＴＩＲ", "t2 stir"),
        ("kontrastsız", "kontrastsiz"),
        ("нативный", "нативный"),
    ],
)
def test_names_are_compared_without_case_accents_and_script_variants(name: str, plain: str) -> None:
    assert normalise(name) == plain


@pytest.mark.cases
def test_real_names_are_recognised(cases: Path) -> None:
    rows, truth, found = scored(cases / "series" / "series_names_dev.csv")
    right = [t == f.label for t, f in zip(truth, found, strict=True)]
    independent = [r for r, row in zip(right, rows, strict=True) if row["independent"] == "True"]
    assert sum(independent) / len(independent) >= 0.95
    assert sum(right) / len(right) >= 0.90
    assert not [
        row["series_description"]
        for row, t, f in zip(rows, truth, found, strict=True)
        if t in NEVER_T1C and f.label in T1C
    ]


@pytest.mark.cases
def test_real_exams_yield_every_sequence_they_have(cases: Path) -> None:
    for sequence, (good, of) in usable(*scored(cases / "series" / "whole_exams_dev.csv")).items():
        assert good == of, sequence

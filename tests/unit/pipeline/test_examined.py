"""Which exams show another part of the body: only those that surely do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.analysis.body_part import elsewhere, exam_rules
from pipeline.catalog import Exam
from pipeline.errors import InputRejected
from tests.support.exams import T2, exam, series

RULES = exam_rules()


def of(
    study: str = "", part: str = "", coil: str = "", names: tuple[str, ...] = ("pd_tse_sag",), **tags: object
) -> Exam:
    given: dict[str, object] = {
        "StudyDescription": study,
        "BodyPartExamined": part,
        "ReceiveCoilName": coil,
        "PatientPosition": "HFS",
        **tags,
    }
    return exam(*(series(n + 2, name, **T2, **given) for n, name in enumerate(names)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("study", "part"),
    [
        ("MR KNEE LT WO CONTRAST", "knee"),
        ("MRT Kniegelenk links", "knee"),
        ("IRM genou droit", "knee"),
        ("膝关节平扫", "knee"),
        ("MRI ABDOMEN W/WO", "abdomen"),
        ("MRCP", "abdomen"),
        ("Oberbauch nativ + KM", "abdomen"),
        ("MR Lumbar Spine", "spine"),
        ("LWS", "spine"),
        ("RM columna lumbar", "spine"),
        ("腰椎MRI", "spine"),
        ("МРТ грудного отдела позвоночника", "spine"),
        ("MRI BRAIN W CONTRAST", "head"),
        ("MR PROSTATE", "pelvis"),
        ("Cardiac MRI", "heart"),
        ("MR shoulder rt", "shoulder"),
        ("MR ANKLE", "foot"),
        ("MR wrist", "hand"),
    ],
)
def test_a_study_that_names_another_part_of_the_body_is_not_ours(study: str, part: str) -> None:
    why = elsewhere(of(study), RULES)
    assert why is not None
    assert why.endswith(f"names the {part}, and nothing the breast")
    assert study not in why


def test_coil_body_part_and_series_together_are_as_good_as_a_study() -> None:
    assert elsewhere(of(part="KNEE", coil="TxRx Knee 15"), RULES) is not None
    assert elsewhere(of(part="KNEE", names=("knee pd sag", "knee t1 cor")), RULES) is not None
    assert elsewhere(of(names=("knee pd sag", "knee t1 cor", "ax t2 knee")), RULES) is not None
    assert elsewhere(of(names=("knee pd sag", "knee t1 cor", "ax t2")), RULES) is None
    assert elsewhere(of(RequestedProcedureDescription="MRI lumbar spine"), RULES) is not None


@pytest.mark.parametrize("part", ["KNEE", "ABDOMEN", "HEAD", "CHEST", "BREAST", ""])
def test_the_body_part_alone_decides_nothing(part: str) -> None:
    assert elsewhere(of(part=part), RULES) is None


@pytest.mark.parametrize(
    "breast",
    [
        {"study": "MR BREAST BILATERAL"},
        {"study": "MRT Mamma", "part": "ABDOMEN"},
        {"study": "Brain and breast"},
        {"study": "MR SPINE", "names": ("t2 breast tra",)},
        {"study": "MR KNEE", "part": "BREAST"},
        {"study": "MR KNEE", "coil": "BreastMatrix"},
        {"study": "乳腺增强", "part": "HEAD"},
        {"study": "MR ABDOMEN", "PatientPosition": "HFP"},
        {"study": "MR ABDOMEN", "ImageLaterality": "B"},
        {"study": "MR CHEST ABDOMEN"},
        {"study": "MR Thorax", "coil": "Spine"},
        {"study": "Research protocol 7"},
        {"study": "MR axilla left and shoulder"},
    ],
)
def test_whatever_names_the_breast_makes_an_exam_ours_and_so_does_doubt(breast: dict[str, str]) -> None:
    assert elsewhere(of(**breast), RULES) is None  # type: ignore[arg-type]


def test_nothing_is_said_before_something_other_than_a_localizer_is_here() -> None:
    assert elsewhere(of("MR KNEE", names=("localizer", "3-pl loc")), RULES) is None
    assert elsewhere(of("MR KNEE", names=("localizer", "pd_sag")), RULES) is not None


def test_what_somebody_has_drawn_regions_on_is_ours() -> None:
    assert elsewhere(of("MR ABDOMEN"), RULES, ["tumor"]) is None


def test_a_site_adds_its_own_words(tmp_path: Path) -> None:
    rules = tmp_path / "exams.toml"
    rules.write_text('[ours.local]\nwords = ["senox"]\n[elsewhere.knee]\nwords = ["articulatio genus"]\n')
    assert elsewhere(of("SENOX knee"), exam_rules(rules)) is None
    assert elsewhere(of("articulatio genus"), exam_rules(rules)) is not None
    rules.write_text("[theirs]\n")
    exam_rules.cache_clear()
    with pytest.raises(InputRejected, match="theirs"):
        exam_rules(rules)


def test_no_real_breast_exam_is_taken_for_another(cases: Path) -> None:
    """Whole exams of public collections: none of their names says that they are not of the breasts."""
    import csv

    with (cases / "series" / "whole_exams_dev.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    exams: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        exams.setdefault(row["study_uid"], []).append(row)
    for mine in exams.values():
        names = tuple(r["series_description"] for r in mine)
        assert elsewhere(of(mine[0]["study_description"], names=names), RULES) is None


NAMES_OF_THE_BREAST = (
    "RMN sân|Emlő MR|MR göğüs|МРТ МЖ|Грудь|MR prsou|MR prsní žlázy|sutek|Brustdrüse|Mammadynamik|RM mammelle|"
    "Brystkirtel|MR bröstkörtel|borstklieren|MR rinnat|乳線|유선|ブレスト|マンモ|MRM|I-SPY2 T1|ACRIN 6698|"
    "Mammakarzinom LWS Metastasen"
)


@pytest.mark.parametrize("study", NAMES_OF_THE_BREAST.split("|"))
def test_the_breast_is_known_by_any_of_its_names(study: str) -> None:
    assert elsewhere(of(study, part="KNEE", coil="TxRx Knee 15"), RULES) is None


@pytest.mark.parametrize("study", ["", "MR BILAT W/WO", "Body MRI", "outside film, hand carried"])
def test_the_coil_in_the_table_tells_nothing_of_the_spine(study: str) -> None:
    assert elsewhere(of(study, part="SPINE", coil="Spine 32"), RULES) is None


@pytest.mark.parametrize(
    ("study", "part"),
    [
        ("MR kolana prawego", "knee"),
        ("sağ diz MR", "knee"),
        ("Knæ MR", "knee"),
        ("IRM abdominale", "abdomen"),
        ("MR jamy brzusznej", "abdomen"),
        ("üst batın MR", "abdomen"),
        ("RM rachide lombosacrale", "spine"),
        ("МРТ поясничного отдела", "spine"),
        ("MR bröstrygg", "spine"),
    ],
)
def test_other_languages_name_other_parts_of_the_body(study: str, part: str) -> None:
    assert str(elsewhere(of(study), RULES)).endswith(f"names the {part}, and nothing the breast")

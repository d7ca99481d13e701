"""Which segment is what: by codes first, then by words in many languages; contradictions are not resolved."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.matching import REGION_LABELS_FOUND, region_labels
from pipeline.errors import InputRejected
from pipeline.records import Code, InstanceRef
from pipeline.roi.describe import Description
from pipeline.roi.roles import role_of, side_of
from pipeline.roi.rules import load_rules, plain

BREAST = Code("76752008", "SCT", "Breast")
AXILLA = Code("91470000", "SCT", "Axilla")
AXILLARY_NODE = Code("68171009", "SCT", "Axillary lymph node")
LIVER = Code("10200004", "SCT", "Liver")
TISSUE = Code("85756007", "SCT", "Tissue")


def described(
    label: str = "", type_: Code | None = TISSUE, *anatomies: Code, text: str = "", modifiers=()
) -> Description:
    ref = InstanceRef("1.2", "1.3", "1.4", "1.5")
    return Description(Path("a"), ref, 1, label, text, None, type_, anatomies, tuple(modifiers))


@pytest.mark.parametrize(
    ("type_", "anatomies", "role"),
    [
        (Code("108369006", "SCT", "Neoplasm"), (), "tumor"),
        (Code("86049000", "SCT", "Neoplasm, Primary"), (BREAST,), "tumor"),
        (Code("52988006", "SCT", "Lesion"), (BREAST,), "tumor"),
        (Code("4147007", "SCT", "Mass"), (), "tumor"),
        (Code("M-8FFFF", "SRT", "Neoplasm"), (), "tumor"),
        (Code("M-80003", "SRT", "Neoplasm, Primary"), (Code("T-04000", "SRT", "Breast"),), "tumor"),
        (Code("M-01100", "SRT", "Lesion"), (), "tumor"),
        (Code("M-03000", "SRT", "Mass"), (), "tumor"),
        (Code("82711006", "SCT", "Infiltrating duct carcinoma"), (), "tumor"),
        (Code("59441001", "SCT", "Lymph node"), (), "lymph_nodes"),
        (Code("68171009", "SCT", "Axillary lymph node"), (), "lymph_nodes"),
        (Code("T-C4000", "SRT", "Lymph node"), (), "lymph_nodes"),
        (Code("T-C4710", "SRT", "Axillary lymph node"), (AXILLA,), "lymph_nodes"),
        (Code("T-C4730", "SRT", "central axillary lymph node"), (), "lymph_nodes"),
        (Code("108369006", "SCT", "Neoplasm"), (AXILLARY_NODE,), "lymph_nodes"),
        (Code("14799000", "SCT", "Neoplasm, metastatic"), (AXILLA,), "lymph_nodes"),
        (TISSUE, (AXILLARY_NODE,), "lymph_nodes"),
        (Code("14799000", "SCT", "Neoplasm, metastatic"), (), None),
        (Code("108369006", "SCT", "Neoplasm"), (LIVER,), None),
        (Code("59441001", "SCT", "Lymph node"), (LIVER,), None),
        (Code("443808008", "SCT", "Intramammary lymph node"), (BREAST,), None),
        (Code("8928004", "SCT", "inguinal lymph node"), (), None),
        (Code("68705008", "SCT", "Axillary vein"), (), None),
        (Code("126510002", "SCT", "Neoplasm of skin of breast"), (), None),
        (Code("76752008", "SCT", "Breast"), (BREAST,), None),
        (TISSUE, (), None),
        (None, (), None),
    ],
)
def test_codes_tell_the_role(type_: Code | None, anatomies: tuple[Code, ...], role: str | None) -> None:
    found = role_of(described("x1", type_, *anatomies), load_rules())
    assert (found.role, found.unclear) == (role, False)


@pytest.mark.parametrize(
    ("label", "role"),
    [
        ("Tumor", "tumor"),
        ("tumour_1", "tumor"),
        ("BreastTumorL", "tumor"),
        ("index lesion", "tumor"),
        ("Mass2", "tumor"),
        ("GTVp", "tumor"),
        ("肿瘤", "tumor"),
        ("左乳癌", "tumor"),
        ("右乳病灶1", "tumor"),
        ("Lymph node", "lymph_nodes"),
        ("LymphNode3", "lymph_nodes"),
        ("lymph_nodes", "lymph_nodes"),
        ("ALN", "lymph_nodes"),
        ("LN-2", "lymph_nodes"),
        ("axillary LN right", "lymph_nodes"),
        ("metastatic lymph node lesion 1", "lymph_nodes"),
        ("腋窝淋巴结", "lymph_nodes"),
        ("淋巴结转移", "lymph_nodes"),
        ("nodule", None),
        ("peritumoral 3mm", None),
        ("瘤周", None),
        ("internal mammary lymph node", None),
        ("tumor-feeding artery", None),
        ("background", None),
        ("biopsy clip", None),
        ("lung metastasis", None),
        ("Segment_1", None),
        ("amassed", None),
        ("", None),
    ],
)
def test_where_codes_tell_nothing_the_label_does(label: str, role: str | None) -> None:
    found = role_of(described(label), load_rules())
    assert (found.role, found.unclear) == (role, False)


def test_the_description_is_read_where_the_label_says_nothing() -> None:
    assert role_of(described("1", text="primary tumor"), load_rules()).role == "tumor"


def test_a_code_for_a_lymph_node_outweighs_a_general_word() -> None:
    assert role_of(described("Mass 2", AXILLARY_NODE), load_rules()).role == "lymph_nodes"


@pytest.mark.parametrize(
    ("label", "type_"),
    [
        ("lymph node", Code("108369006", "SCT", "Neoplasm")),
        ("tumor and lymph nodes", TISSUE),
        ("肿瘤和淋巴结", TISSUE),
        ("axillary tumor", TISSUE),
    ],
)
def test_what_contradicts_itself_is_unclear(label: str, type_: Code) -> None:
    found = role_of(described(label, type_), load_rules())
    assert found.role is None
    assert found.unclear


@pytest.mark.parametrize(
    ("label", "codes", "side"),
    [
        ("tumor", (), None),
        ("Tumor left", (), "L"),
        ("R_tumor", (), "R"),
        ("TumorL", (), "L"),
        ("Rt. ALN", (), "R"),
        ("左侧腋窝淋巴结", (), "L"),
        ("右乳肿瘤", (), "R"),
        ("lesion", (Code("7771000", "SCT", "Left"),), "L"),
        ("lesion", (Code("G-A100", "SRT", "Right"),), "R"),
        ("lesion", (Code("80248007", "SCT", "Left breast"),), "L"),
        ("bilateral lesions", (), None),
        ("lesion", (Code("51440002", "SCT", "Right and left"),), None),
    ],
)
def test_the_side_is_told_by_codes_and_words(label: str, codes: tuple[Code, ...], side: str | None) -> None:
    assert side_of(described(label, modifiers=codes), load_rules()) == (side, False)


def test_left_by_code_and_right_by_label_is_a_contradiction() -> None:
    segment = described("right tumor", modifiers=(Code("7771000", "SCT", "Left"),))
    assert side_of(segment, load_rules()) == (None, True)


def test_words_end_at_punctuation_and_at_capitals_after_small_letters() -> None:
    assert plain("LymphNode2_left-GTVp") == "lymph node2 left gtvp"


def test_a_site_adds_its_own_words_or_replaces_ours(tmp_path: Path) -> None:
    own = tmp_path / "rules.toml"
    own.write_text('[tumor]\nwords = ["roi one"]\n', encoding="utf-8")
    rules = load_rules(own)
    assert role_of(described("ROI_one"), rules).role == "tumor"
    assert role_of(described("lesion"), rules).role == "tumor"
    only = tmp_path / "only.toml"
    only.write_text('replace = true\n[tumor]\nwords = ["roi one"]\n', encoding="utf-8")
    assert role_of(described("lesion"), load_rules(only)).role is None


@pytest.mark.parametrize("text", ["[tumour]\nwords=['a']\n", "[tumor]\nword=['a']\n", "[tumor]\nwords='a'\n", "["])
def test_a_wrong_rule_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputRejected, match=r"r\.toml"):
        load_rules(path)


@pytest.mark.parametrize("closed", [False, True])
def test_names_of_regions_are_told_and_none_gets_a_wrong_role(closed: bool) -> None:
    half = [one for one in region_labels() if one.closed == closed]
    assert len(half) > 200
    assert [one.name for one in half if one.wrong_role] == []
    assert sum(one.right for one in half) / len(half) >= 0.95


@pytest.mark.parametrize(
    ("label", "role"),
    [
        ("GTV_T", "tumor"),
        ("GTVp1_R", "tumor"),
        ("GTV-N", "lymph_nodes"),
        ("GTV^N 1", "lymph_nodes"),
        ("GTVn1_L", "lymph_nodes"),
        ("GTVnd", "lymph_nodes"),
        ("GTV_LN", "lymph_nodes"),
        ("LN1", "lymph_nodes"),
        ("LN_L_1", "lymph_nodes"),
        ("CTVn", None),
        ("PTV_LN", None),
        ("ITV", None),
        ("LN_Ax_L1_L", None),
        ("LN_IMN_L", None),
        ("LN_Sclav_L", None),
        ("LN_Neck_II", None),
        ("LN_Para-aortic", None),
        ("L1", None),
        ("axillary level II", None),
        ("GTV_PN", None),
        ("GTV_LN+T", None),
        ("GTV_TB", None),
        ("iGTV", None),
        ("Axilla_L", None),
        ("VOI PE Segmentation thresh=70", "tumor"),
        ("PE Segmentation thresh=70", None),
        ("non-mass enhancement", "tumor"),
        ("non-tumor", None),
        ("nodal mass", "lymph_nodes"),
        ("腫塊", "tumor"),
        ("リンパ節", "lymph_nodes"),
        ("림프절", "lymph_nodes"),
        ("опухоль", "tumor"),
        ("ganglion axillaire", "lymph_nodes"),
    ],
)
def test_the_more_specific_part_of_a_name_wins(label: str, role: str | None) -> None:
    assert role_of(described(label), load_rules()).role == role


@pytest.mark.parametrize(
    "label", ["mass and node", "Tumor/LN", "cancer LN", "axillary mass", "Tumor N1", "腫瘍とリンパ節"]
)
def test_a_name_that_fits_two_roles_is_no_role(label: str) -> None:
    found = role_of(described(label), load_rules())
    assert (found.role, found.unclear) == (None, True)


@pytest.mark.parametrize(
    ("type_", "role"),
    [
        (Code("X-1", "MRSC", "Tumor"), "tumor"),
        (Code("FTV", "99UCSF", "Functional tumor volume"), "tumor"),
        (Code("L-1", "99LOCAL", "Axillary lymph node, left"), "lymph_nodes"),
        (Code("C0024204", "UMLS", ""), "lymph_nodes"),
        (Code("C12904", "NCIt", ""), "lymph_nodes"),
        (Code("C3262", "NCI", ""), "tumor"),
        (Code("108369006", "SNOMED-CT", ""), "tumor"),
        (Code("M-8FFFF", "99SDM", ""), "tumor"),
        (Code("B-1000", "MRSC", "Breast"), None),
        (Code("61492009", "SCT", "hepatic lymph node"), None),
        (Code("1", "99LOCAL", "obturator lymph node"), None),
        (Code("2", "99LOCAL", "Cyst of breast"), None),
    ],
)
def test_codes_of_other_schemes_are_read_by_value_or_meaning(type_: Code, role: str | None) -> None:
    assert role_of(described("x1", type_), load_rules()).role == role


def test_a_code_for_a_lymph_node_and_a_label_for_a_tumor_are_a_contradiction() -> None:
    found = role_of(described("GTVp", AXILLARY_NODE), load_rules())
    assert (found.role, found.unclear) == (None, True)


@pytest.mark.parametrize(
    ("label", "side"),
    [
        ("LN_Ax_L1_R", "R"),
        ("L1", None),
        ("LN_L_1", "L"),
        ("Läsion links", "L"),
        ("guz piersi prawej", "R"),
        ("左乳癌", "L"),
    ],
)
def test_a_level_is_no_side_and_sides_are_read_in_many_languages(label: str, side: str | None) -> None:
    assert side_of(described(label), load_rules()) == (side, False)


def test_a_site_decides_before_our_words(tmp_path: Path) -> None:
    own = tmp_path / "rules.toml"
    own.write_text('[neither]\nwords = ["tumor old"]\n[tumor]\nwords = ["gtv boost", "靶区"]\n', encoding="utf-8")
    rules = load_rules(own)
    assert role_of(described("Tumor_old"), rules).role is None
    assert role_of(described("GTV_boost 2"), rules).role == "tumor"
    assert role_of(described("左靶区"), rules).role == "tumor"


def test_names_on_which_the_rules_once_failed_have_no_wrong_role() -> None:
    found = region_labels(REGION_LABELS_FOUND)
    assert [one for one in found if one.wrong_role] == []
    assert sum(one.right for one in found) >= 0.99 * len(found)

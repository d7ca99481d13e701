from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pydicom
import pytest
from pydicom.dataset import Dataset

from config.schema import Report, Settings, Site
from dicom_sr.checks.content import ASSERT_DISEASE, check_report
from dicom_sr.language import ENGLISH
from dicom_sr.sentences import comparison
from dicom_sr.structured_report import structured_report
from tests.support.report_variants import made_by_software, one_side_only
from tests.support.reports import KINDS, Case, case, prediction


def read(example: Case, settings: Settings | None = None) -> Dataset:
    return pydicom.dcmread(io.BytesIO(structured_report(example.result, example.source, settings or Settings())))


def walk(ds: Dataset) -> Iterator[Dataset]:
    yield ds
    for child in ds.get("ContentSequence") or ():
        yield from walk(child)


def name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue) if item.get("ConceptNameCodeSequence") else ""


def groups(ds: Dataset) -> list[Dataset]:
    return [item for item in walk(ds) if name(item) == "125007"]


def text_of(group: Dataset, concept: str) -> str:
    return next(str(c.get("TextValue") or c.get("UID")) for c in group.ContentSequence if name(c) == concept)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_report_passes_its_own_check(kind: str) -> None:
    example = case(kind)
    settings = Settings(report=Report(all_features=kind == "all_features"))
    assert check_report(structured_report(example.result, example.source, settings), example.result) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_input_gives_the_same_bytes(kind: str) -> None:
    first, second = case(kind), case(kind)
    assert structured_report(first.result, first.source, Settings()) == structured_report(
        second.result, second.source, Settings()
    )


def test_the_prediction_is_the_first_group_and_about_the_nodes() -> None:
    first = groups(read(case("high")))[0]
    values = {name(c): c for c in first.ContentSequence}
    assert values["P-ALNM"].MeasuredValueSequence[0].NumericValue == 73
    assert values["P-ALNM"].MeasuredValueSequence[0].FloatingPointValue == 100 * 0.73214567
    assert values["P-ALNM"].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "%"
    assert values["121071"].ConceptCodeSequence[0].CodeValue == "68171009"
    assert values["121191"].ReferencedSOPSequence[0].ReferencedSegmentNumber == 2


@pytest.mark.parametrize("kind", ["low", "not_evaluated", "indeterminate", "high"])
def test_no_code_asserts_disease(kind: str) -> None:
    ds = read(case(kind))
    found = {
        (item.CodingSchemeDesignator, item.CodeValue)
        for element in ds.iterall()
        if element.VR == "SQ"
        for item in element.value
        if "CodeValue" in item
    }
    assert found
    assert ASSERT_DISEASE.isdisjoint(found)


@pytest.mark.parametrize(("kind", "code"), [("high", "15508007"), ("low", "75976002"), ("indeterminate", "64957009")])
def test_the_category_is_coded_and_said_in_words(kind: str, code: str) -> None:
    items = {name(item): item for item in walk(read(case(kind)))}
    assert items["RISK"].ConceptCodeSequence[0].CodeValue == code
    sentence = items["121077"].TextValue
    assert "axillary lymph node metastasis" in sentence
    assert "cutoff 48 %" in sentence
    assert "not verified by a physician" in sentence


def test_a_demonstration_says_so_in_the_conclusion() -> None:
    items = {name(item): item for item in walk(read(case("demonstration")))}
    assert items["121077"].TextValue.startswith("DEMONSTRATION SIGNATURE, NOT FOR CLINICAL USE.")


def test_what_was_not_evaluated_gives_the_reason_and_no_category() -> None:
    items = {name(item): item for item in walk(read(case("not_evaluated")))}
    assert "34 of 180 features" in items["121077"].TextValue
    assert "RISK" not in items
    assert "P-ALNM" not in items
    assert "YEKZ" in items


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("high", "high risk"),
        ("low", "low risk"),
        ("indeterminate", "indeterminate"),
        ("not_evaluated", "not evaluated"),
        ("rtstruct", "high risk"),
    ],
)
def test_the_first_line_of_the_first_group_says_the_answer(kind: str, says: str) -> None:
    """Viewers show it above the probability; the tracking UID stays whatever the answer is."""
    first = groups(read(case(kind)))[0]
    assert text_of(first, "112039") == f"Prediction, left side: {says}"
    assert text_of(first, "112040") == text_of(groups(read(case("high")))[0], "112040")
    assert ("P-ALNM" in map(name, first.ContentSequence)) == (kind != "not_evaluated")


def test_a_side_without_an_answer_has_a_group_that_says_so_and_holds_no_number() -> None:
    left, right, *_ = groups(read(one_side_only()))
    assert text_of(left, "112039") == "Prediction, left side: indeterminate"
    assert text_of(right, "112039") == "Prediction, right side: not evaluated"
    assert not any(item.ValueType == "NUM" for item in right.ContentSequence)


def test_sides_are_predicted_and_measured_apart() -> None:
    ds = read(case("bilateral"))
    assert [text_of(g, "112039") for g in groups(ds)[:2]] == [
        "Prediction, left side: high risk",
        "Prediction, right side: low risk",
    ]
    items = {name(item): item for item in walk(ds)}
    assert items["RISK-L"].ConceptCodeSequence[0].CodeMeaning == "High risk"
    assert items["RISK-R"].ConceptCodeSequence[0].CodeMeaning == "Low risk"


def test_tracking_uids_come_from_the_segment_where_it_has_them() -> None:
    tracked = {text_of(g, "112039"): text_of(g, "112040") for g in groups(read(case("high")))}
    assert tracked["T1, left"] == "2.25.66.1"
    assert tracked["N1, left"] == "2.25.77.0"


def test_several_segments_are_one_region_with_a_derived_tracking_uid() -> None:
    ds = read(case("three_segments"))
    nodes = next(g for g in groups(ds) if text_of(g, "112039") == "Axillary lymph nodes, left")
    assert text_of(nodes, "112040").startswith("2.25.")
    segments = next(c for c in nodes.ContentSequence if name(c) == "121191")
    assert list(segments.ReferencedSOPSequence[0].ReferencedSegmentNumber) == [2, 3, 4]


def test_the_most_weighed_measurements_are_reported_and_all_on_request() -> None:
    example = case("multiomic")
    few = {name(i) for i in walk(read(example)) if i.get("ValueType") == "NUM"}
    many = {
        name(i) for i in walk(read(example, Settings(report=Report(all_features=True)))) if i.get("ValueType") == "NUM"
    }
    assert "1QCO" in few
    assert "HJ9O" not in few
    assert len(many) > len(few)


def test_evidence_lists_every_image_and_segmentation_once() -> None:
    example = case("prior")
    ds = read(example)
    listed = [
        sop.ReferencedSOPInstanceUID
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    ]
    used = {r.sop_instance_uid for c in example.result.sequences.values() for r in c.instances} | {"2.25.1200.1"}
    assert len(listed) == len(set(listed))
    assert set(listed) == used
    assert ds.PertinentOtherEvidenceSequence[0].StudyInstanceUID == "2.25.900"


def test_a_second_revision_names_its_predecessor_and_has_other_uids() -> None:
    ds = read(case("revision_2"))
    series = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.1301"
    assert ds.SOPInstanceUID != read(case("high")).SOPInstanceUID


def test_times_are_in_the_sites_zone_and_the_offset_is_only_written_if_the_source_has_it() -> None:
    ds = read(case("high"), Settings(site=Site(timezone="Asia/Shanghai")))
    assert (ds.ContentDate, ds.ContentTime) == ("20260304", "130607")
    assert "TimezoneOffsetFromUTC" not in ds


def test_a_source_with_an_offset_sets_the_zone_of_the_whole_report() -> None:
    example = case("high")
    source = dataclasses.replace(example.source, timezone_offset="-0330", began=datetime(2026, 3, 4, 2, 0, tzinfo=UTC))
    ds = read(dataclasses.replace(example, source=source), Settings(site=Site(timezone="Asia/Shanghai")))
    assert (ds.ContentDate, ds.ContentTime, ds.TimezoneOffsetFromUTC) == ("20260303", "223000", "-0330")


@pytest.mark.parametrize(
    ("kind", "wanted"), [("chinese_name", "GB18030"), ("high", None), ("not_evaluated_without_rois", "ISO_IR 192")]
)
def test_the_sources_character_set_is_kept_where_it_can_say_everything(kind: str, wanted: str | None) -> None:
    assert read(case(kind)).get("SpecificCharacterSet") == wanted


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_exam_without_diffusion_is_nowhere_said_to_be_evaluated_on_it(language: str) -> None:
    ds = read(case("high"), Settings(report=Report(language=language)))
    said = ds.ContributingEquipmentSequence[0].ContributionDescription
    assert "MRI" in said
    assert not [sequence for sequence in ("ADC", "T2", "T1") if sequence in said], "which ones, the signature says"


def test_comprehensive_3d_is_a_setting() -> None:
    ds = read(case("high"), Settings(report=Report(comprehensive_3d=True)))
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"


def test_the_contributing_equipment_names_the_signature_and_its_device() -> None:
    ds = read(case("high"))
    (item,) = ds.ContributingEquipmentSequence
    assert item.ManufacturerModelName == "aln-demo@1.2.0"
    assert item.Manufacturer == "axrad"
    assert item.DeviceSerialNumber == ds.DeviceUID == ds.AuthorObserverSequence[0].DeviceUID
    asked = read(case("high"), Settings(report=Report(contributing_device_uid=True)))
    assert asked.ContributingEquipmentSequence[0].DeviceUID == ds.DeviceUID


def test_an_rtstruct_gives_groups_without_segments() -> None:
    ds = read(case("rtstruct"))
    assert {g.ContentTemplateSequence[0].TemplateIdentifier for g in groups(ds)} == {"1501"}
    assert not any(name(item) == "121191" for item in walk(ds))


@pytest.mark.parametrize(
    ("coded", "finding"),
    [
        (("4147007", "SCT", "Mass"), "Mass"),
        (("112195", "DCM", "Mass of breast"), "Mass"),
        (("NME", "99SITE", "Non-mass enhancement"), "Non-mass enhancement"),
        (("86049000", "SCT", "Neoplasm, Primary"), "Lesion"),
        (None, "Lesion"),
    ],
)
def test_the_finding_is_what_the_segment_says_it_is(coded: tuple[str, str, str] | None, finding: str) -> None:
    example = case("high")
    tumor = example.result.rois["tumor"]
    details = tuple(d.model_copy(update={"property_type": coded}) for d in tumor.segment_details)
    rois = {**example.result.rois, "tumor": tumor.model_copy(update={"segment_details": details})}
    changed = dataclasses.replace(example, result=example.result.model_copy(update={"rois": rois}))
    group = next(g for g in groups(read(changed)) if text_of(g, "112039") == "T1, left")
    said = next(c for c in group.ContentSequence if name(c) == "121071")
    assert said.ConceptCodeSequence[0].CodeMeaning == finding
    data = structured_report(changed.result, changed.source, Settings())
    assert check_report(data, changed.result) == []


def test_what_was_absent_is_a_comment_and_who_answered_without_it() -> None:
    example = case("high")
    absent = {"adc": "the exam has no series that could be ADC", "t2.lymph_nodes": "it lies outside series 2.25.1011"}
    result = example.result.model_copy(update={"absent": absent})
    data = structured_report(result, example.source, Settings())
    assert check_report(data, result) == []
    comments = [i.TextValue for i in walk(pydicom.dcmread(io.BytesIO(data))) if name(i) == "121106"]
    assert comments[0] == (
        "Absent: ADC: the exam has no series that could be ADC; T2 lymph nodes: it lies outside series "
        "'t2_tse_tra_fs'. "
        "Answered by aln-demo@1.2.0, which reads none of it."
    )
    without = [i.TextValue for i in walk(read(example)) if name(i) == "121106"]
    assert not any(text.startswith("Absent") for text in without)


def test_reasons_are_told_in_words() -> None:
    example = case("not_evaluated")
    reason = (
        "outside what the signature was trained on: 9 of 180 features (5%, limit 2%): "
        "t1c.tumor.wavelet-LLL_glcm_Idmn, adc.lymph_nodes.original_firstorder_Mean and 7 more; "
        "segment 2 (Node) of 1.2.840.113619.2.5.1762583153 covers 60% of series 2.25.1011"
    )
    result = example.result.model_copy(update={"reasons": (reason,)})
    items = {name(i): i for i in walk(read(dataclasses.replace(example, result=result)))}
    assert items["121077"].TextValue.startswith(
        "Not evaluated, left side: outside what the signature was trained on: 9 of 180 features (5%, limit 2%): "
        "Normalized Inverse Difference Moment of GLCM (T1+C tumor, wavelet LLL), Mean (ADC lymph nodes) and 7 more; "
        "segment 2 (Node) covers 60% of series 't2_tse_tra_fs'."
    )


@pytest.mark.parametrize(
    ("probability", "cutoff", "shown"),
    [
        (0.331, 0.552, "33 % (cutoff 55 %)"),
        (0.4834, 0.4812, "48.3 % (cutoff 48.1 %)"),
        (0.50001, 0.5, "50.001 % (cutoff 50 %)"),
        (0.001, 0.5, "<1 % (cutoff 50 %)"),
        (0.9999, 0.5, ">99 % (cutoff 50 %)"),
        (0.5, 0.5, "50 % (cutoff 50 %)"),
    ],
)
def test_the_probability_has_as_many_digits_as_tell_its_side(probability: float, cutoff: float, shown: str) -> None:
    assert comparison(prediction(probability, cutoff=cutoff), ENGLISH) == shown


@pytest.mark.parametrize(("who", "stands"), [(None, "proposed, not confirmed"), ("dr.a", "confirmed by dr.a")])
def test_every_number_of_a_region_that_software_made_names_it_and_who_stands_for_it(
    who: str | None, stands: str
) -> None:
    example = made_by_software(who)
    report = read(example, Settings(report=Report(all_features=True)))
    assert check_report(structured_report(example.result, example.source, Settings()), example.result) == []
    by_region: dict[str, list[Dataset]] = {}
    for group in groups(report)[1:]:
        finding = next(c.ConceptCodeSequence[0].CodeValue for c in group.ContentSequence if name(c) == "121071")
        by_region.setdefault("lymph_nodes" if finding == "68171009" else "tumor", []).append(group)
    assert len(by_region["tumor"]) > 2
    numbers = {
        region: [item for group in of_it for item in group.ContentSequence if item.ValueType == "NUM"]
        for region, of_it in by_region.items()
    }
    assert len(numbers["tumor"]) > 5
    for number in numbers["tumor"]:
        assert text_of(number, "111001") == "Grower"
        assert text_of(number, "111002") == f"region measured; {stands}"
    of_nodes = [c for number in numbers["lymph_nodes"] for c in number.get("ContentSequence", ())]
    assert not [c for c in of_nodes if name(c) == "111001"]

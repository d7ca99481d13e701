"""One UID, one content; one finding, one tracking UID; the objects of a result name each other."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache

import pydicom
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from config.schema import Report, Settings, Site
from dicom_sr import object_set, render
from dicom_sr.object_set import content_key
from dicom_sr.structured_report import structured_report
from pipeline.records import InstanceRef
from pipeline.result import Part, RoiSummary
from tests.support.reports import Case, case, prediction

WHAT = ("sr", "page", "pdf", "key_slices")
SETTINGS = Settings(report=Report(what=WHAT))
REF = InstanceRef("2.25.1001", "2.25.5", "1.2.840.10008.5.1.4.1.1.88.33", "2.25.6")


def rendered(example: Case, settings: Settings = SETTINGS) -> dict[str, Dataset]:
    objects = render(example.result, example.source, example.panels, settings).objects
    return {kind: pydicom.dcmread(io.BytesIO(data)) for kind, data in objects.items()}


@cache
def whole(kind: str) -> dict[str, Dataset]:
    """All objects of one kind of result, drawn once."""
    return rendered(case(kind))


def report(example: Case) -> Dataset:
    """The report alone, without drawing a page."""
    return pydicom.dcmread(io.BytesIO(structured_report(example.result, example.source, SETTINGS)))


def of_result(**changes: object) -> Callable[[Case], Case]:
    return lambda c: dataclasses.replace(c, result=c.result.model_copy(update=changes))


def of_source(**changes: object) -> Callable[[Case], Case]:
    return lambda c: dataclasses.replace(c, source=dataclasses.replace(c.source, **changes))  # type: ignore[arg-type]


def of_patient(c: Case) -> Case:
    copied = Dataset()
    copied.update(c.source.patient_study)
    copied.PatientName = "Roe^Jane"
    return of_source(patient_study=copied)(c)


def of_pictures(c: Case) -> Case:
    first = dataclasses.replace(c.panels[0], image_yx=c.panels[0].image_yx + 1)
    return dataclasses.replace(c, panels=(first, *c.panels[1:]))


CHANGES: dict[str, Callable[[Case], Case]] = {
    "input": of_result(input_digest="another"),
    "settings that change numbers": of_result(settings_hash="another"),
    "signature": of_result(signature={"name": "aln-demo", "version": "1.2.0", "hash": "another"}),
    "revision": of_result(revision=2),
    "software": of_result(software={"axrad": "9"}),
    "answer": of_result(prediction=prediction(0.9)),
    "alpha": of_result(prediction=prediction(0.73214567, conformal_alpha=0.2, conformal_set=("ALN metastasis",))),
    "clinical values": of_result(prediction=prediction(0.73214567, clinical_used=("age_years",))),
    "patient": of_patient,
    "time": lambda c: of_source(began=c.source.began + timedelta(seconds=1))(c),
    "time zone of the source": of_source(timezone_offset="+0800"),
    "predecessor": of_source(predecessor=REF),
    "prior": of_source(prior=(REF,)),
    "corrected patient": of_source(corrected_patient=True),
    "pictures": of_pictures,
}
BY_SETTING = {
    "paper": Report(what=WHAT, paper="letter"),
    "class": Report(what=WHAT, comprehensive_3d=True),
    "manufacturer": Report(what=WHAT, manufacturer="another"),
    "features": Report(what=WHAT, all_features=True),
    "device": Report(what=WHAT, contributing_device_uid=True),
}


def key(example: Case, settings: Settings = SETTINGS) -> str:
    pictures = object_set.digest_of_panels(example.panels)
    return content_key(example.result, dataclasses.replace(example.source, pictures=pictures), settings)


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_changes_the_content_changes_the_uids(what: str) -> None:
    assert key(CHANGES[what](case("high"))) != key(case("high"))


@pytest.mark.parametrize("what", BY_SETTING)
def test_settings_that_change_the_content_change_the_uids(what: str) -> None:
    assert key(case("high"), Settings(report=BY_SETTING[what])) != key(case("high"))


def test_the_sites_time_zone_and_institution_change_the_uids() -> None:
    by_site = {key(case("high"), Settings(site=site)) for site in (Site(), Site(timezone="Asia/Shanghai"))}
    assert len(by_site | {key(case("high"), Settings(site=Site(institution="Clinic")))}) == 3


def test_another_library_or_font_changes_the_uids(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(case("high"))
    monkeypatch.setattr(object_set, "version", lambda name: "9")
    libraries = key(case("high"))
    monkeypatch.undo()
    monkeypatch.setattr(object_set.fonts, "fingerprint", lambda: "another")
    assert len({before, libraries, key(case("high"))}) == 3


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=3), st.lists(st.sampled_from(sorted(CHANGES)), max_size=3))
@hypothesis_settings(max_examples=12, deadline=None)
def test_reports_with_equal_uids_have_equal_bytes(one: list[str], other: list[str]) -> None:
    made = []
    for changes in (one, other):
        example = case("high")
        for what in changes:
            example = CHANGES[what](example)
        made.append(structured_report(example.result, example.source, SETTINGS))
    first, second = (pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID for data in made)
    assert (first == second) == (made[0] == made[1])


def test_a_second_rendering_is_the_same_whatever_time_it_took() -> None:
    again = of_result(timings_s={"total": 99.0})(case("high"))
    first = render(again.result, again.source, again.panels, SETTINGS).objects
    second = render(again.result, case("high").source, case("high").panels, SETTINGS).objects
    assert first == second
    assert whole("high")["pdf"] == pydicom.dcmread(io.BytesIO(first["pdf"]))


def test_every_object_has_its_own_instance_series_and_number() -> None:
    objects = [*whole("high").values(), *whole("revision_2").values()]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"):
        assert len({ds[keyword].value for ds in objects}) == len(objects)


def test_a_set_hangs_together() -> None:
    made = whole("high")
    uids = {kind: ds.SOPInstanceUID for kind, ds in made.items()}
    for kind in ("sr", "key_slices"):
        assert set(uids.values()) - {uids[kind]} <= set(evidence(made[kind]))
        assert uids[kind] not in set(evidence(made[kind]))
    for kind in ("page", "pdf"):
        assert made[kind].SourceInstanceSequence[0].ReferencedSOPInstanceUID == uids["sr"]


def test_an_object_that_is_not_made_is_not_named() -> None:
    made = rendered(case("high"), Settings(report=Report(what=("page",))))
    assert "SourceInstanceSequence" not in made["page"]
    alone = rendered(case("high"), Settings(report=Report(what=("sr",))))["sr"]
    assert not [uid for uid in evidence(alone) if uid.startswith("2.25.") and len(uid) > 30]


def evidence(ds: Dataset) -> list[str]:
    return [
        sop.ReferencedSOPInstanceUID
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    ]


@pytest.mark.parametrize(
    ("kind", "begins"),
    [
        ("high", "high risk"),
        ("indeterminate", "indeterminate"),
        ("not_evaluated", "not evaluated"),
        ("revision_2", "rev 2 high risk"),
        ("demonstration", "DEMO high risk"),
        ("bilateral", "left high risk, right low risk"),
    ],
)
def test_series_descriptions_begin_with_what_must_not_be_cut(kind: str, begins: str) -> None:
    for ds in whole(kind).values():
        assert ds.SeriesDescription.startswith(begins)
        assert len(ds.SeriesDescription) <= 64


# Tracking


def tracked(ds: Dataset) -> list[tuple[str, str]]:
    """Identifier and UID of every measurement group."""
    return list(_tracked(ds))


def _tracked(item: Dataset) -> Iterator[tuple[str, str]]:
    values = {
        child.ConceptNameCodeSequence[0].CodeValue: child
        for child in item.get("ContentSequence") or ()
        if child.get("ConceptNameCodeSequence")
    }
    if "112040" in values and "112039" in values:
        yield values["112039"].TextValue, values["112040"].UID
    for child in item.get("ContentSequence") or ():
        yield from _tracked(child)


@pytest.mark.parametrize("kind", ["high", "three_segments", "bilateral"])
def test_a_finding_is_tracked_alike_in_the_report_and_on_the_key_slices(kind: str) -> None:
    made = whole(kind)
    listed, slices = dict(tracked(made["sr"])), dict(tracked(made["key_slices"]))
    assert slices
    assert slices.items() <= listed.items()


@pytest.mark.parametrize("kind", ["high", "three_segments", "bilateral"])
def test_an_identifier_means_one_finding(kind: str) -> None:
    pairs = set(tracked(report(case(kind))))
    assert len({name for name, _ in pairs}) == len({uid for _, uid in pairs}) == len(pairs)


def without_own_tracking(example: Case) -> Case:
    def stripped(roi: RoiSummary) -> RoiSummary:
        bare = [d.model_copy(update={"tracking_id": None, "tracking_uid": None}) for d in roi.segment_details]
        return roi.model_copy(update={"segment_details": tuple(bare)})

    return of_result(rois={role: stripped(roi) for role, roi in example.result.rois.items()})(example)


def test_tracking_uids_outlive_a_revision() -> None:
    old = without_own_tracking(case("three_segments"))
    new = of_result(input_digest="another", revision=2, prediction=prediction(0.2))(old)
    before, after = tracked(report(old)), tracked(report(new))
    assert [uid for _, uid in before] == [uid for _, uid in after]
    # That of the answer says the answer.
    assert (before[0][0], after[0][0]) == ("Prediction, left side: high risk", "Prediction, left side: low risk")
    assert before[1:] == after[1:]
    assert report(old).SOPInstanceUID != report(new).SOPInstanceUID


def test_an_identifier_says_the_side() -> None:
    names = dict(tracked(report(without_own_tracking(case("high")))))
    assert {"Tumor, left", "Axillary lymph nodes, left", "Axillary lymph node 1, left"} <= names.keys()


def test_a_tracking_uid_that_two_segments_share_is_neithers() -> None:
    example = case("high")
    part = Part(rois=example.result.rois)
    shared = {
        role: roi.model_copy(
            update={
                "segment_details": tuple(d.model_copy(update={"tracking_uid": "2.25.1"}) for d in roi.segment_details)
            }
        )
        for role, roi in part.rois.items()
    }
    pairs = tracked(report(of_result(rois=shared)(example)))
    assert "2.25.1" not in {uid for _, uid in pairs}


# What is carried from the source


def requested(example: Case) -> Case:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "MRMAM", "99SITE", "MR mammography"
    item = Dataset()
    item.AccessionNumber, item.RequestedProcedureID, item.RequestedProcedureDescription = "ACC42", "RP1", "MR breast"
    item.RequestedProcedureCodeSequence = [code]
    image = example.datasets[0]
    image.RequestAttributesSequence = [item]
    image.ClinicalTrialSponsorName, image.ClinicalTrialProtocolID = "Sponsor", "P-1"
    image.ClinicalTrialSubjectID = "S-7"
    source = type(example.source).from_datasets(image, example.datasets[-1:], began=example.source.began)
    return dataclasses.replace(example, source=source)


def test_the_request_and_the_trial_of_the_source_are_carried() -> None:
    example = requested(case("high"))
    made = rendered(example, Settings(report=Report(what=("sr", "page"))))
    (request,) = made["sr"].ReferencedRequestSequence
    assert (request.AccessionNumber, request.RequestedProcedureID) == ("ACC42", "RP1")
    assert request.StudyInstanceUID == made["sr"].StudyInstanceUID
    assert {ds.ClinicalTrialProtocolID for ds in made.values()} == {"P-1"}


def procedure_reported(ds: Dataset) -> str:
    return next(
        str(c.ConceptCodeSequence[0].CodeMeaning)
        for c in ds.ContentSequence
        if c.ConceptNameCodeSequence[0].CodeValue == "121058"
    )


def test_the_procedure_reported_is_the_sources_or_an_mr_of_the_breast() -> None:
    assert procedure_reported(report(requested(case("high")))) == "MR mammography"
    assert procedure_reported(report(case("high"))) == "MR Breast"

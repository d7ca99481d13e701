"""Headers to facts, facts to JSON and back, files to exams."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from pipeline.catalog import exams, facts_from_json, facts_to_json, read_facts, references, scan
from pipeline.errors import NotDicom
from pipeline.records import InstanceRef

MR = "1.2.840.10008.5.1.4.1.1.4"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SR = "1.2.840.10008.5.1.4.1.1.88.34"


def header(sop_class: str = MR, **elements: object) -> Dataset:
    """A small data set with everything that names it."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.PatientID = "P1"
    dataset.PatientName = "Doe^Jane"
    dataset.Modality = "MR"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def item(**elements: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def test_facts_hold_no_name_of_a_person(tmp_path: Path) -> None:
    seg = header(SEG, ContentCreatorName="Reader^Rita", Modality="SEG", OperatorsName="Op^Otto")
    document = json.dumps(facts_to_json(read_facts(save(seg, tmp_path / "seg.dcm"))))
    assert not any(word in document for word in ("Doe", "Jane", "Reader", "Rita", "Otto", "P1"))


def test_facts_survive_the_round_trip_through_json(tmp_path: Path) -> None:
    source = item(
        ReferencedSOPClassUID=MR,
        ReferencedSOPInstanceUID="1.2.3.9",
    )
    code = Sequence([item(CodeValue="108369006", CodingSchemeDesignator="SCT", CodeMeaning="Neoplasm")])
    seg = header(
        SEG,
        Modality="SEG",
        ReferencedSeriesSequence=Sequence(
            [item(SeriesInstanceUID="1.2.3.8", ReferencedInstanceSequence=Sequence([source]))]
        ),
        SegmentSequence=Sequence(
            [item(SegmentNumber=1, SegmentLabel="tumour", SegmentedPropertyTypeCodeSequence=code)]
        ),
    )
    facts = read_facts(save(seg, tmp_path / "seg.dcm"))
    assert facts.segments[0].property_type is not None
    assert facts.references[0].series_uid == "1.2.3.8"
    assert facts_from_json(json.loads(json.dumps(facts_to_json(facts))), facts.path) == facts


def test_a_document_with_unknown_keys_is_refused(tmp_path: Path) -> None:
    document = facts_to_json(read_facts(save(header(), tmp_path / "a.dcm")))
    with pytest.raises(ValueError, match="no facts"):
        facts_from_json(document | {"surprise": 1})


def test_a_seg_in_a_study_of_its_own_belongs_to_the_exam_of_its_images(tmp_path: Path) -> None:
    image = header()
    derivation = item(
        DerivationImageSequence=Sequence(
            [
                item(
                    SourceImageSequence=Sequence(
                        [item(ReferencedSOPClassUID=MR, ReferencedSOPInstanceUID=image.SOPInstanceUID)]
                    )
                )
            ]
        )
    )
    seg = header(
        SEG,
        Modality="SEG",
        StudyInstanceUID="1.9.9",
        SeriesInstanceUID="1.9.9.1",
        PerFrameFunctionalGroupsSequence=Sequence([derivation]),
    )
    facts = [read_facts(save(d, tmp_path / f"{n}.dcm")) for n, d in enumerate((image, seg))]
    assert facts[1].tags["drawn_on"] == [image.SOPInstanceUID]
    (exam,) = exams(facts)
    assert exam.study_uid == "1.2.3"
    assert exam.rois == (facts[1],)


@pytest.mark.parametrize(
    ("sop_class", "maker", "ours"),
    [(SR, "axrad", True), (SR, "Other", False), (MR, "axrad", False), (SEG, "axrad", False)],
)
def test_only_results_made_by_axrad_are_ours(tmp_path: Path, sop_class: str, maker: str, ours: bool) -> None:
    assert read_facts(save(header(sop_class, Manufacturer=maker), tmp_path / "a.dcm")).ours is ours


def test_contributing_equipment_makes_a_result_ours(tmp_path: Path) -> None:
    dataset = header(
        SR, Manufacturer="PACS maker", ContributingEquipmentSequence=Sequence([item(Manufacturer="axrad")])
    )
    assert read_facts(save(dataset, tmp_path / "a.dcm")).ours


def test_the_maker_of_what_a_report_is_about_does_not_make_the_report_ours(tmp_path: Path) -> None:
    source = item(Manufacturer="axrad")
    source.PurposeOfReferenceCodeSequence = [item(CodeValue="109101", CodingSchemeDesignator="DCM")]
    dataset = header(SR, Manufacturer="Viewer", ContributingEquipmentSequence=Sequence([source]))
    assert not read_facts(save(dataset, tmp_path / "a.dcm")).ours


def test_a_file_that_is_no_dicom_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(NotDicom, match="no DICOM file header"):
        read_facts(tmp_path / "notes.txt")


def test_a_file_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotDicom, match="No such file"):
        read_facts(tmp_path / "missing.dcm")


def test_an_instance_without_a_valid_uid_is_refused(tmp_path: Path) -> None:
    path = save(header(), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"1.2.3.4\0", b"1.2.3.x\0"))
    with pytest.raises(NotDicom, match="SeriesInstanceUID"):
        read_facts(path)


def test_sequences_nested_without_end_are_no_dicom(tmp_path: Path) -> None:
    path = save(header(), tmp_path / "deep.dcm")
    sequence = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(path.read_bytes() + sequence * 20000)
    with pytest.raises(NotDicom):
        read_facts(path)


def test_a_bare_data_set_without_preamble_is_read(tmp_path: Path) -> None:
    dataset = header()
    pydicom.dcmwrite(tmp_path / "bare.dcm", dataset, implicit_vr=True, little_endian=True)
    assert read_facts(tmp_path / "bare.dcm").transfer_syntax_uid == "1.2.840.10008.1.2"


def test_the_same_instance_twice_is_kept_once_and_said(tmp_path: Path) -> None:
    dataset = header()
    save(dataset, tmp_path / "a.dcm")
    save(dataset, tmp_path / "b.dcm")
    instances, unreadable = scan([tmp_path])
    assert [i.path for i in instances] == [tmp_path / "a.dcm"]
    assert "same SOP instance" in unreadable[0][1]


def test_an_optional_value_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = save(header(FlipAngle="10"), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"DS\x02\x0010", b"DS\x02\x001x"))
    assert read_facts(path).tags["unreadable"] == ["FlipAngle"]


def test_frames_that_agree_are_kept_once(tmp_path: Path) -> None:
    frames = [
        item(
            MRDiffusionSequence=Sequence([item(DiffusionBValue=float(b), DiffusionDirectionality="ISOTROPIC")]),
            FrameContentSequence=Sequence([item(TemporalPositionIndex=1)]),
        )
        for b in (0, 800, 800)
    ]
    dataset = header("1.2.840.10008.5.1.4.1.1.4.1", NumberOfFrames=3, PerFrameFunctionalGroupsSequence=Sequence(frames))
    facts = read_facts(save(dataset, tmp_path / "a.dcm"))
    assert facts.tags["frame_b_value"] == [0.0, 800.0, 800.0]
    assert facts.tags["frame_temporal_position"] == [1.0]
    assert facts.per_frame("frame_kind") == ["trace"] * 3


@pytest.mark.cases
def test_every_real_image_and_seg_is_read(cases: Path) -> None:
    for folder, suffixes in (("mr", None), ("seg", {".dcm"}), ("charset", None)):
        for path in sorted((cases / folder).rglob("*")):
            if path.is_file() and (suffixes is None or path.suffix in suffixes) and path.suffix != ".md":
                facts = read_facts(path)
                assert facts_from_json(json.loads(json.dumps(facts_to_json(facts))), path) == facts


@pytest.mark.cases
def test_a_malformed_file_is_read_or_refused_with_a_reason(cases: Path) -> None:
    files = sum(1 for path in (cases / "fuzz").rglob("*") if path.is_file())
    instances, unreadable = scan([cases / "fuzz"])
    assert len(instances) + len(unreadable) == files
    assert all(reason for _, reason in unreadable)
    for facts in instances:
        json.dumps(facts_to_json(facts), allow_nan=False)


def test_twenty_thousand_frames_that_name_a_frame_each_are_merged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were sorted anew with every one of them."""
    named = [references.Reference(InstanceRef("", "", "", "1.2"), (n,), True) for n in range(20_000, 0, -1)]
    monkeypatch.setattr(references, "_by_frames", lambda _: iter(named))
    sorts: list[int] = []
    monkeypatch.setattr(references, "sorted", lambda v: sorts.append(1) or sorted(v), raising=False)
    (found,) = references.references(Dataset())
    assert found.frames == tuple(range(1, 20_001))
    assert found.precise
    assert len(sorts) == 1

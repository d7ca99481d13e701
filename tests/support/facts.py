"""Facts of instances without files, for tests of the ledger and of assembly."""

from __future__ import annotations

from dataclasses import replace

from pipeline.catalog import InstanceFacts, SegmentFacts, patient_key
from pipeline.records import Code, InstanceRef

MR = "1.2.840.10008.5.1.4.1.1.4"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SR = "1.2.840.10008.5.1.4.1.1.88.33"
TUMOR = SegmentFacts(1, "Tumor", None, Code("108369006", "SCT", "Neoplasm"), Code("76752008", "SCT", "Breast"))
NODES = SegmentFacts(
    2,
    "Axillary lymph node 1",
    None,
    Code("59441001", "SCT", "Lymph node"),
    Code("68171009", "SCT", "Axillary lymph node"),
)


def image(series: str, number: int, study: str = "1.2.3", patient: str = "P1", **tags: object) -> InstanceFacts:
    """One MR slice at z = 2 mm × number."""
    described = {
        "SeriesNumber": 1,
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "ImagePositionPatient": [0.0, 0.0, 2.0 * number],
        "PixelSpacing": [1.0, 1.0],
        "Rows": 64,
        "Columns": 64,
        "StudyDate": "20260115",
        **tags,
    }
    ref = InstanceRef(study, series, MR, f"{series}.{number}")
    return InstanceFacts(ref, "MR", "1.2.840.10008.1.2.1", patient_key(patient, ""), f"{study}.9", tags=described)  # type: ignore[arg-type]


def seg(
    on: list[InstanceFacts],
    uid: str = "1.2.3.900.1",
    segments: tuple[SegmentFacts, ...] = (TUMOR, NODES),
    study: str | None = None,
    **tags: object,
) -> InstanceFacts:
    """A SEG that refers to `on`."""
    ref = InstanceRef(study or on[0].ref.study_uid, "1.2.3.900", SEG, uid)
    return InstanceFacts(
        ref,
        "SEG",
        "1.2.840.10008.1.2.1",
        on[0].patient_key,
        on[0].frame_of_reference_uid,
        tags=tags,  # type: ignore[arg-type]
        references=tuple(i.ref for i in on),
        segments=segments,
    )


def ours(study: str = "1.2.3") -> InstanceFacts:
    """One of our reports, come back."""
    ref = InstanceRef(study, "1.2.3.950", SR, "1.2.3.950.1")
    return InstanceFacts(ref, "SR", "1.2.840.10008.1.2.1", patient_key("P1", ""), ours=True)


def of_patient(facts: InstanceFacts, patient: str) -> InstanceFacts:
    return replace(facts, patient_key=patient_key(patient, ""))

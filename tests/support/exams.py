"""Exams as facts, without files: what a scanner's headers say, series by series."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.catalog import Exam, InstanceFacts, exam_of
from pipeline.records import InstanceRef

MR = "1.2.840.10008.5.1.4.1.1.4"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
STUDY = "1.2.3"
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]

T1 = {"RepetitionTime": 4.5, "EchoTime": 1.7, "FlipAngle": 10.0, "ScanningSequence": "GR", "MRAcquisitionType": "3D"}
T2 = {"RepetitionTime": 4500.0, "EchoTime": 85.0, "ScanningSequence": "SE"}
STIR = {"RepetitionTime": 5000.0, "EchoTime": 70.0, "InversionTime": 160.0, "ScanningSequence": ["SE", "IR"]}
EPI = {"RepetitionTime": 7000.0, "EchoTime": 60.0, "ScanningSequence": "EP"}


def series(
    number: int,
    name: str,
    *,
    slices: int = 6,
    phases: int = 1,
    start_s: int = 0,
    interval_s: int = 90,
    vendor: str = "SIEMENS",
    per_phase: Sequence[dict[str, object]] = (),
    shift_mm: float = 0.0,
    **tags: object,
) -> list[InstanceFacts]:
    """One series of `phases` volumes; phase p has the tags `per_phase[p]` too and starts p intervals later."""
    uid = f"{STUDY}.{number}"
    found = []
    for phase in range(phases):
        seconds = 9 * 3600 + start_s + phase * interval_s
        clock = f"{seconds // 3600:02d}{seconds % 3600 // 60:02d}{seconds % 60:02d}"
        for slice_ in range(slices):
            count = phase * slices + slice_ + 1
            described: dict[str, object] = {
                "SeriesNumber": number,
                "SeriesDescription": name,
                "Manufacturer": vendor,
                "InstanceNumber": count,
                "ImageType": ["ORIGINAL", "PRIMARY", "M"],
                "ImageOrientationPatient": AXIAL,
                "ImagePositionPatient": [-50.0 + shift_mm, -50.0, 2.0 * slice_],
                "PixelSpacing": [1.0, 1.0],
                "Rows": 100,
                "Columns": 100,
                "AcquisitionTime": clock,
                **tags,
                **(per_phase[phase] if phase < len(per_phase) else {}),
            }
            ref = InstanceRef(STUDY, uid, MR, f"{uid}.{count}")
            found.append(InstanceFacts(ref, "MR", "1.2.840.10008.1.2.1", "p", "1.9", tags=described))  # type: ignore[arg-type]
    return found


def diffusion(number: int, name: str, b_values: Sequence[float], **tags: object) -> list[InstanceFacts]:
    """One diffusion series with a volume per b-value."""
    per_phase = [{"b_value": b, "AcquisitionNumber": n + 1} for n, b in enumerate(b_values)]
    return series(number, name, phases=len(b_values), per_phase=per_phase, **EPI, **tags)  # type: ignore[arg-type]


def seg(on: Sequence[InstanceFacts], precise: Sequence[InstanceFacts] = ()) -> InstanceFacts:
    """A SEG that refers to `on` and names `precise` as the sources of its frames."""
    ref = InstanceRef(STUDY, f"{STUDY}.900", SEG, f"{STUDY}.900.1")
    tags = {"drawn_on": [i.ref.sop_instance_uid for i in precise]} if precise else {}
    return InstanceFacts(
        ref, "SEG", "1.2.840.10008.1.2.1", "p", "1.9", tags=tags, references=tuple(i.ref for i in [*on, *precise])
    )


def exam(*parts: Sequence[InstanceFacts] | InstanceFacts) -> Exam:
    instances = [i for part in parts for i in ([part] if isinstance(part, InstanceFacts) else part)]
    return exam_of(STUDY, instances)


def uid(number: int) -> str:
    """The Series Instance UID of the series with this number."""
    return f"{STUDY}.{number}"

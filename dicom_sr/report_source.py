"""What a report takes from the exam that it is about: patient, study, character set, references, times.

Nothing is invented, and nothing that says whose the exam is gets lost (`copied_identity`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset

from dicom_sr.copied_identity import patient_study, requests
from dicom_sr.source_text import character_sets, is_undecoded
from pipeline.dicom_file import bounded_reading
from pipeline.errors import NotDicom
from pipeline.records import InstanceRef


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a destination took of an earlier revision: its report, and everything of that revision. `other_patient`: it
    was issued under another Patient ID. `what`: what of `report.what` goes there at all; None: everything."""

    report: InstanceRef | None = None
    objects: tuple[InstanceRef, ...] = ()
    other_patient: bool = False
    what: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ReportSource:
    """`patient_study`: the attributes to copy. `began`: when the analysis began, with its time zone.

    `segmented_series`: SOP Instance UID of a SEG to the series that it says it was drawn on. `predecessor`: the last
    report on this exam that a reader may have; `superseded`: every object of that revision that was delivered. `prior`:
    images of earlier exams that were shown to the analysis. `corrected_patient`: the predecessor was issued under
    another Patient ID. `timezone_offset`: (0008,0201) of the source, for example
    "+0800". `requests`: the items of its Request Attributes Sequence. `pictures`: a digest of what the page shows.
    `objects`: how each object of this result is referred to, by kind; empty where only one object is written. `report`:
    the kind of the report that these objects go with. `what`: as in Earlier; nothing names an object that does not go.
    """

    patient_study: Dataset
    study_uid: str
    began: datetime
    character_sets: tuple[str, ...] = ()
    timezone_offset: str | None = None
    image: InstanceRef | None = None
    rois: tuple[InstanceRef, ...] = ()
    segmented_series: Mapping[str, str] = field(default_factory=dict)
    predecessor: InstanceRef | None = None
    superseded: tuple[InstanceRef, ...] = ()
    prior: tuple[InstanceRef, ...] = ()
    corrected_patient: bool = False
    requests: tuple[Dataset, ...] = ()
    pictures: str = ""
    objects: Mapping[str, InstanceRef] = field(default_factory=dict)
    report: str = "sr"
    what: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.began.tzinfo is None:
            raise ValueError("the time at which the analysis began needs its time zone")

    @property
    def undecoded(self) -> tuple[str, ...]:
        """What of patient and study is in no character set that is known: it stays the bytes that it is."""
        return tuple(e.keyword for e in self.patient_study if e.VR != "SQ" and is_undecoded(str(e.value)))

    def after(self, earlier: Earlier) -> ReportSource:
        """The source of a report for a destination that took `earlier`."""
        return replace(
            self,
            predecessor=earlier.report,
            superseded=earlier.objects,
            corrected_patient=earlier.other_patient,
            what=earlier.what,
        )

    @classmethod
    def from_files(
        cls,
        t1c_path: Path,
        seg_paths: Iterable[Path] = (),
        *,
        began: datetime,
        predecessor: InstanceRef | None = None,
        superseded: Sequence[InstanceRef] = (),
        prior: Sequence[InstanceRef] = (),
        character_set: tuple[str, ...] = (),
    ) -> ReportSource:
        """Read the headers, no pixels, of one image of the exam and of its ROI objects. Raises NotDicom.

        `character_set`: that of the image where it declares none.
        """
        return cls.from_datasets(
            read_header(t1c_path),
            [read_header(path) for path in seg_paths],
            began=began,
            predecessor=predecessor,
            superseded=superseded,
            prior=prior,
            character_set=character_set,
        )

    @classmethod
    def from_datasets(
        cls,
        image: Dataset,
        rois: Sequence[Dataset] = (),
        *,
        began: datetime,
        predecessor: InstanceRef | None = None,
        superseded: Sequence[InstanceRef] = (),
        prior: Sequence[InstanceRef] = (),
        character_set: tuple[str, ...] = (),
    ) -> ReportSource:
        offset = str(image.get("TimezoneOffsetFromUTC") or "")
        return cls(
            patient_study=patient_study(image, character_set),
            study_uid=str(image.StudyInstanceUID),
            began=began,
            character_sets=character_sets(image) or character_set,
            timezone_offset=offset if re.fullmatch(r"[+-](0\d|1[0-4])[0-5]\d", offset) else None,
            image=reference(image),
            rois=tuple(reference(roi) for roi in rois),
            segmented_series={str(roi.SOPInstanceUID): uid for roi in rois if (uid := _segmented_series(roi))},
            predecessor=predecessor,
            superseded=tuple(superseded),
            prior=tuple(prior),
            requests=tuple(requests(image)),
        )


def read_header(path: Path) -> Dataset:
    """Everything before the pixel data. Raises NotDicom, also without the UIDs that every instance has."""
    try:
        header = bounded_reading.read(path, force=None)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"):
            if not header.get(keyword):
                raise NotDicom(f"a file without {keyword} cannot be the source of a report")
    except bounded_reading.MALFORMED as error:
        raise NotDicom("the header that the report should copy cannot be read") from error
    return header


def reference(header: Dataset) -> InstanceRef:
    return InstanceRef(
        str(header.StudyInstanceUID),
        str(header.SeriesInstanceUID),
        str(header.SOPClassUID),
        str(header.SOPInstanceUID),
    )


def _segmented_series(roi: Dataset) -> str | None:
    for series in roi.get("ReferencedSeriesSequence") or ():
        if series.get("SeriesInstanceUID"):
            return str(series.SeriesInstanceUID)
    return None

"""The files of an exam that a report takes patient, study and references from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dicom_sr.report_source import ReportSource
from pipeline.catalog import Bring, Exam, all_here
from pipeline.errors import ExamRejected
from pipeline.records import SEQUENCES, InstanceRef
from pipeline.result import StudyResult


def source_of(
    exam: Exam,
    result: StudyResult,
    began: datetime,
    character_set_of: Callable[[InstanceRef], tuple[str, ...]] = lambda image: (),
    bring: Bring = all_here,
) -> ReportSource:
    """Headers from the ROI objects and from an image of T1+C, else of the first sequence that was chosen, else any."""
    chosen = next((result.sequences[name] for name in SEQUENCES if name in result.sequences), None)
    images = [image for image in exam.images if image.path is not None]
    if not images:
        raise ExamRejected("no image of this exam can be read", code="no-images")
    image = next((i for i in images if chosen and i.ref.series_uid == chosen.series_uid), images[0])
    assert image.path is not None
    bring((image, *exam.rois))
    return ReportSource.from_files(
        image.path,
        [r.path for r in exam.rois if r.path is not None],
        began=began,
        character_set=character_set_of(image.ref),
        prior=result.change.references if result.change is not None else (),
    )

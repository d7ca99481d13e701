"""The exam in a folder."""

from __future__ import annotations

from pathlib import Path

from pipeline.catalog.facts import Exam, exams
from pipeline.catalog.scan import scan
from pipeline.errors import ExamRejected


def exam_in(folder: Path) -> Exam:
    """The one exam in a folder (or file): the one with ROIs where several studies lie there. Raises ExamRejected."""
    facts, refused = scan([folder])
    in_folder = exams(facts)
    with_rois = [e for e in in_folder if e.rois and e.series] or [e for e in in_folder if e.series]
    if not with_rois:
        unread = f"; {len(refused)} files are not readable DICOM" if refused else ""
        raise ExamRejected(f"{folder} holds no MR images{unread}", code="no-images")
    if len(with_rois) > 1:
        uids = ", ".join(e.study_uid for e in with_rois)
        raise ExamRejected(f"{folder} holds several exams ({uids}); give one folder per exam", code="several-exams")
    return with_rois[0]

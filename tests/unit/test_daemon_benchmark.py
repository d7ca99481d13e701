"""Exams that the daemon's benchmark sends again are other exams of the same size."""

from __future__ import annotations

from pathlib import Path

from benchmarks.daemon import Sent, _renamed
from pipeline.catalog import exam_in
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.phantom.spec import Protocol

TINY = Protocol(
    (24, 24, 12), (5.0, 5.0, 5.0), (24, 24, 6), (5.0, 5.0, 8.0), (16, 16, 6), (8.0, 8.0, 8.0), one_side=True
)


def test_an_exam_under_other_uids_keeps_its_references_and_sizes(tmp_path: Path) -> None:
    made = write_exam(tmp_path / "one", PhantomSpec(seed=7, preset="small", protocol=TINY))
    other = _renamed(Sent(made.study_uid, made.folder), tmp_path / "other", 1)
    before, after = exam_in(made.folder), exam_in(other.folder)
    assert after.study_uid == other.study_uid != before.study_uid
    uids = {image.ref.sop_instance_uid for image in after.images}
    assert uids.isdisjoint(image.ref.sop_instance_uid for image in before.images)
    assert len(uids) == len(before.images)
    (roi,) = after.rois
    named = {r.sop_instance_uid for r in roi.references if r.sop_instance_uid}
    assert named
    assert named <= uids
    sizes = [sorted(p.stat().st_size for p in folder.rglob("*.dcm")) for folder in (made.folder, other.folder)]
    assert sizes[0] == sizes[1]

"""Tracking identifier and UID of a finding: one for each, in every object, sequence and revision (PS3.16 TID 4108).

They are the segment's own where it has them for itself, else derived from study, region, side and segment.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pydicom.uid import UID

from dicom_sr.sentences import SIDE_WORDS
from dicom_sr.uids import derived, of_finding
from pipeline.records import Role, Side
from pipeline.result import NodeSummary, RoiSummary, SegmentSummary, StudyResult

NAMES: dict[Role, str] = {"tumor": "Tumor", "lymph_nodes": "Axillary lymph nodes"}
NODE = "Axillary lymph node"


@dataclass(frozen=True, slots=True)
class Tracking:
    identifier: str
    uid: str


def of_region(result: StudyResult, root: str, role: Role, side: Side | None, roi: RoiSummary) -> Tracking:
    """Of everything that is one region: the tumour, or all lymph nodes of a side."""
    ours = Tracking(_with_side(NAMES[role], side), of_finding(root, result.study_uid, role, side))
    return _of_segment(result, roi.segment_details[0], side, ours) if len(roi.segment_details) == 1 else ours


def of_node(result: StudyResult, root: str, side: Side | None, roi: RoiSummary, node: NodeSummary) -> Tracking:
    """Of one lymph node. A node that is all there is, is the region."""
    if len(roi.nodes) == 1 and len(roi.segment_details) < 2:
        return of_region(result, root, "lymph_nodes", side, roi)
    same = [n for n in roi.nodes if (n.segment, n.source_uid) == (node.segment, node.source_uid)]
    segment = segment_of(roi, node)
    label = segment.label if segment is not None else ""
    part = "\0".join([str(node.segment), label, str(same.index(node))])
    name = _with_side(f"{NODE} {node.number}", side)
    ours = Tracking(name, of_finding(root, result.study_uid, "lymph_nodes", side, part))
    return ours if segment is None or len(same) > 1 else _of_segment(result, segment, side, ours)


def of_prediction(result: StudyResult, root: str, side: Side | None) -> Tracking:
    """Of the answer itself."""
    name = f"Prediction, {SIDE_WORDS[side]} side" if side else "Prediction"
    return Tracking(name, derived(root, "tracking", result.study_uid, "prediction", side or ""))


def segment_of(roi: RoiSummary, node: NodeSummary) -> SegmentSummary | None:
    """The segment that holds this node."""
    place = (node.segment, node.source_uid)
    return next((d for d in roi.segment_details if (d.number, d.source.sop_instance_uid) == place), None)


def _of_segment(result: StudyResult, segment: SegmentSummary, side: Side | None, ours: Tracking) -> Tracking:
    """As the segment says, unless its UID is none, or that of other segments too."""
    uid = (segment.tracking_uid or "").strip()
    given = Counter(
        d.tracking_uid for _, part in result.parts() for roi in part.rois.values() for d in roi.segment_details
    )
    if not uid or not UID(uid).is_valid or given[segment.tracking_uid] > 1:
        return ours
    return Tracking(_with_side(segment.tracking_id, side) if segment.tracking_id else ours.identifier, uid)


def _with_side(name: str, side: Side | None) -> str:
    word = SIDE_WORDS[side]
    return name if not word or word in name.casefold() else f"{name}, {word}"

"""Tracking identifier and UID of a finding: one for each, in every object, sequence and revision (PS3.16 TID 4108).

They are the segment's own where it has them for itself, else derived from study, region, side and segment.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pydicom.uid import UID

from config.schema import Settings
from dicom_sr.language import Words, words_of
from dicom_sr.sentences import category_word, side_word
from dicom_sr.uids import derived, of_finding
from pipeline.records import Role, Side
from pipeline.result import NodeSummary, Part, RoiSummary, SegmentSummary, StudyResult


@dataclass(frozen=True, slots=True)
class Tracking:
    identifier: str
    uid: str


def of_region(result: StudyResult, settings: Settings, role: Role, side: Side | None, roi: RoiSummary) -> Tracking:
    """Of everything that is one region: the tumour, or all lymph nodes of a side."""
    say, uid = words_of(settings), of_finding(settings.site.uid_root, result.study_uid, role, side)
    ours = Tracking(_with_side(say(f"tracked_{role}"), side, say), uid)
    return _of_segment(result, roi.segment_details[0], side, ours, say) if len(roi.segment_details) == 1 else ours


def of_node(result: StudyResult, settings: Settings, side: Side | None, roi: RoiSummary, node: NodeSummary) -> Tracking:
    """Of one lymph node. A node that is all there is, is the region."""
    if len(roi.nodes) == 1 and len(roi.segment_details) < 2:
        return of_region(result, settings, "lymph_nodes", side, roi)
    same = [n for n in roi.nodes if (n.segment, n.source_uid) == (node.segment, node.source_uid)]
    segment = segment_of(roi, node)
    label = segment.label if segment is not None else ""
    part = "\0".join([str(node.segment), label, str(same.index(node))])
    say = words_of(settings)
    name = _with_side(say("tracked_node", number=node.number), side, say)
    ours = Tracking(name, of_finding(settings.site.uid_root, result.study_uid, "lymph_nodes", side, part))
    return ours if segment is None or len(same) > 1 else _of_segment(result, segment, side, ours, say)


def of_prediction(result: StudyResult, settings: Settings, side: Side | None, part: Part) -> Tracking:
    """Of the answer itself. Its identifier says the answer in words, as the first line that viewers show."""
    say = words_of(settings)
    name = say("prediction_on_side", side=side_word(side, say)) if side else say("tracked_prediction")
    named = say("prediction_says", prediction=name, category=category_word(part, say))
    return Tracking(named, derived(settings.site.uid_root, "tracking", result.study_uid, "prediction", side or ""))


def segment_of(roi: RoiSummary, node: NodeSummary) -> SegmentSummary | None:
    """The segment that holds this node."""
    place = (node.segment, node.source_uid)
    return next((d for d in roi.segment_details if (d.number, d.source.sop_instance_uid) == place), None)


def _of_segment(
    result: StudyResult, segment: SegmentSummary, side: Side | None, ours: Tracking, say: Words
) -> Tracking:
    """As the segment says, unless its UID is none, or that of other segments too."""
    uid = (segment.tracking_uid or "").strip()
    given = Counter(
        d.tracking_uid for _, part in result.parts() for roi in part.rois.values() for d in roi.segment_details
    )
    if not uid or not UID(uid).is_valid or given[segment.tracking_uid] > 1:
        return ours
    return Tracking(_with_side(segment.tracking_id, side, say) if segment.tracking_id else ours.identifier, uid)


def _with_side(name: str, side: Side | None, say: Words) -> str:
    word = side_word(side, say)
    return name if not word or word in name.casefold() else say("tracked_on_side", name=name, side=word)

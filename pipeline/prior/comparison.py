"""This exam of a patient against an earlier one, side by side: volumes of the regions and main measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.records import InstanceRef
from pipeline.result import Change, FeatureChange, Part, PartChange, StudyResult
from pipeline.signature.names import is_feature

CHANGES_SHOWN = 5
# What a reader of one patient's change wants to see first
MAIN = (
    "original_shape_MeshVolume",
    "original_shape_Maximum3DDiameter",
    "original_shape_Sphericity",
    "original_firstorder_Mean",
    "original_firstorder_Entropy",
)


@dataclass(frozen=True)
class PatientChange:
    """One measurement of one patient in an earlier and in this exam. `relative`: (after - before) / |before|."""

    name: str
    before: float
    after: float
    relative: float | None


def compare(
    before: Mapping[str, float], after: Mapping[str, float], main: tuple[str, ...] = MAIN
) -> tuple[PatientChange, ...]:
    """The main measurements that both exams of one patient have, in the order of `before`.

    Raw values of two scans: a change is no more than a change of the number, and says nothing of its cause.
    """
    changes = []
    for name, earlier in before.items():
        if name in after and is_feature(name) and name.split(".", 2)[2] in main:
            relative = (after[name] - earlier) / abs(earlier) if earlier else None
            changes.append(PatientChange(name, earlier, after[name], relative))
    return tuple(changes)


def change_since(
    before: StudyResult, after: StudyResult, study_date: str, references: Iterable[InstanceRef] = ()
) -> Change:
    """What changed since `before`, whose study is of `study_date` (DICOM DA).

    Nothing is compared, and `why_not` says so, where the numbers would not mean the same: other settings, or no region
    that both exams have on the same side. `references`: objects of the earlier exam beside its ROI objects.
    """
    earlier = dict(before.parts())
    parts = {
        side or "": _part(earlier[side], part)
        for side, part in after.parts()
        if side in earlier and set(part.rois) & set(earlier[side].rois)
    }
    why_not = ""
    if before.settings_hash != after.settings_hash:
        why_not = "the earlier exam was measured with other settings"
    elif not parts:
        why_not = "the two exams have no region on the same side"
    segments = [d.source for part in earlier.values() for roi in part.rois.values() for d in roi.segment_details]
    return Change(
        study_uid=before.study_uid,
        study_date=study_date,
        revision=before.revision,
        why_not=why_not,
        parts={} if why_not else parts,
        references=() if why_not else tuple(dict.fromkeys([*segments, *references])),
    )


def _part(before: Part, after: Part) -> PartChange:
    volumes = {
        role: _change(role, before.rois[role].volume_mm3, roi.volume_mm3)
        for role, roi in after.rois.items()
        if role in before.rois
    }
    changes = sorted(compare(before.features, after.features), key=_size, reverse=True)
    return PartChange(
        volumes=volumes,
        features_compared=len(set(before.features) & set(after.features)),
        largest=tuple(
            FeatureChange(name=c.name, before=c.before, after=c.after, relative=c.relative)
            for c in changes[:CHANGES_SHOWN]
        ),
    )


def _change(name: str, before: float, after: float) -> FeatureChange:
    relative = (after - before) / abs(before) if before else None
    return FeatureChange(name=name, before=before, after=after, relative=relative)


def _size(change: PatientChange) -> float:
    return abs(change.relative) if change.relative is not None else 0.0

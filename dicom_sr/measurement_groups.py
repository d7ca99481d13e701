"""The measurement groups of the report: the prediction first, then each region, node by node, sequence by sequence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from config.schema import Settings
from dicom_sr import codes, content_items, feature_codes, sentences, tracking, uids
from dicom_sr.document import algorithm
from dicom_sr.kinds import union_kind
from dicom_sr.language import words_of
from dicom_sr.report_source import ReportSource
from dicom_sr.tracking import Tracking
from pipeline.catalog import SEGMENTATION_CLASSES
from pipeline.records import Code, InstanceRef, Role, Sequence, Side
from pipeline.result import NodeSummary, Part, Prediction, RoiSummary, StudyResult
from pipeline.signature.names import origin_word

SITES: dict[Role, Code] = {"tumor": codes.BREAST, "lymph_nodes": codes.AXILLARY_NODE}
# Codes of Segmented Property Type that say mass: SNOMED CT, its older form, and the one for mammography.
_MASS_CODES = {("4147007", "SCT"), ("118538004", "SCT"), ("M-03000", "SRT"), ("112195", "DCM")}
_NON_MASS = re.compile(r"\bnon[- ]?mass", re.IGNORECASE)
_MASS = re.compile(r"\bmass\b", re.IGNORECASE)
# Size of a ROI in the words of PyRadiomics, measured on T1+C.
_SIZE = ("Maximum3DDiameter", "MajorAxisLength", "MinorAxisLength", "LeastAxisLength")


@dataclass(frozen=True, slots=True)
class GroupContext:
    result: StudyResult
    source: ReportSource
    settings: Settings
    template: str
    instance_uid: str

    def uid(self, *kind: str) -> str:
        """A UID of one thing in this document."""
        return uids.derived(self.settings.site.uid_root, self.instance_uid, *kind)


def all_segmented(result: StudyResult) -> bool:
    rois = [roi for _, part in result.parts() for roi in part.rois.values()]
    return all(d.source.sop_class_uid in SEGMENTATION_CLASSES for roi in rois for d in roi.segment_details) and all(
        roi.segment_details for roi in rois
    )


def finding_of(role: Role, roi: RoiSummary) -> Code:
    """What was outlined: of a tumour mass, non-mass enhancement, or a lesion where its segments do not say the same."""
    if role == "lymph_nodes":
        return codes.AXILLARY_NODE
    kinds = {_kind(segment.property_type) for segment in roi.segment_details}
    return kinds.pop() if len(kinds) == 1 else codes.LESION


def _kind(coded: tuple[str, str, str] | None) -> Code:
    value, scheme, meaning = coded or ("", "", "")
    if _NON_MASS.search(meaning):
        return codes.NON_MASS
    return codes.MASS if (value, scheme) in _MASS_CODES or _MASS.search(meaning) else codes.LESION


def is_several(roi: RoiSummary) -> bool:
    """Whether a region is made of several segments: a group refers to one, and so to a segmentation of their union."""
    return len(roi.segment_details) > 1


def maker(roi: RoiSummary) -> str:
    """The software that made a region, as its objects name it; empty where they do not, or a reader drew it."""
    return ", ".join(dict.fromkeys(d.algorithm for d in roi.segment_details if d.origin != "drawn" and d.algorithm))


def predictions(context: GroupContext) -> Iterator[Dataset]:
    """A group for each answer; without a number where there is none, so that none looks like one."""
    for side, part in context.result.parts():
        roles: tuple[Role, ...] = ("lymph_nodes", "tumor")
        role = next((r for r in roles if r in part.rois), None)
        if role is None:
            continue
        tracked = tracking.of_prediction(context.result, context.settings, side, part)
        group = _group(context, tracked, role, side, part.rois[role])
        if part.prediction is not None:
            content_items.add(group, *_probability(context, side, part.prediction))
        yield group


def _probability(context: GroupContext, side: Side | None, prediction: Prediction) -> Iterator[Dataset]:
    shown, cutoff = (_digits(text) for text in sentences.percents(prediction))
    probability = content_items.number(codes.PROBABILITY, 100 * prediction.probability, codes.PERCENT, shown)
    probability.ObservationUID = context.uid("observation", "probability", side or "")
    content_items.add(probability, *algorithm(context.result, words_of(context.settings)))
    yield probability
    yield content_items.number(codes.CUTOFF, 100 * prediction.cutoff, codes.PERCENT, cutoff)


def _digits(percent: str) -> str | None:
    """What a person should read of `33 %`; None where that is no number (`<1 %`)."""
    return None if percent[0] in "<>" else percent.removesuffix(" %")


def regions(context: GroupContext) -> Iterator[Dataset]:
    for side, part in context.result.parts():
        for role in ("tumor", "lymph_nodes"):
            roi = part.rois.get(role)
            if roi is None:
                continue
            tracked = tracking.of_region(context.result, context.settings, role, side, roi)
            group = _group(context, tracked, role, side, roi)
            content_items.add(group, *_size(role, part, roi))
            yield _told_maker(context, roi, group)
            for node in roi.nodes:
                yield _node(context, side, roi, node)
            for (sequence, image_filter), names in sorted(_weighed(context, role, part).items()):
                group = _group(context, tracked, role, side, roi, feature_codes.method(sequence, image_filter))
                content_items.add(group, *_values(names, part))
                yield _told_maker(context, roi, group)


def _node(context: GroupContext, side: Side | None, roi: RoiSummary, node: NodeSummary) -> Dataset:
    """One lymph node: its number, the segment that holds it, its size."""
    tracked = tracking.of_node(context.result, context.settings, side, roi, node)
    segment = tracking.segment_of(roi, node)
    one = roi.model_copy(update={"segment_details": (segment,)}) if segment is not None else roi
    group = _group(context, tracked, "lymph_nodes", side, one)
    group.ObservationUID = context.uid("observation", "node", side or "", str(node.number))
    content_items.add(
        group,
        content_items.number(codes.NODE_NUMBER, node.number, codes.ONE),
        content_items.number(feature_codes.VOLUME, node.volume_mm3, codes.MM3),
        content_items.number(codes.LONG_AXIS, node.long_axis_mm, codes.MM),
        content_items.number(codes.SHORT_AXIS, node.short_axis_mm, codes.MM),
    )
    return _told_maker(context, one, group)


def _group(
    context: GroupContext,
    tracked: Tracking,
    role: Role,
    side: Side | None,
    roi: RoiSummary,
    method: Code | None = None,
) -> Dataset:
    finding, site = finding_of(role, roi), SITES[role]
    group = content_items.container(codes.GROUP, context.template)
    group.ObservationUID = context.uid("observation", tracked.uid, method.value if method else "")
    content_items.add(
        group,
        content_items.text(codes.TRACKING_ID, tracked.identifier, content_items.CONTEXT),
        content_items.uid(codes.TRACKING_UID, tracked.uid),
    )
    content_items.add(group, content_items.code(codes.FINDING, finding))
    if context.template == "1411":
        content_items.add(group, *_segment(context, role, side, roi))
    if method is not None:
        content_items.add(group, content_items.code(codes.METHOD, method, content_items.MODIFIER))
    where = content_items.code(codes.FINDING_SITE, site, content_items.MODIFIER)
    if side is not None:
        content_items.add(where, content_items.code(codes.LATERALITY, codes.SIDES[side], content_items.MODIFIER))
    content_items.add(group, where)
    return group


def _told_maker(context: GroupContext, roi: RoiSummary, group: Dataset) -> Dataset:
    """The group of a region; where software made it, each number says which. Validators know no TID 4019 of a group."""
    for item in group.ContentSequence if roi.origin != "drawn" else ():
        if item.ValueType == "NUM":
            content_items.add(item, *_region_algorithm(context, roi))
    return group


def _region_algorithm(context: GroupContext, roi: RoiSummary) -> Iterator[Dataset]:
    """TID 4019: who made the region, and whether a reader stands for it."""
    say = words_of(context.settings)
    yield content_items.text(codes.ALGORITHM_NAME, maker(roi) or say("software"), content_items.MODIFIER)
    yield content_items.text(codes.ALGORITHM_VERSION, "none", content_items.MODIFIER)
    origin = say("region_made", origin=say.named(origin_word(roi.origin)))
    if roi.confirmed_by or roi.unconfirmed:
        stands = say("confirmed_short", who=roi.confirmed_by) if roi.confirmed_by else say("unconfirmed")
        origin = say("region_origin", region=origin, stands=stands)
    yield content_items.text(codes.ALGORITHM_PARAMETERS, origin, content_items.MODIFIER)


def _segment(context: GroupContext, role: Role, side: Side | None, roi: RoiSummary) -> Iterator[Dataset]:
    """The segment, and the series that it was drawn on.

    Several segments are referred to by the one segment of their union, where it was written; else (a result of an
    earlier version, or images without a frame of reference) by the first object that draws them.
    """
    seg: InstanceRef = roi.segment_details[0].source
    union = context.source.objects.get(union_kind(role, side)) if is_several(roi) else None
    if union is not None:
        yield content_items.image(codes.SEGMENT, union, [1])
    else:
        numbers = [d.number for d in roi.segment_details if d.source == seg]
        yield content_items.image(codes.SEGMENT, seg, numbers)
    drawn_on = None if union is not None else context.source.segmented_series.get(seg.sop_instance_uid)
    if drawn_on is None and roi.drawn_on in context.result.sequences:
        drawn_on = context.result.sequences[roi.drawn_on].series_uid
    if drawn_on is None and context.source.image is not None:
        drawn_on = context.source.image.series_uid
    if drawn_on is not None:
        yield content_items.uid(codes.SOURCE_SERIES, drawn_on, content_items.CONTAINS)


def _size(role: Role, part: Part, roi: RoiSummary) -> Iterator[Dataset]:
    yield content_items.number(feature_codes.VOLUME, roi.volume_mm3, codes.MM3)
    for feature in () if _spread(role, roi) else _SIZE:
        name = f"{roi.drawn_on}.{role}.original_shape_{feature}"
        if name in part.features:
            yield _feature(name, part.features[name])
    if role == "lymph_nodes":
        yield content_items.number(codes.NODES, roi.count, codes.NODE_UNIT)
    elif roi.count > 1:
        yield content_items.number(codes.LESIONS, roi.count, codes.LESION_UNIT)


def _spread(role: Role, roi: RoiSummary) -> bool:
    """Whether diameter and axes would be those of several separate nodes together, which measure no node."""
    return role == "lymph_nodes" and roi.count > 1


def _weighed(context: GroupContext, role: Role, part: Part) -> dict[tuple[Sequence, str], list[str]]:
    """Names of the measurements to report, by sequence and filter: the most weighed, or all of the signature's."""
    if context.settings.report.all_features:
        listed = context.result.signature.get("features")
        wanted = [str(n) for n in listed] if isinstance(listed, list) else sorted(part.features)
    else:
        wanted = [c.name for c in part.prediction.top_features] if part.prediction is not None else []
    grouped: dict[tuple[Sequence, str], list[str]] = {}
    for name in dict.fromkeys(wanted):
        parsed = feature_codes.FeatureName.parse(name)
        if parsed is None or parsed.role != role or name not in part.features or feature_codes.concept(parsed) is None:
            continue
        on = part.rois[role].drawn_on
        is_stated = parsed.sequence == on and parsed.family == "shape" and parsed.feature in (*_SIZE, "VoxelVolume")
        if not is_stated:
            grouped.setdefault((parsed.sequence, parsed.filter), []).append(name)
    return grouped


def _values(names: list[str], part: Part) -> Iterator[Dataset]:
    for name in names:
        yield _feature(name, part.features[name])


def _feature(name: str, value: float) -> Dataset:
    parsed = feature_codes.FeatureName.parse(name)
    coded = feature_codes.concept(parsed) if parsed is not None else None
    if coded is None:
        raise ValueError(f"{name} has no coded name")
    return content_items.number(coded[0], value, coded[1])

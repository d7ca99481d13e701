"""The Structured Report: TID 1500 "Measurement Report" (PS3.16), prediction first, then each ROI.

Every measurement group is TID 1411 (volumetric ROI) and refers to the segment it is about. Where a ROI comes from an
object without segments (RTSTRUCT), every group is TID 1501 instead: validators refuse a mixture of the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from config.schema import Settings
from dicom_sr import codes, header, ibsi, items, uids, words
from dicom_sr.source import ReportSource
from pipeline.catalog import SEGMENTATION_CLASSES
from pipeline.records import Code, InstanceRef, Role, Side
from pipeline.result import NodeSummary, Part, Prediction, RoiSummary, StudyResult

COMPREHENSIVE = "1.2.840.10008.5.1.4.1.1.88.33"
COMPREHENSIVE_3D = "1.2.840.10008.5.1.4.1.1.88.34"
FINDINGS: dict[Role, tuple[Code, Code, str]] = {
    "tumor": (codes.MASS, codes.BREAST, "Primary tumor"),
    "lymph_nodes": (codes.AXILLARY_NODE, codes.AXILLARY_NODE, "Axillary lymph nodes"),
}
# Size of a ROI in the words of PyRadiomics, measured on T1+C.
_SIZE = ("Maximum3DDiameter", "MajorAxisLength", "MinorAxisLength", "LeastAxisLength")


@dataclass(frozen=True, slots=True)
class _Context:
    result: StudyResult
    source: ReportSource
    settings: Settings
    template: str

    def uid(self, *kind: str) -> str:
        return uids.of_result(self.result, self.settings.site.uid_root, "sr", *kind)


def structured_report(result: StudyResult, source: ReportSource, settings: Settings) -> bytes:
    """The report as a DICOM file. Deterministic. An exam that was not evaluated gets a report that says why."""
    sop_class = COMPREHENSIVE_3D if settings.report.comprehensive_3d else COMPREHENSIVE
    ds = header.start(result, source, settings, "sr", sop_class, "SR")
    ds.SeriesNumber = 9901
    ds.SeriesDescription = f"axrad ALN metastasis: {words.categories(result)}"[:64]
    document(ds, result, source, settings)
    context = _Context(result, source, settings, "1411" if _all_segmented(result) else "1501")
    for element in items.plain(_root(context)):
        if element.keyword != "RelationshipType":
            ds.add(element)
    return header.to_bytes(ds, source)


def document(ds: Dataset, result: StudyResult, source: ReportSource, settings: Settings) -> None:
    """SR Document Series and General modules (PS3.3 C.17.1, C.17.2): flags, predecessor, evidence, coding scheme."""
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.PerformedProcedureCodeSequence = []
    ds.AuthorObserverSequence = [_author(result, settings)]
    ds.PreliminaryFlag = "PRELIMINARY"
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "UNVERIFIED"
    ds.CodingSchemeIdentificationSequence = [header.coding_scheme(settings)]
    if source.predecessor is not None and source.predecessor.sop_instance_uid != ds.SOPInstanceUID:
        ds.PredecessorDocumentsSequence = header.evidence([source.predecessor])
    refs = header.used(result, source)
    if refs:
        ds.CurrentRequestedProcedureEvidenceSequence = header.evidence(refs)
    if source.prior:
        ds.PertinentOtherEvidenceSequence = header.evidence(source.prior)


def _author(result: StudyResult, settings: Settings) -> Dataset:
    """Identified Person or Device Macro (PS3.3 C.17-3b)."""
    item = Dataset()
    item.ObserverType = "DEV"
    item.InstitutionName = settings.site.institution or None
    item.InstitutionCodeSequence = []
    item.StationName = settings.listen.ae_title
    item.DeviceUID = uids.of_device(result, settings.site.uid_root)
    item.Manufacturer = settings.report.manufacturer
    item.ManufacturerModelName = header.MODEL
    return item


def _all_segmented(result: StudyResult) -> bool:
    rois = [roi for _, part in result.parts() for roi in part.rois.values()]
    return all(d.source.sop_class_uid in SEGMENTATION_CLASSES for roi in rois for d in roi.segment_details) and all(
        roi.segment_details for roi in rois
    )


def _root(context: _Context) -> Any:
    root = items.container(codes.TITLE, "1500", relation=None)
    items.add(root, items.code(codes.LANGUAGE, codes.ENGLISH, items.MODIFIER))
    items.add(root, *observer(context.result, context.settings))
    items.add(root, items.code(codes.PROCEDURE_REPORTED, codes.MRI, items.MODIFIER))
    groups = [*_predictions(context), *_regions(context)]
    if groups:
        measurements = items.container(codes.MEASUREMENTS)
        items.add(measurements, *_algorithm(context.result))
        items.add(measurements, *groups)
        items.add(root, measurements)
    items.add(root, _evaluations(context))
    return root


def observer(result: StudyResult, settings: Settings) -> Iterator[Any]:
    """TID 1002 and 1004: the observer is a device."""
    yield items.code(codes.OBSERVER_TYPE, codes.DEVICE, items.CONTEXT)
    yield items.uid(codes.DEVICE_UID, uids.of_device(result, settings.site.uid_root))
    yield items.text(codes.DEVICE_NAME, "axrad", items.CONTEXT)
    yield items.text(codes.DEVICE_MANUFACTURER, settings.report.manufacturer, items.CONTEXT)
    yield items.text(codes.DEVICE_MODEL, header.MODEL, items.CONTEXT)


def _algorithm(result: StudyResult) -> Iterator[Any]:
    """TID 4019."""
    name, _, version = header.signature_name(result).partition("@")
    yield items.text(codes.ALGORITHM_NAME, name, items.MODIFIER)
    yield items.text(codes.ALGORITHM_VERSION, version or "none", items.MODIFIER)
    if result.settings_hash:
        yield items.text(codes.ALGORITHM_PARAMETERS, f"settings {result.settings_hash}", items.MODIFIER)
    if result.demonstration:
        yield items.text(codes.ALGORITHM_PARAMETERS, words.DEMONSTRATION, items.MODIFIER)


def _predictions(context: _Context) -> Iterator[Any]:
    for side, part in context.result.parts():
        roles: tuple[Role, ...] = ("lymph_nodes", "tumor")
        role = next((r for r in roles if r in part.rois), None)
        if part.prediction is None or role is None:
            continue
        name = "Prediction" if side is None else f"Prediction, {words.SIDE_WORDS[side]} side"
        group = _group(context, name, context.uid("tracking", "prediction", side or ""), role, side, part.rois[role])
        items.add(group, *_probability(context, side, part.prediction))
        yield group


def _probability(context: _Context, side: Side | None, prediction: Prediction) -> Iterator[Any]:
    probability = items.number(codes.PROBABILITY, 100 * prediction.probability, codes.PERCENT)
    probability.ObservationUID = context.uid("observation", "probability", side or "")
    items.add(probability, *_algorithm(context.result))
    yield probability
    yield items.number(codes.CUTOFF, 100 * prediction.cutoff, codes.PERCENT)


def _regions(context: _Context) -> Iterator[Any]:
    for side, part in context.result.parts():
        for role in ("tumor", "lymph_nodes"):
            roi = part.rois.get(role)
            if roi is None:
                continue
            tracking_id, tracking_uid = tracking(context.result, context.settings, role, side, roi)
            group = _group(context, tracking_id, tracking_uid, role, side, roi)
            items.add(group, *_size(role, part, roi))
            yield group
            for node in roi.nodes:
                yield _node(context, side, roi, node)
            for (sequence, image_filter), names in sorted(_weighed(context, role, part).items()):
                group = _group(context, tracking_id, tracking_uid, role, side, roi, ibsi.method(sequence, image_filter))
                items.add(group, *_values(names, part))
                yield group


def _node(context: _Context, side: Side | None, roi: RoiSummary, node: NodeSummary) -> Any:
    """One lymph node: its number, the segment that holds it, its size."""
    mine = [d for d in roi.segment_details if (d.number, d.source.sop_instance_uid) == (node.segment, node.source_uid)]
    alone = sum((n.segment, n.source_uid) == (node.segment, node.source_uid) for n in roi.nodes) == 1
    name = f"{FINDINGS['lymph_nodes'][2].removesuffix('s')} {node.number}"
    tracking_id = name + (f", {words.SIDE_WORDS[side]}" if side else "")
    tracking_uid = context.uid("tracking", "node", side or "", str(node.number))
    if alone and mine and mine[0].tracking_uid:
        tracking_id, tracking_uid = mine[0].tracking_id or tracking_id, mine[0].tracking_uid
    one = roi.model_copy(update={"segment_details": tuple(mine)}) if mine else roi
    group = _group(context, tracking_id, tracking_uid, "lymph_nodes", side, one)
    group.ObservationUID = context.uid("observation", "node", side or "", str(node.number))
    items.add(
        group,
        items.number(codes.NODE_NUMBER, node.number, codes.ONE),
        items.number(ibsi.VOLUME, node.volume_mm3, codes.MM3),
        items.number(codes.LONG_AXIS, node.long_axis_mm, codes.MM),
        items.number(codes.SHORT_AXIS, node.short_axis_mm, codes.MM),
    )
    return group


def tracking(
    result: StudyResult, settings: Settings, role: Role, side: Side | None, roi: RoiSummary
) -> tuple[str, str]:
    """Tracking identifier and UID: the segment's own if the ROI is one segment that has them, else derived ones."""
    name = FINDINGS[role][2] + (f", {words.SIDE_WORDS[side]}" if side else "")
    uid = uids.of_result(result, settings.site.uid_root, "sr", "tracking", role, side or "")
    if len(roi.segment_details) == 1:
        segment = roi.segment_details[0]
        return segment.tracking_id or name, segment.tracking_uid or uid
    return name, uid


def _group(
    context: _Context,
    name: str,
    tracking_uid: str,
    role: Role,
    side: Side | None,
    roi: RoiSummary,
    method: Code | None = None,
) -> Any:
    finding, site, _ = FINDINGS[role]
    group = items.container(codes.GROUP, context.template)
    group.ObservationUID = context.uid("observation", tracking_uid, method.value if method else "")
    items.add(group, items.text(codes.TRACKING_ID, name, items.CONTEXT), items.uid(codes.TRACKING_UID, tracking_uid))
    items.add(group, items.code(codes.FINDING, finding))
    if context.template == "1411":
        items.add(group, *_segment(context, roi))
    if method is not None:
        items.add(group, items.code(codes.METHOD, method, items.MODIFIER))
    where = items.code(codes.FINDING_SITE, site, items.MODIFIER)
    if side is not None:
        items.add(where, items.code(codes.LATERALITY, codes.SIDES[side], items.MODIFIER))
    items.add(group, where)
    return group


def _segment(context: _Context, roi: RoiSummary) -> Iterator[Any]:
    """The segment, and the series that it was drawn on. Several segments of one SEG are one reference."""
    seg: InstanceRef = roi.segment_details[0].source
    numbers = [d.number for d in roi.segment_details if d.source == seg]
    yield items.image(codes.SEGMENT, seg, numbers)
    drawn_on = context.source.segmented_series.get(seg.sop_instance_uid)
    if drawn_on is None and "t1c" in context.result.sequences:
        drawn_on = context.result.sequences["t1c"].series_uid
    if drawn_on is None and context.source.image is not None:
        drawn_on = context.source.image.series_uid
    if drawn_on is not None:
        yield items.uid(codes.SOURCE_SERIES, drawn_on, items.CONTAINS)


def _size(role: Role, part: Part, roi: RoiSummary) -> Iterator[Any]:
    yield items.number(ibsi.VOLUME, roi.volume_mm3, codes.MM3)
    for feature in _SIZE:
        name = f"t1c.{role}.original_shape_{feature}"
        if name in part.features:
            yield _feature(name, part.features[name])
    if role == "lymph_nodes":
        yield items.number(codes.NODES, roi.count, codes.NODE_UNIT)
    elif roi.count > 1:
        yield items.number(codes.LESIONS, roi.count, codes.LESION_UNIT)


def _weighed(context: _Context, role: Role, part: Part) -> dict[tuple[Any, str], list[str]]:
    """Names of the measurements to report, by sequence and filter: the most weighed, or all of the signature's."""
    if context.settings.report.all_features:
        listed = context.result.signature.get("features")
        wanted = [str(n) for n in listed] if isinstance(listed, list) else sorted(part.features)
    else:
        wanted = [c.name for c in part.prediction.top_features] if part.prediction is not None else []
    grouped: dict[tuple[Any, str], list[str]] = {}
    for name in dict.fromkeys(wanted):
        parsed = ibsi.FeatureName.parse(name)
        if parsed is None or parsed.role != role or name not in part.features or ibsi.concept(parsed) is None:
            continue
        told = parsed.sequence == "t1c" and parsed.family == "shape" and parsed.feature in (*_SIZE, "VoxelVolume")
        if not told:
            grouped.setdefault((parsed.sequence, parsed.filter), []).append(name)
    return grouped


def _values(names: list[str], part: Part) -> Iterator[Any]:
    for name in names:
        yield _feature(name, part.features[name])


def _feature(name: str, value: float) -> Any:
    parsed = ibsi.FeatureName.parse(name)
    coded = ibsi.concept(parsed) if parsed is not None else None
    if coded is None:
        raise ValueError(f"{name} has no coded name")
    return items.number(coded[0], value, coded[1])


def _evaluations(context: _Context) -> Any:
    """Risk category and conclusion, under the root: viewers show a TEXT there, and no children of a NUM."""
    group = items.container(codes.QUALITATIVE)
    parts = list(context.result.parts())
    for side, part in parts:
        if part.prediction is not None:
            name = codes.RISK_CATEGORY[side if context.result.sides else None]
            items.add(group, items.code(name, codes.RISK[part.prediction.category]))
    for side, part in parts:
        items.add(group, items.text(codes.CONCLUSION, words.conclusion(context.result, side, part)))
    if context.source.corrected_patient:
        items.add(group, items.text(codes.COMMENT, words.OTHER_PATIENT))
    changed = words.change(context.result)
    if changed:
        items.add(group, items.text(codes.COMMENT, changed))
    left_out = words.left_out(context.result)
    if left_out:
        items.add(group, items.text(codes.COMMENT, left_out))
    checks = words.failed_checks(context.result)
    if checks:
        items.add(group, items.text(codes.COMMENT, "Quality checks failed: " + words.joined(checks)))
    return group

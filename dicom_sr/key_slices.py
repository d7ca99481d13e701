"""Key slices: a second SR whose outlines viewers draw on the images themselves (TID 1500 with TID 1410).

One planar ROI per outline of a panel, on the image that the panel shows. No prediction in it: that is the report's.
"""

from __future__ import annotations

from collections.abc import Iterator

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset

from config.schema import Settings
from dicom_sr import codes, common_attributes, content_items, tracking, uids
from dicom_sr.document import document, observer, procedure
from dicom_sr.language import words_of
from dicom_sr.measurement_groups import SITES, finding_of
from dicom_sr.report_source import ReportSource
from dicom_sr.sop_classes import COMPREHENSIVE
from dicom_sr.tracking import Tracking
from pipeline.pictures import Contour, Panel
from pipeline.pictures.outline import area
from pipeline.records import Code
from pipeline.result import RoiSummary, StudyResult


def key_slices(
    result: StudyResult, source: ReportSource, panels: tuple[Panel, ...], settings: Settings
) -> bytes | None:
    """The SR, or None where no panel shows an image of the exam (an ADC map computed here is none)."""
    shown = [panel for panel in panels if panel.source is not None]
    if not shown:
        return None
    ds = common_attributes.start(result, source, settings, "key_slices", COMPREHENSIVE, "SR")
    ds.SeriesDescription = common_attributes.described(result, "what_key_slices", settings)
    document(ds, result, source, settings)
    if "PredecessorDocumentsSequence" in ds:
        del ds.PredecessorDocumentsSequence
    others = (ref for ref in source.objects.values() if ref.sop_instance_uid != ds.SOPInstanceUID)
    refs = {*common_attributes.used(result, source), *(p.source.ref for p in shown if p.source is not None), *others}
    ds.CurrentRequestedProcedureEvidenceSequence = common_attributes.evidence(refs)
    say = words_of(settings)
    root = content_items.container(codes.TITLE_KEY_SLICES, "1500", relation=None)
    content_items.add(root, content_items.code(codes.LANGUAGE, say.code, content_items.MODIFIER))
    content_items.add(root, *observer(result, settings))
    content_items.add(root, content_items.code(codes.PROCEDURE_REPORTED, procedure(source), content_items.MODIFIER))
    measurements = content_items.container(codes.MEASUREMENTS)
    content_items.add(measurements, *_regions(result, shown, settings, ds.SOPInstanceUID))
    content_items.add(root, measurements)
    for element in content_items.plain(root):
        if element.keyword != "RelationshipType":
            ds.add(element)
    return common_attributes.to_bytes(ds, source)


def _regions(result: StudyResult, panels: list[Panel], settings: Settings, instance_uid: str) -> Iterator[Dataset]:
    drawn: set[str] = set()
    root = settings.site.uid_root
    for panel in panels:
        for i, contour in enumerate(panel.contours):
            if (contour.role, contour.side) != (panel.focus, panel.side) or area(contour.points_xy) < 0:
                continue
            place = (panel.sequence, contour.role, contour.side or "", str(panel.slice_number), str(i))
            uid = uids.derived(root, instance_uid, *place)
            if uid not in drawn:
                drawn.add(uid)
                roi = _roi(result, contour)
                finding = finding_of(contour.role, roi) if roi is not None else codes.LESION
                yield _region(panel, contour, uid, _tracking(result, settings, contour, roi), finding)


def _roi(result: StudyResult, contour: Contour) -> RoiSummary | None:
    part = next((part for side, part in result.parts() if side == contour.side), None)
    return part.rois.get(contour.role) if part is not None else None


def _tracking(result: StudyResult, settings: Settings, contour: Contour, roi: RoiSummary | None) -> Tracking:
    """That of the finding in the report."""
    if roi is None:
        uid = uids.of_finding(settings.site.uid_root, result.study_uid, contour.role, contour.side)
        return Tracking(words_of(settings)(f"tracked_{contour.role}"), uid)
    node = next((n for n in roi.nodes if n.number == contour.number), None)
    if contour.role == "lymph_nodes" and node is not None:
        return tracking.of_node(result, settings, contour.side, roi, node)
    return tracking.of_region(result, settings, contour.role, contour.side, roi)


def _region(panel: Panel, contour: Contour, uid: str, tracked: Tracking, finding: Code) -> Dataset:
    """TID 1410: tracking, finding, outline on its image, site, area."""
    site = SITES[contour.role]
    group = content_items.container(codes.GROUP, "1410")
    group.ObservationUID = uid
    content_items.add(
        group,
        content_items.text(codes.TRACKING_ID, tracked.identifier, content_items.CONTEXT),
        content_items.uid(codes.TRACKING_UID, tracked.uid),
    )
    content_items.add(group, content_items.code(codes.FINDING, finding), _outline(panel, contour))
    place = content_items.code(codes.FINDING_SITE, site, content_items.MODIFIER)
    if contour.side is not None:
        content_items.add(
            place, content_items.code(codes.LATERALITY, codes.SIDES[contour.side], content_items.MODIFIER)
        )
    pixel_mm2 = panel.spacing_yx_mm[0] * panel.spacing_yx_mm[1]
    content_items.add(group, place, content_items.number(codes.AREA, area(contour.points_xy) * pixel_mm2, codes.MM2))
    return group


def _outline(panel: Panel, contour: Contour) -> Dataset:
    assert panel.source is not None
    region: Dataset = hd.sr.ScoordContentItem(
        hd.sr.CodedConcept(codes.IMAGE_REGION.value, codes.IMAGE_REGION.scheme, codes.IMAGE_REGION.meaning),
        hd.sr.GraphicTypeValues.POLYLINE,
        np.asarray(contour.points_xy, dtype=np.float32),
        relationship_type=content_items.CONTAINS,
    )
    image = content_items.image(codes.SOURCE, panel.source.ref, frame=panel.source.frame, relation="SELECTED FROM")
    content_items.add(region, image)
    return region

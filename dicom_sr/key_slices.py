"""Key slices: a second SR whose outlines viewers draw on the images themselves (TID 1500 with TID 1410).

One planar ROI per outline of a panel, on the image that the panel shows. No prediction in it: that is the report's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import highdicom as hd
import numpy as np

from config.schema import Settings
from dicom_sr import codes, common_attributes, content_items, sentences, uids
from dicom_sr.document import document, observer
from dicom_sr.measurement_groups import FINDINGS
from dicom_sr.report_source import ReportSource
from dicom_sr.sop_classes import COMPREHENSIVE
from pipeline.pictures import Contour, Panel
from pipeline.pictures.outline import area
from pipeline.result import StudyResult


def key_slices(
    result: StudyResult, source: ReportSource, panels: tuple[Panel, ...], settings: Settings
) -> bytes | None:
    """The SR, or None where no panel shows an image of the exam (an ADC map computed here is none)."""
    shown = [panel for panel in panels if panel.source is not None]
    if not shown:
        return None
    ds = common_attributes.start(result, source, settings, "key_slices", COMPREHENSIVE, "SR")
    ds.SeriesNumber = 9904
    ds.SeriesDescription = "axrad key slices"
    document(ds, result, source, settings)
    if "PredecessorDocumentsSequence" in ds:
        del ds.PredecessorDocumentsSequence
    refs = {*common_attributes.used(result, source), *(p.source.ref for p in shown if p.source is not None)}
    ds.CurrentRequestedProcedureEvidenceSequence = common_attributes.evidence(refs)
    root = content_items.container(codes.TITLE_KEY_SLICES, "1500", relation=None)
    content_items.add(root, content_items.code(codes.LANGUAGE, codes.ENGLISH, content_items.MODIFIER))
    content_items.add(root, *observer(result, settings))
    content_items.add(root, content_items.code(codes.PROCEDURE_REPORTED, codes.MRI, content_items.MODIFIER))
    measurements = content_items.container(codes.MEASUREMENTS)
    content_items.add(measurements, *_regions(result, shown, settings))
    content_items.add(root, measurements)
    for element in content_items.plain(root):
        if element.keyword != "RelationshipType":
            ds.add(element)
    return common_attributes.to_bytes(ds, source)


def _regions(result: StudyResult, panels: list[Panel], settings: Settings) -> Iterator[Any]:
    drawn: set[str] = set()
    for panel in panels:
        for i, contour in enumerate(panel.contours):
            if (contour.role, contour.side) != (panel.focus, panel.side) or area(contour.points_xy) < 0:
                continue
            uid = uids.of_result(
                result,
                settings.site.uid_root,
                "key_slices",
                panel.sequence,
                contour.role,
                contour.side or "",
                str(panel.slice_number),
                str(i),
            )
            if uid not in drawn:
                drawn.add(uid)
                yield _region(panel, contour, uid)


def _region(panel: Panel, contour: Contour, uid: str) -> Any:
    """TID 1410: tracking, finding, outline on its image, site, area."""
    finding, site, name = FINDINGS[contour.role]
    where = f", {sentences.SIDE_WORDS[contour.side]}" if contour.side else ""
    number = f" {contour.number}" if contour.role == "lymph_nodes" else ""
    group = content_items.container(codes.GROUP, "1410")
    group.ObservationUID = uid
    tracking_id = f"{name}{number}{where} on {codes.SEQUENCE_NAMES[panel.sequence]}"
    content_items.add(
        group,
        content_items.text(codes.TRACKING_ID, tracking_id, content_items.CONTEXT),
        content_items.uid(codes.TRACKING_UID, uid),
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


def _outline(panel: Panel, contour: Contour) -> Any:
    assert panel.source is not None
    region = hd.sr.ScoordContentItem(
        hd.sr.CodedConcept(codes.IMAGE_REGION.value, codes.IMAGE_REGION.scheme, codes.IMAGE_REGION.meaning),
        hd.sr.GraphicTypeValues.POLYLINE,
        np.asarray(contour.points_xy, dtype=np.float32),
        relationship_type=content_items.CONTAINS,
    )
    image = content_items.image(codes.SOURCE, panel.source.ref, frame=panel.source.frame, relation="SELECTED FROM")
    content_items.add(region, image)
    return region

"""A result becomes what is sent: once, then only resent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from config.schema import Settings
from dicom_sr.check import check_report
from dicom_sr.companions import encapsulated_pdf, secondary_capture
from dicom_sr.key_slices import key_slices
from dicom_sr.page import draw_page
from dicom_sr.rejection import rejection_note
from dicom_sr.report import structured_report
from dicom_sr.source import ReportSource
from pipeline.errors import ReportRejected
from pipeline.pictures import Panel
from pipeline.result import StudyResult


@dataclass(frozen=True, slots=True)
class Rendered:
    """`objects`: DICOM files by kind ("sr", "page", "pdf", "key_slices") as `report.what` asks, and "rejection" where
    the settings want superseded results rejected: it goes where the report goes. The page also as plain files."""

    objects: Mapping[str, bytes]
    page_png: bytes
    page_pdf: bytes


def render(
    result: StudyResult, source: ReportSource, panels: tuple[Panel, ...], settings: Settings | None = None
) -> Rendered:
    """Everything that a result is sent as. The same input gives the same bytes and UIDs.

    Raises ReportRejected where result and source are not about the same exam, and where the finished report fails its
    own check: such a report is not sent.
    """
    settings = settings or Settings()
    if source.study_uid != result.study_uid:
        raise ReportRejected("the report's source is of another study than the result", uid=result.study_uid)
    page = draw_page(result, source, panels, settings)
    objects: dict[str, bytes] = {}
    for kind in settings.report.what:
        if kind == "sr":
            objects[kind] = _checked(structured_report(result, source, settings), result)
        elif kind == "page":
            objects[kind] = secondary_capture(page.pixels_yxc, result, source, settings)
        elif kind == "pdf":
            objects[kind] = encapsulated_pdf(page.pdf, result, source, settings)
        elif kind == "key_slices":
            drawn = key_slices(result, source, panels, settings)
            if drawn is not None:
                objects[kind] = _checked(drawn, None)
    if settings.report.reject_superseded:
        note = rejection_note(result, source, settings)
        if note is not None:
            objects["rejection"] = note
    return Rendered(objects, page.png, page.pdf)


def _checked(sr: bytes, result: StudyResult | None) -> bytes:
    findings = check_report(sr, result)
    if findings:
        told = "; ".join(str(finding) for finding in findings[:3])
        raise ReportRejected(f"the report failed its own check and is not sent: {told}")
    return sr

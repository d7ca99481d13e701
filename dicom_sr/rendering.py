"""A result becomes what is sent: once, then only resent."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from config.schema import Settings
from dicom_sr.basic_text import basic_text_report
from dicom_sr.checks.content import check_report
from dicom_sr.checks.identity import check_identity
from dicom_sr.copied_identity import readable
from dicom_sr.key_slices import key_slices
from dicom_sr.kinds import asked_as, carried_kind, member, union_kind
from dicom_sr.measurement_groups import is_several
from dicom_sr.object_set import (
    content_key,
    digest_of_panels,
    digest_of_regions,
    reference_of,
)
from dicom_sr.page import Page, drawn, pdf_of, png_of
from dicom_sr.page_objects import encapsulated_pdf, secondary_capture
from dicom_sr.rejection import rejection_note
from dicom_sr.report_classes import class_of
from dicom_sr.report_source import Earlier, ReportSource
from dicom_sr.segmentation import segmentation
from dicom_sr.sop_classes import BASIC_TEXT, COMPREHENSIVE, ENCAPSULATED_PDF, SECONDARY_CAPTURE, SEGMENTATION
from dicom_sr.source_text import raw_bytes
from dicom_sr.structured_report import structured_report
from pipeline.errors import ReportRejected
from pipeline.parallel.forked_work import cores_for, share
from pipeline.pictures import Panel
from pipeline.records import SEQUENCES, Json
from pipeline.result import StudyResult
from pipeline.roi.grid_regions import GridRegion

# Of a value in Explicit VR with a length of two bytes (PS3.5 7.1.2), less some for its encoding.
MOST_ELEMENT_BYTES = 60_000


@dataclass(frozen=True, slots=True)
class Rendered:
    """`objects`: DICOM files by name (`dicom_sr.kinds`) as `report.what` asks, and "rejection" where the settings want
    superseded results rejected: it goes where the report goes. The page also as plain files."""

    objects: Mapping[str, bytes]
    page_png: bytes
    page_pdf: bytes


def render(
    result: StudyResult,
    source: ReportSource,
    panels: tuple[Panel, ...],
    settings: Settings | None = None,
    regions: tuple[GridRegion, ...] = (),
    further: tuple[str, ...] = (),
    others: tuple[Earlier, ...] = (),
) -> Rendered:
    """Everything that a result is sent as. The same input gives the same bytes and UIDs.

    `regions`: each region on each grid, where segmentations are to be written. `further`: kinds of the report in other
    classes than `sr`. `others`: what further destinations took before and get, where that is not what `source` says.
    There is a set of objects for each class and each destination that differs.

    Raises ReportRejected where result and source are not about the same exam, and where the finished report fails its
    own check: such a report is not sent.
    """
    settings = settings or Settings()
    if source.study_uid != result.study_uid:
        raise ReportRejected("the report's source is of another study than the result", uid=result.study_uid)
    _check_lengths(source)
    segmented = dict(_segmented(result, regions, settings))
    reports = ("sr", *(further if "sr" in settings.report.what else ()))
    sources = {
        (report, number): _with_objects(result, replace(mine, report=report), panels, segmented, settings)
        for number, mine in enumerate((source, *map(source.after, others)))
        for report in reports
    }
    pages, written = _pages_and_reports(result, list(sources.values()), panels, settings)
    objects: dict[str, bytes] = {}
    for ((report, number), mine), sr in zip(sources.items(), written, strict=True):
        page = pages[mine.corrected_patient]
        for kind, data in _set(result, mine, panels, segmented, settings, page, sr).items():
            objects[member(kind, report, number)] = data
    first = pages[source.corrected_patient]
    return Rendered(objects, first.png, first.pdf)


def _set(
    result: StudyResult,
    source: ReportSource,
    panels: tuple[Panel, ...],
    segmented: Mapping[str, list[GridRegion]],
    settings: Settings,
    page: Page,
    sr: bytes,
) -> dict[str, bytes]:
    """The objects that go together, by kind."""
    objects = {kind: segmentation(kind, mine, result, source, settings) for kind, mine in segmented.items()}
    for kind in settings.report.what:
        if kind == "sr":
            objects[source.report] = sr
        elif kind == "page":
            objects[kind] = secondary_capture(page.pixels_yxc, result, source, settings)
        elif kind == "pdf":
            objects[kind] = encapsulated_pdf(page.pdf, result, source, settings)
        elif kind == "key_slices":
            drawn = key_slices(result, source, panels, settings)
            if drawn is not None:
                objects[kind] = _checked(drawn, None)
    for name, data in objects.items():
        _check_identity(name, data, source)
    if settings.report.reject_superseded:
        note = rejection_note(result, source, settings)
        if note is not None:
            objects["rejection"] = note
    return objects


def _segmented(
    result: StudyResult, regions: tuple[GridRegion, ...], settings: Settings
) -> Iterator[tuple[str, list[GridRegion]]]:
    """Which segmentations are written, each of which regions: with the report the union of every region that has
    several segments, and if asked for the regions as carried onto T2 and ADC."""
    usable = [region for region in regions if region.geometry.frame_of_reference_uid]
    if "sr" in settings.report.what:
        several = {
            (roi.drawn_on, r, side) for side, part in result.parts() for r, roi in part.rois.items() if is_several(roi)
        }
        for region in usable:
            if (region.sequence, region.role, region.side) in several:
                yield union_kind(region.role, region.side), [region]
    if "seg" in settings.report.what:
        for sequence in SEQUENCES[1:]:
            mine = [region for region in usable if region.sequence == sequence]
            # Sides may have been measured on different series: an object lies on one grid.
            mine = [region for region in mine if region.geometry == mine[0].geometry]
            if mine:
                yield carried_kind(sequence), mine


def _with_objects(
    result: StudyResult,
    source: ReportSource,
    panels: tuple[Panel, ...],
    segmented: Mapping[str, list[GridRegion]],
    settings: Settings,
) -> ReportSource:
    """`source` that knows how the objects of this result are referred to, for they name each other."""
    drawn = [region for mine in segmented.values() for region in mine]
    source = replace(source, pictures=digest_of_panels(panels) + digest_of_regions(drawn))
    key = content_key(result, source, settings)
    classes = {
        "sr": class_of(source.report, settings),
        "page": SECONDARY_CAPTURE,
        "pdf": ENCAPSULATED_PDF,
        "key_slices": COMPREHENSIVE if any(panel.source is not None for panel in panels) else "",
    }
    classes |= dict.fromkeys(segmented, SEGMENTATION)
    kinds = [kind for kind in dict.fromkeys((*settings.report.what, *segmented)) if classes.get(kind)]
    kinds = [kind for kind in kinds if source.what is None or asked_as(kind) in source.what]
    named = {source.report if kind == "sr" else kind: classes[kind] for kind in kinds}
    return replace(source, objects={kind: reference_of(key, kind, c, result, settings) for kind, c in named.items()})


def _pages_and_reports(
    result: StudyResult, sources: list[ReportSource], panels: tuple[Panel, ...], settings: Settings
) -> tuple[dict[bool, Page], list[bytes]]:
    """The page in both its forms, with and without the words on a corrected patient as they are needed; and the report
    of each source where one is wanted (else nothing). Cores share the work."""
    shown = {s.corrected_patient: replace(s, patient_study=readable(s.patient_study)) for s in reversed(sources)}
    sheets = {words: drawn(result, s, panels, settings) for words, s in shown.items()}
    works = [partial(_as_text, write, sheet) for sheet in sheets.values() for write in (pdf_of, png_of)]
    if "sr" in settings.report.what:
        works += [partial(_as_text, _report, result, source, settings) for source in sources]
    made = [b64decode(str(text)) for text in share(works, cores_for(settings.work))]
    pages = {words: Page.of(made[2 * i + 1], made[2 * i]) for i, words in enumerate(sheets)}
    return pages, made[2 * len(sheets) :] or [b""] * len(sources)


def _report(result: StudyResult, source: ReportSource, settings: Settings) -> bytes:
    write = basic_text_report if class_of(source.report, settings) == BASIC_TEXT else structured_report
    return _checked(write(result, source, settings), result)


def _as_text(write: Callable[..., bytes], *given: object) -> Json:
    """Bytes as what one process can tell another."""
    return b64encode(write(*given)).decode("ascii")


def _checked(sr: bytes, result: StudyResult | None) -> bytes:
    findings = check_report(sr, result)
    if findings:
        faults = "; ".join(str(finding) for finding in findings[:3])
        raise ReportRejected(f"the report failed its own check and is not sent: {faults}")
    return sr


def _check_identity(kind: str, data: bytes, source: ReportSource) -> None:
    """Raises ReportRejected where an object does not say whose it is as the source does."""
    findings = check_identity(data, source.patient_study)
    if findings:
        faults = "; ".join(str(finding) for finding in findings[:3])
        raise ReportRejected(f"the {kind} cannot say whose it is and is not sent: {faults}", uid=source.study_uid)


def _check_lengths(source: ReportSource) -> None:
    """Raises ReportRejected for a value that no data element can hold."""
    for element in source.patient_study:
        if element.VR != "SQ" and len(raw_bytes(str(element.value))) > MOST_ELEMENT_BYTES:
            raise ReportRejected(f"{element.keyword} of the source is longer than a data element", uid=source.study_uid)

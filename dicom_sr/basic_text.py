"""The report as Basic Text SR, for archives that take nothing richer: plain lines, the conclusion first."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from config.schema import Settings
from dicom_sr import codes, common_attributes, content_items, sentences
from dicom_sr.document import document, observer, procedure
from dicom_sr.language import Words, words_of
from dicom_sr.plain_reasons import region_words
from dicom_sr.report_source import ReportSource
from dicom_sr.sop_classes import BASIC_TEXT
from pipeline.records import Side
from pipeline.result import Part, StudyResult


def basic_text_report(result: StudyResult, source: ReportSource, settings: Settings) -> bytes:
    """The report as a DICOM file. Deterministic."""
    ds = common_attributes.start(result, source, settings, source.report, BASIC_TEXT, "SR")
    ds.SeriesDescription = common_attributes.described(result, "what_report", settings)
    document(ds, result, source, settings)
    # Nothing in it is said in a code of our own.
    del ds.CodingSchemeIdentificationSequence
    for element in content_items.plain(_root(result, source, settings)):
        if element.keyword != "RelationshipType":
            ds.add(element)
    return common_attributes.to_bytes(ds, source)


def _root(result: StudyResult, source: ReportSource, settings: Settings) -> Dataset:
    """TID 2000 "Basic Diagnostic Imaging Report" (PS3.16), whose title is of CID 7000 and headings are of CID 7001."""
    say = words_of(settings)
    root = content_items.container(codes.TITLE_BASIC_TEXT, "2000", relation=None)
    done = content_items.code(codes.PROCEDURE_REPORTED, procedure(source), content_items.MODIFIER)
    content_items.add(root, done, content_items.code(codes.LANGUAGE, say.code, content_items.MODIFIER))
    content_items.add(root, *observer(result, settings))
    conclusions = content_items.container(codes.CONCLUSIONS)
    for side, part in result.parts():
        content_items.add(
            conclusions, content_items.text(codes.CONCLUSION, sentences.conclusion(result, side, part, say))
        )
    content_items.add(root, conclusions)
    lines = list(_lines(result, source, say))
    if lines:
        findings = content_items.container(codes.FINDINGS)
        content_items.add(findings, *(content_items.text(codes.FINDING, line) for line in lines))
        content_items.add(root, findings)
    return root


def _lines(result: StudyResult, source: ReportSource, say: Words) -> Iterator[str]:
    """What stands below the conclusions, one sentence each."""
    for side, part in result.parts():
        yield from _regions(side, part, say)
    yield from filter(
        None,
        (
            say("other_patient") if source.corrected_patient else "",
            sentences.change(result, say),
            sentences.absent(result, say),
            sentences.left_out(result, say),
            sentences.checks_failed(result, say),
        ),
    )
    yield say("of_signature", signature=common_attributes.signature_name(result))


def _regions(side: Side | None, part: Part, say: Words) -> Iterator[str]:
    where = sentences.of_side(side, say)
    for role, roi in sorted(part.rois.items(), reverse=True):
        volume = f"{roi.volume_mm3 / 1000:.4g}"
        line = say("region_line", where=where, region=region_words(role, say), volume=volume, count=roi.count)
        yield say("full_stop", sentence=line[:1].upper() + line[1:])

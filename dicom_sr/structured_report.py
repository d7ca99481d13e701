"""The Structured Report: TID 1500 "Measurement Report" (PS3.16), prediction first, then each ROI.

Every measurement group is TID 1411 (volumetric ROI) and refers to the segment it is about. Where a ROI comes from an
object without segments (RTSTRUCT), every group is TID 1501 instead: validators refuse a mixture of the two.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from config.schema import Settings
from dicom_sr import codes, common_attributes, content_items, sentences
from dicom_sr.document import algorithm, document, observer, procedure
from dicom_sr.language import words_of
from dicom_sr.measurement_groups import GroupContext, all_segmented, predictions, regions
from dicom_sr.report_classes import class_of
from dicom_sr.report_source import ReportSource
from pipeline.result import StudyResult


def structured_report(result: StudyResult, source: ReportSource, settings: Settings) -> bytes:
    """The report as a DICOM file. Deterministic. An exam that was not evaluated gets a report that says why."""
    ds = common_attributes.start(result, source, settings, source.report, class_of(source.report, settings), "SR")
    ds.SeriesDescription = common_attributes.described(result, "what_report", settings)
    document(ds, result, source, settings)
    context = GroupContext(result, source, settings, "1411" if all_segmented(result) else "1501", ds.SOPInstanceUID)
    for element in content_items.plain(_root(context)):
        if element.keyword != "RelationshipType":
            ds.add(element)
    return common_attributes.to_bytes(ds, source)


def _root(context: GroupContext) -> Dataset:
    say = words_of(context.settings)
    root = content_items.container(codes.TITLE, "1500", relation=None)
    content_items.add(root, content_items.code(codes.LANGUAGE, say.code, content_items.MODIFIER))
    content_items.add(root, *observer(context.result, context.settings))
    done = procedure(context.source)
    content_items.add(root, content_items.code(codes.PROCEDURE_REPORTED, done, content_items.MODIFIER))
    groups = [*predictions(context), *regions(context)]
    if groups:
        measurements = content_items.container(codes.MEASUREMENTS)
        content_items.add(measurements, *algorithm(context.result, say))
        content_items.add(measurements, *groups)
        content_items.add(root, measurements)
    content_items.add(root, _evaluations(context))
    return root


def _evaluations(context: GroupContext) -> Dataset:
    """Risk category and conclusion, under the root: viewers show a TEXT there, and no children of a NUM."""
    result, say = context.result, words_of(context.settings)
    group = content_items.container(codes.QUALITATIVE)
    parts = list(result.parts())
    if result.preliminary:
        content_items.add(group, content_items.code(codes.RESULT_STATUS, codes.PRELIMINARY))
    for side, part in parts:
        if part.prediction is not None:
            name = codes.RISK_CATEGORY[side if result.sides else None]
            content_items.add(group, content_items.code(name, codes.RISK[part.prediction.category]))
    for side, part in parts:
        content_items.add(group, content_items.text(codes.CONCLUSION, sentences.conclusion(result, side, part, say)))
    comments = (
        say("other_patient") if context.source.corrected_patient else "",
        sentences.change(result, say),
        sentences.absent(result, say),
        sentences.left_out(result, say),
        sentences.checks_failed(result, say),
    )
    content_items.add(group, *(content_items.text(codes.COMMENT, comment) for comment in comments if comment))
    return group

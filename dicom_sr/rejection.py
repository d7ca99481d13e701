"""A rejection note: tells archives to hide the objects of a superseded revision (IHE IOCM; PS3.16 TID 2010).

An option: archives that do not know rejection notes show it as one more document.
"""

from __future__ import annotations

from config.schema import Settings
from dicom_sr import codes, common_attributes, content_items
from dicom_sr.document import observer
from dicom_sr.language import words_of
from dicom_sr.report_source import ReportSource
from dicom_sr.sop_classes import KEY_OBJECT_SELECTION
from pipeline.result import StudyResult


def rejection_note(result: StudyResult, source: ReportSource, settings: Settings) -> bytes | None:
    """A Key Object Selection that rejects what was delivered before; None where nothing was."""
    old = source.superseded or ((source.predecessor,) if source.predecessor is not None else ())
    if not old:
        return None
    ds = common_attributes.start(result, source, settings, "rejection", KEY_OBJECT_SELECTION, "KO")
    say = words_of(settings)
    ds.SeriesDescription = say("rejection_description", number=result.revision)
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CodingSchemeIdentificationSequence = [common_attributes.coding_scheme(settings)]
    ds.CurrentRequestedProcedureEvidenceSequence = common_attributes.evidence(old)
    root = content_items.container(codes.REJECTED, "2010", relation=None)
    content_items.add(root, content_items.code(codes.TITLE_MODIFIER, codes.SUPERSEDED, content_items.MODIFIER))
    content_items.add(root, content_items.code(codes.LANGUAGE, say.code, content_items.MODIFIER))
    content_items.add(root, *observer(result, settings))
    sentences = [say("issued_under_another")] if source.corrected_patient else []
    words = say.listed((*sentences, say("superseded")), "gap")
    content_items.add(root, content_items.text(codes.KEY_OBJECT_DESCRIPTION, words))
    for ref in sorted(old):
        content_items.add(root, content_items.composite(codes.REJECTED, ref))
    for element in content_items.plain(root):
        if element.keyword != "RelationshipType":
            ds.add(element)
    for item in ds.ContentSequence:
        if item.ValueType == "COMPOSITE":
            # highdicom wants a name; TID 2010 has none here.
            del item.ConceptNameCodeSequence
    return common_attributes.to_bytes(ds, source)

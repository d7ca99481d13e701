"""A rejection note: tells archives to hide the objects of a superseded revision (IHE IOCM; PS3.16 TID 2010).

An option: archives that do not know rejection notes show it as one more document.
"""

from __future__ import annotations

from config.schema import Settings
from dicom_sr import codes, header, items
from dicom_sr.report import observer
from dicom_sr.source import ReportSource
from pipeline.result import StudyResult

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"


def rejection_note(result: StudyResult, source: ReportSource, settings: Settings) -> bytes | None:
    """A Key Object Selection that rejects what was delivered before; None where nothing was."""
    old = source.superseded or ((source.predecessor,) if source.predecessor is not None else ())
    if not old:
        return None
    ds = header.start(result, source, settings, "rejection", KEY_OBJECT_SELECTION, "KO")
    ds.SeriesNumber = 9905
    ds.SeriesDescription = "axrad: superseded results"
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CodingSchemeIdentificationSequence = [header.coding_scheme(settings)]
    ds.CurrentRequestedProcedureEvidenceSequence = header.evidence(old)
    root = items.container(codes.REJECTED, "2010", relation=None)
    items.add(root, items.code(codes.TITLE_MODIFIER, codes.SUPERSEDED, items.MODIFIER))
    items.add(root, items.code(codes.LANGUAGE, codes.ENGLISH, items.MODIFIER))
    items.add(root, *observer(result, settings))
    words = "Superseded by a newer revision of the same analysis; please use that one."
    if source.corrected_patient:
        words = f"Issued under another Patient ID. {words}"
    items.add(root, items.text(codes.KEY_OBJECT_DESCRIPTION, words))
    for ref in sorted(old):
        items.add(root, items.composite(codes.REJECTED, ref))
    for element in items.plain(root):
        if element.keyword != "RelationshipType":
            ds.add(element)
    for item in ds.ContentSequence:
        if item.ValueType == "COMPOSITE":
            # highdicom wants a name; TID 2010 has none here.
            del item.ConceptNameCodeSequence
    return header.to_bytes(ds, source)

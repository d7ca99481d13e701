"""A reader's verdict in a Structured Report that comes back: which of our objects it is about, agree or disagree.

Nobody's template is required. What counts: the report refers to an object of ours (in its content tree or its
evidence), and somewhere says so in a code of CID 3217 (PS3.16: Agreement or Disagreement with prior findings), or
answers a question about agreement, assessment or acceptance with a plain word. A report that only lists our result as
evidence says nothing of it. Free text is read for nothing else and not kept: it may name the patient.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydicom
from pydicom.dataset import Dataset

from daemon.spool import is_uid
from pipeline.catalog import patient_key
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED
from pipeline.dicom_file.text_values import text_of
from pipeline.errors import NotDicom

Verdict = Literal["agree", "disagree", "unclear"]

SR_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced
    "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D
    "1.2.840.10008.5.1.4.1.1.88.35",  # Extensible
)
CODES: dict[tuple[str, str], Verdict] = {("122775", "DCM"): "agree", ("122776", "DCM"): "disagree"}
# Words in the name of a question that asks for something else.
CATEGORIES = ("category", "bi-rads", "birads", "分类")
# Words in the name of a question, and whole answers to it, in lower case.
QUESTIONS = ("agree", "assessment", "accept", "feedback", "verdict", "review of", "同意", "评价", "复核")
ANSWERS: dict[str, Verdict] = {
    **dict.fromkeys(("agree", "agreed", "accept", "accepted", "confirmed", "correct", "同意", "正确"), "agree"),
    **dict.fromkeys(
        ("disagree", "disagreed", "reject", "rejected", "not confirmed", "incorrect", "不同意", "错误"), "disagree"
    ),
    # Neither: what of it is right is not told.
    **dict.fromkeys(("modify", "modified", "partially agree", "partial agreement", "uncertain", "修改"), "unclear"),
}
# Before an answer: what it is about.
ABOUT_THE_RESULT = ("ai result ", "result ")
# These mean something only as the answer to "Do you agree …?".
SHORT_ANSWERS: dict[str, Verdict] = {"yes": "agree", "no": "disagree", "是": "agree", "否": "disagree"}
SIDES = {("7771000", "SCT"): "L", ("24028007", "SCT"): "R", ("G-A101", "SRT"): "L", ("G-A100", "SRT"): "R"}
# Where a report refers to objects.
REFERRING = (
    "ContentSequence",
    "CurrentRequestedProcedureEvidenceSequence",
    "PertinentOtherEvidenceSequence",
    "ReferencedSOPSequence",
)
PERSON_OBSERVER = ("121008", "DCM")
MAX_AUTHOR = 128
MAX_DEPTH = 32
MAX_REPORT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one report says. `verdicts` by side (L, R, or empty: the whole exam); `about`: every object it refers to.

    `author`: who wrote it, as it claims; nothing proves that. `patient_id_key`: a digest of its patient's id
    without the issuer.
    """

    document: str
    about: frozenset[str]
    replaces: frozenset[str]
    verdicts: dict[str, Verdict]
    author: str = ""
    patient_id_key: str = ""


def read_assessment(path: Path) -> Assessment | None:
    """The assessment in a file, or None if it says nothing of agreement. Raises NotDicom if it cannot be read."""
    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            return None
        with warnings.catch_warnings():
            # pydicom's warnings quote values, which may be a patient's.
            warnings.simplefilter("ignore")
            return assessment_of(bounded_reading.read(path, force=True))
    except MALFORMED as error:
        raise NotDicom("a report that came back cannot be read", code="feedback-unreadable") from error


def assessment_of(report: Dataset) -> Assessment | None:
    """The same of a data set."""
    verdicts: dict[str, set[Verdict]] = {}
    for side, verdict in _verdicts(report, "", 0):
        verdicts.setdefault(side, set()).add(verdict)
    if not verdicts:
        return None
    replaces = frozenset(references(report.get("PredecessorDocumentsSequence")))
    about = frozenset(uid for keyword in REFERRING for uid in references(report.get(keyword)))
    return Assessment(
        str(report.get("SOPInstanceUID", "")),
        about,
        replaces,
        {side: next(iter(of_side)) if len(of_side) == 1 else "unclear" for side, of_side in verdicts.items()},
        claimed_author(report),
        patient_key(text_of(report, "PatientID"), ""),
    )


def claimed_author(report: Dataset) -> str:
    """Who verified it, else who wrote it, else the person that its content names as observer."""
    for keyword, name in (
        ("VerifyingObserverSequence", "VerifyingObserverName"),
        ("AuthorObserverSequence", "PersonName"),
    ):
        for person in items_of(report.get(keyword), 0):
            if author := text_of(person, name):
                return author[:MAX_AUTHOR]
    for item in items_of(report.get("ContentSequence"), 0):
        if code_of(item, "ConceptNameCodeSequence") == PERSON_OBSERVER and (author := text_of(item, "PersonName")):
            return author[:MAX_AUTHOR]
    return ""


def references(sequence: object, depth: int = 0) -> Iterator[str]:
    """Every Referenced SOP Instance UID in a sequence, at any depth."""
    for item in items_of(sequence, depth):
        uid = str(item.get("ReferencedSOPInstanceUID") or "")
        if is_uid(uid):
            yield uid
        for keyword in ("ReferencedSeriesSequence", "ReferencedSOPSequence", "ContentSequence"):
            yield from references(item.get(keyword), depth + 1)


def _verdicts(node: Dataset, side: str, depth: int) -> Iterator[tuple[str, Verdict]]:
    """Depth first; a laterality among an item's children holds for the item and all below it."""
    children = list(items_of(node.get("ContentSequence"), depth))
    side = next((s for child in children if (s := SIDES.get(code_of(child, "ConceptCodeSequence")))), side)
    verdict = verdict_of(node)
    if verdict is not None:
        yield side, verdict
    for child in children:
        yield from _verdicts(child, side, depth + 1)


def verdict_of(item: Dataset) -> Verdict | None:
    """What one content item says by itself."""
    kind = item.get("ValueType")
    if kind == "CODE":
        coded = CODES.get(code_of(item, "ConceptCodeSequence"))
        return coded or _answer(item, _meaning(item, "ConceptCodeSequence"))
    if kind == "TEXT":
        return _answer(item, str(item.get("TextValue", "")).strip().rstrip(".。").lower())
    return None


def is_not_understood(item: Dataset) -> bool:
    """Whether a content item answers a question about agreement in words or a code that mean nothing here.

    An assessment category of the breast is another matter.
    """
    if verdict_of(item) is not None or item.get("ValueType") not in ("CODE", "TEXT"):
        return False
    question = _meaning(item, "ConceptNameCodeSequence")
    return any(word in question for word in QUESTIONS) and not any(word in question for word in CATEGORIES)


def _answer(item: Dataset, answer: str) -> Verdict | None:
    question = _meaning(item, "ConceptNameCodeSequence")
    if not any(word in question for word in QUESTIONS):
        return None
    for words in ABOUT_THE_RESULT:
        answer = answer.removeprefix(words)
    if ("agree" in question and "disagree" not in question) or "同意" in question:
        return ANSWERS.get(answer) or SHORT_ANSWERS.get(answer)
    return ANSWERS.get(answer)


def items_of(sequence: object, depth: int) -> Iterator[Dataset]:
    """Those of a sequence that is not too deep."""
    if depth <= MAX_DEPTH and isinstance(sequence, pydicom.Sequence):
        yield from sequence


def code_of(item: Dataset, keyword: str) -> tuple[str, str]:
    """Value and scheme of the first code; empty where there is none."""
    for code in items_of(item.get(keyword), 0):
        return str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", ""))
    return "", ""


def _meaning(item: Dataset, keyword: str) -> str:
    for code in items_of(item.get(keyword), 0):
        return str(code.get("CodeMeaning", "")).strip().lower()
    return ""

"""Reads a finished report back from its bytes and says everything that is wrong with it.

Done before anything is sent: what arrives must be what was computed, and readable by others.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from dicom_sr import codes, feature_codes
from dicom_sr.checks.against_result import compare, compare_words
from dicom_sr.checks.finding import Finding
from dicom_sr.language import LANGUAGES, words_in
from dicom_sr.sop_classes import BASIC_TEXT, COMPREHENSIVE, COMPREHENSIVE_3D, ENHANCED
from pipeline.errors import NotDicom
from pipeline.records import SEQUENCES, Code
from pipeline.result import StudyResult

__all__ = ["Finding", "check_report"]

_DS = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FLAGS = {"CompletionFlag": "COMPLETE", "VerificationFlag": "UNVERIFIED", "PreliminaryFlag": "PRELIMINARY"}
# Codes of PS3.16 that say that there is disease (CID 6033 and what else a breast report could say so with).
ASSERT_DISEASE = frozenset(
    [("DCM", v) for v in ("111300", "111301", "111322", "111330", "111333")]
    + [("SCT", v) for v in ("127189005", "94392001", "128462008", "14799000", "363346000", "86049000", "254837009")]
)


@dataclass(frozen=True, slots=True)
class _Item:
    """A content item and where it stands, as `1.4.2`."""

    ds: Dataset
    place: str

    @property
    def name(self) -> tuple[str, str] | None:
        names = self.ds.get("ConceptNameCodeSequence")
        return _pair(names[0]) if names else None


def check_report(sr: bytes, result: StudyResult | None = None) -> list[Finding]:
    """All findings, none if the report is right; with `result`, every number and sentence is held against it.

    Raises NotDicom if the bytes are no DICOM file at all.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(io.BytesIO(sr))
            ds.decode()
            items = list(_walk(ds, "1"))
    except (InvalidDicomError, EOFError, ValueError, TypeError, AttributeError, NotImplementedError, OSError) as error:
        raise NotDicom("the report is not a DICOM file that can be read") from error
    if ds.get("Modality") != "SR" or not ds.get("ConceptNameCodeSequence"):
        return [Finding("no-report", "this is not a structured report")]
    findings = [*_document(ds), *_content(items), *_coded(ds, items), *_numbers(items), *_references(ds, items)]
    if result is not None:
        findings += (compare_words if ds.get("SOPClassUID") == BASIC_TEXT else compare)(ds, result)
    return findings


def _walk(ds: Dataset, place: str) -> Iterator[_Item]:
    yield _Item(ds, place)
    for i, child in enumerate(ds.get("ContentSequence") or (), 1):
        yield from _walk(child, f"{place}.{i}")


def _pair(code: Dataset) -> tuple[str, str]:
    return str(code.get("CodingSchemeDesignator", "")), str(code.get("CodeValue", ""))


def _document(ds: Dataset) -> Iterator[Finding]:
    if ds.get("SOPClassUID") not in (COMPREHENSIVE_3D, COMPREHENSIVE, ENHANCED, BASIC_TEXT):
        yield Finding("sop-class", f"the SOP class is {ds.get('SOPClassUID')}, not one of a report")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not UID(str(ds.get(keyword, ""))).is_valid:
            yield Finding("uid", f"{keyword} is no valid UID")
    for keyword in ("SeriesDescription", "Manufacturer", "ManufacturerModelName", "SoftwareVersions"):
        if not ds.get(keyword):
            yield Finding("missing", f"{keyword} is empty")
    for keyword, wanted in _FLAGS.items():
        if ds.get(keyword) != wanted:
            yield Finding("flag", f"{keyword} is {ds.get(keyword)}, not {wanted}")
    title = _pair(ds.ConceptNameCodeSequence[0])
    if title not in {(c.scheme, c.value) for c in (codes.TITLE, codes.TITLE_BASIC_TEXT, codes.TITLE_KEY_SLICES)}:
        yield Finding("title", f"the document title is {title}")
    if ds.file_meta.get("MediaStorageSOPInstanceUID") != ds.get("SOPInstanceUID"):
        yield Finding("file-meta", "the file meta information names another instance than the data set")


def _content(items: list[_Item]) -> Iterator[Finding]:
    """What viewers need: named values, tracking UIDs, a sentence that stands alone."""
    for item in items:
        kind = item.ds.get("ValueType")
        if kind == "CONTAINER" and item.ds.get("ContinuityOfContent") != "SEPARATE":
            yield Finding(
                "continuity", "a container is not SEPARATE: viewers print its values without names", item.place
            )
        if kind == "TEXT" and not item.ds.get("TextValue"):
            yield Finding("text", "a TEXT is empty", item.place)
        if kind == "UIDREF" and not UID(str(item.ds.get("UID", ""))).is_valid:
            yield Finding("uid", "a UIDREF is no valid UID", item.place)
        if item.name == ("DCM", codes.GROUP.value):
            names = {_Item(child, "").name for child in item.ds.get("ContentSequence") or ()}
            if ("DCM", codes.TRACKING_UID.value) not in names:
                yield Finding("tracking", "a measurement group has no tracking unique identifier", item.place)
    conclusions = [i for i in items if i.name == ("DCM", codes.CONCLUSION.value)]
    if items[0].name != ("DCM", codes.TITLE_KEY_SLICES.value) and not conclusions:
        yield Finding("conclusion", "the report has no conclusion in words")


def table() -> dict[tuple[str, str], str]:
    """Every code that a report may hold, with its meaning."""
    every: list[Code] = [*feature_codes.public_and_private(), *feature_codes.units()]
    for value in vars(codes).values():
        if isinstance(value, Code):
            every.append(value)
        elif isinstance(value, dict):
            every += [c for c in value.values() if isinstance(c, Code)]
    every += [words_in(name).code for name in LANGUAGES]
    filters = ("original", *(f"wavelet-{a}{b}{c}" for a in "LH" for b in "LH" for c in "LH"))
    every += [feature_codes.method(sequence, name) for sequence in SEQUENCES for name in filters]
    return {(c.scheme, c.value): c.meaning for c in every}


def _coded(ds: Dataset, items: list[_Item]) -> Iterator[Finding]:
    known = table()
    declared = {str(i.get("CodingSchemeDesignator")) for i in ds.get("CodingSchemeIdentificationSequence") or ()}
    procedures = [i.ds for i in items if i.name == ("DCM", codes.PROCEDURE_REPORTED.value)]
    copied = [code for item in procedures for code in item.get("ConceptCodeSequence") or ()]
    for element in ds.iterall():
        if element.VR != "SQ":
            continue
        for item in element.value:
            if "CodeMeaning" not in item or element.keyword in _COPIED or any(item is one for one in copied):
                continue
            pair = _pair(item)
            if pair in ASSERT_DISEASE:
                yield Finding("asserts-disease", f"{pair} {item.CodeMeaning} states a disease")
            elif pair not in known:
                yield Finding("code", f"{pair} {item.CodeMeaning} is not a code that axrad uses")
            elif item.CodeMeaning != known[pair]:
                yield Finding("meaning", f"{pair} means {known[pair]!r}, the report says {item.CodeMeaning!r}")
            if pair[0].startswith("99") and pair[0] not in declared:
                yield Finding("scheme", f"the private coding scheme {pair[0]} is not identified")


# Code sequences that come from the source, whatever they hold.
_COPIED = {
    "ProcedureCodeSequence",
    "RequestedProcedureCodeSequence",
    "DeidentificationMethodCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
}


def _numbers(items: list[_Item]) -> Iterator[Finding]:
    for item in items:
        if item.ds.get("ValueType") != "NUM":
            continue
        for measured in item.ds.get("MeasuredValueSequence") or ():
            text = str(getattr(measured.NumericValue, "original_string", None) or measured.NumericValue)
            if len(text) > 16 or not _DS.fullmatch(text):
                yield Finding("decimal-string", f"{text!r} is no decimal string of 16 characters", item.place)
                continue
            exact = measured.get("FloatingPointValue")
            if not math.isfinite(float(text)) or (exact is not None and not math.isfinite(exact)):
                yield Finding("not-finite", "a number is not finite", item.place)
            elif exact is not None and not math.isclose(float(text), exact, **_tolerance(item, text)):
                yield Finding("rounding", f"{text} is not {exact!r} rounded", item.place)


def _tolerance(item: _Item, text: str) -> dict[str, float]:
    """Six significant digits; of probability and cutoff as many as are written."""
    in_percent = item.name in {(c.scheme, c.value) for c in (codes.PROBABILITY, codes.CUTOFF)}
    decimals = len(text.partition(".")[2])
    return {"rel_tol": 5.1e-6, "abs_tol": 0.501 * 10.0**-decimals if in_percent else 1e-300}


def _references(ds: Dataset, items: list[_Item]) -> Iterator[Finding]:
    """Every object that the content refers to is in the evidence, with the same SOP class."""
    listed: dict[str, str] = {}
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in ds.get(keyword) or ():
            for series in study.ReferencedSeriesSequence:
                for sop in series.ReferencedSOPSequence:
                    if sop.ReferencedSOPInstanceUID in listed:
                        yield Finding("evidence", f"{sop.ReferencedSOPInstanceUID} is listed twice as evidence")
                    listed[sop.ReferencedSOPInstanceUID] = sop.ReferencedSOPClassUID
    for item in items:
        for sop in item.ds.get("ReferencedSOPSequence") or ():
            uid = sop.ReferencedSOPInstanceUID
            if uid not in listed:
                yield Finding("reference", f"{uid} is referred to but not listed as evidence", item.place)
            elif listed[uid] != sop.ReferencedSOPClassUID:
                yield Finding("reference", f"{uid} is referred to with two SOP classes", item.place)

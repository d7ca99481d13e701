"""A report as plain text, for a terminal: the content tree in its own words, indented."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset

# Identifiers and references that mean nothing to a reader.
SILENT = {"UIDREF", "IMAGE", "COMPOSITE"}


def report_text(data: bytes) -> str:
    """One line per content item that a person reads."""
    report = pydicom.dcmread(BytesIO(data))
    return "\n".join([report.ConceptNameCodeSequence[0].CodeMeaning, *_lines(report, 1)])


def _lines(parent: Dataset, depth: int) -> Iterator[str]:
    for item in parent.get("ContentSequence") or ():
        if item.ValueType in SILENT:
            continue
        name = item.ConceptNameCodeSequence[0].CodeMeaning if item.get("ConceptNameCodeSequence") else ""
        value = _value(item)
        if value or item.ValueType == "CONTAINER":
            yield "  " * depth + (f"{name}: {value}" if value else name)
        if item.ValueType != "NUM":
            yield from _lines(item, depth + 1)


def _value(item: Dataset) -> str:
    if item.ValueType == "TEXT":
        return str(item.TextValue)
    if item.ValueType == "CODE":
        return str(item.ConceptCodeSequence[0].CodeMeaning)
    if item.ValueType == "NUM" and item.get("MeasuredValueSequence"):
        measured = item.MeasuredValueSequence[0]
        # UCUM writes what is counted as {nodes}, and no unit as 1.
        unit = str(measured.MeasurementUnitsCodeSequence[0].CodeValue).strip("{}")
        return str(measured.NumericValue) if unit == "1" else f"{measured.NumericValue} {unit}"
    return ""

"""Texts of a header in which people write freely, and so may write a name: what is kept of them, and for how long."""

from __future__ import annotations

from typing import Any  # Any: values of JSON

# Read once, when an instance comes: which exams are urgent. They are never kept.
READ_ON_ARRIVAL = ("StationName", "InstitutionalDepartmentName", "RequestingService")
# Read while an exam is judged, as whether it is one of the breasts, or measured. They go with its files.
READ_WITH_THE_FILES = (
    "StudyDescription",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
    "ReceiveCoilName",
    "SoftwareVersions",
)


def to_keep(document: dict[str, Any]) -> dict[str, Any]:
    """The facts of an instance, as JSON, without what nobody reads once it has come."""
    return _without(document, READ_ON_ARRIVAL)


def after_the_files(document: dict[str, Any]) -> dict[str, Any]:
    """The facts of an instance whose file was cleaned away: without descriptions, and segments without their labels."""
    remaining = _without(document, (*READ_ON_ARRIVAL, *READ_WITH_THE_FILES))
    if "segments" in remaining:
        remaining["segments"] = [{**segment, "label": ""} for segment in remaining["segments"]]
    return remaining


def _without(document: dict[str, Any], keywords: tuple[str, ...]) -> dict[str, Any]:
    tags = document.get("tags")
    if not isinstance(tags, dict):
        return dict(document)
    return {**document, "tags": {name: value for name, value in tags.items() if name not in keywords}}

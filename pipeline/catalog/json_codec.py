"""Facts to JSON and back, for the ledger. Absent fields are left out; unknown ones are an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any  # Any: values of JSON

from pipeline.catalog.facts import InstanceFacts, SegmentFacts
from pipeline.records import Code, InstanceRef


def facts_to_json(facts: InstanceFacts) -> dict[str, object]:
    """A document of plain JSON types. The path is not part of it: where a file lies is the spool's matter."""
    document: dict[str, object] = {
        "ref": _ref_to_json(facts.ref),
        "modality": facts.modality,
        "transfer_syntax_uid": facts.transfer_syntax_uid,
        "patient_key": facts.patient_key,
        "frame_of_reference_uid": facts.frame_of_reference_uid,
        "frames": facts.frames,
        "tags": dict(facts.tags),
        "ours": facts.ours,
    }
    if facts.references:
        document["references"] = [_ref_to_json(r) for r in facts.references]
    if facts.segments:
        document["segments"] = [_segment_to_json(s) for s in facts.segments]
    return document


def facts_from_json(document: dict[str, Any], path: Path | None = None) -> InstanceFacts:
    """The facts that `facts_to_json` wrote.

    Raises:
        ValueError: the document is not one of ours.
    """
    try:
        fields = dict(document)
        return InstanceFacts(
            ref=InstanceRef(*fields.pop("ref")),
            references=tuple(InstanceRef(*r) for r in fields.pop("references", ())),
            segments=tuple(_segment_from_json(s) for s in fields.pop("segments", ())),
            path=path,
            **fields,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"these are no facts of an instance: {error}") from error


def _ref_to_json(ref: InstanceRef) -> list[str]:
    return [ref.study_uid, ref.series_uid, ref.sop_class_uid, ref.sop_instance_uid]


def _segment_to_json(segment: SegmentFacts) -> dict[str, object]:
    document: dict[str, object] = {"number": segment.number, "label": segment.label}
    for name in ("property_category", "property_type", "anatomy"):
        code: Code | None = getattr(segment, name)
        if code is not None:
            document[name] = [code.value, code.scheme, code.meaning]
    if segment.algorithm_type:
        document["algorithm_type"] = segment.algorithm_type
    return document


def _segment_from_json(document: dict[str, Any]) -> SegmentFacts:
    codes = {
        name: Code(*document[name]) for name in ("property_category", "property_type", "anatomy") if name in document
    }
    made = str(document.get("algorithm_type", ""))
    return SegmentFacts(document["number"], document["label"], **codes, algorithm_type=made)

"""The report held against the result that it was made from: every number, both ways, and every sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_sr import codes, feature_codes, sentences
from dicom_sr.checks.finding import Finding
from dicom_sr.language import ENGLISH, LANGUAGES, Words, words_in
from pipeline.records import Code, Role, Side
from pipeline.result import NodeSummary, Part, StudyResult

_PREDICTION = "prediction"
_ROLE_OF_FINDING: dict[str, Role] = {
    codes.MASS.value: "tumor",
    codes.NON_MASS.value: "tumor",
    codes.LESION.value: "tumor",
    codes.AXILLARY_NODE.value: "lymph_nodes",
}


@dataclass(frozen=True, slots=True)
class _Key:
    """What a number is: whose side, which region, measured how, what, and of which lymph node (0: of all)."""

    side: Side | None
    role: str
    method: str
    concept: str
    node: int = 0


def compare(ds: Dataset, result: StudyResult) -> Iterator[Finding]:
    """Findings where `ds` and `result` say different things."""
    if ds.get("StudyInstanceUID") != result.study_uid:
        yield Finding("study", "the report is of another study than the result")
    known = {key: value for side, part in result.parts() for key, value in _expected(side, part).items()}
    required = {key for side, part in result.parts() for key in _required(side, part)}
    seen = set()
    for place, key, value in _reported(ds):
        if key in seen:
            yield Finding("twice", f"{key.concept} of {key.role} is reported twice", place)
        seen.add(key)
        if key not in known:
            yield Finding("unknown-number", f"{key.concept} of {key.role} is not a number of the result", place)
        elif not math.isclose(value, known[key], rel_tol=1e-12, abs_tol=0.0):
            message = f"{key.concept} of {key.role} is {value!r}, the result says {known[key]!r}"
            yield Finding("number", message, place)
    for key in sorted(required - seen, key=str):
        yield Finding("absent", f"{key.concept} of {key.role} is not in the report")
    yield from _words(ds, result)
    yield from _evidence(ds, result)


def compare_words(ds: Dataset, result: StudyResult) -> Iterator[Finding]:
    """The same of a report in plain lines, which holds no numbers and codes of its own."""
    if ds.get("StudyInstanceUID") != result.study_uid:
        yield Finding("study", "the report is of another study than the result")
    say = _language(ds)
    texts = [(_name(item), item.get("TextValue", "")) for section in _children(ds) for item in _children(section)]
    written = [text for name, text in texts if name == codes.CONCLUSION.value]
    wanted = [sentences.conclusion(result, side, part, say) for side, part in result.parts()]
    if written != wanted:
        yield Finding("conclusion", f"the conclusion is {written}, the result says {wanted}")
    changed = sentences.change(result, say)
    if changed and (codes.FINDING.value, changed) not in texts:
        yield Finding("change", "the report does not tell what changed since the earlier exam as the result does")
    yield from _evidence(ds, result)


def _expected(side: Side | None, part: Part) -> dict[_Key, float]:
    """Every number that this part could give to a report."""
    numbers: dict[_Key, float] = {}
    if part.prediction is not None:
        numbers[_Key(side, _PREDICTION, "", codes.PROBABILITY.value)] = 100 * part.prediction.probability
        numbers[_Key(side, _PREDICTION, "", codes.CUTOFF.value)] = 100 * part.prediction.cutoff
    for role, roi in part.rois.items():
        numbers[_Key(side, role, "", feature_codes.VOLUME.value)] = roi.volume_mm3
        counted = codes.NODES if role == "lymph_nodes" else codes.LESIONS
        numbers[_Key(side, role, "", counted.value)] = roi.count
        for node in roi.nodes:
            for concept, value in _of_node(node):
                numbers[_Key(side, role, "", concept, node.number)] = value
    for name, value in part.features.items():
        parsed = feature_codes.FeatureName.parse(name)
        coded = feature_codes.concept(parsed) if parsed is not None else None
        if parsed is None or coded is None:
            continue
        method = feature_codes.method(parsed.sequence, parsed.filter).value
        numbers[_Key(side, parsed.role, method, coded[0].value)] = value
        drawn_on = part.rois[parsed.role].drawn_on if parsed.role in part.rois else "t1c"
        if parsed.sequence == drawn_on and parsed.filter == "original" and parsed.family == "shape":
            numbers.setdefault(_Key(side, parsed.role, "", coded[0].value), value)
    return numbers


def _of_node(node: NodeSummary) -> tuple[tuple[str, float], ...]:
    return (
        (codes.NODE_NUMBER.value, node.number),
        (feature_codes.VOLUME.value, node.volume_mm3),
        (codes.LONG_AXIS.value, node.long_axis_mm),
        (codes.SHORT_AXIS.value, node.short_axis_mm),
    )


def _required(side: Side | None, part: Part) -> Iterator[_Key]:
    """Numbers that no report of this part may lack."""
    if part.prediction is not None and part.rois:
        yield _Key(side, _PREDICTION, "", codes.PROBABILITY.value)
        yield _Key(side, _PREDICTION, "", codes.CUTOFF.value)
    for role, roi in part.rois.items():
        yield _Key(side, role, "", feature_codes.VOLUME.value)
        for node in roi.nodes:
            yield from (_Key(side, role, "", concept, node.number) for concept, _ in _of_node(node))
        if role == "lymph_nodes":
            yield _Key(side, role, "", codes.NODES.value)


def _reported(ds: Dataset) -> Iterator[tuple[str, _Key, float]]:
    """Every NUM of every measurement group, as place, key, value."""
    for i, section in enumerate(_children(ds), 1):
        if _name(section) != codes.MEASUREMENTS.value:
            continue
        for j, group in enumerate(_children(section), 1):
            if _name(group) != codes.GROUP.value:
                continue
            side, role, method = _subject(group)
            node = _node(group)
            for k, item in enumerate(_children(group), 1):
                if item.ValueType == "NUM":
                    concept = _name(item)
                    own = concept in (codes.PROBABILITY.value, codes.CUTOFF.value)
                    key = _Key(side, _PREDICTION if own else role, method, concept, node)
                    yield f"1.{i}.{j}.{k}", key, _value(item)


def _node(group: Dataset) -> int:
    """The number of the lymph node that a group is about; 0 where it is about a whole region."""
    numbers = [_value(i) for i in _children(group) if i.ValueType == "NUM" and _name(i) == codes.NODE_NUMBER.value]
    return round(numbers[0]) if numbers else 0


def _subject(group: Dataset) -> tuple[Side | None, str, str]:
    side: Side | None = None
    role, method = "", ""
    for item in _children(group):
        name = _name(item)
        if name == codes.FINDING.value:
            role = _ROLE_OF_FINDING.get(_code(item), "")
        elif name == codes.METHOD.value:
            method = _code(item)
        elif name == codes.FINDING_SITE.value:
            lateralities = [_code(c) for c in _children(item)]
            side = next((s for s, code in codes.SIDES.items() if code.value in lateralities), None)
    return side, role, method


def _name(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _code(item: Dataset) -> str:
    """The coded value of an item; empty where it was cut off."""
    codes_given = item.get("ConceptCodeSequence")
    return str(codes_given[0].get("CodeValue", "")) if codes_given else ""


def _value(item: Dataset) -> float:
    measured = item.MeasuredValueSequence[0]
    exact = measured.get("FloatingPointValue")
    return float(measured.NumericValue if exact is None else exact)


def _words(ds: Dataset, result: StudyResult) -> Iterator[Finding]:
    """Categories and conclusions, in order."""
    say = _language(ds)
    items = [
        item for section in _children(ds) if _name(section) == codes.QUALITATIVE.value for item in _children(section)
    ]
    written = [item.get("TextValue", "") for item in items if _name(item) == codes.CONCLUSION.value]
    wanted = [sentences.conclusion(result, side, part, say) for side, part in result.parts()]
    if written != wanted:
        yield Finding("conclusion", f"the conclusion is {written}, the result says {wanted}")
    changed = sentences.change(result, say)
    if changed and changed not in [item.get("TextValue", "") for item in items if _name(item) == codes.COMMENT.value]:
        yield Finding("change", "the report does not tell what changed since the earlier exam as the result does")
    stated = [_code(item) for item in items if _name(item) == codes.RESULT_STATUS.value]
    if stated != ([codes.PRELIMINARY.value] if result.preliminary else []):
        yield Finding("preliminary", "the report does not say as the result does whether it is preliminary")
    concepts = {code.value for code in codes.RISK_CATEGORY.values()}
    categories = [_code(item) for item in items if _name(item) in concepts]
    answers: list[Code] = [codes.RISK[p.prediction.category] for _, p in result.parts() if p.prediction is not None]
    if categories != [code.value for code in answers]:
        yield Finding("category", "the risk category is not the result's")


def _evidence(ds: Dataset, result: StudyResult) -> Iterator[Finding]:
    listed = {
        sop.ReferencedSOPInstanceUID
        for study in ds.get("CurrentRequestedProcedureEvidenceSequence") or ()
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }
    used = {ref.sop_instance_uid for ref in result.evidence}
    for choice in result.sequences.values():
        used.update(ref.sop_instance_uid for ref in choice.instances)
    for _, part in result.parts():
        for roi in part.rois.values():
            used.update(detail.source.sop_instance_uid for detail in roi.segment_details)
    if used - listed:
        yield Finding(
            "evidence", f"{len(used - listed)} objects that the result was made from are not listed as evidence"
        )


def _language(ds: Dataset) -> Words:
    """The language that a report says it is in; English where it says none that is known."""
    stated = [_code(item) for item in _children(ds) if _name(item) == codes.LANGUAGE.value]
    return next((words for name in LANGUAGES if (words := words_in(name)).code.value in stated), ENGLISH)


def _children(item: Dataset) -> list[Dataset]:
    return list(item.get("ContentSequence") or ())

"""The sentences of a report. ASCII where we can, so that any archive's character set holds them."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.records import LeftOut, Role, Side
from pipeline.result import FeatureChange, Part, Prediction, QualityCheck, StudyResult

SIDE_WORDS: dict[Side | None, str] = {"L": "left", "R": "right", None: ""}
CATEGORY_WORDS = {"high": "High risk", "low": "Low risk", "indeterminate": "Indeterminate"}
QUESTION = "Axillary lymph node metastasis?"
SHORT_QUESTION = "lymph node metastasis?"
NOT_VERIFIED = "Computed by software, not verified by a physician."
RESEARCH = "Research use only."
OTHER_PATIENT = (
    "Corrected report: the report that it replaces, its predecessor document, was issued under another Patient ID; "
    "please do not use that one."
)
DEMONSTRATION = "DEMONSTRATION SIGNATURE, NOT FOR CLINICAL USE."


def percent(probability: float) -> str:
    """One decimal, never rounded onto 0 or 100 %."""
    text = f"{100 * probability:.1f}"
    if text == "0.0" and probability > 0:
        return "<0.1 %"
    if text == "100.0" and probability < 1:
        return ">99.9 %"
    return f"{text} %"


def comparison(prediction: Prediction) -> str:
    """`73.2 % (cutoff 50.0 %)`, with more digits where one decimal would hide on which side it lies."""
    shown, cutoff = percent(prediction.probability), percent(prediction.cutoff)
    if shown == cutoff and prediction.probability != prediction.cutoff:
        shown, cutoff = f"{100 * prediction.probability:.6g} %", f"{100 * prediction.cutoff:.6g} %"
    return f"{shown} (cutoff {cutoff})"


def conclusion(result: StudyResult, side: Side | None, part: Part) -> str:
    """One text that stands alone: category, probability, cutoff, what it is for, and that nobody has verified it."""
    where = f", {SIDE_WORDS[side]} side" if side else ""
    head = f"{DEMONSTRATION} " if result.demonstration else ""
    if part.prediction is None:
        why = "; ".join(part.reasons or result.reasons) or "no reason was recorded"
        return f"{head}Not evaluated{where}: {why.rstrip('.')}. {NOT_VERIFIED} {RESEARCH}"
    prediction = part.prediction
    answer = {
        "high": "High risk of axillary lymph node metastasis",
        "low": "Low risk of axillary lymph node metastasis",
        "indeterminate": "Risk of axillary lymph node metastasis is indeterminate",
    }[prediction.category]
    sentence = f"{answer}{where}: probability {comparison(prediction)}, signature {prediction.signature}."
    if prediction.conformal_set is not None and prediction.conformal_alpha is not None:
        level = f"{100 * (1 - prediction.conformal_alpha):.0f} %"
        names = " or ".join(prediction.conformal_set) or "no class"
        sentence += f" Conformal prediction at {level}: {names}."
    if prediction.clinical_used:
        sentence += f" Clinical variables used: {', '.join(prediction.clinical_used)}."
    if not prediction.in_training_range:
        sentence += " Some measurements lie outside the range of the training data."
    for note in (*prediction.notes, prediction.fallback):
        if note:
            sentence += f" {note.rstrip('.')}."
    return f"{head}{sentence} {NOT_VERIFIED} {RESEARCH}"


REGIONS: dict[Role, str] = {"tumor": "tumor", "lymph_nodes": "lymph nodes"}


def change(result: StudyResult) -> str:
    """What changed since an earlier exam, in numbers and without a cause; empty where there is none."""
    found = result.change
    if found is None:
        return ""
    when = f"the exam of {found.study_date[:4]}-{found.study_date[4:6]}-{found.study_date[6:]}"
    if found.why_not:
        return f"Not compared with {when}: {found.why_not}."
    said = []
    for side, part in sorted(found.parts.items()):
        where = f"{SIDE_WORDS[side or None]} " if result.sides else ""
        for role, volume in sorted(part.volumes.items(), reverse=True):
            said.append(f"{where}{REGIONS[role]} volume {_change(volume, 1000, ' cm3')}")
        said += [f"{where}{c.name} {_change(c)}" for c in part.largest]
        said.append(f"{where}{part.features_compared} measurements in both exams".strip())
    return f"Compared with {when}: {joined(said)}. Raw numbers of two scans."


def _change(changed: FeatureChange, divisor: float = 1.0, unit: str = "") -> str:
    text = f"{changed.after / divisor:.4g}{unit}, was {changed.before / divisor:.4g}{unit}"
    return text if changed.relative is None else f"{text} ({relative(changed)})"


def relative(changed: FeatureChange) -> str:
    """`-34.2 %`; empty where the earlier number is 0."""
    return "" if changed.relative is None else f"{100 * changed.relative:+.1f} %"


def left_out(result: StudyResult) -> str:
    """Segments that joined no region, each with the reason; empty where there are none."""
    if not result.left_out:
        return ""
    return "Left out: " + joined(f"{_segment(one)}: {one.why}" for one in result.left_out) + "."


def _segment(one: LeftOut) -> str:
    name = "an object" if one.segment is None else f"segment {one.segment}"
    return f"{name} ({one.label})" if one.label else name


def failed_checks(result: StudyResult) -> tuple[str, ...]:
    """Quality checks that failed, one line each."""
    return tuple(check(c) for c in result.quality if not c.ok)


def check(one: QualityCheck) -> str:
    """`kept volume adc.lymph nodes: 0.4123 (limit 0.5) - partly outside`."""
    text = one.check.replace("_", " ")
    if one.value is not None:
        text += f": {_short(one.value)}"
    if one.limit is not None:
        text += f" (limit {_short(one.limit)})"
    return f"{text} - {one.note}" if one.note else text


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def categories(result: StudyResult) -> str:
    """For a series list: `High risk`, per side where there are two."""
    parts = list(result.parts())
    if all(part.prediction is None for _, part in parts):
        return "Not evaluated"
    words = ", ".join(_category(side if len(parts) > 1 else None, part) for side, part in parts)
    return words[:1].upper() + words[1:]


def _category(side: Side | None, part: Part) -> str:
    word = CATEGORY_WORDS[part.prediction.category].lower() if part.prediction else "not evaluated"
    return f"{SIDE_WORDS[side]} {word}".strip()


def joined(lines: Iterable[str]) -> str:
    return "; ".join(lines)

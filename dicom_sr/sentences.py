"""The sentences of a report. ASCII where we can, so that any archive's character set holds them."""

from __future__ import annotations

from collections.abc import Iterable

from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.plain_reasons import REGIONS, plain
from pipeline.records import LeftOut, Role, Sequence, Side
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


def percent(probability: float, decimals: int = 0) -> str:
    """Whole per cent, never rounded onto 0 or 100 %: the full value is in `result.json`."""
    text, step = f"{100 * probability:.{decimals}f}", 10.0**-decimals
    if float(text) == 0 and probability > 0:
        return f"<{step:.{decimals}f} %"
    if float(text) == 100 and probability < 1:
        return f">{100 - step:.{decimals}f} %"
    return f"{text} %"


def percents(prediction: Prediction) -> tuple[str, str]:
    """Probability and cutoff, with more digits where fewer would hide on which side of it the probability lies."""
    values = (prediction.probability, prediction.cutoff)
    for decimals in (0, 1):
        shown, cutoff = (percent(value, decimals) for value in values)
        if shown != cutoff or values[0] == values[1]:
            return shown, cutoff
    shown, cutoff = (f"{100 * value:.6g} %" for value in values)
    return shown, cutoff


def comparison(prediction: Prediction) -> str:
    """`73 % (cutoff 50 %)`."""
    shown, cutoff = percents(prediction)
    return f"{shown} (cutoff {cutoff})"


def why_not(result: StudyResult, part: Part) -> str:
    """All reasons why there is no answer, in one text."""
    return plain("; ".join(part.reasons or result.reasons), result) or "no reason was recorded"


def conclusion(result: StudyResult, side: Side | None, part: Part) -> str:
    """One text that stands alone: category, probability, cutoff, what it is for, and that nobody has verified it."""
    where = f", {SIDE_WORDS[side]} side" if side else ""
    head = f"{DEMONSTRATION} " if result.demonstration else ""
    if part.prediction is None:
        why = why_not(result, part).rstrip(".")
        return f"{head}Not evaluated{where}: {why}. {NOT_VERIFIED} {RESEARCH}"
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
            sentence += f" {plain(note, result).rstrip('.')}."
    return f"{head}{sentence} {NOT_VERIFIED} {RESEARCH}"


def change(result: StudyResult) -> str:
    """What changed since an earlier exam, in numbers and without a cause; empty where there is none."""
    comparison = result.change
    if comparison is None:
        return ""
    when = f"the exam of {comparison.study_date[:4]}-{comparison.study_date[4:6]}-{comparison.study_date[6:]}"
    if comparison.why_not:
        return f"Not compared with {when}: {comparison.why_not}."
    clauses = []
    for side, part in sorted(comparison.parts.items()):
        where = f"{SIDE_WORDS[side or None]} " if result.sides else ""
        for role, volume in sorted(part.volumes.items(), reverse=True):
            clauses.append(f"{where}{REGIONS[role]} volume {_change(volume, 1000, ' cm3')}")
        clauses += [f"{where}{plain(c.name, result)} {_change(c)}" for c in part.largest]
        clauses.append(f"{where}{part.features_compared} measurements in both exams".strip())
    return f"Compared with {when}: {joined(clauses)}. Raw numbers of two scans."


def _change(changed: FeatureChange, divisor: float = 1.0, unit: str = "") -> str:
    text = f"{changed.after / divisor:.4g}{unit}, was {changed.before / divisor:.4g}{unit}"
    return text if changed.relative is None else f"{text} ({relative(changed)})"


def relative(changed: FeatureChange) -> str:
    """`-34.2 %`; empty where the earlier number is 0."""
    return "" if changed.relative is None else f"{100 * changed.relative:+.1f} %"


def absent(result: StudyResult) -> str:
    """What the exam did not have, each with the reason, and who answered without it; empty where it had all."""
    absences = [f"{readable_input(name)}: {plain(why, result)}" for name, why in result.absent.items()]
    for side, part in result.parts():
        own = {name: why for name, why in part.absent.items() if result.absent.get(name) != why}
        where = f"{SIDE_WORDS[side]} " if result.sides else ""
        absences += [f"{where}{readable_input(name)}: {plain(why, result)}" for name, why in own.items()]
    if not absences:
        return ""
    answering = dict.fromkeys(part.prediction.signature for _, part in result.parts() if part.prediction)
    answered = f" Answered by {' and '.join(answering)}, which reads none of it." if answering else ""
    return f"Absent: {joined(absences)}.{answered}"


def why_absent(result: StudyResult, part: Part, sequence: Sequence, role: Role) -> str:
    """Why a region was not measured on a sequence; empty where nothing is known of it."""
    known = {**result.absent, **part.absent}
    return plain(next((known[n] for n in (sequence, role, f"{sequence}.{role}") if n in known), ""), result)


def readable_input(name: str) -> str:
    """`adc.lymph_nodes` as `ADC lymph nodes`, `ki67_percent` as `ki67 percent`."""
    words = {str(key): word for key, word in (*SEQUENCE_NAMES.items(), *REGIONS.items())}
    return " ".join(words.get(word, word.replace("_", " ")) for word in name.split("."))


def left_out(result: StudyResult) -> str:
    """Segments that joined no region, each with the reason; empty where there are none."""
    if not result.left_out:
        return ""
    return "Left out: " + joined(f"{_segment(one)}: {plain(one.why, result)}" for one in result.left_out) + "."


def _segment(one: LeftOut) -> str:
    name = "an object" if one.segment is None else f"segment {one.segment}"
    return f"{name} ({one.label})" if one.label else name


def failed_checks(result: StudyResult) -> tuple[str, ...]:
    """Quality checks that failed, one line each."""
    return tuple(plain(check(c), result) for c in result.quality if not c.ok)


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
    """For a series list: `high risk`, per side where there are two."""
    parts = list(result.parts())
    if all(part.prediction is None for _, part in parts):
        return "not evaluated"
    return ", ".join(_category(side if len(parts) > 1 else None, part) for side, part in parts)


def _category(side: Side | None, part: Part) -> str:
    word = CATEGORY_WORDS[part.prediction.category].lower() if part.prediction else "not evaluated"
    return f"{SIDE_WORDS[side]} {word}".strip()


def joined(lines: Iterable[str]) -> str:
    return "; ".join(lines)

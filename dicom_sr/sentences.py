"""The sentences of a report, in the language that they are asked for."""

from __future__ import annotations

from dicom_sr.check_words import check_words
from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.language import Words
from dicom_sr.plain_reasons import plain, plain_words, region_words
from pipeline.records import LeftOut, Role, Sequence, Side
from pipeline.result import FeatureChange, Part, Prediction, QualityCheck, StudyResult

CATEGORIES = ("high", "low", "indeterminate", "not_evaluated")
_REGIONS: tuple[Role, ...] = ("tumor", "lymph_nodes")


def side_word(side: Side | None, say: Words) -> str:
    """`left`; empty where no side is told."""
    return say("left" if side == "L" else "right") if side else ""


def of_side(side: Side | None, say: Words) -> str:
    """The side before what is of it: `left `; empty where no side is told."""
    return say("of_side", side=side_word(side, say)) if side else ""


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


def comparison(prediction: Prediction, say: Words) -> str:
    """`73 % (cutoff 50 %)`."""
    shown, cutoff = percents(prediction)
    return say("comparison", probability=shown, cutoff=cutoff)


def reasons(result: StudyResult, part: Part, say: Words) -> tuple[str, ...]:
    """All reasons why there is no answer, each in words of this language."""
    coded = dict(zip(result.reasons, result.reason_codes, strict=False))
    return tuple(plain(reason, result, say, coded.get(reason, "")) for reason in part.reasons or result.reasons)


def why_not(result: StudyResult, part: Part, say: Words) -> str:
    """The same in one text."""
    return say.listed(reasons(result, part, say)) or say("no_reason")


def conclusion(result: StudyResult, side: Side | None, part: Part, say: Words) -> str:
    """One text that stands alone: category, probability, cutoff, what it is for, and that nobody has verified it."""
    where = say("on_side", side=side_word(side, say)) if side else ""
    prediction = part.prediction
    parts = [say("preliminary")] if result.preliminary else []
    parts += [say("demonstration")] if result.demonstration else []
    if prediction is None:
        why = why_not(result, part, say).rstrip(".。")
        parts.append(say("conclusion_not_evaluated", where=where, why=why))
    else:
        key = f"conclusion_{prediction.category}"
        parts.append(say(key, where=where, comparison=comparison(prediction, say), signature=prediction.signature))
        parts += _qualified(result, prediction, say)
    return say.listed((*parts, say("not_verified"), say("research")), "gap")


def _qualified(result: StudyResult, prediction: Prediction, say: Words) -> list[str]:
    """What qualifies an answer, a sentence each."""
    parts = []
    if prediction.conformal_set is not None and prediction.conformal_alpha is not None:
        classes = say.listed(map(say.named, prediction.conformal_set), "or") or say("no_class")
        parts.append(say("conformal", level=f"{100 * (1 - prediction.conformal_alpha):.0f} %", classes=classes))
    if prediction.clinical_used:
        names = say.listed(map(say.named, prediction.clinical_used), "comma")
        parts.append(say("clinical_used", names=names))
    if not prediction.in_training_range:
        parts.append(say("outside_training"))
    notes = [plain(note, result, say).rstrip(".。") for note in (*prediction.notes, prediction.fallback) if note]
    return [*parts, *(say("full_stop", sentence=note) for note in notes)]


def change(result: StudyResult, say: Words) -> str:
    """What changed since an earlier exam, in numbers and without a cause; empty where there is none."""
    earlier = result.change
    if earlier is None:
        return ""
    date = f"{earlier.study_date[:4]}-{earlier.study_date[4:6]}-{earlier.study_date[6:]}"
    exam = say("exam_of", date=date)
    if earlier.why_not:
        return say("not_compared", exam=exam, why=plain(earlier.why_not, result, say))
    clauses = []
    for side, part in sorted(earlier.parts.items()):
        where = of_side(side or None, say) if result.sides else ""
        for role, volume in sorted(part.volumes.items(), reverse=True):
            changed = _change(volume, say, 1000, " cm3")
            clauses.append(say("volume_changed", where=where, region=region_words(role, say), change=changed))
        for one in part.largest:
            what = plain_words(one.name, result, say)
            clauses.append(say("measurement_changed", where=where, what=what, change=_change(one, say)))
        clauses.append(say("in_both", where=where, count=part.features_compared))
    return say("compared", exam=exam, changes=say.listed(clauses))


def _change(changed: FeatureChange, say: Words, divisor: float = 1.0, unit: str = "") -> str:
    after, was = (f"{value / divisor:.4g}{unit}" for value in (changed.after, changed.before))
    if changed.relative is None:
        return say("change", after=after, before=was)
    return say("change_relative", after=after, before=was, relative=relative(changed))


def relative(changed: FeatureChange) -> str:
    """`-34.2 %`; empty where the earlier number is 0."""
    return "" if changed.relative is None else f"{100 * changed.relative:+.1f} %"


def absent(result: StudyResult, say: Words) -> str:
    """What the exam did not have, each with the reason, and who answered without it; empty where it had all."""
    absences = [_absent("", name, why, result, say) for name, why in result.absent.items()]
    for side, part in result.parts():
        own = {name: why for name, why in part.absent.items() if result.absent.get(name) != why}
        where = of_side(side, say) if result.sides else ""
        absences += [_absent(where, name, why, result, say) for name, why in own.items()]
    if not absences:
        return ""
    whole = [say("absent", what=say.listed(absences))]
    answering = dict.fromkeys(part.prediction.signature for _, part in result.parts() if part.prediction)
    if answering:
        whole.append(say("answered_without", signatures=say.listed(answering, "and")))
    return say.listed(whole, "gap")


def _absent(where: str, name: str, why: str, result: StudyResult, say: Words) -> str:
    return say("absent_one", where=where, input=readable_input(name, say), why=plain(why, result, say))


def why_absent(result: StudyResult, part: Part, sequence: Sequence, role: Role, say: Words) -> str:
    """Why a region was not measured on a sequence; empty where nothing is known of it."""
    known = {**result.absent, **part.absent}
    return plain(next((known[n] for n in (sequence, role, f"{sequence}.{role}") if n in known), ""), result, say)


def readable_input(name: str, say: Words) -> str:
    """`adc.lymph_nodes` as `ADC lymph nodes`, `ki67_percent` as `ki67 percent`."""
    words: dict[str, str] = {str(key): word for key, word in SEQUENCE_NAMES.items()}
    words |= {role: region_words(role, say) for role in _REGIONS}
    return " ".join(words.get(word) or say.named(word).replace("_", " ") for word in name.split("."))


def left_out(result: StudyResult, say: Words) -> str:
    """Segments that joined no region, each with the reason; empty where there are none."""
    if not result.left_out:
        return ""
    parts = [say("left_out_one", what=_segment(one, say), why=plain(one.why, result, say)) for one in result.left_out]
    return say("left_out", what=say.listed(parts))


def _segment(one: LeftOut, say: Words) -> str:
    name = say("an_object") if one.segment is None else say("segment", number=one.segment)
    return say("labelled", what=name, label=one.label) if one.label else name


def failed_checks(result: StudyResult, say: Words) -> tuple[str, ...]:
    """Quality checks that failed, one line each."""
    return tuple(check(c, result, say) for c in result.quality if not c.ok)


def checks_failed(result: StudyResult, say: Words) -> str:
    """The same in one text; empty where none failed."""
    checks = failed_checks(result, say)
    return say("checks_failed", checks=say.listed(checks)) if checks else ""


def check(one: QualityCheck, result: StudyResult, say: Words) -> str:
    """`kept volume, ADC left lymph nodes: 0.4123 (limit 0.5) - partly outside`."""
    text = check_words(one.check, say)
    if one.value is not None:
        text = say("check_value", check=text, value=_shown(one.value, say))
    if one.limit is not None:
        text = say("check_limit", check=text, limit=_shown(one.limit, say))
    if one.note:
        text = say("check_note", check=text, note=say.told(one.note))
    return plain_words(text, result, say)


def _shown(value: object, say: Words) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return say.named(text) if say.named(text) != text or " " not in text else say.told(text)


def categories(result: StudyResult, say: Words) -> str:
    """For a series list: `high risk`, per side where there are two."""
    parts = list(result.parts())
    if all(part.prediction is None for _, part in parts):
        return _category(None, parts[0][1], say)
    return say.listed((_category(side if len(parts) > 1 else None, part, say) for side, part in parts), "comma")


def _category(side: Side | None, part: Part, say: Words) -> str:
    word = category_word(part, say)
    return say("categories_of_sides", side=side_word(side, say), category=word) if side else word


def category_word(part: Part, say: Words) -> str:
    """`high risk`, `indeterminate`, `not evaluated`."""
    return say(f"category_{part.prediction.category if part.prediction else 'not_evaluated'}").lower()

"""One exam's features to one prediction, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from config.schema import SignatureSettings
from pipeline.errors import FeatureRejected, OutsideTraining
from pipeline.result import Contribution, Prediction
from pipeline.signature import calibration, case_values, classifiers, conformal, harmonisation, ranges
from pipeline.signature.names import EXTRACTION_HASH
from pipeline.signature.record import Floats, Signature

TOP = 5
LUMINAL = ("luminal A", "luminal B")


def standardise(signature: Signature, raw: Floats) -> Floats:
    """Columns (cases, p), harmonised where it asks for that, with the training cohort's statistics applied."""
    z = (raw - signature.array("z_mean")) / signature.array("z_std")
    return np.asarray((z - signature.array("s_mean")) / signature.array("s_std"))


def score(signature: Signature, raw: Floats) -> tuple[Floats, Floats]:
    """Decision values and probabilities of the positive class for columns (cases, p) as `standardise` takes them."""
    decisions = classifiers.decision(classifiers.model_of(signature), standardise(signature, raw))
    a, b = signature.header.calibration.a, signature.header.calibration.b
    return decisions, calibration.probability(decisions, a, b)


def predict(
    signature: Signature,
    features: Mapping[str, float],
    *,
    missing: Mapping[str, str] | None = None,
    clinical: Mapping[str, object] | None = None,
    protocol: Mapping[str, object] | None = None,
    settings: SignatureSettings | None = None,
) -> Prediction:
    """Score one exam.

    `missing` says why features are absent; `clinical` has `age_years` and so on; `protocol` has facts named as the
    signature names them, with `extraction_hash` the settings the features were extracted with.

    Raises:
        FeatureRejected: a feature or clinical variable is missing, or was extracted with other settings; or the exam's
            scanner group is none that the signature is harmonised for.
        OutsideTraining: too far from what the signature was trained on; the features are named.
    """
    settings = settings or SignatureSettings()
    header, clinical = signature.header, clinical or {}
    _same_extraction(signature, protocol or {})
    used_clinical = {k: v for k, v in clinical.items() if k in header.clinical}
    row, lacking = case_values.vector(header.columns, features, used_clinical)
    if lacking:
        raise _incomplete(signature, lacking, missing or {})
    harmonised, how = harmonisation.harmonised_row(signature, row, protocol or {}, clinical, settings.scanner_groups)
    standardised = standardise(signature, harmonised[None, :])[0]
    outside = ranges.judge(signature, harmonised, standardised, protocol)
    _inside_limits(signature, standardised, outside, settings)
    _, probabilities = score(signature, harmonised[None, :])
    probability = float(probabilities[0])
    category, conformal_facts, notes = _category(signature, probability, settings.alpha)
    return Prediction(
        signature=header.title,
        positive_class=header.positive_class,
        probability=probability,
        cutoff=header.cutoff,
        category=category,
        in_training_range=not outside.any,
        **_contributions(signature, row, standardised),
        clinical_used=(*header.clinical, *sorted(signature.clinical - set(header.clinical))),
        notes=(*_demonstration(signature), *how, *notes, *_outside_notes(outside)),
        **conformal_facts,
    )


def _same_extraction(signature: Signature, protocol: Mapping[str, object]) -> None:
    trained, now = signature.header.extraction_hash, protocol.get(EXTRACTION_HASH)
    if trained and now and str(now) != trained:
        raise FeatureRejected(
            f"{signature.header.title} was trained on features of other extraction settings ({trained[:12]}) than "
            f"these ({str(now)[:12]}); extract with its settings, or use a signature trained with yours.",
            code="other-extraction-settings",
        )


def same_ki67_cutoff(signature: Signature, clinical: Mapping[str, object], ki67_high_percent: float) -> None:
    """Whether luminal A and B mean here what they meant in training. `ki67_high_percent`: the site's.

    A Ki-67 on one side of both cutoffs, where it is known, makes no difference; nor do other subtypes.

    Raises:
        FeatureRejected: the two are told apart at another Ki-67 than in training.
    """
    trained, ki67 = signature.header.ki67_high_percent, clinical.get("ki67_percent")
    if trained is None or trained == ki67_high_percent or clinical.get("molecular_subtype") not in LUMINAL:
        return
    if isinstance(ki67, int | float) and (ki67 >= trained) == (ki67 >= ki67_high_percent):
        return
    raise FeatureRejected(
        f"{signature.header.title} was trained on subtypes in which Ki-67 is high from {trained:g} % on, here from "
        f"{ki67_high_percent:g} % on (clinical.ki67_high_percent): luminal A and B are told apart otherwise",
        code="other-ki67-cutoff",
    )


def _incomplete(signature: Signature, lacking: list[str], missing: Mapping[str, str]) -> FeatureRejected:
    reasons = [f"{n}: {missing[n]}" if n in missing else n for n in lacking[:5]]
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    clinical = [n for n in lacking if n in signature.header.clinical]
    code = "missing-clinical" if len(clinical) == len(lacking) else "missing-features"
    kind = "clinical data" if code == "missing-clinical" else "features"
    return FeatureRejected(
        f"{signature.header.title} needs {kind} that are missing: {'; '.join(reasons)}{more}", code=code
    )


def _inside_limits(
    signature: Signature, standardised: Floats, outside: ranges.Outside, settings: SignatureSettings
) -> None:
    p = len(signature.header.columns)
    if outside.share > settings.max_outside:
        count = round(outside.share * p)
        shown = ", ".join(outside.features[:5]) + (f" and {count - 5} more" if count > 5 else "")
        raise OutsideTraining(
            f"outside what the signature was trained on: {count} of {p} features ({outside.share:.0%}, limit "
            f"{settings.max_outside:.0%}): {shown}"
        )
    if outside.ratio > settings.max_distance:
        shown = ", ".join(ranges.farthest(signature, standardised))
        raise OutsideTraining(
            f"outside what the signature was trained on: {outside.ratio:.1f} times the 99 % training distance (limit "
            f"{settings.max_distance:g}), most of all {shown}"
        )


def _category(
    signature: Signature, probability: float, alpha: float | None
) -> tuple[str, dict[str, object], tuple[str, ...]]:
    header = signature.header
    by_cutoff = "high" if probability >= header.cutoff else "low"
    if alpha is None:
        return by_cutoff, {}, ()
    band = conformal.band(signature, alpha)
    if isinstance(band, str):
        return by_cutoff, {}, (band,)
    positive, negative = band.classes(probability)
    classes = (*([header.positive_class] if positive else []), *([negative_class(signature)] if negative else []))
    category = "indeterminate" if positive == negative else "high" if positive else "low"
    facts = {"conformal_set": classes, "conformal_alpha": alpha, "conformal_band": band.edges}
    notes: tuple[str, ...] = ()
    if category not in ("indeterminate", by_cutoff):
        notes = (f"the conformal band says {category}, the cutoff alone would say {by_cutoff}",)
    return category, facts, notes


def negative_class(signature: Signature) -> str:
    """The other class by name: its label where the positive class is called by its own, else "no POSITIVE"."""
    header = signature.header
    return header.negative_value if header.positive_class == header.positive_value else f"no {header.positive_class}"


def _contributions(signature: Signature, row: Floats, standardised: Floats) -> dict[str, object]:
    """Variables with the largest say, and the others together; their sum leads from the training mean to here."""
    columns = signature.header.columns
    _, parts = classifiers.contributions(classifiers.model_of(signature), standardised)
    sums = by_variable(columns, parts)
    values = dict(zip(columns, row.tolist(), strict=True))
    largest = sorted(sums, key=lambda name: (-abs(sums[name]), name))[:TOP]
    top = tuple(Contribution(name=n, contribution=sums[n], value=values.get(n)) for n in largest)
    rest = [value for name, value in sums.items() if name not in largest]
    return {"top_features": top, "others": len(rest), "others_contribution": float(sum(rest))}


def by_variable(columns: tuple[str, ...], values: Floats) -> dict[str, float]:
    """Contributions with the columns of one category added up under its name."""
    sums: dict[str, float] = {}
    for column, value in zip(columns, values.tolist(), strict=True):
        name = column.split("=")[0] if "=" in column else column
        sums[name] = sums.get(name, 0.0) + value
    return sums


def _demonstration(signature: Signature) -> tuple[str, ...]:
    if not signature.header.demonstration:
        return ()
    return ("demonstration signature, trained on synthetic exams: the result means nothing for a patient",)


def _outside_notes(outside: ranges.Outside) -> tuple[str, ...]:
    notes = []
    if outside.features:
        more = f" and {len(outside.features) - 5} more" if len(outside.features) > 5 else ""
        notes.append(f"outside the training range: {', '.join(outside.features[:5])}{more}")
    if outside.ratio > 1:
        notes.append(f"farther from the training data than 99 % of it: {outside.ratio:.2f} times that distance")
    if outside.protocol:
        notes.append(f"protocol not seen in training: {'; '.join(outside.protocol)}")
    return tuple(notes)

"""One cohort, scored by a signature: the cases that count, and every figure that is reported of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.errors import FeatureRejected, InputRejected
from pipeline.records import ORIGINS, Json
from pipeline.research import calibration, metrics
from pipeline.research.metrics import Interval
from pipeline.research.tables import design, patients, scanners
from pipeline.research.tables.faults import row_list
from pipeline.research.tables.feature_table import Table
from pipeline.research.tables.scanners import Scanners
from pipeline.signature import conformal, gate, harmonisation, names, prediction, ranges
from pipeline.signature.harmonisation import UNKNOWN
from pipeline.signature.record import Floats, Signature

Bools = npt.NDArray[np.bool_]
SUBTYPE, KI67 = "molecular_subtype", "ki67_percent"


@dataclass(frozen=True)
class Scored:
    """A cohort's complete cases with their scores. `training`: this is the table the signature was trained on.

    `raw`: their columns (cases, p), harmonised where the signature harmonises. `unknown_scanners`: how many cases were
    left out because their scanner group is none of training's, by group; `scanners`: of each case, where it is asked.
    """

    name: str
    table: Table
    raw: Floats
    decisions: Floats
    probabilities: Floats
    outside: Bools
    left_out: int
    training: bool
    patients: npt.NDArray[np.intp]
    scanners: Scanners | None = None
    unknown_scanners: Mapping[str, int] = field(default_factory=dict)

    @property
    def positive(self) -> Bools:
        return self.table.positive


def score(signature: Signature, name: str, table: Table, *, complete_cases: bool) -> Scored:
    """Score a table whose label, positive class and extraction settings are the signature's.

    Raises:
        InputRejected: they are not, or columns or values are missing.
    """
    header = signature.header
    signature.require_positive(table.positive_value)
    if table.negative_value != header.negative_value:
        raise InputRejected(
            f"{table.name}: the other class is {table.negative_value}, the signature's is {header.negative_value}",
            code="unknown-labels",
        )
    if header.extraction_hash and table.extraction_hash and header.extraction_hash != table.extraction_hash:
        raise InputRejected(
            f"{table.name} was extracted with settings {table.extraction_hash[:12]}, the signature was trained on "
            f"{header.extraction_hash[:12]}",
            code="other-extraction-settings",
        )
    same = table.sha256 == header.table_sha256
    raw = design.matrix(table, header.columns, header.clinical)
    if not same:
        _same_subtypes(signature, table)
    keep = design.complete(raw, header.columns, table, complete_cases)
    left_out, here = int((~keep).sum()), None
    unknown: Mapping[str, int] = {}
    if header.harmonisation is not None:
        keep, here, unknown = _known_scanners(signature, table, keep, complete_cases)
        left_out = int((~keep).sum()) - sum(unknown.values())
        raw = _harmonised(signature, raw, here)
    rows = table.rows(keep)
    if rows.positive.all() or not rows.positive.any():
        raise InputRejected(f"{table.name}: the complete cases are of one class only", code="one-class")
    decisions, probabilities = prediction.score(signature, raw[keep])
    outside = outside_flags(signature, raw[keep])
    return Scored(
        name, rows, raw[keep], decisions, probabilities, outside, left_out, same, patients.patients_of(rows),
        None if here is None else here.of(keep), unknown,
    )  # fmt: skip


def _known_scanners(
    signature: Signature, table: Table, complete: Bools, complete_cases: bool
) -> tuple[Bools, Scanners, dict[str, int]]:
    """Of the complete rows those whose scanner group training had, their groups, and the others' counts by group.

    Raises:
        InputRejected: there is none of them, or one lacks a covariate and `complete_cases` does not leave it out.
    """
    facts = signature.header.harmonisation
    assert facts is not None
    here = scanners.among(table, facts)
    known = complete & (here.number != scanners.NOBODY)
    unknown = scanners.unknown_counts(table, facts, complete & ~known)
    if not known.any():
        groups = ", ".join(f"{name} ({count})" for name, count in unknown.items())
        raise InputRejected(
            f"{table.name}: no case is of a scanner group that {signature.header.title} was trained on "
            f"({', '.join(here.groups)}), but of {groups}: it abstains from all of them. Evaluate a signature that was "
            "trained without --harmonise.",
            code=UNKNOWN,
        )
    lacking = known & ~np.isfinite(here.covariates).all(axis=1)
    if lacking.any() and not complete_cases:
        raise InputRejected(
            f"{table.name}: rows {scanners.named_rows(lacking)} lack a covariate of harmonisation "
            f"({', '.join(facts.covariates)}); --complete-cases leaves these cases out",
            code="missing-values",
        )
    return known & ~lacking, here, unknown


def _harmonised(signature: Signature, raw: Floats, here: Scanners) -> Floats:
    """The columns (rows, p) harmonised; rows of unknown groups as they are."""
    estimates, known = harmonisation.of(signature), here.number != scanners.NOBODY
    assert estimates is not None
    changed = raw.copy()
    changed[known] = estimates.applied(raw[known], here.number[known], here.covariates[known])
    return changed


def _same_subtypes(signature: Signature, table: Table) -> None:
    """Refuse rows whose luminal A or B would be the other one by the cutoff of Ki-67 that training went by.

    Raises:
        InputRejected: naming the rows.
    """
    trained, here = signature.header.ki67_high_percent, table.ki67_high_percent
    if trained is None or here is None or trained == here or SUBTYPE not in table.others:
        return
    none = (None,) * len(table)
    rows = []
    for row, (subtype, cell) in enumerate(zip(table.others[SUBTYPE], table.others.get(KI67, none), strict=True), 1):
        try:
            ki67 = names.clinical_number(KI67, cell)
        except ValueError:
            # A bound (`<20`) may lie on either side.
            ki67 = None
        clinical = {SUBTYPE: names.clinical_category(SUBTYPE, subtype), KI67: ki67}
        try:
            prediction.same_ki67_cutoff(signature, clinical, here)
        except FeatureRejected:
            rows.append(row)
    if rows:
        raise InputRejected(
            f"{table.name}: Ki-67 is high from {here:g} % on in its subtypes, in those of training from {trained:g} % "
            f"on: luminal A and B may be the other one in rows {row_list(rows)}. Say the table's cutoff with "
            "--ki67-high, or give the subtypes by that of training.",
            code="other-ki67-cutoff",
        )


def interval(estimate: Interval | None) -> Json:
    """An interval as JSON."""
    return None if estimate is None else {"value": estimate.value, "ci": [estimate.low, estimate.high]}


def figures(signature: Signature, cohort: Scored, alpha: float | None, minimum_per_class: int) -> dict[str, Json]:
    """The numbers of one cohort: discrimination, accuracy at the cutoff, calibration, abstention."""
    positive, p = cohort.positive, cohort.probabilities
    discrimination = gate.discrimination(cohort.decisions, positive, cohort.patients)
    accuracy = metrics.accuracy_table(p >= signature.header.cutoff, positive, cohort.patients)
    return {
        "role": "training (resubstitution)" if cohort.training else "external",
        "n": len(positive),
        "positives": int(positive.sum()),
        "negatives": int((~positive).sum()),
        "incomplete_cases_left_out": cohort.left_out,
        **_scanner_counts(cohort),
        "table_sha256": cohort.table.sha256,
        # Those that every case has: only then does the cohort speak of such regions.
        "origins": [o for o in ORIGINS if all(o in row for row in cohort.table.origins)],
        **gate.facts(discrimination, minimum_per_class),
        # With these the gate can judge again, by whatever rule it has when the signature is to become active.
        "scores": {
            "decisions": cohort.decisions.tolist(),
            "positive": positive.astype(int).tolist(),
            "patients": cohort.patients.tolist(),
        },
        "patients": len(np.unique(cohort.patients)),
        "average_precision": average_precision(cohort.decisions, positive),
        "average_precision_ci": _average_precision_interval(cohort),
        "cutoff": signature.header.cutoff,
        "at_cutoff": {name: interval(i) for name, i in accuracy.items()},
        **calibration_figures(p, positive, cohort.patients),
        "mean_probability": float(p.mean()),
        "prevalence": float(positive.mean()),
        "prevalence_ci": _ends(metrics.share(positive, cohort.patients)),
        "outside_training_range": _abstention(cohort),
        "conformal": _conformal(signature, cohort, alpha),
    }


def _scanner_counts(cohort: Scored) -> dict[str, Json]:
    """Cases by scanner group, and those left out because training had none of theirs; nothing without harmonisation."""
    if cohort.scanners is None:
        return {}
    counts = np.bincount(cohort.scanners.number, minlength=len(cohort.scanners.groups)).tolist()
    return {
        "scanner_groups": dict(zip(cohort.scanners.groups, counts, strict=True)),
        "unknown_scanner_groups_left_out": dict(cohort.unknown_scanners),
    }


def calibration_figures(probabilities: Floats, positive: Bools, patients: metrics.Patients) -> dict[str, Json]:
    """Brier score, slope and intercepts as JSON. The intercept is fitted with the slope; in the large, without it."""
    score = calibration.brier(probabilities, positive, patients)
    line = calibration.calibration(probabilities, positive, patients)
    return {
        "brier": score.value,
        "brier_ci": [score.low, score.high],
        "calibration_slope": None if line is None else line.slope.value,
        "calibration_slope_ci": None if line is None else [line.slope.low, line.slope.high],
        "calibration_intercept": None if line is None else line.intercept.value,
        "calibration_intercept_ci": None if line is None else [line.intercept.low, line.intercept.high],
        "calibration_in_the_large": interval(None if line is None else line.in_the_large),
    }


def average_precision(scores: Floats, positive: Bools) -> float:
    """Area under the precision-recall curve, by steps."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(positive, scores))


def _average_precision_interval(cohort: Scored) -> Json:
    """The 95 % interval by a bootstrap of patients."""
    samples = [
        average_precision(cohort.decisions[drawn], cohort.positive[drawn])
        for drawn in calibration.resampled(cohort.patients)
        if cohort.positive[drawn].any()
    ]
    return [float(end) for end in np.quantile(samples, (0.025, 0.975))]


def _ends(estimate: Interval | None) -> Json:
    return None if estimate is None else [estimate.low, estimate.high]


def _abstention(cohort: Scored) -> dict[str, Json]:
    inside = ~cohort.outside
    both = cohort.positive[inside].any() and (~cohort.positive[inside]).any()
    auc = metrics.newcombe(cohort.decisions[inside], cohort.positive[inside], cohort.patients[inside]) if both else None
    return {"n": int(cohort.outside.sum()), "auc_of_the_rest": interval(auc)}


def _conformal(signature: Signature, cohort: Scored, alpha: float | None) -> Json:
    if alpha is None:
        return None
    band = conformal.band(signature, alpha)
    if isinstance(band, str):
        return {"alpha": alpha, "why_not": band}
    sets = [band.classes(p) for p in cohort.probabilities.tolist()]
    may_be_positive, may_be_negative = (np.array(column) for column in zip(*sets, strict=True))
    positive = cohort.positive
    return {
        "alpha": alpha,
        "band": list(band.edges),
        "high": int((may_be_positive & ~may_be_negative).sum()),
        "low": int((may_be_negative & ~may_be_positive).sum()),
        "indeterminate": int((may_be_positive == may_be_negative).sum()),
        "error_rate_of_positives": float((~may_be_positive[positive]).mean()),
        "error_rate_of_negatives": float((~may_be_negative[~positive]).mean()),
    }


def outside_flags(signature: Signature, raw: Floats) -> npt.NDArray[np.bool_]:
    """Whether each case (cases, p) would be flagged as outside the training range by its features or distance."""
    share, ratio = how_far_outside(signature, raw)
    return np.asarray((share > 0) | (ratio > 1), dtype=np.bool_)


def how_far_outside(signature: Signature, raw: Floats) -> tuple[Floats, Floats]:
    """Per case (cases, p) the share of columns outside their range, and the distance in 99 % training distances."""
    out = (raw < signature.array("range_low")) | (raw > signature.array("range_high"))
    far = ranges.distances(prediction.standardise(signature, raw), signature.array("precision"))
    return out.mean(axis=1), far / signature.header.distance_quantiles["0.99"]

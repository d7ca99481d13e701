"""What is known of performance, comparisons and their limits."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.records import Json
from pipeline.research.html_tables import interval
from pipeline.research.reporting.answer import (
    CARD,
    METHODS,
    Answer,
    Material,
    Topic,
    answered,
    auc,
    does_not_apply,
    file_name,
    listed,
    partly,
    record,
)
from pipeline.signature import card, methods

METHOD = f"{METHODS}: Evaluation"
NESTED = "report.html: Training cohort, nested cross-validation"
NOT_SEEN = "No cohort of other cases was evaluated."


def _data_use(m: Material) -> Answer:
    parts = [f"nested cross-validation, {m.nested['repeats']} x {m.nested['folds']} folds"] if m.nested else []
    parts += [f"external cohort {name}" for name in m.external]
    if not parts:
        return partly("", "an evaluation: `axrad signature evaluate` with the training table or another cohort")
    return answered(f"Development on the training table; {'; '.join(parts)}. Folds are by patient.", METHOD)


def _measures(m: Material) -> Answer:
    return answered(
        "AUC (the cutoff may differ elsewhere), rates at the cutoff, calibration slope and intercepts with a curve, "
        "Brier score, net benefit.",
        METHOD,
        f"{CARD}: Metrics",
    )


def _uncertainty(_: Material) -> Answer:
    return answered(
        "95 % intervals: Newcombe's for AUCs, Wilson's for rates, Nadeau and Bengio's for cross-validation, bootstrap "
        "bands; patients, not exams, are counted. P values of subgroups are adjusted by Holm.",
        METHOD,
    )


def _comparison_tests(m: Material) -> Answer:
    variables = methods.compared_variables(list(m.external.values()))
    tests = {
        "baselines": f"DeLong against {', '.join(variables)}",
        "beyond_clinical": "likelihood ratio beyond clinical facts",
        "comparisons": "DeLong against other signatures",
        "reading": "McNemar against a reader",
    }
    given = [t for key, t in tests.items() if any(methods.made(row.get(key)) for row in m.external.values())]
    if not given:
        return does_not_apply("Nothing was compared.")
    return answered(f"{'; '.join(given)}.", METHOD, *m.pages())


def _baselines(m: Material) -> Answer:
    parts: list[str] = []
    for name, row in m.external.items():
        alone = [r for r in listed(row.get("baselines")) if not r["why_not"]]
        parts += [f"{name}: {r['variable']} AUC {interval(r['auc'])}" for r in alone]
        clinical = record(row.get("beyond_clinical"))
        if clinical and not clinical["why_not"]:
            parts.append(
                f"{name}: clinical AUC {interval(clinical['auc_clinical'])}, with the signature "
                f"{interval(clinical['auc_with_signature'])}"
            )
    if not parts:
        missing = "clinical columns or a tumour volume in an external cohort, to compare with"
        return partly("", missing)
    return answered(f"{'; '.join(parts)}.", *m.pages("What it has to beat"))


def _clusters(m: Material) -> Answer:
    left_out = [f"{r['site']} {interval(r['auc']) or r['why_not']}" for r in listed(m.sites.get("sites"))]
    external = [
        f"{name}, {r['level']} {interval(r['auc']) or r['why_not']}"
        for name, row in m.external.items()
        for r in listed(row.get("subgroups"))
        if r["column"] in ("site", "centre")
    ]
    parts = [f"AUC of each site by the others: {'; '.join(left_out)}."] if left_out else []
    parts += [f"AUC by site of external cohorts: {'; '.join(external)}."] if external else []
    if not parts:
        return does_not_apply("Not examined: no table has a column `site` or `centre` with two sites.")
    where = ["report.html: Each site by the others"] if left_out else []
    return answered(" ".join(parts), *where, *(m.pages("Subgroups") if external else ()))


def _updating(m: Material) -> Answer:
    parts = []
    for name, row in m.external.items():
        if moved := record(row.get("at_prevalence")):
            parts.append(
                f"{name}: log odds moved by {moved['log_odds_offset']:.3f} to a prevalence of {moved['prevalence']:g}, "
                f"PPV {interval(moved['ppv'])}, NPV {interval(moved['npv'])}"
            )
    if parts:
        return answered(f"{'; '.join(parts)}. The file stays as it is.", *m.pages("At a prevalence"))
    return does_not_apply("The model was evaluated unchanged." if m.external else NOT_SEEN)


def _fairness(m: Material) -> Answer:
    tables = [record(row.get("fairness")) for row in m.external.values()]
    columns, absent = card.columns_of_fairness(tables)
    text = f"AUC, rates and calibration by {', '.join(columns)}. " if columns else ""
    text += f"No table names {', '.join(absent)}." if absent else ""
    missing = "which groups of patients matter here, and what was done for fairness; the software does nothing"
    return partly(text.strip(), missing, *m.pages("Fairness"))


def _shift(m: Material) -> Answer:
    if not m.external:
        return does_not_apply(NOT_SEEN)
    h = m.header
    parts = [f"Prevalence in training {h.positives / (h.positives + h.negatives):.3f}"]
    parts += [f"{name} {row['prevalence']:.3f}, {_unlike(row)}" for name, row in m.external.items()]
    missing = "differences of setting, eligibility, outcome and acquisition"
    return partly(f"{'; '.join(parts)}.", missing, *m.pages())


def _comparison_with_training(m: Material) -> Answer:
    if not m.external:
        return does_not_apply(NOT_SEEN)
    parts = [f"{name}: {_unlike(row)}" for name, row in m.external.items()]
    missing = "demographic facts of both side by side"
    return partly(f"{'; '.join(parts)}.", missing, *(file_name(f"scores_{name}.csv") for name in m.external))


def _unlike(row: Mapping[str, Json]) -> str:
    return f"{record(row.get('outside_training_range')).get('n', 0)} of {row['n']} cases unlike training"


def _performance(m: Material) -> Answer:
    parts = [f"nested cross-validation {auc(m.nested)}"] if m.nested else []
    parts += [f"{name} {auc(row)}, {card.standing(row)}" for name, row in m.external.items()]
    if not parts:
        return partly("", "an evaluation: `axrad signature evaluate` with the training table or another cohort")
    columns = sorted({str(r["column"]) for row in m.external.values() for r in listed(row.get("subgroups"))})
    also = f" Subgroups by {', '.join(columns)}: in the report." if columns else ""
    return answered(f"{'; '.join(parts)}.{also}", *([NESTED] if m.nested else []), *m.pages())


def _interpretation(m: Material) -> Answer:
    verdicts = [card.against(n, r) or f"Cohort {n}: {card.standing(r)}." for n, r in m.external.items()]
    return partly(" ".join(verdicts), "what it means, with regard to earlier studies and to fairness", "report.html")


def _limitations(m: Material) -> Answer:
    count = len(card.limits(m.signature, m.evaluation))
    text = f"{count} sentences that the software can tell."
    return partly(text, "the limitations, and what they do to the conclusions", f"{CARD}: Caveats and recommendations")


def _confounders(m: Material) -> Answer:
    columns = {str(r["column"]) for row in m.external.values() for r in listed(row.get("subgroups"))}
    machines = sorted(columns & {"manufacturer", "scanner", "model", "field_strength_t", "centre", "site"})
    text = f"Performance by {', '.join(machines)}." if machines else ""
    return partly(text, "which confounders there may be, and how they were handled", *m.pages("Subgroups"))


def _feature_statistics(m: Material) -> Answer:
    stayed = sum(group.kept for group in m.header.groups.values())
    text = f"{stayed} of {card.candidates(m.signature)} columns were kept; what passed, by group, and their names."
    return partly(text, "reproducibility of the features", f"{CARD}: Training data", f"{CARD}: Columns")


TOPICS: Mapping[str, Topic] = {
    "baselines": _baselines,
    "clusters": _clusters,
    "comparison-tests": _comparison_tests,
    "comparison-with-training": _comparison_with_training,
    "confounders": _confounders,
    "data-use": _data_use,
    "fairness": _fairness,
    "feature-statistics": _feature_statistics,
    "interpretation": _interpretation,
    "limitations": _limitations,
    "measures": _measures,
    "performance": _performance,
    "shift": _shift,
    "uncertainty": _uncertainty,
    "updating": _updating,
}

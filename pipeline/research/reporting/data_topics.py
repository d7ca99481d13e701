"""What is known of patients, outcome and regions."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.research.reporting.answer import (
    CARD,
    Answer,
    Material,
    Topic,
    answered,
    does_not_apply,
    listed,
    partly,
    record,
)
from pipeline.signature import card

TRAINING = f"{CARD}: Training data"


def _sources(m: Material) -> Answer:
    tables = [f"training table {m.header.table_sha256[:12]}"]
    tables += [f"cohort {name} {str(row['table_sha256'])[:12]}" for name, row in m.external.items()]
    missing = "what kind of data these are (trial, cohort, routine), public or private, and whom they represent"
    return partly(f"By SHA-256: {', '.join(tables)}.", missing, TRAINING, f"{CARD}: Evaluation data")


def _centres(m: Material) -> Answer:
    sites = listed(m.sites.get("sites"))
    text = f"Sites of the training table: {', '.join(str(row['site']) for row in sites)}." if sites else ""
    return partly(text, "setting, number and place of the centres", "report.html: Each site by the others")


def _eligibility(m: Material) -> Answer:
    text = f"{m.header.incomplete_cases_left_out} incomplete cases were left out of training."
    return partly(text, "criteria of inclusion and exclusion", TRAINING)


def _flow(m: Material) -> Answer:
    h = m.header
    parts = [f"Training: {h.positives} with and {h.negatives} without the outcome"]
    parts[0] += f", {h.incomplete_cases_left_out} incomplete left out."
    for name, row in m.external.items():
        parts.append(
            f"{name}: {row['positives']} with and {row['negatives']} without, "
            f"{row['incomplete_cases_left_out']} incomplete left out, "
            f"{record(row.get('as_answered')).get('refused', 0)} would not be evaluated."
        )
    missing = (
        "patients excluded before the table was made, and a diagram (TABLE.failed.json of `axrad extract` lists exams "
        "that could not be measured)"
    )
    return partly(" ".join(parts), missing, *m.pages("As the daemon would answer"))


def _numbers(m: Material) -> Answer:
    h = m.header
    parts = [f"training {h.positives + h.negatives} cases, {h.positives} positive"]
    if m.nested:
        parts.append(f"nested cross-validation {m.nested['n']} cases")
    parts += [f"{name} {row['n']} cases, {row['positives']} positive" for name, row in m.external.items()]
    return answered(f"{'; '.join(parts)}. No tuning set.", "evaluation.json", TRAINING)


def _characteristics(m: Material) -> Answer:
    columns = sorted({str(r["column"]) for row in m.external.values() for r in listed(row.get("subgroups"))})
    text = f"Counts by {', '.join(columns)} in each cohort." if columns else ""
    missing = "a table of demographic and clinical characteristics, treatments and dates, for each cohort"
    return partly(text, missing, *m.pages("Subgroups"))


def _outcome(m: Material) -> Answer:
    h = m.header
    text = f"Positive class {h.positive_class}: column {h.label_column} = {h.positive_value}, else {h.negative_value}."
    return partly(text, "what it was read from, by whom, when, and why this outcome", f"{CARD}: Model details")


def _overlap(m: Material) -> Answer:
    parts = ["A patient who is in two cohorts by id or patient key is refused; none is."]
    for name, row in m.external.items():
        if count := len(card.repeated_rows(row)):
            parts.append(f"{count} cases of {name} have the values of other cases.")
        others = row.get("patients_not_compared_with")
        if isinstance(others, list) and others:
            parts.append(f"{name} and {', '.join(map(str, others))} were not compared: no common key.")
    missing = "overlap with patients of earlier publications"
    return partly(" ".join(parts) if m.external else "", missing, f"{CARD}: Caveats and recommendations")


def _protocol(m: Material) -> Answer:
    protocol = m.header.protocol
    text = f"Of training: {', '.join(f'{n} {_fact(f.values, f.low, f.high)}' for n, f in protocol.items())}."
    missing = "sequences with their parameters, contrast agent, dose and timing, of each cohort"
    return partly(text if protocol else "", missing, f"{CARD}: Factors")


def _fact(values: tuple[str, ...], low: float | None, high: float | None) -> str:
    if values:
        return " / ".join(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _clinical_predictors(m: Material) -> Answer:
    asked = m.header.recipe.clinical
    if not asked:
        return does_not_apply("No clinical variable was a candidate.")
    text = f"Candidates: {', '.join(asked)}; in the model: {', '.join(m.header.clinical) or 'none'}."
    return partly(text, "how and when they were measured", f"{CARD}: Model details")


def _segmentation(m: Material) -> Answer:
    origins = [f"training {', '.join(m.header.origins)}"]
    for name, row in m.external.items():
        if isinstance(own := row.get("origins"), list) and own:
            origins.append(f"{name} {', '.join(map(str, own))}")
    text = f"Regions of tumour and nodes on T1+C. Who made them: {'; '.join(origins)}."
    missing = "manual or automatic, 2D or 3D, with which program, by which rules"
    return partly("" if m.header.foreign_columns else text, missing, "methods.md: Images and features")


def _readers(_: Material) -> Answer:
    return partly("", "who drew the regions: number, experience, blinding")


def _missing_data(m: Material) -> Answer:
    counts = [f"training {m.header.incomplete_cases_left_out}"]
    counts += [f"{name} {row['incomplete_cases_left_out']}" for name, row in m.external.items()]
    return answered(f"No value is imputed. Incomplete cases left out: {', '.join(counts)}.", TRAINING, *m.pages())


def _imbalance(m: Material) -> Answer:
    h = m.header
    parts = [f"training {h.positives} to {h.negatives}"]
    parts += [f"{name} {row['positives']} to {row['negatives']}" for name, row in m.external.items()]
    return answered(f"Positive to negative: {', '.join(parts)}. No method against it.", "methods.md: Model")


def _sample_size(m: Material) -> Answer:
    missing = "how the number of cases was arrived at, and why it is enough"
    return partly(card.events_per_candidate(m.signature), missing, TRAINING)


TOPICS: Mapping[str, Topic] = {
    "centres": _centres,
    "characteristics": _characteristics,
    "clinical-predictors": _clinical_predictors,
    "eligibility": _eligibility,
    "flow": _flow,
    "imbalance": _imbalance,
    "missing-data": _missing_data,
    "numbers": _numbers,
    "outcome": _outcome,
    "overlap": _overlap,
    "protocol": _protocol,
    "readers": _readers,
    "sample-size": _sample_size,
    "segmentation": _segmentation,
    "sources": _sources,
}

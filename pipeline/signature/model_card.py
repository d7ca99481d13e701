"""The model card in the form of Mitchell et al. 2019 (doi:10.1145/3287560.3287596), as Markdown and as HTML.

Every section is there. What neither the signature's file nor its evaluations tell is named as unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.records import Json
from pipeline.signature import card, document, gate, methods
from pipeline.signature.card_tables import at_cutoff, cohorts, dictionary, number, performance, selection, subgroups
from pipeline.signature.document import Block, Bullets, Grid, Section, Unknown, Warned, facts
from pipeline.signature.record import ProtocolFact, Signature
from pipeline.signature.sample_size import cases_needed

Evaluation = Mapping[str, Json] | None


def markdown(signature: Signature, evaluation: Evaluation = None) -> str:
    """The card for people, as text."""
    return document.markdown(f"Signature {signature.header.title}", sections(signature, evaluation))


def page(signature: Signature, evaluation: Evaluation = None) -> str:
    """The card for people, as an HTML page."""
    return document.page(f"Signature {signature.header.title}", sections(signature, evaluation))


def sections(signature: Signature, evaluation: Evaluation) -> tuple[Section, ...]:
    """The parts of a model card, in their order; `evaluation` is what `evaluation.json` holds."""
    header = signature.header
    warnings = card.conclusions(evaluation)
    if header.demonstration:
        warnings = [card.DEMONSTRATION, *warnings]
    return (
        *([Section("", tuple(Warned(text) for text in warnings))] if warnings else []),
        Section("Model details", tuple(_details(signature))),
        Section("Intended use", tuple(_use(signature))),
        Section("Factors", tuple(_factors(signature, evaluation))),
        Section("Metrics", tuple(_metrics(signature))),
        Section("Evaluation data", tuple(_evaluation_data(evaluation))),
        Section("Training data", tuple(_training_data(signature))),
        Section("Quantitative analyses", tuple(_analyses(signature, evaluation))),
        Section("Ethical considerations", tuple(_ethics(signature))),
        Section("Caveats and recommendations", (Bullets(tuple(card.limits(signature, evaluation))),)),
        Section("Columns", (Bullets(tuple(f"`{column}`" for column in header.columns)),)),
    )


def _details(signature: Signature) -> Iterable[Block]:
    h = signature.header
    yield facts(
        ("name and version", h.title),
        ("file (SHA-256)", signature.sha256),
        ("positive class", f"{h.positive_class} ({h.label_column} = {h.positive_value}, else {h.negative_value})"),
        ("classifier", h.classifier),
        ("recipe", h.recipe.recipe),
        ("inputs", ", ".join(sorted(signature.inputs))),
        ("columns", str(len(h.columns))),
        ("trained on regions that were", ", ".join(h.origins)),
        *([] if h.ki67_high_percent is None else [("Ki-67 high from", f"{h.ki67_high_percent:g} %")]),
        ("output", f"probability of the positive class; high from {h.cutoff:.3f}, {h.cutoff_rule}"),
        ("made with", ", ".join(f"{name} {version}" for name, version in h.software.items()) or "not told"),
        ("date", "none in the file: the same table gives the same bytes at any time"),
    )
    yield methods.classifier(h)
    yield Unknown("who developed it and when, whether other recipes were tried, licence, paper to cite, whom to ask")


def _use(signature: Signature) -> Iterable[Block]:
    yield signature.header.intended_use or "The file names no intended use."
    out = [
        "An exam that lacks one of its inputs: it is refused, nothing is imputed.",
        "Images that were acquired, or features that were extracted, otherwise than in training.",
        "Another question than its positive class, or a later moment than its training exams had.",
        "A decision without a physician who has looked at the exam.",
    ]
    if signature.header.foreign_columns:
        out.insert(0, "Images: its columns are not features of axrad, so it runs on tables only.")
    if signature.header.demonstration:
        out.insert(0, "Any patient: it was made of synthetic exams.")
    yield "Out of scope:"
    yield Bullets(tuple(out))
    yield Unknown("its place in the care pathway and who is meant to read its result")


def _factors(signature: Signature, evaluation: Evaluation) -> Iterable[Block]:
    protocol = signature.header.protocol
    if protocol:
        yield "How the training exams were acquired; another exam is flagged:"
        yield Grid(("fact", "in training"), tuple((name, _fact(fact)) for name, fact in protocol.items()))
    else:
        yield "The training table does not say how its exams were acquired."
    columns = sorted({str(row["column"]) for cohort in card.external(evaluation).values() for row in subgroups(cohort)})
    if columns:
        yield f"Groups for which performance is given below: {', '.join(columns)}."
    _, absent = card.columns_of_fairness([dictionary(r.get("fairness")) for r in card.external(evaluation).values()])
    if absent:
        yield f"Groups that no cohort's table names: {', '.join(absent)}."
    sites = dictionary((evaluation or {}).get("leave_one_site_out"))
    if sites:
        yield f"Each site of the training table was judged by the others (column {sites['column']})."
    yield Unknown(
        "in which groups of patients it may do better or worse (age, menopausal status, ethnicity, kind of tumour), "
        "and which of them the tables do not name"
    )


def _metrics(signature: Signature) -> Iterable[Block]:
    yield (
        "Discrimination by the AUC, since the cutoff may be set otherwise elsewhere; calibration by slope and "
        "intercept, since the probability is shown; rates at the cutoff, since the category is shown; net benefit, "
        "since acting on it has a price."
    )
    yield methods.output(signature.header)
    if signature.header.recipe.recipe == "out_of_fold":
        yield (
            "Where the training cases are enough, a conformal band lies between high and low, in which the answer is "
            "indeterminate. Its error rate (`signature.alpha`) holds for each class."
        )
    yield (
        f"The gate: a cohort of other cases is evidence where the interval of its AUC lies above 0.5 and the exact "
        f"one-sided P is at most {gate.LEVEL:g}, with at least {gate.MINIMUM_PER_CLASS} cases of each class by default."
    )


def _evaluation_data(evaluation: Evaluation) -> Iterable[Block]:
    rows = card.external(evaluation)
    if not rows:
        yield "No cohort that it had not seen was evaluated."
    else:
        yield cohorts(rows)
    yield Unknown("where, when and how the patients of each cohort were recruited, and what the outcome was read from")


def _training_data(signature: Signature) -> Iterable[Block]:
    h = signature.header
    cases = h.positives + h.negatives
    yield facts(
        ("cases", f"{h.positives} positive, {h.negatives} negative"),
        ("prevalence", number(h.positives / cases)),
        ("incomplete, left out", str(h.incomplete_cases_left_out)),
        ("training table (SHA-256)", h.table_sha256),
        ("extraction settings (hash)", h.extraction_hash or "not told"),
        ("constant columns dropped", ", ".join(h.constant_columns) or "none"),
    )
    yield selection(h)
    if h.harmonisation is not None:
        yield h.harmonisation.sentence
    yield card.events_per_candidate(signature)
    if sentence := _sample_size(signature):
        yield sentence
    yield Unknown(
        "where, when and how the patients were recruited, who drew the regions, and what the outcome was read from"
    )


def _sample_size(signature: Signature) -> str:
    """Riley's size at the AUC that was observed out of fold; "" where there is none above chance."""
    h = signature.header
    auc = 0.0 if h.out_of_fold is None else h.out_of_fold.auc
    cases = h.positives + h.negatives
    if not 0.5 < auc < 1:
        return ""
    needed = cases_needed(card.candidates(signature), auc, h.positives / cases)
    return (
        f"With so many candidates and its AUC out of fold of {auc:.3f}, {needed} cases would be needed for a shrinkage "
        f"of at most 10 % (Riley 2020); there were {cases}."
    )


def _analyses(signature: Signature, evaluation: Evaluation) -> Iterable[Block]:
    yield performance(signature, evaluation)
    for name, row in card.external(evaluation).items():
        against = card.against(name, row)
        verdict = against or f"The gate's verdict on cohort {name}: {card.standing(row)}."
        yield verdict
    nested = dictionary((evaluation or {}).get("nested_cv"))
    if nested:
        yield "Nested cross-validation, each case by a signature that had not seen it:"
        yield at_cutoff(nested)
        yield card.selection_stability(nested)
    for name, row in card.external(evaluation).items():
        yield f"Cohort {name}:"
        yield at_cutoff(row)
        if lines := subgroups(row):
            yield Grid(
                ("column", "level", "cases", "positive", "AUC"),
                tuple((str(r["column"]), str(r["level"]), str(r["n"]), str(r["positives"]), number(r["auc"])
                       or str(r["why_not"])) for r in lines),
            )  # fmt: skip
    if (choice := signature.header.top_choice) is not None:
        yield f"Features per group: {choice.top}, chosen by the out-of-fold AUC (which is optimistic for that number):"
        yield Grid(("features per group", "AUC"), tuple((top, number(auc)) for top, auc in choice.auc.items()))
    if not card.external(evaluation):
        yield "No subgroup was analysed: figures of training cases say nothing of them."


def _ethics(signature: Signature) -> Iterable[Block]:
    lines = ["The file names no patient; it holds statistics of columns over the training cases."]
    if len(signature.arrays["case_digests"]):
        lines.append("Six salted bytes for each training case recognise it in another table.")
    if signature.header.classifier == "svm":
        lines.append("Its support vectors are standardised feature values of single training cases.")
    lines.append("It is not a medical device. A wrong low may lead to too little treatment, a wrong high to too much.")
    yield Bullets(tuple(lines))
    yield Unknown("ethics approval and consent, and what risks and harms were considered")


def _fact(fact: ProtocolFact) -> str:
    if fact.values:
        return ", ".join(fact.values)
    return f"{fact.low:g}" if fact.low == fact.high else f"{fact.low:g} to {fact.high:g}"

"""The methods section of a paper on a signature, written from the settings with which it was made and judged.

What no file records stands in brackets: [the authors: …].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from config.schema import SequenceFeatures, Settings, Training
from pipeline.needs import SEQUENCE_TITLES
from pipeline.records import Json, Origin
from pipeline.signature import card, document, prepared_words
from pipeline.signature.document import Section
from pipeline.signature.record import Header, Signature

MODELS = {
    "svm": "a support vector machine (C-classification, radial kernel, C = {cost:g}, gamma = {gamma})",
    "logistic": "a logistic regression with an L2 penalty (C = {cost:g})",
    "forest": "a random forest of {trees} trees",
    "boosting": "gradient-boosted trees with scikit-learn's defaults",
}
REGIONS = {"tumor": "the tumour", "lymph_nodes": "the axillary lymph nodes"}
ORIGINS: Mapping[Origin, str] = {
    "drawn": "drawn by [the authors: readers, their experience, blinding] and read from DICOM SEG or RTSTRUCT",
    "measured": "built by software from measurements of [the authors: readers, their experience]",
    "model": "made by [the authors: model, version, who checked it] and read from DICOM SEG or RTSTRUCT",
    "enhancement": "proposed by software from enhancement alone [the authors: who confirmed them]",
}
SETTINGS_UNKNOWN = "[the authors: bias correction, resampling, normalisation and bin width]"

NOTE = "Written by axrad from the settings that were used. In brackets stands what no file records."


@dataclass(frozen=True)
class Making:
    """What is known of how the numbers were made.

    `settings`: those of extraction, where they are known to have the signature's hash; `software`: versions of what
    evaluated it.
    """

    settings: Settings | None = None
    software: Mapping[str, str] = field(default_factory=dict)


def markdown(signature: Signature, evaluation: Mapping[str, Json] | None = None, making: Making | None = None) -> str:
    """The methods section as Markdown."""
    return document.markdown("Methods", (Section("", (NOTE,)), *sections(signature, evaluation, making)))


def sections(
    signature: Signature, evaluation: Mapping[str, Json] | None = None, making: Making | None = None
) -> tuple[Section, ...]:
    """The methods section in its parts; without an evaluation, of training alone."""
    making, header = making or Making(), signature.header
    parts = [
        Section("Images and features", (images(header, making),)),
        Section("Participants and outcome", (participants(header),)),
        Section("Model", (predictors(signature), model(header), output(header))),
    ]
    if evaluation is not None:
        parts.append(Section("Evaluation", tuple(judging(evaluation))))
    return (*parts, Section("Software", (software(header, making),)))


def images(header: Header, making: Making) -> str:
    """How features were measured."""
    if header.foreign_columns:
        return "[the authors: images, regions and features; the columns of the table are not features of axrad]"
    regions = f"Regions were {_joined([ORIGINS[origin] for origin in header.origins])}. "
    if making.settings is None:
        known = f" (settings `{header.extraction_hash[:12]}`)" if header.extraction_hash else ""
        return f"{regions}Features were extracted with axrad{known}: {SETTINGS_UNKNOWN}."
    chosen = making.settings
    bias, features = chosen.bias, chosen.features
    corrected = _joined([SEQUENCE_TITLES[s] for s in bias.sequences])
    correction = (
        f"{corrected} were corrected for the bias field by N4 (shrink factor {bias.shrink}; "
        f"{', '.join(map(str, bias.iterations))} iterations; {bias.histogram_bins} histogram bins)"
        if bias.sequences
        else "No bias field correction was applied"
    )
    aligned = (
        "by the frame of reference alone, without registration"
        if chosen.align.registration == "off"
        else "after rigid registration of the images"
    )
    what = (
        "PyRadiomics' features were computed by a parameter file [the authors: its content]"
        if features.params is not None
        else "Shape, first-order, GLCM, GLDM, GLRLM, GLSZM and NGTDM features were computed as PyRadiomics defines "
        "them, on the original image and on eight wavelet images (coif1, one level), with intensities discretised "
        + (
            f"{prepared_words.bins(features)}, without resampling and without normalisation of intensities"
            if (features.t1c, features.t2, features.adc) == (SequenceFeatures(),) * 3
            else f"({prepared_words.bins(features)}). Intensities ({prepared_words.intensities(features)}) and grids "
            f"({prepared_words.grids(features)}) were prepared before that"
        )
    )
    return (
        f"{regions}They were carried from T1+C (contrast phase `{chosen.sequences.phase}`) to T2 and ADC {aligned}. "
        f"{correction}. {what}."
    )


def _top(header: Header) -> str:
    if header.top_choice is None:
        return str(header.recipe.top)
    tried = ", ".join(header.top_choice.auc)
    return (
        f"{header.top_choice.top} (of {tried}, the number with the largest out-of-fold AUC, chosen anew in every fold)"
    )


def participants(header: Header) -> str:
    """Numbers of the training table, and what was left out."""
    left_out = header.incomplete_cases_left_out
    return (
        "[the authors: recruitment, eligibility, period, centres, reference standard.] The training table held "
        f"{header.positives} cases of the positive class ({header.positive_class}; `{header.label_column}` = "
        f"`{header.positive_value}`) and {header.negatives} of the other class. "
        + (f"{left_out} incomplete cases were left out" if left_out else "No case was left out as incomplete")
        + "; no value was imputed."
    )


def predictors(signature: Signature) -> str:
    """Candidates, scaling and selection."""
    header, recipe = signature.header, signature.header.recipe
    steps = []
    if recipe.z_score:
        steps.append("were scaled to z scores with mean and standard deviation of the training cases")
    if recipe.stable_icc is not None:
        steps.append(
            f"had to have an intraclass correlation ICC(1,1) of at least {recipe.stable_icc:g} over perturbations of "
            "the training cases' regions and images"
        )
    if recipe.t_test_p is not None:
        steps.append(f"had to pass Welch's t test at P < {recipe.t_test_p:g}")
    if recipe.top is not None:
        steps.append(
            f"were ranked by the mean decrease of Gini impurity in a random forest of {recipe.trees} trees, of which "
            f"the first {_top(header)} of each sequence and region stayed"
        )
    clinical = f" and the clinical variables {', '.join(recipe.clinical)}" if recipe.clinical else ""
    if header.ki67_high_percent is not None:
        clinical += f" (subtypes with Ki-67 high from {header.ki67_high_percent:g} %)"
    return (
        f"Candidate predictors were {card.candidates(signature)} columns: {_groups(header)}{clinical}. "
        + (f"They {'; they '.join(steps)}. " if steps else "No selection was made. ")
        + (f"{header.harmonisation.sentence} " if header.harmonisation is not None else "")
        + f"{len(header.columns)} columns are in the model; {card.events_per_candidate(signature)}"
    )


def model(header: Header) -> str:
    """The classifier, and what the software did not do."""
    return f"{classifier(header)} [the authors: whether other recipes were tried]"


def classifier(header: Header) -> str:
    """The classifier with its parameters."""
    recipe = header.recipe
    named = MODELS[header.classifier].format(
        cost=recipe.cost, trees=recipe.trees, gamma=f"{recipe.gamma:g}" if recipe.gamma else "1 / number of columns"
    )
    scaled = " on columns standardised again" if recipe.standardise else ""
    return (
        f"The model is {named}{scaled} (seed {recipe.seed}). The software tuned none of its parameters and used no "
        "method against imbalance of the classes."
    )


def output(header: Header) -> str:
    """Probability and cutoff."""
    return f"{calibration(header.recipe)} The cutoff is {header.cutoff:.3f}: {header.cutoff_rule}."


def calibration(recipe: Training) -> str:
    """Where probabilities and cutoff come from."""
    if recipe.recipe == "paper":
        return (
            "Probabilities come from Platt's sigmoid after a selection that had seen every training case, and the "
            "cutoff from the training scores."
        )
    return (
        f"Probabilities come from Platt's sigmoid, fitted to out-of-fold decision values of {recipe.folds}-fold "
        "cross-validation with the selection inside the folds; the cutoff comes from the same "
        "out-of-fold probabilities."
    )


def judging(evaluation: Mapping[str, Json]) -> list[str]:
    """How performance was measured, one paragraph for each kind of evidence that the evaluation has."""
    paragraphs, nested = [], evaluation.get("nested_cv")
    if isinstance(nested, dict):
        paragraphs.append(
            f"Internal validation was nested cross-validation ({counted(nested['repeats'], 'repeat')} of "
            f"{nested['folds']} folds, by patient, {nested['n']} cases): scaling, selection, fit and cutoff were "
            "repeated inside each fold. The interval of its AUC is Nadeau and Bengio's corrected resampled t "
            "interval, widened to Newcombe's for as many patients where that is wider."
        )
    if isinstance(sites := evaluation.get("leave_one_site_out"), dict):
        paragraphs.append(
            f"Each site (column `{sites['column']}`) was also judged by a model made from the other sites."
        )
    external = card.external(evaluation)
    if not external:
        return [*paragraphs, "No cohort that the model had not seen was evaluated."]
    cohorts = "; ".join(f"{name}, {row['n']} cases, {row['positives']} positive" for name, row in external.items())
    paragraphs.append(
        f"The model was evaluated unchanged on {cohorts}. AUCs have Newcombe's 95 % interval (method 5) and the exact "
        "one-sided P of the Mann-Whitney test; several exams of one patient count as one. Sensitivity, specificity "
        "and the other rates at the cutoff have Wilson's intervals, which count patients. Calibration was assessed by "
        "slope, intercept, calibration in the large and a smooth curve, overall accuracy by the Brier score, clinical "
        "utility by decision curves with a bootstrap band. Evidence of discrimination is an interval above 0.5 with P "
        "at most 0.025, with at least "
        f"{next(iter(external.values())).get('minimum_per_class', 10)} cases of each class."
    )
    return [*paragraphs, *_comparisons(list(external.values()))]


def _comparisons(rows: list[dict[str, Json]]) -> list[str]:
    variables = compared_variables(rows)
    sentences = {
        "baselines": f"AUCs of {_joined(variables)} alone were compared with the model's on the same cases (DeLong's "
        "test).",
        "beyond_clinical": "Whether the score adds to the clinical variables was tested by the likelihood ratio of "
        "two logistic regressions.",
        "as_answered": "Rates are also given for the cases that the software would answer: exams unlike those of "
        "training are refused by their features' ranges and by Mahalanobis's distance.",
        "at_prevalence": "Probabilities were also moved to another prevalence by the difference of the log odds.",
        "subgroups": "AUC, sensitivity and specificity are given in subgroups.",
        "interactions": "Subgroups were compared by score x level in a logistic regression and by Wald's test of "
        "equal AUCs; P values were adjusted by Holm's method, those against chance and those between levels each as "
        "one family.",
        "reading": "The model was compared with a reader's calls by McNemar's exact test.",
        "comparisons": "Models were compared on the same cases by DeLong's test, agreement and net reclassification.",
        "survival": "Survival was compared by Kaplan-Meier curves, the log-rank test and Cox regression.",
    }
    given = [text for key, text in sentences.items() if any(made(row.get(key)) for row in rows)]
    return [" ".join(given)] if given else []


def compared_variables(rows: list[dict[str, Json]]) -> list[str]:
    """Single variables with which the model was compared in any of these cohorts, each once."""
    alone = [r for row in rows for r in _records(row.get("baselines")) if not r["why_not"]]
    return [*dict.fromkeys(str(r["variable"]) for r in alone)]


def made(analysis: Json) -> bool:
    """Whether an analysis came to a result for a cohort."""
    if isinstance(analysis, list):
        return any(isinstance(row, dict) and made(row) for row in analysis)
    if not isinstance(analysis, dict) or not analysis or analysis.get("tests") == 0:
        return False
    return not analysis.get("why_not") or "level" in analysis


def software(header: Header, making: Making) -> str:
    """Versions, of training and of evaluation."""
    trained = ", ".join(f"{name} {number}" for name, number in header.software.items())
    judged = ", ".join(f"{name} {number}" for name, number in making.software.items())
    parts = [f"The model was trained with {trained}." if trained else "[the authors: versions used in training.]"]
    if judged:
        parts.append(f"This text was written with {judged}.")
    return " ".join(parts)


def counted(number: Json, noun: str) -> str:
    """A number with its noun in the singular or the plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _joined(words: list[str]) -> str:
    """Each word once, with commas and an and."""
    *first, last = dict.fromkeys(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _records(value: Json) -> list[dict[str, Json]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _groups(header: Header) -> str:
    if header.foreign_columns:
        return "columns of a table that axrad did not extract"
    groups = [name.split(".", 1) for name in header.groups if "." in name]
    return " and ".join(
        f"{region} on {_joined([SEQUENCE_TITLES[s] for s in SEQUENCE_TITLES if [s, role] in groups])}"
        for role, region in REGIONS.items()
        if any(role == r for _, r in groups)
    )

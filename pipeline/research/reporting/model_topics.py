"""What is known of features, model and use."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from config.schema import Settings
from pipeline.research.reporting.answer import CARD, METHODS, Answer, Material, Topic, answered, does_not_apply, partly
from pipeline.signature import card, methods, prepared_words

IMAGES = f"{METHODS}: Images and features"
MODEL = f"{METHODS}: Model"


def _title(m: Material) -> Answer:
    return partly(f"Outcome: {m.header.positive_class}.", "the title")


def _abstract(_: Material) -> Answer:
    return partly("Cases, AUCs and intervals are in the report's first table.", "the abstract", "report.html")


def _objectives(m: Material) -> Answer:
    kinds = ["development with internal validation"] if m.nested else []
    kinds += [f"evaluation on {methods.counted(len(m.external), 'cohort')} of other cases"] if m.external else []
    return partly(f"These files hold {' and '.join(kinds)}." if kinds else "", "the objectives", "report.html")


def _intended_use(m: Material) -> Answer:
    missing = "its place in the care pathway and its users"
    return partly(m.header.intended_use, missing, f"{CARD}: Intended use")


def _by_settings(text: Callable[[Settings], str], missing: str, *, of_file: bool = True) -> Topic:
    """Answered where the settings of extraction are known; `of_file`: a parameter file may say else."""

    def topic(m: Material) -> Answer:
        settings = m.making.settings
        if m.header.foreign_columns:
            return partly("The columns are not features of axrad.", missing)
        if settings is None:
            known = m.header.extraction_hash
            return partly(f"Settings of hash {known[:12]}, of which no more is told." if known else "", missing, IMAGES)
        if of_file and settings.features.params is not None:
            return partly("PyRadiomics' parameter file features.params.", missing, IMAGES)
        return answered(text(settings), IMAGES)

    return topic


def _bias(settings: Settings) -> str:
    corrected = ", ".join(settings.bias.sequences) or "nothing"
    return f"N4 bias field correction of {corrected}; {prepared_words.intensities(settings.features)}."


def _bins(settings: Settings) -> str:
    phrase = prepared_words.bins(settings.features).removeprefix("at a ")
    return f"{phrase[0].upper()}{phrase[1:]}."


def _grids(settings: Settings) -> str:
    if (phrase := prepared_words.grids(settings.features)) == "without resampling":
        return "None: each series keeps its grid."
    return f"{phrase}."


def _classes(_: Settings) -> str:
    return "Shape, first order, GLCM, GLDM, GLRLM, GLSZM, NGTDM, without what PyRadiomics calls deprecated."


def _extraction(m: Material) -> Answer:
    if m.header.foreign_columns:
        return partly("The columns are not features of axrad.", "software, version and method of extraction")
    versions = ", ".join(f"{n} {v}" for n, v in m.making.software.items() if n in ("axrad", "pyradiomics"))
    missing = "the version of axrad with which the tables were extracted, where it was another one"
    return partly(f"axrad with PyRadiomics' definitions{versions and f' (now {versions})'}.", missing, IMAGES)


def _candidates(m: Material) -> Answer:
    groups = ", ".join(f"{name} {g.candidates}" for name, g in m.header.groups.items())
    return answered(f"{card.candidates(m.signature)} candidate columns: {groups}. All were tried.", MODEL)


def _predictors(m: Material) -> Answer:
    text = f"{len(m.header.columns)} columns, listed by name."
    return partly(text, "when exams were made with regard to the outcome, and any blinding", f"{CARD}: Columns")


def _scaling(m: Material) -> Answer:
    recipe = m.header.recipe
    steps = ["z score with training statistics"] if recipe.z_score else []
    steps += ["standardised again after selection"] if recipe.standardise else []
    return answered(f"{', '.join(steps) or 'None'}; every feature enters as a number.", MODEL)


def _selection(m: Material) -> Answer:
    stayed = ", ".join(f"{name} {g.passed} passed, {g.kept} kept" for name, g in m.header.groups.items())
    recipe = m.header.recipe
    steps = [f"Welch's t test at P < {recipe.t_test_p:g}"] if recipe.t_test_p is not None else []
    choice = m.header.top_choice
    number = recipe.top if choice is None else f"{choice.top} (of several numbers, by out-of-fold AUC)"
    steps += [f"the first {number} of each group by a random forest"] if recipe.top is not None else []
    return answered(f"{', then '.join(steps) or 'No selection'}: {stayed}.", MODEL, f"{CARD}: Training data")


def _model(m: Material) -> Answer:
    return answered(methods.classifier(m.header), MODEL)


def _tuning(m: Material) -> Answer:
    return answered(f"The software tunes nothing; seed {m.header.recipe.seed}, settings in card.json.", MODEL)


def _choice(_: Material) -> Answer:
    return partly("One recipe gives one model.", "whether other recipes were tried, and why this one stayed", MODEL)


def _output(m: Material) -> Answer:
    return answered(f"A probability, and a category by cutoff. {methods.output(m.header)}", MODEL)


def _calculation(m: Material) -> Answer:
    return answered(
        f"By the file of SHA-256 {m.signature.sha256[:12]}: `axrad signature evaluate` on tables, `axrad run "
        "--signature` on exams.",
        f"{CARD}: Model details",
    )


def _full_model(m: Material) -> Answer:
    return answered(
        f"The file of SHA-256 {m.signature.sha256[:12]} holds everything that a prediction needs, as plain arrays.",
        f"{CARD}: Model details",
    )


def _model_shared(_: Material) -> Answer:
    return partly("The file names no patient and can be given away.", "where it can be had, and its licence", CARD)


def _ready_system(m: Material) -> Answer:
    if m.header.foreign_columns:
        return does_not_apply("The columns are not features of axrad: it cannot be run on images.")
    return answered("axrad runs the file on DICOM exams: `axrad run --signature`, or the daemon.", "docs/researcher.md")


def _code(m: Material) -> Answer:
    version = m.making.software.get("axrad")
    text = f"The analysis code is axrad{(version and f' {version}') or ''}; recipe and seed are in card.json."
    return partly(text, "scripts of your own, such as the one that joins the outcome", "card.json")


def _imbalance_methods(_: Material) -> Answer:
    return does_not_apply("No method against imbalance of the classes was used.")


def _interpretability(_: Material) -> Answer:
    return answered(
        "Contributions of columns to each decision; they add up to it exactly.", "result.json of `axrad run`"
    )


def _diagram(_: Material) -> Answer:
    return partly("The steps in words.", "a diagram of the steps", METHODS)


def _checklists(_: Material) -> Answer:
    return answered("TRIPOD+AI and CLEAR, on this page as far as files know.", "checklists.html")


def _poor_input(m: Material) -> Answer:
    return answered(
        "A missing input is refused by name, nothing is imputed; features outside their training range, a large "
        "distance from training or other settings of extraction are flagged or refused. "
        + ("" if m.header.foreign_columns else "Failed checks of quality stand on the page of the result."),
        f"{CARD}: Intended use",
    )


def _users(_: Material) -> Answer:
    text = "Somebody draws the regions; nothing else is asked of users."
    return partly(text, "what users must know and be able to", f"{CARD}: Intended use")


TOPICS: Mapping[str, Topic] = {
    "abstract": _abstract,
    "calculation": _calculation,
    "candidates": _candidates,
    "checklists": _checklists,
    "choice-of-model": _choice,
    "code": _code,
    "defaults": _by_settings(lambda _: "All else as PyRadiomics sets it.", "whether all else is the default"),
    "discretisation": _by_settings(_bins, "bin width or count"),
    "extraction": _extraction,
    "feature-classes": _by_settings(_classes, "classes of features"),
    "full-model": _full_model,
    "image-types": _by_settings(lambda _: "Original; wavelet (coif1, one level, eight images).", "types of image"),
    "imbalance-methods": _imbalance_methods,
    "intended-use": _intended_use,
    "interpretability": _interpretability,
    "model": _model,
    "model-shared": _model_shared,
    "objectives": _objectives,
    "output": _output,
    "pipeline-diagram": _diagram,
    "poor-input": _poor_input,
    "predictors": _predictors,
    "preprocessing": _by_settings(_bias, "pre-processing of the images", of_file=False),
    "ready-system": _ready_system,
    "resampling": _by_settings(_grids, "resampling and its parameters"),
    "scaling": _scaling,
    "selection": _selection,
    "settings-shared": _by_settings(
        lambda _: "The settings are in the methods section.", "the settings of extraction", of_file=False
    ),
    "title": _title,
    "tuning": _tuning,
    "users": _users,
}

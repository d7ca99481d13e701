"""From a table to a signature: the recipe, its calibration and cutoff, and what the training data looked like."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from config.schema import Training
from pipeline.records import ORIGINS, Origin
from pipeline.research import metrics
from pipeline.research.tables import design, scanners
from pipeline.research.tables.feature_table import Table
from pipeline.research.training import calibration_fit, fitting, training_ranges
from pipeline.signature import calibration, classifiers
from pipeline.signature.record import Calibration, Floats, Header, OutOfFold, Signature

INTENDED_USE = (
    "Research. Decision support for a physician reading breast MRI of a patient with invasive breast cancer before "
    "treatment, on exams like those of the training cohort. Not a medical device; it does not replace the "
    "examination of the axilla."
)
DIGEST_BYTES = 6
SUBTYPE = "molecular_subtype"


@dataclass(frozen=True)
class Identity:
    """What a signature is called and what its positive class is called where people read it."""

    name: str = "signature"
    version: str = "1"
    positive_class: str | None = None
    demonstration: bool = False
    intended_use: str = INTENDED_USE


@dataclass(frozen=True)
class _Calibrated:
    a: float
    b: float
    cutoff: float
    positive: Floats
    negative: Floats
    evidence: OutOfFold | None


def train(
    table: Table,
    recipe: Training | None = None,
    identity: Identity | None = None,
    progress: fitting.Progress | None = None,
) -> Signature:
    """Train a signature. The same table and recipe give the same signature, byte for byte.

    Raises:
        InputRejected: the table is not fit for it; rows and columns are named.
    """
    # One thread: sums are then added in one order, whatever the machine's number of cores.
    with threadpool_limits(1):
        return _train(table, recipe or Training(), identity or Identity(), progress)


def _train(table: Table, recipe: Training, identity: Identity, progress: fitting.Progress | None) -> Signature:
    cases = design.for_training(table, recipe)
    fitted = fitting.fit(
        cases.values, cases.positive, cases.columns, cases.groups, recipe, cases.repeats, cases.patients,
        cases.scanners,
    )  # fmt: skip
    calibrated = _calibrate(cases, fitted, recipe, progress)
    columns = tuple(cases.columns[j] for j in fitted.kept)
    raw = fitted.columns(cases.values, cases.scanners)
    kept_clinical = tuple(dict.fromkeys(c.split("=")[0] for c in columns if c.split("=")[0] in recipe.clinical))
    header = Header(
        name=identity.name,
        version=identity.version,
        demonstration=identity.demonstration,
        label_column=table.label_column,
        id_column=table.id_column,
        positive_value=table.positive_value,
        negative_value=table.negative_value,
        positive_class=identity.positive_class or _class_name(table),
        table_sha256=table.sha256,
        extraction_hash=table.extraction_hash,
        extraction=table.extraction,
        ki67_high_percent=table.ki67_high_percent if SUBTYPE in kept_clinical else None,
        foreign_columns=table.foreign_columns,
        positives=int(cases.positive.sum()),
        negatives=int((~cases.positive).sum()),
        incomplete_cases_left_out=cases.left_out,
        recipe=recipe,
        columns=columns,
        clinical=kept_clinical,
        groups=fitted.groups,
        constant_columns=tuple(cases.columns[j] for j in fitted.constant),
        classifier=recipe.classifier,
        constants=dict(fitted.model.constants),
        calibration=Calibration(a=calibrated.a, b=calibrated.b, method=recipe.recipe),
        cutoff=calibrated.cutoff,
        out_of_fold=calibrated.evidence,
        top_choice=fitted.top_choice,
        distance_quantiles=training_ranges.held_out_quantiles(raw, recipe.seed),
        protocol=training_ranges.protocol_of(table, cases.kept_rows),
        origins=_origins(table, cases.kept_rows),
        harmonisation=None if cases.scanners is None else scanners.facts_of(cases.scanners, cases.positive, recipe),
        level_split=table.level_split,
        intended_use=identity.intended_use,
        software=software(),
    )
    return Signature(header, _arrays(cases, fitted, calibrated, table, recipe.range_margin))


def _arrays(
    cases: design.Design, fitted: fitting.Fit, calibrated: _Calibrated, table: Table, margin: float
) -> dict[str, npt.NDArray[np.generic]]:
    raw, scaling = fitted.columns(cases.values, cases.scanners), fitted.scaling
    harmonisation = {} if fitted.harmonisation is None else fitted.harmonisation.on(fitted.kept).arrays()
    low, high = training_ranges.limits(raw, margin)
    return {
        "z_mean": scaling.z_mean,
        "z_std": scaling.z_std,
        "s_mean": scaling.s_mean,
        "s_std": scaling.s_std,
        "range_low": low,
        "range_high": high,
        "precision": training_ranges.precision_of(scaling.apply(raw)),
        "oof_positive": calibrated.positive,
        "oof_negative": calibrated.negative,
        "case_digests": digests(cases.ids if table.id_column else (), table.sha256),
        "row_digests": digests(tuple(row.tobytes().hex() for row in raw), table.sha256),
        **fitted.model.arrays,
        **harmonisation,
    }


def digests(texts: tuple[str, ...], salt: str) -> npt.NDArray[np.uint8]:
    """Six bytes per text, salted with the training table's digest: enough to recognise a case, not to list it."""
    parts = [hashlib.sha256(f"{salt}\0{t}".encode()).digest()[:DIGEST_BYTES] for t in texts]
    return np.frombuffer(b"".join(sorted(parts)), np.uint8).reshape(-1, DIGEST_BYTES)


def software() -> dict[str, str]:
    """Versions that a signature's numbers depend on."""
    import scipy
    import sklearn

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": str(scipy.__version__),
        "scikit-learn": str(sklearn.__version__),
    }


def _calibrate(
    cases: design.Design, fitted: fitting.Fit, recipe: Training, progress: fitting.Progress | None
) -> _Calibrated:
    if recipe.recipe == "paper":
        return _calibrate_as_published(cases, fitted, recipe)
    decisions, empty = fitting.out_of_fold(
        cases.values, cases.positive, cases.columns, cases.groups, recipe, progress, cases.patients, cases.repeats,
        cases.scanners,
    )  # fmt: skip
    a, b = calibration_fit.platt(decisions, cases.positive)
    probabilities = calibration.probability(decisions, a, b)
    cutoff = calibration_fit.cutoff(recipe.cutoff, probabilities, cases.positive)
    evidence = OutOfFold(auc=metrics.auc(decisions, cases.positive), folds=recipe.folds, empty_folds=empty)
    positive, negative = np.sort(probabilities[cases.positive]), np.sort(probabilities[~cases.positive])
    return _Calibrated(a, b, cutoff, positive, negative, evidence)


def _calibrate_as_published(cases: design.Design, fitted: fitting.Fit, recipe: Training) -> _Calibrated:
    """Platt's sigmoid as libsvm finds it for R's e1071, selection done on everyone; the cutoff from training scores."""
    standardised = fitted.scaling.apply(fitted.columns(cases.values, cases.scanners))
    a, b = calibration_fit.platt(fitting.refit_out_of_fold(standardised, cases.positive, recipe), cases.positive)
    probabilities = calibration.probability(classifiers.decision(fitted.model, standardised), a, b)
    nobody = np.empty(0)
    cutoff = calibration_fit.cutoff(recipe.cutoff, probabilities, cases.positive)
    return _Calibrated(a, b, cutoff, nobody, nobody, None)


def _origins(table: Table, kept_rows: npt.NDArray[np.bool_]) -> tuple[Origin, ...]:
    """Who made the regions of the cases."""
    here = {origin for row, is_case in zip(table.origins, kept_rows, strict=True) if is_case for origin in row}
    return tuple(origin for origin in ORIGINS if origin in here)


def _class_name(table: Table) -> str:
    """The label itself, or COLUMN = LABEL where the label is a bare number."""
    value = table.positive_value
    return f"{table.label_column} = {value}" if value.replace(".", "").isdigit() else value

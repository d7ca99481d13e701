"""What a careful reader must know about the tables: each check looks, and speaks only if it finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.research.metrics import auc
from pipeline.research.reproduce.findings import Signature, change, correlations
from pipeline.research.reproduce.released_tables import Cohort, Tables


@dataclass(frozen=True)
class Irregularity:
    """`code`: stable; `where`: tables; `what`: a sentence with the numbers found."""

    code: str
    where: str
    what: str


def find(tables: Tables, signatures: dict[str, Signature]) -> list[Irregularity]:
    """All irregularities, the gravest first."""
    checks = (_inverted, _labels, _effects, _block, _copy, _before_is_after, _table2, _tiny_spread, _own_z,
              _label_changes, _columns, _missing, _codes, _surgical, _radiologist, _chance, _cutoffs, _names,
              _patients)  # fmt: skip
    return [irregularity for check in checks for irregularity in check(tables, signatures)]


Signatures = dict[str, Signature]


def _inverted(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    for figure, name in (("2B", "aln_tumour"), ("2C", "multiomic")):
        signature = signatures[name]
        values = {n: auc(s, signature.cohorts[n].positive) for n, s in signature.scores.items() if n != "training"}
        if max(values.values()) < 0.5:
            areas = ", ".join(f"{n.replace('_', '-')} {v:.3f}" for n, v in values.items())
            yield Irregularity(
                "inverted",
                f"Fig {figure}",
                f"With R as the positive class everywhere the AUC of validation is below one half: {areas}; the "
                "published values are those of the probability of N.",
            )


def _labels(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    values = {}
    for name, cohort in tables.fig2c.items():
        column = _clinical(cohort, "N分期")
        if column is not None:
            values[name] = auc(column.to_numpy(float), cohort.positive)
    if min(values.values(), default=0) > 0.5:
        areas = ", ".join(f"{n.replace('_', '-')} {v:.2f}" for n, v in values.items())
        yield Irregularity(
            "labels-not-swapped",
            "Fig 2C",
            f"Clinical N stage points the right way for R in every cohort (AUC {areas}), so the labels of the "
            "validation tables are not simply swapped.",
        )


def _effects(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    reference = _t_statistics(tables.fig2b["training"])
    for name in ("external", "prospective_retrospective"):
        r = float(np.corrcoef(reference, _t_statistics(tables.fig2b[name]))[0, 1])
        if r < 0:
            yield Irregularity(
                "effects-reversed",
                f"fig2b_{name}",
                f"The per-feature t statistics (R against N) correlate {r:.2f} with those of training: what is "
                "higher in node-positive patients there is lower here.",
            )


def _block(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    cohort = tables.fig2b["training"]
    far = (cohort.features.abs() > 1).mean(axis=1)
    apart = (far > 0.3).to_numpy()
    classes, codes = set(cohort.positive[apart]), set(cohort.features.index[apart].str.extract(r"^(\D*)")[0])
    if apart.sum() >= 10 and len(classes) == 1:
        status = "node-positive" if classes.pop() else "node-negative"
        yield Irregularity(
            "one-sided-block",
            "fig2b_training",
            f"{int(apart.sum())} of {len(apart)} patients, all {status} and all with codes "
            f"{' or '.join(sorted(map(str, codes)))}…, lie more than one standard deviation away in over 30 % of the "
            f"features (the others in {far[~apart].median():.0%}); without them the median standard deviation of a "
            f"column is {cohort.features[~apart].std().median():.2f}. A scanner or a batch would look like this.",
        )


def _copy(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    validation = tables.fig2b["prospective_retrospective"].features
    common = [c for c in validation.columns if c in tables.after.columns]
    after = tables.after.reindex(validation.index)[common]
    if common and np.array_equal(validation[common].to_numpy(), after.to_numpy()):
        yield Irregularity(
            "validation-after-chemotherapy",
            "fig2b_prospective_retrospective, fig4b_after_neoadjuvant",
            f"The {len(common)} feature columns of the {len(after)} patients are equal value for value: this "
            "validation cohort was imaged after neoadjuvant chemotherapy.",
        )


def _before_is_after(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    before, after = tables.before.to_numpy(), tables.after.reindex(tables.before.index).to_numpy()
    with np.errstate(invalid="ignore"):
        r = np.array([np.corrcoef(before[:, j], after[:, j])[0, 1] for j in range(before.shape[1])])
    near = float((np.abs(before - after) < 0.1).mean())
    if np.nanmedian(r) > 0.99:
        yield Irregularity(
            "before-almost-after",
            "fig4a, fig4b",
            f"Before and after treatment correlate with a median r of {np.nanmedian(r):.4f} per feature (lowest "
            f"{np.nanmin(r):.3f}), and {near:.0%} of all values differ by less than 0.1 standard deviations: far "
            "closer than two scans of one untreated patient would be.",
        )


def _table2(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    counts = change(tables.before, tables.after)
    if (counts.up, counts.down) == (70, 68):
        yield Irregularity(
            "table-2",
            "Fig 4",
            "The paired test gives 70 features up and 68 down, as the paper's text says; the counts by class in "
            "the paper's Table 2 sum to other numbers.",
        )


def _tiny_spread(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    reference = tables.fig2b["training"].features.std()
    for name, cohort in tables.fig2b.items():
        ratio = cohort.features.std() / reference
        flat = ratio[ratio < 0.02]
        if name != "training" and len(flat):
            adc = sum("ADC" in c for c in flat.index)
            named = ", ".join(flat.index[:5]) + (", …" if len(flat) > 5 else "")
            yield Irregularity(
                "no-spread",
                f"fig2b_{name}",
                f"{len(flat)} of {len(ratio)} columns have less than 2 % of the spread seen in training ({adc} of them "
                f"ADC: {named}), as if computed from images in another unit or scale.",
            )


def _own_z(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    external = tables.fig2b["external"].features
    mean, spread = float(external.mean().abs().median()), float(external.std().median())
    if mean < 0.1 and abs(spread - 1) < 0.1:
        yield Irregularity(
            "z-scored-alone",
            "fig2b_external",
            f"Column means lie near 0 (median |mean| {mean:.2f}) and standard deviations near 1 (median "
            f"{spread:.2f}), so this cohort looks z-scored by its own statistics and not by those of training.",
        )


def _label_changes(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    for name, cohort in tables.fig2c.items():
        first = pd.Series(tables.fig2b[name].positive, tables.fig2b[name].features.index)
        second = pd.Series(cohort.positive, cohort.features.index)
        common = first.index.intersection(second.index)
        differ = common[(first[common] != second[common]).to_numpy()]
        if len(differ):
            yield Irregularity(
                "label-changes",
                f"fig2b_{name}, fig2c_{name}",
                f"{len(differ)} patient(s) with the same feature values carry another label in the two tables: row "
                f"{', '.join(map(str, differ[:5]))}.",
            )


def _columns(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    pairs = [(a, b) for a, b in zip(tables.before.columns, tables.after.columns, strict=True) if a != b]
    if pairs:
        differences = ", ".join(f"{a} in 4A is {b} in 4B" for a, b in pairs)
        yield Irregularity("column-names", "fig4a, fig4b", f"Columns are named differently: {differences}.")


def _missing(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    counts = [(n, len(c.positive), len(c.complete().positive)) for n, c in tables.fig2c.items()]
    if any(whole != complete for _, whole, complete in counts):
        counts_by_cohort = ", ".join(f"{n.replace('_', '-')} {complete} of {whole}" for n, whole, complete in counts)
        yield Irregularity(
            "complete-cases",
            "Fig 2C",
            f"Clinical values are missing; the published numbers need complete cases: {counts_by_cohort}.",
        )
    for name, cohort in tables.fig2c.items():
        dropped = len(tables.fig2b[name].positive) - len(cohort.positive)
        if dropped:
            yield Irregularity(
                "patients-left-out", f"fig2c_{name}", f"{dropped} patients of Fig 2B's cohort are not in this table."
            )


def _codes(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    clinical = tables.fig2c["training"].clinical
    two = [c for c in clinical if ("年龄" in c or "Ki67" in c) and clinical[c].nunique() == 2]
    if two:
        yield Irregularity(
            "two-level-codes", "Fig 2C", f"Age and Ki-67 are two-level codes, not years and percent: {', '.join(two)}."
        )


def _surgical(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    surgical = [c for c in tables.fig2c["training"].clinical if "手术病理" in c]
    if surgical:
        yield Irregularity(
            "surgical-pathology",
            "Fig 2C",
            f"{', '.join(surgical)}: Ki-67 and molecular subtype come from surgical pathology (手术病理), which nobody "
            "has before surgery.",
        )


def _radiologist(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    column = _clinical(tables.fig2c["training"], "N分期")
    reading = tables.fig2d["Radiologistsdiagnosis"]
    if column is not None and np.array_equal(column.reindex(reading.index).to_numpy(float), reading.to_numpy(float)):
        levels = ", ".join(str(v) for v in sorted(reading.unique()))
        yield Irregularity(
            "reading-is-clinical-n",
            "fig2d, fig2c_training",
            f"The radiologists' diagnosis equals the clinical N stage ({levels}) of every patient, which is also "
            "an input of the multiomic signature it is compared with; here from 1 on counts as positive.",
        )


def _cutoffs(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    training = set(tables.fig2b["training"].features.index)
    if set(tables.fig2d.index) <= training:
        yield Irregularity(
            "cutoff-from-training",
            "Fig 2D",
            f"The decision curve and both cutoffs are on {len(tables.fig2d)} training patients, with scores of a "
            "model that was fitted on them.",
        )


def _names(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    columns = tables.fig2b["training"].features.columns
    yield Irregularity(
        "anonymous-columns",
        "Fig 2A-2C, 4",
        f"The {len(columns)} feature columns ({columns[0]}, …, {columns[-1]}) are numbers without names; a "
        "signature fitted on them cannot be run on new images.",
    )


def _patients(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    imaged = tables.fig5_features.index
    for name, table in tables.fig5.items():
        absent, extra = imaged.difference(table.index), table.index.difference(imaged)
        if len(absent) or len(extra):
            yield Irregularity(
                "other-patients",
                f"fig5_{name}",
                f"{len(absent)} of {len(imaged)} imaged patients are missing here and {len(extra)} have no images; "
                f"the correlation is over {len(imaged) - len(absent)}.",
            )


def _chance(tables: Tables, signatures: Signatures) -> Iterator[Irregularity]:
    for name, correlation in correlations(tables).items():
        p = correlation.p.to_numpy()
        significant, expected = int((p < 0.05).sum()), round(0.05 * p.size)
        if significant <= expected:
            yield Irregularity(
                "no-more-than-chance",
                f"fig5_features, fig5_{name}",
                f"{significant} of {p.size} correlations have P<0.05; {expected} would by chance alone.",
            )


def _clinical(cohort: Cohort, part: str) -> pd.Series | None:
    name = next((c for c in cohort.clinical if part in c), None)
    return None if name is None else cohort.clinical[name]


def _t_statistics(cohort: Cohort) -> np.ndarray:
    values = cohort.features.to_numpy()
    return np.asarray(stats.ttest_ind(values[cohort.positive], values[~cohort.positive]).statistic)

"""What the tables give, figure by figure, beside what was published (Yu et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.records import Json
from pipeline.research.metrics import auc, delong
from pipeline.research.reproduce import recipe
from pipeline.research.reproduce.released_tables import COHORTS, Cohort, Floats, Tables

PUBLISHED = {
    "fig2b": {"training": 0.88, "prospective_retrospective": 0.87, "external": 0.87},
    "fig2c": {"training": 0.90, "prospective_retrospective": 0.93, "external": 0.91},
}
PUBLISHED_CUTOFF = {"aln_tumour": 0.386, "multiomic": 0.334}
PUBLISHED_CHANGE = (70, 68)
SCORE_COLUMNS = {"aln_tumour": "Radiomicsignature", "multiomic": "Radiomicnomogram"}
EXPLANATION = (
    "In training the score is the probability of node-positive (R) and the AUC comes out as published; on the two "
    "validation cohorts the published AUC appears only when the score is the probability of the other class (N), as "
    "the published script takes it. With one positive class everywhere the validation AUCs are one minus the published "
    "ones: on these tables the signature ranks node-negative patients above node-positive ones."
)


@dataclass(frozen=True)
class Signature:
    """One signature on its three cohorts: decision values with R positive."""

    cohorts: dict[str, Cohort]
    machine: recipe.Machine
    scores: dict[str, Floats]


@dataclass(frozen=True)
class Change:
    """Paired tests after against before treatment, per feature: t > 0 means higher afterwards."""

    t: pd.Series
    p: pd.Series

    @property
    def up(self) -> int:
        return int(((self.p < 0.05) & (self.t > 0)).sum())

    @property
    def down(self) -> int:
        return int(((self.p < 0.05) & (self.t < 0)).sum())


@dataclass(frozen=True)
class Correlation:
    """Spearman correlation of features (rows) with markers (columns) over `patients` common patients.

    `constant`: markers with one value in all these patients, which have no correlation and are left out.
    """

    rho: pd.DataFrame
    p: pd.DataFrame
    patients: int
    constant: tuple[str, ...]


def signature(cohorts: dict[str, Cohort]) -> Signature:
    """Fit on the training cohort (complete cases) and score all."""
    complete = {name: cohort.complete() for name, cohort in cohorts.items()}
    training = complete["training"]
    machine = recipe.fit(training.design(), training.positive)
    return Signature(complete, machine, {n: machine.scores(c.design()) for n, c in complete.items()})


def fig2bc(fitted: Signature, figure: str) -> dict[str, Json]:
    """AUC per cohort, published and both ways of scoring; without re-standardising; cross-validated."""
    rows: dict[str, Json] = {}
    training = fitted.cohorts["training"]
    plain = recipe.aucs(recipe.fit(training.design(), training.positive, standardise=False), fitted.cohorts)
    for name in COHORTS:
        cohort, scores = fitted.cohorts[name], fitted.scores[name]
        interval = delong(scores, cohort.positive)
        flip = name != "training"
        rows[name] = {
            "published": PUBLISHED[figure][name],
            "one_positive_class": interval.value,
            "ci": [interval.low, interval.high],
            "as_published": auc(-scores if flip else scores, cohort.positive),
            "scored_by": "probability of N" if flip else "probability of R",
            "n": len(cohort.positive),
            "positive": int(cohort.positive.sum()),
            "not_standardised": plain[name],
        }
    mean, deviation = recipe.cross_validated_auc(training)
    rows["cross_validation_in_training"] = {"auc": mean, "sd": deviation, "folds": 5, "repeats": 10}
    rows["explanation"] = EXPLANATION
    return rows


def fig2d(tables: Tables, signatures: dict[str, Signature]) -> dict[str, Json]:
    """Published scores against ours, and their cutoffs by Youden's index."""
    facts: dict[str, Json] = {"n": len(tables.fig2d)}
    positive = (tables.fig2d["NR"] == 1).to_numpy()
    for name, column in SCORE_COLUMNS.items():
        fitted = signatures[name]
        training = fitted.cohorts["training"]
        ours = pd.DataFrame(
            {"decision": fitted.scores["training"], "probability": recipe.platt(training, fitted.machine)},
            index=training.features.index,
        ).reindex(tables.fig2d.index)
        published = tables.fig2d[column]
        facts[name] = {
            "column": column,
            "r_score": float(ours["probability"].corr(published)),
            "r_log_odds": float(ours["decision"].corr(np.log(published / (1 - published)))),
            "auc_of_published_score": auc(published.to_numpy(), positive),
            "cutoff": recipe.youden(published.to_numpy(), positive),
            "published_cutoff": PUBLISHED_CUTOFF[name],
        }
    return facts


def decision_curves(tables: Tables) -> pd.DataFrame:
    """Net benefit by threshold of both signatures, the radiologists' column (from 1: positive), treat all, none."""
    thresholds = np.arange(0.01, 0.96, 0.01)
    positive = (tables.fig2d["NR"] == 1).to_numpy()
    called = (tables.fig2d["Radiologistsdiagnosis"] >= 1).to_numpy().astype(float)
    every = np.ones(len(positive))
    curves = {
        "Multiomic signature": tables.fig2d["Radiomicnomogram"].to_numpy(),
        "ALN-tumour signature": tables.fig2d["Radiomicsignature"].to_numpy(),
        "Radiologists": called,
        "Treat all": every,
    }
    frame = pd.DataFrame({n: recipe.net_benefit(s, positive, thresholds) for n, s in curves.items()}, index=thresholds)
    return frame.assign(**{"Treat none": 0.0})


def change(before: pd.DataFrame, after: pd.DataFrame) -> Change:
    """Paired t-tests, columns matched by position (one is spelled differently), rows by patient code."""
    renamed = after.set_axis(before.columns, axis=1).reindex(before.index)
    test = stats.ttest_rel(renamed.to_numpy(), before.to_numpy())
    return Change(pd.Series(test.statistic, before.columns), pd.Series(test.pvalue, before.columns))


def fig4(tables: Tables) -> dict[str, Json]:
    whole = change(tables.before, tables.after)
    groups = tables.before.columns.str.extract(r"^(\D+(?:1C|2FS)?)\d+$")[0].str.replace(r"\d+$", "", regex=True)
    by_group: dict[str, Json] = {}
    for group in dict.fromkeys(groups):
        inside = (groups == group).to_numpy()
        part = Change(whole.t[inside], whole.p[inside])
        by_group[str(group)] = {"features": int(inside.sum()), "up": part.up, "down": part.down}
    up, down = PUBLISHED_CHANGE
    return {
        "up": whole.up,
        "down": whole.down,
        "published_up": up,
        "published_down": down,
        "n": len(tables.before),
        "by_group": by_group,
        "significant_at_fdr_5_percent": int((stats.false_discovery_control(whole.p) < 0.05).sum()),
    }


def correlations(tables: Tables) -> dict[str, Correlation]:
    """Spearman correlation of the features with each marker table, over the patients in both."""
    return {name: _spearman(tables.fig5_features, markers) for name, markers in tables.fig5.items()}


def _spearman(features: pd.DataFrame, markers: pd.DataFrame) -> Correlation:
    common = features.index.intersection(markers.index)
    one_value = markers.loc[common].nunique() < 2
    constant = tuple(str(c) for c in markers.columns[one_value])
    markers = markers.loc[:, ~one_value]
    x, y = (stats.rankdata(t.loc[common].to_numpy(), axis=0) for t in (features, markers))
    n = len(common)
    zx, zy = ((r - r.mean(axis=0)) / r.std(axis=0) for r in (x, y))
    rho = np.clip(zx.T @ zy / n, -1, 1)
    with np.errstate(divide="ignore"):
        t = rho * np.sqrt((n - 2) / (1 - rho**2))
    p = 2 * stats.t.sf(np.abs(t), n - 2)
    names = {"index": features.columns, "columns": markers.columns}
    return Correlation(pd.DataFrame(rho, **names), pd.DataFrame(p, **names), n, constant)


def fig5(by_marker: dict[str, Correlation]) -> dict[str, Json]:
    facts: dict[str, Json] = {}
    for name, correlation in by_marker.items():
        p = correlation.p.to_numpy().ravel()
        row, column = np.unravel_index(int(np.abs(correlation.rho.to_numpy()).argmax()), correlation.rho.shape)
        facts[name] = {
            "patients": correlation.patients,
            "features": correlation.rho.shape[0],
            "markers": correlation.rho.shape[1],
            "constant_markers": list(correlation.constant),
            "p_below_0_05": int((p < 0.05).sum()),
            "expected_by_chance": round(0.05 * p.size),
            "significant_at_fdr_5_percent": int((stats.false_discovery_control(p) < 0.05).sum()),
            "strongest": {
                "feature": str(correlation.rho.index[row]),
                "marker": str(correlation.rho.columns[column]),
                "rho": float(correlation.rho.iloc[row, column]),
            },
        }
    return facts

"""Spearman's correlation of features with markers, and how many small P values chance alone would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.research.microenvironment.differences import adjusted, welch_t
from pipeline.signature.record import Floats

SHUFFLES = 1000
# Exchanges where markers are chosen again each time.
CHOICES = 200
# Fewer patients than these tell nothing of a pair.
LEAST_PATIENTS = 5


@dataclass(frozen=True)
class Candidates:
    """What markers were chosen from by a group. `values`: (patients, candidates), rows as those of the markers;
    `first`: (patients,) 1 in the first group, 0 in the second, NaN in neither."""

    values: Floats
    first: Floats


@dataclass(frozen=True)
class Correlations:
    """`table`: one row per pair with columns a (feature), b (marker), rho, p, q, n.

    q: over all pairs of features and `candidates` markers. Markers that were chosen from more are judged among all they
    were chosen from, since a choice by node status makes them correlate with every feature that goes with it.
    `constant`: features and markers with one value, which have no correlation. `expected`: level × pairs. `chance`:
    2.5, 50 and 97.5 % of the number of P below `level` when the patients of the markers are exchanged with each other,
    and the markers are chosen again.
    """

    kind: str
    table: pd.DataFrame
    patients: int
    level: float
    constant: tuple[str, ...]
    chance: tuple[float, float, float]
    candidates: int

    @property
    def below(self) -> int:
        return int((self.table["p"] < self.level).sum())

    @property
    def expected(self) -> float:
        return self.level * len(self.table)

    def square(self, column: str) -> pd.DataFrame:
        """A column of the table as features by markers."""
        return self.table.pivot(index="a", columns="b", values=column).loc[
            list(dict.fromkeys(self.table["a"])), list(dict.fromkeys(self.table["b"]))
        ]


def correlations(
    kind: str,
    features: pd.DataFrame,
    markers: pd.DataFrame,
    *,
    candidates: Candidates | None = None,
    level: float = 0.05,
    seed: int = 0,
) -> Correlations:
    """Correlate every feature with every marker over the patients that have both; two-sided P by Student's t.

    Args:
        features, markers: the same patients as rows; NaN where a value is missing, which leaves the patient out of
            that pair alone.
        candidates: of markers that were chosen, what from.
    """
    one_value = [str(c) for frame in (features, markers) for c in frame.columns if frame[c].nunique() < 2]
    features, markers = (
        frame.loc[:, [c for c in frame.columns if frame[c].nunique() > 1]] for frame in (features, markers)
    )
    x, y = features.to_numpy(dtype=np.float64), markers.to_numpy(dtype=np.float64)
    n = np.isfinite(x).astype(int).T @ np.isfinite(y).astype(int)
    rho = _rho(x, y)
    rho[n < LEAST_PATIENTS] = np.nan
    p = p_of(rho, n)
    table = pd.DataFrame(
        {
            "a": np.repeat(features.columns.astype(str), y.shape[1]),
            "b": np.tile(markers.columns.astype(str), x.shape[1]),
            "rho": rho.ravel(),
            "p": p.ravel(),
            "n": n.ravel(),
        }
    )
    table = table[np.isfinite(table["rho"])].reset_index(drop=True)
    if candidates is None:
        table.insert(4, "q", adjusted(table["p"].to_numpy()))
        chance, count = _chance(x, y, level, seed), y.shape[1]
    else:
        table.insert(4, "q", _q_among(table["p"].to_numpy(), x, candidates.values))
        chance, count = _chance_of_chosen(x, y.shape[1], candidates, level, seed), candidates.values.shape[1]
    return Correlations(kind, table, len(features), level, tuple(one_value), chance, count)


def p_of(rho: Floats, n: Floats) -> Floats:
    """Two-sided P of Spearman's ρ by Student's t with n − 2 degrees of freedom, as R's cor.test with exact = FALSE."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(rho) * np.sqrt((n - 2) / (1 - rho**2))
    return np.asarray(2 * stats.t.sf(t, n - 2))


def _rho(x: Floats, y: Floats) -> Floats:
    """ρ (columns of x, columns of y); midranks for equal values. Columns with gaps are ranked pair by pair."""
    rho = np.full((x.shape[1], y.shape[1]), np.nan)
    whole_x, whole_y = (np.isfinite(values).all(axis=0) for values in (x, y))
    if whole_x.any() and whole_y.any():
        rho[np.ix_(whole_x, whole_y)] = _standard_ranks(x[:, whole_x]).T @ _standard_ranks(y[:, whole_y])
    for i, j in np.argwhere(~np.outer(whole_x, whole_y)):
        both = np.isfinite(x[:, i]) & np.isfinite(y[:, j])
        if both.sum() > 1:
            a, b = _standard_ranks(x[both, i][:, None]), _standard_ranks(y[both, j][:, None])
            rho[i, j] = (a.T @ b)[0, 0] if a.any() and b.any() else np.nan
    return np.asarray(np.clip(rho, -1, 1))


def _standard_ranks(values: Floats) -> Floats:
    """Ranks of each column with mean 0 and length 1; zeros for a column with one value."""
    ranks = stats.rankdata(values, axis=0)
    ranks = ranks - ranks.mean(axis=0)
    length = np.sqrt((ranks**2).sum(axis=0))
    return np.asarray(ranks / np.where(length > 0, length, 1))


def _q_among(p: Floats, x: Floats, candidates: Floats) -> Floats:
    """q of Benjamini and Hochberg of these P (pairs,) among those of all features with all candidates.

    Pairs with gaps count in the number of pairs alone; such a pair has the q of the next larger P. No q is too small.
    """
    whole_x, whole = (np.isfinite(values).all(axis=0) for values in (x, candidates))
    rho = np.abs(_standard_ranks(x[:, whole_x]).T @ _standard_ranks(candidates[:, whole])).ravel()
    everything = np.sort(p_of(np.minimum(rho, 1), np.array(len(x))))
    raised = everything * (x.shape[1] * candidates.shape[1]) / np.arange(1, len(everything) + 1)
    q = np.append(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    # The same pair's P may differ in its last digits.
    return np.asarray(np.minimum(q[np.searchsorted(everything, p * (1 - 1e-9))], 1.0))


def _chance_of_chosen(
    x: Floats, count: int, candidates: Candidates, level: float, seed: int
) -> tuple[float, float, float]:
    """As `_chance`, where after each exchange the `count` candidates with the largest Welch's t are chosen again.

    Of candidates and features without gaps. The largest t stands for the random forest, which follows it closely.
    """
    values = candidates.values[:, np.isfinite(candidates.values).all(axis=0)]
    a, b = _standard_ranks(x[:, np.isfinite(x).all(axis=0)]), _standard_ranks(values)
    if not a.shape[1] or not b.shape[1] or len(a) < LEAST_PATIENTS:
        return (0.0, 0.0, 0.0)
    limit, rng = _limit(level, len(a)), np.random.default_rng(seed)
    grouped = np.isfinite(candidates.first)
    first, centred = candidates.first[grouped] == 1, values - values.mean(axis=0)
    measured = np.ones((int(grouped.sum()), values.shape[1]), dtype=np.bool_)
    counts = []
    for _ in range(CHOICES):
        order = rng.permutation(len(a))
        t = np.nan_to_num(np.abs(welch_t(centred[order][grouped], measured, first)), posinf=0.0)
        chosen = np.argsort(-t, kind="stable")[:count]
        counts.append(int((np.abs(a.T @ b[order][:, chosen]) > limit).sum()))
    low, middle, high = np.quantile(counts, (0.025, 0.5, 0.975))
    return float(low), float(middle), float(high)


def _limit(level: float, n: int) -> float:
    """The |ρ| of n patients from which on P is below the level."""
    t = float(stats.t.isf(level / 2, n - 2))
    return t / float(np.sqrt(n - 2 + t * t))


def _chance(x: Floats, y: Floats, level: float, seed: int) -> tuple[float, float, float]:
    """Of the columns without gaps: features hang together, and so do markers, hence the wide range."""
    a, b = (_standard_ranks(values[:, np.isfinite(values).all(axis=0)]) for values in (x, y))
    if not a.shape[1] or not b.shape[1] or len(a) < LEAST_PATIENTS:
        return (0.0, 0.0, 0.0)
    limit, rng = _limit(level, len(a)), np.random.default_rng(seed)
    counts = [int((np.abs(a.T @ b[rng.permutation(len(b))]) > limit).sum()) for _ in range(SHUFFLES)]
    low, middle, high = np.quantile(counts, (0.025, 0.5, 0.975))
    return float(low), float(middle), float(high)

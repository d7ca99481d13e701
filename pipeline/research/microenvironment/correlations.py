"""Spearman's correlation of features with markers, and how many small P values chance alone would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.research.microenvironment.differences import adjusted
from pipeline.signature.record import Floats

SHUFFLES = 1000
# Fewer patients than these tell nothing of a pair.
LEAST_PATIENTS = 5


@dataclass(frozen=True)
class Correlations:
    """`table`: one row per pair with columns a (feature), b (marker), rho, p, q, n; q over all pairs of this table.

    `constant`: features and markers with one value, which have no correlation. `expected`: level × pairs. `chance`:
    2.5, 50 and 97.5 % of the number of P below `level` when the patients of the markers are exchanged with each other.
    """

    kind: str
    table: pd.DataFrame
    patients: int
    level: float
    constant: tuple[str, ...]
    chance: tuple[float, float, float]

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
    kind: str, features: pd.DataFrame, markers: pd.DataFrame, *, level: float = 0.05, seed: int = 0
) -> Correlations:
    """Correlate every feature with every marker over the patients that have both; two-sided P by Student's t.

    Args:
        features, markers: the same patients as rows; NaN where a value is missing, which leaves the patient out of
            that pair alone.
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
    table.insert(4, "q", adjusted(table["p"].to_numpy()))
    return Correlations(kind, table, len(features), level, tuple(one_value), _chance(x, y, level, seed))


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


def _chance(x: Floats, y: Floats, level: float, seed: int) -> tuple[float, float, float]:
    """Of the columns without gaps: features hang together, and so do markers, hence the wide range."""
    a, b = (_standard_ranks(values[:, np.isfinite(values).all(axis=0)]) for values in (x, y))
    if not a.shape[1] or not b.shape[1] or len(a) < LEAST_PATIENTS:
        return (0.0, 0.0, 0.0)
    t = float(stats.t.isf(level / 2, len(a) - 2))
    limit = t / np.sqrt(len(a) - 2 + t * t)
    rng = np.random.default_rng(seed)
    counts = [int((np.abs(a.T @ b[rng.permutation(len(b))]) > limit).sum()) for _ in range(SHUFFLES)]
    low, middle, high = np.quantile(counts, (0.025, 0.5, 0.975))
    return float(low), float(middle), float(high)

"""Differences between two groups of patients, name by name: Welch's t and the moderated t."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.research.metrics import Bools
from pipeline.research.microenvironment import moderation
from pipeline.signature.record import Floats

# Values of a group that a test needs at least.
LEAST_VALUES = 3
# A spread below this share of the values is rounding.
_ROUNDING = 1e-10
# Exchanges of patients by which the number of small P values under chance is told.
SHUFFLES = 200


@dataclass(frozen=True)
class Differences:
    """`table`: index name; columns difference (first group − second), t, df, p, q, moderated_t, moderated_p,
    moderated_q, n_first, n_second. q: Benjamini-Hochberg over all names tested.

    `constant`: names with one value; `too_few`: names with fewer than three values in a group. Neither is tested.
    `prior`: of the moderated t; `chance`: 2.5, 50 and 97.5 % of the number of names with P below `level` after patients
    have been exchanged between the groups.
    """

    table: pd.DataFrame
    constant: tuple[str, ...]
    too_few: tuple[str, ...]
    prior: moderation.Prior
    level: float
    chance: tuple[float, float, float]

    @property
    def below(self) -> int:
        """Names with Welch's P below the level."""
        return int((self.table["p"] < self.level).sum())


@dataclass(frozen=True)
class _Group:
    n: Floats
    mean: Floats
    variance: Floats


def differences(
    values: Floats,
    names: tuple[str, ...],
    first: Bools,
    *,
    level: float = 0.05,
    seed: int = 0,
    shuffles: int = SHUFFLES,
) -> Differences:
    """Test each name.

    Args:
        values: (patients, names), NaN where nothing was measured; such a patient does not count for that name.
        first: (patients,), who belongs to the first group.
    """
    # Around each name's mean, or large values would lose digits.
    measured = np.isfinite(values)
    count = measured.sum(axis=0)
    centre = np.where(measured, values, 0).sum(axis=0) / np.maximum(count, 1)
    centred = np.where(measured, values - centre, 0)
    groups = [_group(centred[w], measured[w]) for w in (first, ~first)]
    enough = np.minimum(groups[0].n, groups[1].n) >= LEAST_VALUES
    varies = (np.abs(centred).max(axis=0, initial=0) > _ROUNDING * np.abs(centre)) & (count > 0)
    within = (groups[0].variance + groups[1].variance) > (_ROUNDING * np.maximum(np.abs(centre), 1e-300)) ** 2
    tested = enough & varies & within
    first_group, second_group = (_Group(g.n[tested], g.mean[tested], g.variance[tested]) for g in groups)
    table, prior = _table(first_group, second_group, [n for n, ok in zip(names, tested, strict=True) if ok])
    chance = _chance(centred[:, tested], measured[:, tested], first, level, seed, shuffles)
    constant = tuple(n for n, ok, fine in zip(names, enough, varies & within, strict=True) if ok and not fine)
    return Differences(table, constant, tuple(n for n, ok in zip(names, enough, strict=True) if not ok), prior, level,
                       chance)  # fmt: skip


def adjusted(p: Floats) -> Floats:
    """q values of Benjamini and Hochberg; an undefined P stays undefined and does not count."""
    q = np.full(len(p), np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = stats.false_discovery_control(p[known])
    return q


def _group(centred: Floats, measured: Bools) -> _Group:
    n = measured.sum(axis=0).astype(np.float64)
    mean = centred.sum(axis=0) / np.maximum(n, 1)
    squares = (np.where(measured, centred - mean, 0) ** 2).sum(axis=0)
    return _Group(n, mean, squares / np.maximum(n - 1, 1))


def _table(a: _Group, b: _Group, names: list[str]) -> tuple[pd.DataFrame, moderation.Prior]:
    difference = a.mean - b.mean
    t, df = _welch(a, b)
    p = 2 * stats.t.sf(np.abs(t), df)
    pooled_df = a.n + b.n - 2
    pooled = ((a.n - 1) * a.variance + (b.n - 1) * b.variance) / pooled_df
    prior = moderation.prior_of(pooled, pooled_df)
    with np.errstate(divide="ignore", invalid="ignore"):
        moderated_t = difference / np.sqrt(moderation.moderated(pooled, pooled_df, prior) * (1 / a.n + 1 / b.n))
    # Together the genes have no more degrees of freedom than all of them measured.
    total = np.minimum(pooled_df + prior.df, pooled_df.sum())
    moderated_p = 2 * stats.t.sf(np.abs(moderated_t), total)
    columns = {
        "difference": difference, "t": t, "df": df, "p": p, "q": adjusted(p), "moderated_t": moderated_t,
        "moderated_p": moderated_p, "moderated_q": adjusted(moderated_p), "n_first": a.n.astype(int),
        "n_second": b.n.astype(int),
    }  # fmt: skip
    return pd.DataFrame(columns, index=pd.Index(names, name="name")), prior


def _welch(a: _Group, b: _Group) -> tuple[Floats, Floats]:
    """Welch's t and the degrees of freedom of Welch and Satterthwaite."""
    first, second = a.variance / a.n, b.variance / b.n
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (a.mean - b.mean) / np.sqrt(first + second)
        df = (first + second) ** 2 / (first**2 / (a.n - 1) + second**2 / (b.n - 1))
    return t, df


def welch_t(centred: Floats, measured: Bools, first: Bools) -> Floats:
    """Welch's t (names,) of values (patients, names) around each name's mean, 0 where not measured; NaN: no spread."""
    return _welch(*(_moments(centred[w], measured[w]) for w in (first, ~first)))[0]


def _chance(
    centred: Floats, measured: Bools, first: Bools, level: float, seed: int, shuffles: int
) -> tuple[float, float, float]:
    """Quantiles of the number of P below `level` when patients are exchanged: genes go together, counts scatter."""
    if not centred.shape[1] or not shuffles:
        return (0.0, 0.0, 0.0)
    rng = np.random.default_rng(seed)
    counts = []
    for _ in range(shuffles):
        drawn = rng.permutation(first)
        a, b = (_moments(centred[w], measured[w]) for w in (drawn, ~drawn))
        t, df = _welch(a, b)
        usable = np.isfinite(t) & (np.minimum(a.n, b.n) >= 2)
        counts.append(int((np.abs(t[usable]) > stats.t.isf(level / 2, df[usable])).sum()))
    low, middle, high = np.quantile(counts, (0.025, 0.5, 0.975))
    return float(low), float(middle), float(high)


def _moments(centred: Floats, measured: Bools) -> _Group:
    """`_group` by sums of squares: quicker, and exact enough around the mean."""
    n = measured.sum(axis=0).astype(np.float64)
    mean = centred.sum(axis=0) / np.maximum(n, 1)
    squares = np.einsum("ij,ij->j", centred, centred) - n * mean**2
    return _Group(n, mean, np.maximum(squares, 0) / np.maximum(n - 1, 1))

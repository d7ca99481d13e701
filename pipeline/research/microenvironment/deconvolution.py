"""Fractions of cells in bulk tumours by ν-support vector regression, as CIBERSORT describes it.

Newman AM et al. Robust enumeration of cell subsets from tissue expression profiles. Nature Methods 2015; 12: 453-457.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputRejected
from pipeline.signature.record import Floats

NUS = (0.25, 0.5, 0.75)
PERMUTATIONS = 1000
# Of the signature's genes, what a mixture must have at least.
LEAST_SHARE = 0.5
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CellSignature:
    """`values`: (genes, cells), finite and linear: how much of each gene a cell of each type has."""

    genes: tuple[str, ...]
    cells: tuple[str, ...]
    values: Floats


@dataclass(frozen=True)
class Fractions:
    """`fractions`: (patients, cells), each row sums to 1; `p`, `correlation`, `rmse`: (patients,), of the fit.

    A row is NaN where no cell had a weight above 0. `null`: (permutations,), sorted, the correlations of mixtures of
    values drawn by chance, one null for all patients.
    """

    fractions: Floats
    p: Floats
    correlation: Floats
    rmse: Floats
    null: Floats
    genes: int
    genes_absent: int


@dataclass(frozen=True)
class _Fit:
    weights: Floats
    correlation: float
    rmse: float


def fractions_of(
    mixtures: Floats,
    genes: Sequence[str],
    signature: CellSignature,
    *,
    permutations: int = PERMUTATIONS,
    quantile_normalisation: bool = False,
    seed: int = 0,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Fractions:
    """Take each mixture apart.

    The signature matrix is standardised as one, each mixture by itself, both over their common genes. Of ν = 0.25, 0.5
    and 0.75 (linear kernel, C = 1) that with the smallest error counts; negative weights become 0, and the others are
    scaled to a sum of 1. P is (1 + nulls with as large a correlation) / (1 + permutations), hence never 0.

    Args:
        mixtures: (patients, genes), linear. A gene with an empty cell is left out for all.

    Raises:
        InputRejected: fewer than half of the signature's genes are there.
    """
    own, shared = _common(mixtures, genes, signature)
    x = signature.values[shared]
    x = (x - x.mean()) / x.std(ddof=1)
    if quantile_normalisation:
        mixtures = quantile_normalised(mixtures[:, np.isfinite(mixtures).all(axis=0)])[
            :, _finite_positions(mixtures, own)
        ]
    else:
        mixtures = mixtures[:, own]
    rng = np.random.default_rng(seed)
    pool = mixtures.ravel()
    drawn = (pool[rng.choice(pool.size, size=len(x), replace=pool.size < len(x))] for _ in range(permutations))
    total = len(mixtures) + permutations
    with ThreadPoolExecutor(max(1, workers)) as threads:
        # libsvm computes without Python's lock.
        fits = list(_watched(threads.map(lambda y: _fit(x, y), [*mixtures, *drawn]), total, progress))
    own_fits, null = fits[: len(mixtures)], np.sort([fit.correlation for fit in fits[len(mixtures) :]])
    correlation = np.array([fit.correlation for fit in own_fits])
    at_least = len(null) - np.searchsorted(null, correlation, side="left")
    p = (1 + at_least) / (1 + len(null)) if len(null) else np.full(len(correlation), np.nan)
    return Fractions(
        np.array([fit.weights for fit in own_fits]), np.where(np.isfinite(correlation), p, np.nan), correlation,
        np.array([fit.rmse for fit in own_fits]), null, len(shared), len(signature.genes) - len(shared),
    )  # fmt: skip


def quantile_normalised(values: Floats) -> Floats:
    """Each row (patients, genes) gets the mean distribution of all rows; equal values get one value (Bolstad 2003)."""
    mean = np.sort(values, axis=1).mean(axis=0)
    normalised = np.empty_like(values)
    for row, cells in enumerate(values):
        _, which, counts = np.unique(cells, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        # As preprocessCore does: a run of equal values takes what lies at the middle of its ranks.
        middle = ends - counts + (counts - 1) / 2
        normalised[row] = np.interp(middle, np.arange(len(mean)), mean)[which]
    return normalised


def _common(mixtures: Floats, genes: Sequence[str], signature: CellSignature) -> tuple[list[int], list[int]]:
    """Columns of the mixtures and rows of the signature for their common genes, in the signature's order."""
    complete = np.flatnonzero(np.isfinite(mixtures).all(axis=0)).tolist()
    where = {genes[position]: position for position in complete}
    shared = [row for row, gene in enumerate(signature.genes) if gene in where]
    if len(shared) < max(LEAST_SHARE * len(signature.genes), len(signature.cells) + 1):
        empty = len(set(genes) & set(signature.genes)) - len(shared)
        raise InputRejected(
            f"the expression matrix has {len(shared)} of the {len(signature.genes)} genes of the signature matrix"
            f"{f' ({empty} more have empty cells)' if empty else ''}; at least {LEAST_SHARE:.0%} of them and more than "
            f"its {len(signature.cells)} cells are needed",
            code="too-few-genes",
        )
    return [where[signature.genes[row]] for row in shared], shared


def _finite_positions(mixtures: Floats, columns: Sequence[int]) -> list[int]:
    """Where columns are once those with an empty cell have been left out."""
    after = np.cumsum(np.isfinite(mixtures).all(axis=0)) - 1
    return [int(after[column]) for column in columns]


def _fit(x: Floats, mixture: Floats) -> _Fit:
    """The best of the fits of one mixture (genes,) by the standardised signature (genes, cells)."""
    spread = mixture.std(ddof=1)
    if not spread > 0:
        return _Fit(np.full(x.shape[1], np.nan), float("nan"), float("nan"))
    y = (mixture - mixture.mean()) / spread
    fits = [fit for fit in (_with_nu(x, y, nu) for nu in NUS) if np.isfinite(fit.rmse)]
    return (
        min(fits, key=lambda fit: fit.rmse) if fits else _Fit(np.full(x.shape[1], np.nan), float("nan"), float("nan"))
    )


def _with_nu(x: Floats, y: Floats, nu: float) -> _Fit:
    from sklearn.svm import NuSVR

    weights = np.maximum(NuSVR(nu=nu, C=1.0, kernel="linear").fit(x, y).coef_.ravel(), 0)
    if not weights.sum() > 0:
        return _Fit(weights, float("nan"), float("nan"))
    weights = weights / weights.sum()
    mixed = x @ weights
    return _Fit(weights, float(np.corrcoef(mixed, y)[0, 1]), float(np.sqrt(np.mean((mixed - y) ** 2))))


def _watched(fits: Iterable[_Fit], total: int, progress: Progress) -> Iterator[_Fit]:
    for done, fit in enumerate(fits, 1):
        yield fit
        progress(done, total)

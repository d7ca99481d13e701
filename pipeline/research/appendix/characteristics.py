"""Table 1: characteristics of groups of patients, with the tests that papers print beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.errors import InputRejected
from pipeline.research.appendix.patients_table import levels_of, numbers_of
from pipeline.research.tables.reading import shortened
from pipeline.signature.record import Floats

# A column of numbers with more values than these is continuous, with fewer it has levels.
MOST_LEVELS = 6
# Expected counts below which χ² is not to be relied on.
LEAST_EXPECTED = 5.0


@dataclass(frozen=True)
class Characteristic:
    """One column in all groups.

    `cells`: per line (level; "" of a continuous column) and group: (count, share) or (mean, standard deviation).
    `missing`: per group. `p`: None where there is nothing to test; `caution`: why the P is doubtful, or "".
    """

    column: str
    continuous: bool
    levels: tuple[str, ...]
    cells: Mapping[str, tuple[tuple[float, float], ...]]
    missing: tuple[int, ...]
    test: str
    p: float | None
    caution: str = ""


def characteristics(groups: Mapping[str, pd.DataFrame], columns: Sequence[str]) -> list[Characteristic]:
    """Compare the columns between groups of patients, cells as text, empty ones "".

    Continuous columns by Welch's t-test, or one-way analysis of variance for more than two groups; levels by Pearson's
    χ², with Yates' correction of two by two as R's chisq.test has it. Empty cells are counted and left out.

    Raises:
        InputRejected: a group lacks a column.
    """
    for name, frame in groups.items():
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise InputRejected(f"{name} has no column {shortened(missing)}", code="missing-columns")
    return [_characteristic(column, [frame[column] for frame in groups.values()]) for column in columns]


def _characteristic(column: str, cells: list[pd.Series]) -> Characteristic:
    everything = pd.concat(cells, ignore_index=True)
    numbers = numbers_of(everything)
    missing = tuple(int((part == "").sum()) for part in cells)
    if numbers is not None and len(np.unique(numbers[np.isfinite(numbers)])) > MOST_LEVELS:
        ends = np.cumsum([0, *map(len, cells)])
        parts = [numbers[a:b][np.isfinite(numbers[a:b])] for a, b in pairwise(ends)]
        test, p = _means(parts)
        spread = tuple(
            (float(v.mean()), float(v.std(ddof=1))) if len(v) > 1 else (float("nan"), float("nan")) for v in parts
        )
        return Characteristic(column, True, ("",), {"": spread}, missing, test, p)
    levels = tuple(levels_of(everything))
    counts = np.array([[int((part == level).sum()) for part in cells] for level in levels]).reshape(-1, len(cells))
    totals = counts.sum(axis=0)
    shares = {
        level: tuple(
            (float(n), float(n / total) if total else float("nan")) for n, total in zip(row, totals, strict=True)
        )
        for level, row in zip(levels, counts, strict=True)
    }
    p, caution = _levels(counts)
    return Characteristic(column, False, levels, shares, missing, "χ²", p, caution)


def _means(parts: list[Floats]) -> tuple[str, float | None]:
    test = "Welch's t" if len(parts) == 2 else "one-way ANOVA"
    if len(parts) < 2 or any(len(values) < 2 for values in parts) or all(np.ptp(values) == 0 for values in parts):
        return test, None
    if len(parts) == 2:
        return test, float(stats.ttest_ind(*parts, equal_var=False).pvalue)
    return test, float(stats.f_oneway(*parts).pvalue)


def _levels(counts: np.ndarray) -> tuple[float | None, str]:
    """P of χ² of levels by groups; rows and columns without a case do not count."""
    used = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0] if counts.size else counts
    if min(used.shape) < 2:
        return None, ""
    result = stats.chi2_contingency(used, correction=True)
    low = int((result.expected_freq < LEAST_EXPECTED).sum())
    return float(result.pvalue), f"{low} of {used.size} expected counts below {LEAST_EXPECTED:g}" if low else ""

"""Responders against non-responders: how features stood before treatment, and how they changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from pipeline.errors import InputRejected
from pipeline.research.change.pairs import Floats, Pairs
from pipeline.research.tables.reading import shortened
from pipeline.research.tables.row_names import NOBODY, as_text
from pipeline.signature import clustered

# A group with fewer patients is not compared: five against five cannot give a smaller P than 0.008.
LEAST_PATIENTS = 5
# Up to so many patients every way to deal them out is counted.
EXACT_PATIENTS = 60


@dataclass(frozen=True)
class Responders:
    """`table`: per feature of "before" and "change": medians of both groups, probability that a responder's value is
    the larger one, P of the exact rank test, q over all features of that moment. `least_p`: the smallest P that groups
    of these sizes can have. `why_not`: why nothing was compared, or "".
    """

    values: tuple[str, ...]
    responders: int
    others: int
    untold: int
    least_p: float
    table: pd.DataFrame
    why_not: str = ""

    def below(self, moment: str) -> tuple[int, float, int]:
        """Features of a moment with P < 0.05, the number that chance alone gives, and those with q < 0.05."""
        rows = self.table[self.table["moment"] == moment]
        return int((rows["p"] < 0.05).sum()), 0.05 * len(rows), int((rows["q"] < 0.05).sum())


def responders(pairs: Pairs, values: Sequence[str]) -> Responders:
    """Compare pairs whose response is one of `values` with those that have another one; who has none is left out.

    Raises:
        InputRejected: no pair has one of the values.
    """
    texts = np.array([as_text(cell) for cell in pairs.response])
    asked = tuple(as_text(value) for value in values)
    answered = ~np.isin(texts, [*NOBODY])
    unknown = [value for value in asked if value not in set(texts)]
    if unknown:
        levels = sorted(set(texts[answered]))
        raise InputRejected(
            f"No pair has the response {shortened(unknown)}; the column has {shortened(levels) or 'none at all'}.",
            code="unknown-labels",
        )
    group = np.isin(texts, asked)[answered]
    sizes = int(group.sum()), int((~group).sum()), int((~answered).sum())
    least_p = min(1.0, 2 / comb(sizes[0] + sizes[1], sizes[0]))
    empty = pd.DataFrame(columns=["moment", "feature", "p", "q"])
    if min(sizes[:2]) < LEAST_PATIENTS:
        why = (
            f"{sizes[0]} responders and {sizes[1]} others: with fewer than {LEAST_PATIENTS} of either nothing is "
            "compared"
        )
        return Responders(asked, *sizes, least_p, empty, why)
    before, after = pairs.before[answered], pairs.after[answered]
    moments = {"before": before, "change": after - before}
    table = pd.concat([_moment(name, v, group, pairs.columns) for name, v in moments.items()], ignore_index=True)
    return Responders(asked, *sizes, least_p, table)


def _moment(name: str, values: Floats, group: npt.NDArray[np.bool_], columns: tuple[str, ...]) -> pd.DataFrame:
    tested = [rank_test(column, group) for column in values.T]
    p = np.array([one for _, one in tested])
    return pd.DataFrame(
        {
            "moment": name,
            "feature": columns,
            "median_responders": np.median(values[group], axis=0),
            "median_others": np.median(values[~group], axis=0),
            "responder_larger": [larger for larger, _ in tested],
            "p": p,
            "q": stats.false_discovery_control(p),
        }
    )


def rank_test(values: Floats, group: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Probability that a value of the group is the larger one (ties half), and two-sided P of the rank sum.

    Over all ways to deal out the midranks, up to 60 patients; above by the normal distribution, corrected for ties.
    """
    n, m = len(values), int(group.sum())
    if n > EXACT_PATIENTS:
        normal = stats.mannwhitneyu(values[group], values[~group], method="asymptotic")
        return float(normal.statistic) / (m * (n - m)), float(normal.pvalue)
    twice = clustered.doubled_ranks(values)[0]
    total = int(twice[group].sum())
    chances = _chances(tuple(sorted(twice.tolist())), m)
    # Twice the expected sum of doubled ranks, a whole number.
    away = np.abs(2 * np.arange(len(chances)) - 2 * m * (n + 1))
    p = float(chances[away >= abs(2 * total - 2 * m * (n + 1))].sum())
    return (total / 2 - m * (m + 1) / 2) / (m * (n - m)), min(1.0, p)


@lru_cache(maxsize=256)
def _chances(ranks: tuple[int, ...], m: int) -> Floats:
    """The chance of each sum of `m` of these whole numbers, all ways alike."""
    ways = np.zeros((m + 1, sum(ranks[-m:]) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    chances: Floats = ways[m] / comb(len(ranks), m)
    return chances

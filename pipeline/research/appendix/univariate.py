"""What each clinical fact alone tells of node status: odds ratios by logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.research import logistic
from pipeline.research.appendix.characteristics import MOST_LEVELS
from pipeline.research.appendix.patients_table import PatientsTable, levels_of, numbers_of
from pipeline.research.metrics import Bools
from pipeline.signature.record import Floats

Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Odds:
    """`level` against `reference`, or one unit more of a continuous column (both ""). `p`: Wald's of this line;
    `p_column`: likelihood ratio of the whole column. `why_not`: why there is no estimate.
    """

    column: str
    level: str
    reference: str
    n: int
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_column: float | None = None
    why_not: str = ""


def odds_ratios(table: PatientsTable, columns: Sequence[str]) -> list[Odds]:
    """One regression per column over the patients that have it, node status the outcome."""
    return [line for column in columns for line in _column(table.frame[column], table.positive)]


def _column(cells: pd.Series, positive: Bools) -> list[Odds]:
    name, has_value = str(cells.name), (cells != "").to_numpy()
    numbers = numbers_of(cells)
    positive = positive[has_value]
    if numbers is not None and len(np.unique(numbers[has_value])) > MOST_LEVELS:
        values = numbers[has_value]
        spread = float(values.std(ddof=1))
        columns, lines, scale = ((values - values.mean()) / spread)[:, None], [("", "")], spread
    else:
        levels = levels_of(cells)
        if len(levels) < 2:
            return [Odds(name, "", "", int(has_value.sum()), why_not="one value only")]
        texts = cells[has_value].to_numpy()
        columns = np.column_stack([texts == level for level in levels[1:]]).astype(np.float64)
        lines, scale = [(level, levels[0]) for level in levels[1:]], 1.0
    return _fitted(name, lines, columns, positive, scale)


def _fitted(name: str, lines: list[tuple[str, str]], columns: Floats, positive: Bools, scale: float) -> list[Odds]:
    n, one = len(positive), np.ones((len(positive), 1))
    both = logistic.fit(np.hstack([one, columns]), positive) if 0 < positive.sum() < n else None
    alone = logistic.fit(one, positive) if both is not None else None
    if both is None or alone is None:
        return [
            Odds(name, level, of, n, why_not="no finite fit: a level tells node status in every case")
            for level, of in lines
        ]
    weights = both.weights[1:] / scale
    errors = np.sqrt(np.diag(both.covariance)[1:]) / scale
    p_column = float(stats.chi2.sf(max(0.0, 2 * (both.log_likelihood - alone.log_likelihood)), columns.shape[1]))
    return [
        Odds(name, level, of, n, float(np.exp(w)), float(np.exp(w - Z * e)), float(np.exp(w + Z * e)),
             float(2 * stats.norm.sf(abs(w) / e)), p_column)
        for (level, of), w, e in zip(lines, weights, errors, strict=True)
    ]  # fmt: skip

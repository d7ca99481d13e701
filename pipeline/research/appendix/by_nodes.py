"""How calls do on patients with one, two, three and more positive nodes, with exact tests and no result of a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from pipeline.errors import InputRejected
from pipeline.research import metrics
from pipeline.research.appendix.calls import Call
from pipeline.research.appendix.patients_table import PatientsTable, numbers_of
from pipeline.research.metrics import Bools, Interval
from pipeline.research.tables.reading import shortened

# A group with fewer patients is counted, and nothing is computed of it.
LEAST_PATIENTS = 5
GROUPS = ("0", "1", "2", "≥ 3")


@dataclass(frozen=True)
class OfNodes:
    """One call in one group: share that is called high (Clopper and Pearson), AUC of scores against patients with none.

    `why_not`: why there is no result, or "".
    """

    call: str
    nodes: str
    n: int
    high: int
    share: Interval | None
    auc: Interval | None
    why_not: str = ""


@dataclass(frozen=True)
class Difference:
    """Fisher's exact test of the share that is called high between two groups with positive nodes."""

    call: str
    a: str
    b: str
    p: float
    p_holm: float


def groups_of(table: PatientsTable, column: str) -> dict[str, Bools]:
    """Which patients have none, one, two, three and more positive nodes; who has no count is in none of the groups.

    Raises:
        InputRejected: the column is missing, a cell is no count, or a count contradicts node status.
    """
    if column not in table.frame.columns:
        raise InputRejected(f"{table.name} has no column {column}", code="missing-columns")
    counts = numbers_of(table.frame[column])
    if counts is None or ((counts < 0) | (counts % 1 != 0))[np.isfinite(counts)].any():
        raise InputRejected(f"{table.name}, column {column}: not all cells are counts", code="not-numbers")
    against = np.isfinite(counts) & ((counts > 0) != table.positive)
    if against.any():
        rows = shortened((np.flatnonzero(against) + 1).tolist())
        raise InputRejected(
            f"{table.name}, column {column}: the count contradicts {table.label} in rows {rows}", code="contradiction"
        )
    return dict(zip(GROUPS, (counts == 0, counts == 1, counts == 2, counts >= 3), strict=True))


def by_nodes(calls: Sequence[Call], groups: dict[str, Bools]) -> tuple[list[OfNodes], list[Difference]]:
    """Every call in every group, and every pair of groups with positive nodes; Holm's P over all pairs."""
    rows = [_one(call, name, which, groups["0"]) for call in calls for name, which in groups.items()]
    able = [name for name in GROUPS[1:] if groups[name].sum() >= LEAST_PATIENTS]
    tested = [(call.name, a, b, _fisher(call.high[groups[a]], call.high[groups[b]])) for call in calls
              for a, b in combinations(able, 2)]  # fmt: skip
    adjusted = metrics.holm([p for *_, p in tested])
    return rows, [Difference(*row, p_holm=p) for row, p in zip(tested, adjusted, strict=True)]


def _one(call: Call, name: str, which: Bools, none: Bools) -> OfNodes:
    n, high = int(which.sum()), int(call.high[which].sum())
    if n < LEAST_PATIENTS:
        return OfNodes(call.name, name, n, high, None, None, f"fewer than {LEAST_PATIENTS} patients")
    low, top = stats.binomtest(high, n).proportion_ci(0.95, "exact")
    auc = None
    if call.scores is not None and name != "0" and none.sum() >= LEAST_PATIENTS:
        both = which | none
        auc = metrics.newcombe(call.scores[both], which[both])
    return OfNodes(call.name, name, n, high, Interval(high / n, float(low), float(top)), auc)


def _fisher(a: Bools, b: Bools) -> float:
    return float(stats.fisher_exact([[a.sum(), (~a).sum()], [b.sum(), (~b).sum()]]).pvalue)

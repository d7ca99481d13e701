"""lncRNAs and methylated sites that tell node status: tested one by one, then ranked by a random forest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.research.metrics import Bools
from pipeline.research.microenvironment.differences import Differences, differences
from pipeline.research.microenvironment.importance import mean_decreases_in_gini
from pipeline.signature.record import Floats


@dataclass(frozen=True)
class Markers:
    """`selected`: the `top` largest mean decreases in Gini, largest first: index name; columns difference, t, p, q,
    gini. `ranked`: how many went into the forest; `incomplete`: how many did not, for an empty cell.
    """

    kind: str
    tests: Differences
    selected: pd.DataFrame
    ranked: int
    incomplete: int


def select(
    kind: str,
    values: Floats,
    names: tuple[str, ...],
    first: Bools,
    *,
    level: float,
    trees: int,
    top: int,
    seed: int,
    workers: int,
) -> Markers:
    """Test every marker by Welch's t; those with P below `level` go into the forest, whose largest are selected.

    A marker with an empty cell is tested with the patients that have it, and left out of the forest: nothing is
    imputed. Cases of the forest and of the tests are the same, so the selection says nothing of other patients.
    """
    tests = differences(values, names, first, level=level, seed=seed)
    passed = tests.table.index[tests.table["p"] < level]
    position = {name: j for j, name in enumerate(names)}
    complete = [name for name in passed if np.isfinite(values[:, position[name]]).all()]
    selected = tests.table.loc[complete, ["difference", "t", "p", "q"]].assign(gini=0.0)
    if complete:
        columns = values[:, [position[name] for name in complete]]
        selected["gini"] = mean_decreases_in_gini(columns, first, trees=trees, seed=seed, workers=workers)
    selected = selected.sort_values(["gini", "p"], ascending=[False, True], kind="stable").head(top)
    return Markers(kind, tests, selected, len(complete), len(passed) - len(complete))

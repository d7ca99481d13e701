"""On noise with shuffled labels, nested cross-validation must say 0.5, and selection outside the folds says far more.

120 cases, 6 groups of 863 features (as many as one sequence and ROI have), 20 shuffles. `ours` is the mean AUC;
`reference` is chance, 0.5. Forests have 100 trees here: enough for the point, and minutes instead of an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from config.schema import Training
from pipeline.research.tables.design import Design
from pipeline.research.training.nested import naive_auc, nested_cv

CASES, PER_GROUP, SHUFFLES = 120, 863, 20
GROUPS = tuple(f"{s}.{r}" for s in ("t1c", "t2", "adc") for r in ("tumor", "lymph_nodes"))
RECIPE = Training(trees=100)


def run() -> Iterator[dict[str, object]]:
    """Two rows: nested cross-validation, and the naive recipe on the same data."""
    rng = np.random.default_rng(20210628)
    columns = tuple(f"{g}.original_noise_F{j}" for g in GROUPS for j in range(PER_GROUP))
    noise = Design(
        columns,
        tuple(g for g in GROUPS for _ in range(PER_GROUP)),
        rng.normal(size=(CASES, len(columns))),
        np.arange(CASES) % 2 == 0,
        tuple(map(str, range(CASES))),
        np.ones(CASES, dtype=bool),
    )
    found: dict[str, list[float]] = {"nested": [], "naive": []}
    for _ in range(SHUFFLES):
        shuffled = replace(noise, positive=rng.permutation(noise.positive))
        found["nested"].append(nested_cv(shuffled, RECIPE, repeats=1, calibrate=False).auc.value)
        found["naive"].append(naive_auc(shuffled, RECIPE))
    for name, aucs in found.items():
        mean = float(np.mean(aucs))
        yield {
            "name": f"null_experiment.{name}_auc",
            "ours": mean,
            "reference": 0.5,
            "unit": "AUC",
            "ratio": mean / 0.5,
            "max_rel_diff": abs(mean - 0.5) / 0.5,
        }

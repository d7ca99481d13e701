"""Small feature tables for signature tests: noise, with or without a planted difference, under names that are made."""

from __future__ import annotations

import numpy as np
import pandas as pd

from config.schema import Features, Training
from pipeline.features import columns_made, from_settings
from pipeline.research.tables.feature_table import Table, from_frame
from pipeline.research.training.train import Identity, train
from pipeline.signature.record import Signature

GROUPS = tuple(f"{s}.{r}" for s in ("t1c", "t2", "adc") for r in ("tumor", "lymph_nodes"))
FAST = Training(trees=20, top=5)
MADE = columns_made(Features())
# Features that every region has, before all others.
_SIMPLE = tuple(
    f"original_firstorder_{name}"
    for name in ("Mean", "Median", "Minimum", "Maximum", "Range", "Energy", "Entropy", "Uniformity")
)
_TEXTURE = ("_".join(parts) for parts in from_settings(Features()).names() if parts[1] != "shape")
_NAMES = (*_SIMPLE, *(name for name in _TEXTURE if name not in _SIMPLE))


def feature(number: int, group: str = "t1c.tumor") -> str:
    """The column of a group's feature number 0, 1, …"""
    return f"{group}.{_NAMES[number]}"


def frame(
    cases: int = 60,
    per_group: int = 8,
    effect: float = 1.5,
    seed: int = 0,
    groups: tuple[str, ...] = GROUPS,
    prefix: str = "case",
) -> pd.DataFrame:
    """Alternating classes R and N; the first two features of each group differ by `effect` standard deviations."""
    rng = np.random.default_rng(seed)
    positive = np.arange(cases) % 2 == 0
    columns: dict[str, object] = {
        "id": [f"{prefix}{i}" for i in range(cases)],
        "nodes": np.where(positive, "R", "N"),
    }
    for group in groups:
        values = rng.normal(size=(cases, per_group))
        values[:, :2] += effect * positive[:, None]
        for j in range(per_group):
            columns[feature(j, group)] = values[:, j] * 3 + 7
    return pd.DataFrame(columns)


def clinical(data: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """The same with clinical columns, of which N stage and Ki-67 go with the class."""
    rng, cases = np.random.default_rng(seed), len(data)
    positive = (data["nodes"] == "R").to_numpy()
    subtypes = np.array(["luminal A", "luminal B", "HER2-positive", "triple-negative"])
    return data.assign(
        age_years=rng.integers(30, 80, cases),
        clinical_t=rng.choice(["T1", "T2", "T3"], cases),
        clinical_n=np.where(rng.random(cases) < 0.15, ~positive, positive).astype(int),
        ki67_percent=np.where(positive, rng.integers(20, 60, cases), rng.integers(5, 30, cases)),
        molecular_subtype=subtypes[np.where(positive, rng.integers(1, 4, cases), rng.integers(0, 2, cases))],
    )


def table(data: pd.DataFrame, **options: object) -> Table:
    """As the command line would read it."""
    arguments: dict[str, object] = {
        "name": "table.csv",
        "label": "nodes",
        "positive": "R",
        "id_column": "id",
        **options,
    }
    return from_frame(data, **arguments)


def trained(data: pd.DataFrame | None = None, recipe: Training = FAST, **identity: object) -> Signature:
    """A signature trained fast."""
    return train(table(frame() if data is None else data), recipe, Identity(**identity))


def features(data: pd.DataFrame, row: int) -> dict[str, float]:
    """One row's features by name."""
    return {c: float(data[c].iloc[row]) for c in data.columns if c.count(".") >= 2}

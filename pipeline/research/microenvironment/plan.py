"""What the user gives and asks: the files, and how they are to be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from pipeline.research.microenvironment import deconvolution
from pipeline.research.microenvironment.scales import Scale

Kind = Literal["expression", "lncrna", "methylation"]
# The paper's number of markers of each kind.
TOP = 30
KINDS: tuple[Kind, ...] = ("expression", "lncrna", "methylation")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sources:
    """The files."""

    features: Path
    expression: Path | None = None
    lncrna: Path | None = None
    methylation: Path | None = None
    gene_sets: tuple[Path, ...] = ()
    background: Path | None = None
    cell_signature: Path | None = None
    cells: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What is asked. `level`: of P; `deg_q`, `deg_fold`: genes with a smaller moderated q and at least so large a log
    fold change differ; `scales`: what the user says of a matrix, by its kind."""

    score: str | None = None
    label: str | None = None
    positive: str | None = None
    id_column: str | None = None
    cutoff: float | None = None
    features: tuple[str, ...] = ()
    scales: Mapping[Kind, Scale] = field(default_factory=dict)
    level: float = 0.05
    deg_q: float = 0.05
    deg_fold: float = 0.0
    permutations: int = deconvolution.PERMUTATIONS
    quantile_normalisation: bool = False
    cells_p: float | None = None
    trees: int = 500
    top: int = TOP
    seed: int = 0
    workers: int = 1


def differing(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The genes of a table of differences that differ by the plan."""
    return table[(table["moderated_q"] < plan.deg_q) & (table["difference"].abs() >= plan.deg_fold)]

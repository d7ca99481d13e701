"""Both signatures in parts of each cohort, by the clinical columns that were released with Fig 2C."""

from __future__ import annotations

import pandas as pd

from pipeline.records import Json
from pipeline.research.metrics import newcombe
from pipeline.research.reproduce.findings import Signature
from pipeline.research.reproduce.released_tables import COHORTS, Tables

# Of a level with fewer patients of either class there is a count and no AUC.
LEAST_PER_CLASS = 5
NOT_FIG_3 = (
    "Fig 3: none of the released tables is of it. What the clinical columns of Fig 2C allow, AUCs of both signatures "
    "by their levels, stands under subgroups."
)


def by_clinical(tables: Tables, signatures: dict[str, Signature]) -> list[Json]:
    """Rows of cohort, column and level: patients, and the AUC of both signatures with R positive.

    Levels are the codes in the tables, whose meaning was not released. Who lacks a value is in no level.
    """
    rows: list[Json] = []
    for cohort in COHORTS:
        clinical = tables.fig2c[cohort].clinical
        scores = {
            name: pd.Series(fitted.scores[cohort], fitted.cohorts[cohort].features.index)
            for name, fitted in signatures.items()
        }
        status = pd.Series(tables.fig2c[cohort].positive, clinical.index)
        for column in clinical.columns:
            for level in sorted(clinical[column].dropna().unique()):
                patients = clinical.index[clinical[column] == level]
                row: dict[str, Json] = {"cohort": cohort, "column": str(column), "level": f"{level:g}"}
                row |= {"n": len(patients), "positive": int(status[patients].sum())}
                rows.append({**row, **{name: _auc(scores[name], status, patients) for name in signatures}})
    return rows


def _auc(scores: pd.Series, status: pd.Series, patients: pd.Index) -> Json:
    some = patients.intersection(scores.index)
    positive = status[some].to_numpy(dtype=bool)
    if min(positive.sum(), (~positive).sum()) < LEAST_PER_CLASS:
        return {"why_not": f"fewer than {LEAST_PER_CLASS} of a class"}
    area = newcombe(scores[some].to_numpy(), positive)
    return {"value": area.value, "ci": [area.low, area.high]}

"""How features go with cells, differing genes, lncRNAs and methylated sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.research.microenvironment import correlations, scales
from pipeline.research.microenvironment.cell_tables import Cells
from pipeline.research.microenvironment.cohort import Cohort, Groups
from pipeline.research.microenvironment.differences import Differences, differences
from pipeline.research.microenvironment.markers import Markers
from pipeline.research.microenvironment.matrices import Matrix
from pipeline.research.microenvironment.plan import Kind, Plan, differing
from pipeline.research.tables.reading import shortened
from pipeline.signature.record import Floats

# So many features at most are correlated unless the user names them; the paper's number.
MOST_FEATURES = 180
# Without groups so many markers at most are correlated untested.
MOST_UNTESTED = 200


def related(
    plan: Plan, cohort: Cohort, groups: Groups | None, status: Groups | None, matrices: Mapping[Kind, Matrix],
    scale: Mapping[Kind, scales.Scale], deg: Differences | None, cells: Cells | None,
    selected: Mapping[Kind, Markers], notes: list[str],
) -> tuple[correlations.Correlations, ...]:  # fmt: skip
    """Key features and the score against cells, differing genes, lncRNAs and sites, each kind a family of its own."""
    features = key_features(cohort, groups, plan, notes)
    rows = []
    if cells is not None:
        frame = pd.DataFrame(cells.values, index=list(cells.patients), columns=list(cells.names))
        own = features.loc[list(cells.patients)]
        rows.append(correlations.correlations("cells", own, frame, level=plan.level, seed=plan.seed))
    for kind, matrix in matrices.items():
        names: list[str] = list(selected[kind].selected.index) if kind in selected else []
        if kind == "expression":
            chosen = None if deg is None else differing(deg.table, plan).nsmallest(plan.top, "moderated_p")
            names = [] if chosen is None else list(chosen.index)
        elif kind not in selected and len(matrix.names) <= MOST_UNTESTED:
            names = list(matrix.names)
        if not names:
            notes.append(f"No correlations with {kind}: no marker was selected.")
            continue
        values = scales.to_compare(matrix, scale[kind], stated=kind in plan.scales)
        by = (
            None
            if kind != "expression" and kind not in selected
            else groups
            if kind == "expression"
            else status or groups
        )
        rows.append(_correlated(kind, features, _Chosen(matrix, values, names, by), plan))
    return tuple(rows)


@dataclass(frozen=True)
class _Chosen:
    """Markers `names` of a matrix; its values on the scale of comparison; the groups they were chosen by, if any."""

    matrix: Matrix
    values: Floats
    names: list[str]
    by: Groups | None


def _correlated(kind: Kind, features: pd.DataFrame, chosen: _Chosen, plan: Plan) -> correlations.Correlations:
    patients, names = chosen.matrix.patients, chosen.matrix.names
    where = {name: j for j, name in enumerate(names)}
    markers_of = pd.DataFrame(chosen.values[:, [where[n] for n in chosen.names]], list(patients), chosen.names)
    candidates = None
    if chosen.by is not None:
        first = np.array([float(chosen.by.members[p]) if p in chosen.by.members else np.nan for p in patients])
        candidates = correlations.Candidates(chosen.values, first)
    title = "genes" if kind == "expression" else kind
    return correlations.correlations(
        title, features.loc[list(patients)], markers_of, candidates=candidates, level=plan.level, seed=plan.seed
    )


def key_features(cohort: Cohort, groups: Groups | None, plan: Plan, notes: list[str]) -> pd.DataFrame:
    """The score and the features that are correlated: those named, all up to 180, or the 180 that differ most.

    Raises:
        InputRejected: a named feature is not in the table, or there are more than 180 and no groups to choose by.
    """
    features = cohort.features
    if plan.features:
        missing = [name for name in plan.features if name not in features.columns]
        if missing:
            raise InputRejected(f"{cohort.file} has no feature {shortened(missing)}", code="missing-columns")
        features = features[list(plan.features)]
    elif features.shape[1] > MOST_FEATURES:
        if groups is None:
            raise InputRejected(
                f"{cohort.file} has {features.shape[1]} features; name the key features with --feature (at most "
                f"{MOST_FEATURES} are taken unnamed), or groups with --score or --label",
                code="too-many-features",
            )
        which = [patient for patient in cohort.patients if patient in groups.members]
        first = np.array([groups.members[patient] for patient in which], dtype=np.bool_)
        tests = differences(features.loc[which].to_numpy(), tuple(map(str, features.columns)), first, shuffles=0)
        features = features[list(tests.table["p"].nsmallest(MOST_FEATURES).index)]
        notes.append(
            f"Of {cohort.features.shape[1]} features the {MOST_FEATURES} with the smallest P between {groups.first} "
            f"and {groups.second} by {groups.by} are correlated."
        )
    return features if cohort.score is None else pd.concat([cohort.score, features], axis=1)

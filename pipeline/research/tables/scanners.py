"""The scanner group of each row, and whether harmonisation between the groups is possible without touching the answer.

Refused: a column that says nothing of a scanner, or what nobody knows before a prediction; a group of fewer than ten
patients; a group that goes with the label, since taking it out would take the answer out, or put it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats

from config.schema import Training
from pipeline.errors import InputRejected
from pipeline.research.tables.faults import row_list
from pipeline.research.tables.feature_table import Table
from pipeline.signature import names, scanner_groups
from pipeline.signature.harmonisation import covariate_value
from pipeline.signature.record import Floats, HarmonisationFacts, TrainedGroup

Indices = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
LEAST_PATIENTS = 10
# Cramer's V of scanner group and label from which on they are taken for aliased: two groups of 75 and 25 % positive.
ALIASED = 0.5
CHANCE = 0.05
NOBODY = -1


@dataclass(frozen=True)
class Scanners:
    """`groups`: names, sorted; `number`: (cases,) the group of each; `covariates`: (cases, covariates)."""

    groups: tuple[str, ...]
    number: Indices
    covariates: Floats

    def of(self, cases: Indices | Bools) -> Scanners:
        """Those of some of the cases."""
        return Scanners(self.groups, self.number[cases], self.covariates[cases])


def columns_of(recipe: Training | HarmonisationFacts) -> tuple[str, ...]:
    """The columns of other names than ours that a recipe, or a trained signature, asks of a table."""
    if isinstance(recipe, HarmonisationFacts):
        columns = recipe.columns
    else:
        columns = scanner_groups.columns_in(recipe.batch or "")
    return tuple(c for c in columns if c not in names.COMPANIONS and not c.startswith(names.PROTOCOL))


def known_rows(table: Table, recipe: Training) -> Bools:
    """Which rows name their scanner group and every covariate. Raises InputRejected as `scanners_of`."""
    columns = scanner_groups.columns_in(recipe.batch or "")
    _refuse_columns(table, columns, recipe.covariates)
    each = _groups(table, columns)
    covariates = _covariates(table, recipe.covariates)
    return np.array([name is not None for name in each]) & np.isfinite(covariates).all(axis=1)


def scanners_of(table: Table, recipe: Training, keep: Bools, patients: Indices) -> Scanners:
    """The scanner groups of the rows in `keep`, fit for harmonisation. `patients`: of these rows.

    Raises:
        InputRejected: for the reasons above, each with the column and the groups.
    """
    columns = scanner_groups.columns_in(recipe.batch or "")
    each = [name or "" for name, is_case in zip(_groups(table, columns), keep, strict=True) if is_case]
    groups, number = np.unique(np.array(each, dtype=np.str_), return_inverse=True)
    scanners = Scanners(tuple(map(str, groups)), number.astype(np.intp), _covariates(table, recipe.covariates)[keep])
    positive, where = table.positive[keep], f"{table.name}, scanner groups by {'+'.join(columns)}"
    _refuse_small(scanners, patients, where)
    _refuse_aliased(scanners, positive, where)
    _refuse_covariates(scanners, positive, recipe.covariates, table.name)
    return scanners


def among(table: Table, facts: HarmonisationFacts) -> Scanners:
    """The rows' groups by their numbers among those of training; `NOBODY` where training had none of it."""
    trained = [group.name for group in facts.groups]
    each = _groups(table, facts.columns)
    number = np.array([trained.index(name) if name in trained else NOBODY for name in each], dtype=np.intp)
    return Scanners(tuple(trained), number, _covariates(table, facts.covariates))


def unknown_counts(table: Table, facts: HarmonisationFacts, unknown: Bools) -> dict[str, int]:
    """How many of the rows are of each scanner group that training did not have; "not told" where none is named."""
    counts: dict[str, int] = {}
    for name, counted in zip(_groups(table, facts.columns), unknown, strict=True):
        if counted:
            counts[name or "not told"] = counts.get(name or "not told", 0) + 1
    return dict(sorted(counts.items()))


def facts_of(scanners: Scanners, positive: Bools, recipe: Training) -> HarmonisationFacts:
    """What a signature tells of its scanner groups."""
    return HarmonisationFacts(
        columns=scanner_groups.columns_in(recipe.batch or ""),
        groups=tuple(
            TrainedGroup(
                name=name,
                cases=int((scanners.number == i).sum()),
                positives=int((positive & (scanners.number == i)).sum()),
            )
            for i, name in enumerate(scanners.groups)
        ),
        covariates=recipe.covariates,
        association=association(scanners.number, positive),
    )


def association(number: Indices, positive: Bools) -> float:
    """Cramer's V of scanner group and label, 0 to 1: the root of chi squared over the number of cases."""
    counts = np.array([[((number == i) & (positive == c)).sum() for c in (True, False)] for i in np.unique(number)])
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    return float(np.sqrt(((counts - expected) ** 2 / expected).sum() / counts.sum()))


def _groups(table: Table, columns: tuple[str, ...]) -> list[str | None]:
    lacking = [c for c in columns if scanner_groups.fact(table.others, c) is None]
    if lacking:
        raise InputRejected(
            f"{table.name}: missing columns: {', '.join(lacking)}, which tell the scanner group", code="missing-columns"
        )
    cells = [scanner_groups.fact(table.others, c) for c in columns]
    return [scanner_groups.group_of(columns, dict(zip(columns, row, strict=True))) for row in zip(*cells, strict=True)]


def _covariates(table: Table, columns: tuple[str, ...]) -> Floats:
    values = np.zeros((len(table), len(columns)))
    for j, column in enumerate(columns):
        cells = scanner_groups.fact(table.others, column)
        if cells is None:
            raise InputRejected(f"{table.name}: missing columns: {column}, a covariate", code="missing-columns")
        for i, cell in enumerate(cells):  # type: ignore[arg-type, var-annotated]
            try:
                values[i, j] = covariate_value(column, cell)
            except ValueError as error:
                raise InputRejected(f"{table.name}, {table.row(i)}: {column}: {error}", code="clinical-value") from None
    return values


def _refuse_columns(table: Table, columns: tuple[str, ...], covariates: tuple[str, ...]) -> None:
    outcome = {table.label_column: "is the label"}
    if table.id_column is not None:
        outcome[table.id_column] = "is the id"
    reasons = [("--batch", c, outcome.get(c) or scanner_groups.why_no_scanner(c)) for c in columns]
    reasons += [("--covariates", c, outcome.get(c) or scanner_groups.why_no_covariate(c)) for c in covariates]
    for option, column, why in reasons:
        if why:
            raise InputRejected(f"{option} {column}: the column {why}", code="not-for-harmonisation")
    if both := set(columns) & set(covariates):
        raise InputRejected(f"{', '.join(sorted(both))}: scanner group and covariate", code="not-for-harmonisation")


def _refuse_small(scanners: Scanners, patients: Indices, where: str) -> None:
    if len(scanners.groups) < 2:
        raise InputRejected(
            f"{where}: all cases are of {scanners.groups[0]}: there is nothing to harmonise", code="one-scanner-group"
        )
    counts = {g: len(np.unique(patients[scanners.number == i])) for i, g in enumerate(scanners.groups)}
    small = [f"{name} ({count})" for name, count in counts.items() if count < LEAST_PATIENTS]
    if small:
        raise InputRejected(
            f"{where}: fewer than {LEAST_PATIENTS} patients in {', '.join(small)}; join groups (--map), or leave these "
            "rows out",
            code="few-cases",
        )


def _refuse_aliased(scanners: Scanners, positive: Bools, where: str) -> None:
    one_class = [
        name
        for i, name in enumerate(scanners.groups)
        if (here := positive[scanners.number == i]).all() or not here.any()
    ]
    if one_class:
        raise InputRejected(
            f"{where}: all cases of {', '.join(one_class)} are of one class; what differs between scanners cannot be "
            "told from what differs between classes",
            code="aliased-scanners",
        )
    strength, which = association(scanners.number, positive), ""
    if strength < ALIASED:
        strength, which = _aliased_pair(scanners, positive)
    if strength >= ALIASED:
        raise InputRejected(
            f"{where}{which} go with the label (Cramer's V {strength:.2f}, limit {ALIASED:g}): harmonisation would "
            "take the answer out together with the scanner",
            code="aliased-scanners",
        )


def _aliased_pair(scanners: Scanners, positive: Bools) -> tuple[float, str]:
    """The largest Cramer's V of two of the groups by more than chance among so many pairs, and which they are.

    Groups that do not go with the label would hide it in the whole table's. 0 where there is none.
    """
    pairs = list(combinations(range(len(scanners.groups)), 2))
    most = (0.0, "")
    for a, b in pairs:
        both = np.isin(scanners.number, (a, b))
        strength = association(scanners.number[both], positive[both])
        if stats.chi2.sf(strength**2 * both.sum(), 1) < CHANCE / len(pairs):
            most = max(most, (strength, f": {scanners.groups[a]} and {scanners.groups[b]}"))
    return most


def _refuse_covariates(scanners: Scanners, positive: Bools, columns: tuple[str, ...], table: str) -> None:
    """A covariate that tells the label, does not vary, or follows from the groups and the other covariates."""
    for j, name in enumerate(columns):
        if _tells(scanners.covariates[:, j], positive):
            raise InputRejected(f"{table}: {name} tells the label in every case", code="label-leak")
    groups = np.eye(len(scanners.groups))[scanners.number]
    spread = scanners.covariates.std(axis=0)
    design = np.hstack(
        [groups, (scanners.covariates - scanners.covariates.mean(axis=0)) / np.where(spread > 0, spread, 1)]
    )
    if np.linalg.matrix_rank(design, tol=1e-8 * len(design)) < design.shape[1]:
        raise InputRejected(
            f"{table}: {', '.join(columns)} cannot be told from the scanner groups, or from each other: leave one out",
            code="aliased-scanners",
        )


def _tells(values: Floats, positive: Bools) -> bool:
    """Whether no value is of both classes, and that is not for want of two equal values: then a limit parts them."""
    one, other = values[positive], values[~positive]
    if set(one.tolist()) & set(other.tolist()):
        return False
    repeated = len(np.unique(values)) <= len(values) / 2
    return bool(repeated or one.max() < other.min() or other.max() < one.min())


def named_rows(rows: Bools) -> str:
    """Rows by their numbers, for a message."""
    return row_list((np.flatnonzero(rows) + 1).tolist())

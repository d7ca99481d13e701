"""From a table to the matrix the recipe works on: which columns, in which group, complete or refused."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from config.schema import Training
from pipeline.errors import InputRejected
from pipeline.research.tables.faults import MOST, row_list
from pipeline.research.tables.feature_table import Table
from pipeline.research.tables.numbers import LARGEST, SMALLEST
from pipeline.research.tables.patients import Numbers, patients_of
from pipeline.research.tables.perturbations import read_perturbations
from pipeline.research.tables.reading import shortened
from pipeline.research.tables.scanners import Scanners, known_rows, named_rows, scanners_of
from pipeline.signature import names
from pipeline.signature.case_values import clinical_cell
from pipeline.signature.record import Floats

CLINICAL_GROUP = "clinical"
# With fewer cases of a class a column with two values may agree with the label by chance.
LEAST_OF_CLASS = 5


@dataclass(frozen=True)
class Design:
    """`values`: (cases, columns) without NaN. `groups`: per column its `{sequence}.{roi}` or "clinical".

    `kept_rows`: bool per row of the table; rows left out were incomplete. `patients`: the number of each case's one.
    `repeats`: (cases, repeats, columns), the cases perturbed, where the recipe asks for stable features; else None.
    `scanners`: the scanner group of each case, where the recipe harmonises; else None. `levels`: the level of each
    case, where the classes are made of more than two: folds of nested cross-validation then hold every level.
    """

    columns: tuple[str, ...]
    groups: tuple[str, ...]
    values: Floats
    positive: npt.NDArray[np.bool_]
    ids: tuple[str, ...]
    kept_rows: npt.NDArray[np.bool_]
    patients: Numbers | None = None
    repeats: Floats | None = None
    scanners: Scanners | None = None
    levels: Numbers | None = None

    @property
    def left_out(self) -> int:
        return int(np.count_nonzero(~self.kept_rows))

    def on_rows(self, rows: npt.NDArray[np.bool_]) -> Design:
        """The same columns on some of its rows (bool per row of the table)."""
        some = rows[self.kept_rows]
        ids = tuple(i for i, keep in zip(self.ids, some, strict=True) if keep)
        patients = None if self.patients is None else self.patients[some]
        return replace(
            self, values=self.values[some], positive=self.positive[some], ids=ids, kept_rows=rows & self.kept_rows,
            patients=patients, repeats=None if self.repeats is None else self.repeats[some],
            scanners=None if self.scanners is None else self.scanners.of(some),
            levels=None if self.levels is None else self.levels[some],
        )  # fmt: skip


def for_training(table: Table, recipe: Training) -> Design:
    """The candidate columns of a recipe, on the exams that have all of its sequences and ROIs.

    Raises:
        InputRejected: no candidates, unknown clinical columns, or missing values without `complete_cases`.
    """
    empty = empty_groups(table)
    features = [c for c in candidates(table, recipe.sequences, recipe.rois) if names.group_of(c) not in empty]
    if not features and not recipe.clinical:
        raise InputRejected(
            f"{table.name}: no features of {', '.join(recipe.sequences)} in {', '.join(recipe.rois)}",
            code="missing-columns",
        )
    absent = [] if table.foreign_columns else _absent_groups(features, recipe)
    if absent:
        raise InputRejected(
            f"{table.name}: no features of {', '.join(absent)}; choose with --sequences and --rois",
            code="missing-columns",
        )
    columns = (*features, *clinical_columns(recipe.clinical, table))
    groups = (*map(names.group_of, features), *[CLINICAL_GROUP] * (len(columns) - len(features)))
    values = matrix(table, columns, recipe.clinical)
    _refuse_extremes(values, columns, table.name)
    keep = complete(values, columns, table, recipe.complete_cases)
    if recipe.harmonise is not None:
        keep &= _with_scanner(table, recipe, keep)
    ids = tuple(i for i, k in zip(table.ids, keep, strict=True) if k)
    patients = patients_of(table)[keep]
    repeats = None if recipe.stable_icc is None else _repeats(table, tuple(features), len(columns))[keep]
    scanners = None if recipe.harmonise is None else scanners_of(table, recipe, keep, patients)
    design = Design(columns, groups, values[keep], table.positive[keep], ids, keep, patients, repeats, scanners)
    smallest = min(len(np.unique(patients[design.positive])), len(np.unique(patients[~design.positive])))
    if smallest < recipe.folds:
        cases = "cases" if len(np.unique(patients)) == len(patients) else "patients"
        raise InputRejected(
            f"{table.name}: {smallest} {cases} in the smaller class are fewer than {recipe.folds} folds",
            code="few-cases",
        )
    _refuse_labels(design, table.name)
    return design


def _with_scanner(table: Table, recipe: Training, keep: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which rows tell their scanner group and covariates; of the rows in `keep` all must, without `complete_cases`."""
    known = known_rows(table, recipe)
    if not recipe.complete_cases and (keep & ~known).any():
        raise InputRejected(
            f"{table.name}: no scanner group ({recipe.batch}) or covariate in rows {named_rows(keep & ~known)}; "
            "--complete-cases leaves these cases out",
            code="missing-values",
        )
    return known


def _refuse_extremes(values: Floats, columns: tuple[str, ...], name: str) -> None:
    """Refuse columns whose spread cannot be computed: a signature of them would hold what is no number. Features that
    are too large were refused by cell when the table was read; clinical columns come here.

    Raises:
        InputRejected: naming the columns.
    """
    largest = np.nanmax(np.abs(values), axis=0, initial=0)
    extreme = [columns[j] for j in np.flatnonzero((largest > LARGEST) | ((largest > 0) & (largest < SMALLEST)))]
    if extreme:
        raise InputRejected(
            f"{name}: values of {shortened(extreme)} are larger than {LARGEST:g} or all smaller than {SMALLEST:g}: "
            "their variance cannot be computed; give them in another unit, or leave them out with --ignore COLUMN",
            code="extreme-values",
        )


def _refuse_labels(design: Design, name: str) -> None:
    """Refuse a candidate that has one value in all cases of a class and another one in the other: it is the label.

    Raises:
        InputRejected: naming the columns.
    """
    one, other = design.values[design.positive], design.values[~design.positive]
    if min(len(one), len(other)) < LEAST_OF_CLASS:
        return
    constant = (one == one[0]).all(axis=0) & (other == other[0]).all(axis=0)
    copies = [design.columns[j] for j in np.flatnonzero(constant & (one[0] != other[0]))]
    if copies:
        raise InputRejected(
            f"{name}: {shortened(copies)} tells the label in every case, with one value per class; leave such columns "
            "out with --ignore COLUMN",
            code="label-leak",
        )


def _repeats(table: Table, features: tuple[str, ...], columns: int) -> Floats:
    """The perturbed features; clinical columns, which come last and no perturbation changes, are NaN."""
    repeats = read_perturbations(table, features)
    clinical = np.full((*repeats.shape[:2], columns - len(features)), np.nan)
    return np.concatenate([repeats, clinical], axis=2)


def clinical_columns(clinical: tuple[str, ...], table: Table) -> tuple[str, ...]:
    """Clinical variables as columns: a number as itself, a category as one column per level.

    Raises:
        InputRejected: the table lacks one, or it is no clinical variable of ours.
    """
    unknown = [c for c in clinical if c not in names.CLINICAL]
    if unknown and not table.foreign_columns:
        raise InputRejected(
            f"not clinical variables: {', '.join(unknown)}; known are {', '.join(names.CLINICAL)}",
            code="missing-columns",
        )
    lacking = [c for c in clinical if c not in table.others]
    if lacking:
        raise InputRejected(f"{table.name}: missing columns: {', '.join(lacking)}", code="missing-columns")
    return tuple(
        column
        for c in clinical
        for column in ([f"{c}={level}" for level in names.SUBTYPES] if c == "molecular_subtype" else [c])
    )


def matrix(table: Table, columns: tuple[str, ...], clinical: tuple[str, ...]) -> Floats:
    """Values of `columns` (features and clinical columns), (rows, columns), NaN where missing.

    Raises:
        InputRejected: the table lacks a column, or clinical cells cannot be read; all of them are named.
    """
    place = {name: i for i, name in enumerate(table.columns)}
    known = {*place, *(c for c in clinical if c in table.others)}
    lacking = [c for c in columns if c not in known and c.split("=")[0] not in known]
    if lacking:
        raise InputRejected(f"{table.name}: missing columns: {shortened(lacking)}", code="missing-columns")
    values = np.full((len(table), len(columns)), np.nan)
    wrong: dict[str, dict[int, None]] = {}
    for j, column in enumerate(columns):
        if column in place:
            values[:, j] = table.features[:, place[column]]
            continue
        for row, cell in enumerate(table.others[column.split("=")[0]]):
            try:
                values[row, j] = clinical_cell(column, cell)
            except ValueError as error:
                wrong.setdefault(str(error), {})[row + 1] = None
    if wrong:
        sentences = [f"row{'s' if len(rows) > 1 else ''} {row_list(rows)}: {what}" for what, rows in wrong.items()]
        more = f" and {len(sentences) - MOST} more" if len(sentences) > MOST else ""
        raise InputRejected(f"{table.name}, {'; '.join(sentences[:MOST])}{more}", code="clinical-value")
    return values


def complete(values: Floats, columns: tuple[str, ...], table: Table, complete_cases: bool) -> npt.NDArray[np.bool_]:
    """Which rows have every value.

    A row in which a whole sequence x ROI is empty is an exam without it: it is left out. Where single values are
    missing, `complete_cases` False refuses the row.
    """
    missing = np.isnan(values)
    absent = absent_groups(table)
    without = [absent[g] for g in dict.fromkeys(names.group_of(c) for c in columns) if g in absent]
    lacks_a_group = np.any(without, axis=0) if without else np.zeros(len(table), dtype=np.bool_)
    incomplete = missing.any(axis=1) & ~lacks_a_group
    if incomplete.any() and not complete_cases:
        rows = row_list((np.flatnonzero(incomplete) + 1).tolist())
        which = [columns[j] for j in np.flatnonzero(missing[incomplete].any(axis=0))]
        raise InputRejected(
            f"{table.name}: {incomplete.sum()} of {len(table)} cases have missing values: rows {rows}; columns "
            f"{shortened(which, 100)}. Nothing is imputed; --complete-cases leaves these cases out.",
            code="missing-values",
        )
    return np.asarray(~missing.any(axis=1), dtype=np.bool_)


def absent_groups(table: Table) -> dict[str, npt.NDArray[np.bool_]]:
    """Per `{sequence}.{roi}` of the table whether each row has none of its values."""
    if table.foreign_columns:
        return {}
    groups = [names.group_of(c) for c in table.columns]
    missing = np.isnan(table.features)
    return {group: np.asarray(missing[:, [g == group for g in groups]].all(axis=1)) for group in dict.fromkeys(groups)}


def empty_groups(table: Table) -> frozenset[str]:
    """The `{sequence}.{roi}` whose columns are empty in every row: no exam of the table has them."""
    return frozenset(group for group, absent in absent_groups(table).items() if absent.all())


def counts_without(table: Table, recipe: Training) -> dict[str, int]:
    """How many rows lack each `{sequence}.{roi}` of a recipe, where some do and some do not."""
    wanted = {names.group_of(c) for c in candidates(table, recipe.sequences, recipe.rois)} - empty_groups(table)
    counts = {group: int(absent.sum()) for group, absent in absent_groups(table).items() if group in wanted}
    return {group: count for group, count in counts.items() if count}


def candidates(table: Table, sequences: Collection[str], rois: Collection[str]) -> tuple[str, ...]:
    """The table's feature columns of these sequences and ROIs; all of them where the columns are foreign."""
    if table.foreign_columns:
        return table.columns
    return tuple(c for c in table.columns if c.split(".")[0] in sequences and c.split(".")[1] in rois)


def _absent_groups(features: list[str], recipe: Training) -> list[str]:
    present = {names.group_of(f) for f in features}
    # With the default recipe a table may simply not have all sequences or both ROIs: what it has is what is trained.
    sequences = [s for s in recipe.sequences if not any(g.startswith(f"{s}.") for g in present)]
    rois = [r for r in recipe.rois if not any(g.endswith(f".{r}") for g in present)]
    default = Training()
    return [
        *(sequences if recipe.sequences != default.sequences else []),
        *(rois if recipe.rois != default.rois else []),
    ]

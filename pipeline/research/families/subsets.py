"""Which signatures a table allows, what they are called, and the order in which they are asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from config.schema import Training
from pipeline.errors import InputRejected
from pipeline.records import SEQUENCES
from pipeline.research.tables import design
from pipeline.research.tables.feature_table import Table
from pipeline.signature import names

# A single region: the nodes before the tumour, as the question is about the nodes.
ROIS = ("lymph_nodes", "tumor")


@dataclass(frozen=True)
class Subset:
    """One signature to train: its name, its recipe, and the `{sequence}.{roi}` groups that the table has for it."""

    name: str
    recipe: Training
    groups: tuple[str, ...]


def subsets(table: Table, recipe: Training, name: str) -> tuple[Subset, ...]:
    """Every subset of the recipe's sequences and ROIs that the table has columns for, in the order of asking.

    Those that read more groups come first; of equally many, those of both regions; then by sequence, T1+C before T2
    before ADC; then the nodes before the tumour. With clinical columns every subset comes with them and, next, without.

    Raises:
        InputRejected: the table's columns are foreign, or it has none of the recipe's sequences and ROIs.
    """
    if table.foreign_columns:
        raise InputRejected(f"{table.name}: a family needs our own column names", code="foreign-columns")
    here = {names.group_of(c) for c in table.columns} - design.empty_groups(table)
    sequences = [s for s in SEQUENCES if s in recipe.sequences]
    rois = [r for r in ROIS if r in recipe.rois]
    by_groups: dict[tuple[str, ...], Subset] = {}
    for some, regions in sorted(_products(sequences, rois), key=lambda pair: _place(*pair)):
        groups = tuple(f"{s}.{r}" for s in some for r in regions if f"{s}.{r}" in here)
        complete = {g.split(".")[0] for g in groups} == set(some) and {g.split(".")[1] for g in groups} == set(regions)
        if complete and groups not in by_groups:
            its_own = recipe.model_copy(update={"sequences": some, "rois": tuple(sorted(regions, reverse=True))})
            by_groups[groups] = Subset(_name(name, some, regions, recipe), its_own, groups)
    if not by_groups:
        raise InputRejected(
            f"{table.name}: no features of {', '.join(recipe.sequences)} in {', '.join(recipe.rois)}",
            code="missing-columns",
        )
    return tuple(chain.from_iterable(_with_clinical(subset) for subset in by_groups.values()))


def _products(sequences: Sequence[str], rois: Sequence[str]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    for n in range(1, len(sequences) + 1):
        for some in combinations(sequences, n):
            for m in range(1, len(rois) + 1):
                for regions in combinations(rois, m):
                    yield some, regions


def _place(sequences: tuple[str, ...], rois: tuple[str, ...]) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    numbers = tuple(SEQUENCES.index(s) for s in sequences)
    return -len(sequences) * len(rois), -len(rois), numbers, tuple(ROIS.index(r) for r in rois)


def _name(name: str, sequences: tuple[str, ...], rois: tuple[str, ...], recipe: Training) -> str:
    """The family's name, and what of the recipe's sequences and regions alone it reads."""
    parts = [name]
    if len(sequences) < len(recipe.sequences):
        parts.append("+".join(sequences))
    if len(rois) < len(recipe.rois):
        parts.append("+".join(rois))
    return ".".join(parts)


def _with_clinical(subset: Subset) -> tuple[Subset, ...]:
    if not subset.recipe.clinical:
        return (subset,)
    radiomic = Subset(f"{subset.name}.radiomic", subset.recipe.model_copy(update={"clinical": ()}), subset.groups)
    return subset, radiomic

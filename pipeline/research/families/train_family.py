"""A family from one table: every subset of sequences and regions trained, judged, and compared on the same exams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from config.schema import Training
from pipeline.errors import InputRejected
from pipeline.research.families.subsets import Subset, subsets
from pipeline.research.tables import design
from pipeline.research.tables.design import Design
from pipeline.research.tables.feature_table import Table
from pipeline.research.training import fitting, nested, selection
from pipeline.research.training.nested import Nested
from pipeline.research.training.train import Identity, train
from pipeline.signature.record import Signature

# A subset for which the table has too little is left out with the reason; any other fault of the table is an error.
TOO_LITTLE = ("few-cases", "nothing-selected")
# Clinical facts are no scanner's.
NOT_HARMONISED = {"harmonise": None, "batch": None, "covariates": ()}


@dataclass(frozen=True)
class Member:
    """A trained subset, the exams it was trained on, and its nested cross-validation on these."""

    subset: Subset
    signature: Signature
    cases: Design
    judged: Nested


@dataclass(frozen=True)
class LeftOut:
    """A subset that became no member, and why."""

    subset: Subset
    why: str


@dataclass(frozen=True)
class ClinicalAlone:
    """The recipe's clinical columns without any image: what every member has to beat. `judged`: on the common exams."""

    signature: Signature
    judged: Nested | None


@dataclass(frozen=True)
class TrainedFamily:
    """`members` in the order of asking. `common`: bool per row of the table, whether every member reads its exam.

    `on_common`: each member cross-validated on these exams alone, in the same folds; empty where they are too few.
    `clinical_alone`: no member; None where the recipe has no clinical columns, or none of them passes selection.
    """

    identity: Identity
    table: Table
    members: tuple[Member, ...]
    left_out: tuple[LeftOut, ...]
    common: npt.NDArray[np.bool_]
    on_common: tuple[Nested, ...]
    clinical_alone: ClinicalAlone | None = None


def train_family(
    table: Table,
    recipe: Training,
    identity: Identity,
    repeats: int = 10,
    progress: fitting.Progress | None = None,
    only: Sequence[str] | None = None,
) -> TrainedFamily:
    """Train and judge every subset that the table allows; of `only` these names, where given.

    A member is trained and judged on the exams that have all of its groups. `repeats`: of nested cross-validation.

    Raises:
        InputRejected: the table is not fit for it, or has too little for every subset.
    """
    planned = [s for s in subsets(table, recipe, identity.name) if only is None or s.name in only]
    members: list[Member] = []
    left_out: list[LeftOut] = []
    with selection.forests_grown_once():
        for number, subset in enumerate(planned):
            became = _member(subset, table, identity, members, repeats)
            members += [became] if isinstance(became, Member) else []
            left_out += [became] if isinstance(became, LeftOut) else []
            if progress is not None:
                progress(number + 1, len(planned) + 1)
        if not members:
            why = left_out[0].why
            raise InputRejected(f"{table.name}: no subset can be trained: {why}", code="nothing-selected")
        common = np.logical_and.reduce([m.cases.kept_rows for m in members])
        on_common = tuple(_on(common, m, repeats) for m in members) if _enough(common, table, recipe) else ()
        alone = _clinical_alone(table, recipe, identity, common if on_common else None, repeats)
    return TrainedFamily(identity, table, tuple(members), tuple(left_out), common, on_common, alone)


def _clinical_alone(
    table: Table, recipe: Training, identity: Identity, common: npt.NDArray[np.bool_] | None, repeats: int
) -> ClinicalAlone | None:
    if not recipe.clinical:
        return None
    its_own = recipe.model_copy(update={"sequences": (), "rois": (), "stable_icc": None, **NOT_HARMONISED})
    try:
        signature = train(table, its_own, replace(identity, name=f"{identity.name}.clinical-alone"))
    except InputRejected as error:
        if error.code not in TOO_LITTLE:
            raise
        return None
    if common is None:
        return ClinicalAlone(signature, None)
    cases = design.for_training(table, its_own).on_rows(common)
    return ClinicalAlone(signature, nested.nested_cv(cases, its_own, repeats))


def _member(
    subset: Subset, table: Table, identity: Identity, before: Sequence[Member], repeats: int
) -> Member | LeftOut:
    try:
        cases = design.for_training(table, subset.recipe)
        signature = train(table, subset.recipe, replace(identity, name=subset.name))
    except InputRejected as error:
        if error.code not in TOO_LITTLE:
            raise
        return LeftOut(subset, error.message)
    same = next((m for m in before if m.signature.inputs <= signature.inputs), None)
    if same is not None:
        return LeftOut(subset, f"{same.subset.name} reads nothing else and comes before it: it would never be asked")
    return Member(subset, signature, cases, nested.nested_cv(cases, subset.recipe, repeats))


def _on(common: npt.NDArray[np.bool_], member: Member, repeats: int) -> Nested:
    if (member.cases.kept_rows == common).all():
        return member.judged
    return nested.nested_cv(member.cases.on_rows(common), member.subset.recipe, repeats)


def _enough(common: npt.NDArray[np.bool_], table: Table, recipe: Training) -> bool:
    """Whether the exams that every member reads can be cross-validated."""
    positive = table.positive[common]
    return min(int(positive.sum()), int((~positive).sum())) >= recipe.folds

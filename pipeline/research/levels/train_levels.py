"""One signature per question to an outcome with ordered levels, each trained and judged as a signature of two classes.

The ordinal answer is made of the questions "above level k" (Frank and Hall 2001), the answer one against the rest of
"this level and no other". So every step of the binary recipe is used as it is. A proportional odds model would assume
that the same features, with the same weights, tell the first step from the last, which is what is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from config.schema import Training
from pipeline.errors import InputRejected
from pipeline.research.levels.joint import Joint, one_against_rest, ordinal
from pipeline.research.tables import design
from pipeline.research.tables.feature_table import Table
from pipeline.research.tables.patients import Numbers
from pipeline.research.training import fitting, nested, selection
from pipeline.research.training.nested import Nested
from pipeline.research.training.train import Identity, train
from pipeline.signature.level_split import LevelSplit
from pipeline.signature.record import Signature


@dataclass(frozen=True)
class Question:
    """`name`: `above-1`, `only-2`, … by the numbers of the levels, 1 the lowest."""

    name: str
    signature: Signature
    judged: Nested


@dataclass(frozen=True)
class TrainedLevels:
    """`numbers`: level of each complete case, 0 the lowest. `joint`: the answers that the questions give together.

    `left_out`: by name the questions for which no column passed selection, and why; answers that need them lack.
    """

    identity: Identity
    table: Table
    levels: tuple[str, ...]
    questions: tuple[Question, ...]
    numbers: Numbers
    incomplete: int
    left_out: dict[str, str]
    joint: tuple[Joint, ...]


def splits(levels: Sequence[str]) -> dict[str, LevelSplit]:
    """The questions by name: above each level but the last, then each level but the first and the last alone.

    The first level alone is the opposite of "above 1", and the last alone is "above" the one before it.

    Raises:
        InputRejected: fewer than three levels, or one of them twice.
    """
    if len(levels) < 3 or len(set(levels)) < len(levels):
        raise InputRejected(
            f"three or more different levels are needed, the lowest first, not {', '.join(levels)}; with two classes "
            "this is axrad signature train",
            code="levels",
        )
    above = {f"above-{k}": tuple(levels[k:]) for k in range(1, len(levels))}
    only = {f"only-{k}": (levels[k - 1],) for k in range(2, len(levels))}
    return {name: LevelSplit(levels=tuple(levels), positive=positive) for name, positive in {**above, **only}.items()}


def train_levels(
    read: Callable[[LevelSplit], Table],
    levels: Sequence[str],
    recipe: Training,
    identity: Identity,
    repeats: int = 10,
    progress: fitting.Progress | None = None,
) -> TrainedLevels:
    """Train and judge every question, all of them in the same folds. `read`: the table with these two classes.

    Raises:
        InputRejected: the table is not fit for it, a level has fewer patients than there are folds, or no question can
            be trained.
    """
    asked = splits(levels)
    tables = {name: read(split) for name, split in asked.items()}
    first = next(iter(tables.values()))
    of_rows = np.sum([t.positive for name, t in tables.items() if name.startswith("above")], axis=0).astype(np.intp)
    cases = {name: design.for_training(table, recipe) for name, table in tables.items()}
    numbers = of_rows[cases["above-1"].kept_rows]
    _refuse_few(cases["above-1"], numbers, levels, recipe.folds)
    questions: list[Question] = []
    left_out: dict[str, str] = {}
    with selection.forests_grown_once():
        for done, (name, table) in enumerate(tables.items(), 1):
            own = replace(identity, name=f"{identity.name}.{name}", positive_class=None)
            try:
                signature = train(table, recipe, own)
            except fitting.NothingSelectedError as error:
                left_out[name] = error.message
            else:
                judged = nested.nested_cv(replace(cases[name], levels=numbers), recipe, repeats)
                questions.append(Question(name, signature, judged))
            if progress is not None:
                progress(done, len(tables))
    if not questions:
        raise InputRejected(f"{first.name}: no question can be trained: {left_out['above-1']}", code="nothing-selected")
    joint = _joint({q.name: q.judged for q in questions}, len(levels), numbers)
    incomplete = cases["above-1"].left_out
    return TrainedLevels(
        identity, first, tuple(levels), tuple(questions), numbers, incomplete, left_out, joint
    )  # fmt: skip


def _joint(judged: dict[str, Nested], count: int, numbers: Numbers) -> tuple[Joint, ...]:
    """The answers of which every question could be trained."""
    above, only = [f"above-{k}" for k in range(1, count)], [f"only-{k}" for k in range(2, count)]
    answers = []
    if judged.keys() >= {*above}:
        answers.append(ordinal([judged[name] for name in above], numbers))
    if judged.keys() >= {above[0], *only, above[-1]}:
        answers.append(one_against_rest(judged[above[0]], [judged[n] for n in only], judged[above[-1]], numbers))
    return tuple(answers)


def _refuse_few(cases: design.Design, numbers: Numbers, levels: Sequence[str], folds: int) -> None:
    patients = np.arange(len(numbers)) if cases.patients is None else cases.patients
    counts = {level: len(np.unique(patients[numbers == k])) for k, level in enumerate(levels)}
    few = [f"{level} ({count})" for level, count in counts.items() if count < folds]
    if few:
        raise InputRejected(
            f"levels with fewer patients than the {folds} folds: {', '.join(few)}; merge levels, or train two classes",
            code="few-cases",
        )

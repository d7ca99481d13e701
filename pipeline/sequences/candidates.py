"""Candidates for one sequence weighed against each other: the one choice of whole exams and of tables of names.

Both give a candidate points, leave out what is only a fragment of another one, and take the best. They differ in what
they know: of an exam, headers tell where the images lie, and what is too close to call is left to a person; of a table,
names and counts are all there is, and one of those as good has to be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pipeline.catalog import Selection

Of = TypeVar("Of")


@dataclass(frozen=True)
class Weighed(Generic[Of]):
    """What could be chosen and how good it is; 1 is as good as an ordinary exam has it."""

    score: float
    of: Of


@dataclass(frozen=True)
class Choice(Generic[Of]):
    """`taken` is None where there is nothing, or nothing that stands out. `nearest`: the best and those as good."""

    taken: Weighed[Of] | None
    nearest: tuple[Weighed[Of], ...] = ()


def preference(concepts: frozenset[str], points: Mapping[str, float]) -> tuple[float, list[str]]:
    """What the rule table's `prefer` gives a name that says these concepts, and for which of them."""
    named = [concept for concept in points if concept in concepts]
    return sum(points[concept] for concept in named), named


def without_fragments(
    candidates: Sequence[Of], is_fragment: Callable[[Of, Of], bool]
) -> tuple[list[Of], list[tuple[Of, Of]]]:
    """The candidates that are whole, and each that is a fragment of another with that other one."""
    twins = [next((other for other in candidates if is_fragment(mine, other)), None) for mine in candidates]
    paired = list(zip(candidates, twins, strict=True))
    return [mine for mine, twin in paired if twin is None], [(mine, twin) for mine, twin in paired if twin is not None]


def best(
    weighed: Sequence[Weighed[Of]],
    margin: float,
    among_equals: Callable[[Sequence[Weighed[Of]]], Weighed[Of]] | None = None,
) -> Choice[Of]:
    """The best, unless others are as good to within `margin`: then the one that `among_equals` takes, or none.

    `among_equals` is given the best one first.
    """
    if not weighed:
        return Choice(None)
    top = max(weighed, key=lambda one: one.score)
    others = sorted((w for w in weighed if w is not top and top.score - w.score < margin), key=lambda w: -w.score)
    nearest = (top, *others)
    if not others:
        return Choice(top, nearest)
    return Choice(among_equals(nearest) if among_equals is not None else None, nearest)


Candidate = Weighed[Selection]


@dataclass(frozen=True)
class Chosen:
    """The choice, if any, and reasons as (code, sentence). `contenders`: see `Match`."""

    selection: Selection | None
    reasons: tuple[tuple[str, str], ...] = ()
    contenders: tuple[Selection, ...] = ()


def pick(title: str, sequence: str, candidates: Sequence[Candidate], margin: float) -> Chosen:
    """The best candidate of an exam; where another is as good, none, and both are named."""
    if not candidates:
        return Chosen(None, ((f"no-{sequence}", f"the exam has no series that could be {title}"),))
    choice = best(candidates, margin)
    if choice.taken is None:
        one, other = choice.nearest[:2]
        sentence = (
            f"two series could be {title} and are too close to call: {one.of.series_uid} ({one.of.description!r}, "
            f"{one.score:.2f}) and {other.of.series_uid} ({other.of.description!r}, {other.score:.2f}); name the right "
            f"one in sequences.use"
        )
        return Chosen(None, ((f"ambiguous-{sequence}", sentence),))
    return Chosen(replace(choice.taken.of, confidence=min(1.0, choice.taken.score)))

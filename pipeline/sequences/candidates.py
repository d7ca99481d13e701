"""Candidates for one sequence weighed against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.catalog import Selection


@dataclass(frozen=True)
class Candidate:
    """A possible choice and how good it is; 1 is as good as an ordinary exam has it."""

    score: float
    selection: Selection


@dataclass(frozen=True)
class Chosen:
    """The choice, if any, and reasons as (code, sentence). `contenders`: see `Match`."""

    selection: Selection | None
    reasons: tuple[tuple[str, str], ...] = ()
    contenders: tuple[Selection, ...] = ()


def pick(title: str, sequence: str, candidates: Sequence[Candidate], margin: float) -> Chosen:
    """The best candidate, unless another is as good to within `margin`: then none, and both are named."""
    if not candidates:
        return Chosen(None, ((f"no-{sequence}", f"the exam has no series that could be {title}"),))
    ordered = sorted(candidates, key=lambda c: -c.score)
    best = ordered[0]
    if len(ordered) > 1 and best.score - ordered[1].score < margin:
        one, other = best.selection, ordered[1].selection
        sentence = (
            f"two series could be {title} and are too close to call: {one.series_uid} ({one.description!r}, "
            f"{best.score:.2f}) and {other.series_uid} ({other.description!r}, {ordered[1].score:.2f}); name the right "
            f"one in sequences.use"
        )
        return Chosen(None, ((f"ambiguous-{sequence}", sentence),))
    return Chosen(replace(best.selection, confidence=min(1.0, best.score)))

"""Whether a signature may answer exams at all, and whether they can have what it reads."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.errors import InputRejected
from pipeline.signature import names
from pipeline.signature.record import Signature

FOREIGN = "it was trained on foreign columns, which no exam has"
LEVELS = (
    "it is one question of several to an outcome with more than two levels ({}), which is for research alone; train a "
    "signature with two classes for exams"
)


def refuse_research(signature: Signature) -> None:
    """Refuse a signature that is for research alone: on foreign columns, or of an outcome with more than two levels.

    Raises:
        InputRejected: it is one.
    """
    if against := _research(signature):
        code = "foreign-columns" if against is FOREIGN else "research-only"
        raise InputRejected(f"{signature.header.title} cannot be used: {against}", code=code)


def unfit(signature: Signature, made: Collection[str]) -> str:
    """Why it can answer no exam here; "" where it can. `made`: every feature that the extraction makes."""
    if against := _research(signature):
        return against
    lacking = [f for f in signature.features if f not in made]
    if not lacking:
        return ""
    return (
        f"the configured extraction does not make {len(lacking)} of the {len(signature.features)} features it reads: "
        f"{names.with_hints(lacking, made, 5)}; set features.params to the parameters it was trained with"
    )


def _research(signature: Signature) -> str:
    if signature.header.level_split is not None:
        return LEVELS.format(" < ".join(signature.header.level_split.levels))
    return FOREIGN if signature.header.foreign_columns else ""

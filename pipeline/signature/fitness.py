"""Whether exams can have what a signature reads."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.errors import InputRejected
from pipeline.signature import names
from pipeline.signature.record import Signature

FOREIGN = "it was trained on foreign columns, which no exam has"


def refuse_foreign(signature: Signature) -> None:
    """Refuse a signature on foreign columns.

    Raises:
        InputRejected: it is one.
    """
    if signature.header.foreign_columns:
        raise InputRejected(f"{signature.header.title} cannot be used: {FOREIGN}", code="foreign-columns")


def unfit(signature: Signature, made: Collection[str]) -> str:
    """Why no exam here can have what it reads; "" where it can. `made`: every feature that the extraction makes."""
    if signature.header.foreign_columns:
        return FOREIGN
    lacking = [f for f in signature.features if f not in made]
    if not lacking:
        return ""
    return (
        f"the configured extraction does not make {len(lacking)} of the {len(signature.features)} features it reads: "
        f"{names.with_hints(lacking, made, 5)}; set features.params to the parameters it was trained with"
    )

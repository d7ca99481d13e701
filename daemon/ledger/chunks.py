"""As many at a time as a statement, or a short transaction, takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
IN_A_STATEMENT = 500


def in_chunks(items: Iterable[T], size: int = IN_A_STATEMENT) -> Iterator[list[T]]:
    """Reads no further ahead than one chunk."""
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk

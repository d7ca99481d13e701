"""One thing that is wrong with a report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` for machines, a sentence for people, `place` of the content item as `1.4.2` (the root is 1)."""

    code: str
    message: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.message} (content item {self.place})" if self.place else self.message

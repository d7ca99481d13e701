"""The record that every check returns. `axrad doctor`, `/health`, metrics, `axrad status` and notices render it.

A judgement (what is too late, too full, too many) is made once, where its record is made, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]
RANK: dict[Level, int] = {"ok": 0, "warn": 1, "fail": 2}
DAY_S, GIB = 86400.0, 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    `code` names the check, `subject` tells two of a kind apart (a queue, a destination). `text` and `remedy` are
    clauses without a full stop: what is, and what to do about it. `warn`: somebody should look; `fail`: something does
    not work. `value` and `limit`: what was judged, in the unit that `text` names.
    """

    code: str
    level: Level
    text: str
    remedy: str = ""
    subject: str = ""
    value: float | None = None
    limit: float | None = None

    @property
    def ok(self) -> bool:
        return self.level == "ok"

    @property
    def name(self) -> str:
        """Unique among the checks: "sweep", "queue-analyse"."""
        return f"{self.code}-{self.subject}" if self.subject else self.code

    @property
    def sentence(self) -> str:
        """Text and remedy for people. A name at the beginning keeps its case."""
        begins_with_name = bool(self.subject) and self.text.startswith(self.subject)
        text = self.text if begins_with_name else self.text[:1].upper() + self.text[1:]
        return f"{text}. {self.remedy[:1].upper()}{self.remedy[1:]}." if self.remedy else f"{text}."


def not_ok(findings: Iterable[Finding]) -> list[Finding]:
    """What needs a person, the worst first."""
    return sorted((f for f in findings if not f.ok), key=lambda f: -RANK[f.level])


def worst(levels: Sequence[Level]) -> Level:
    return max(levels, key=RANK.__getitem__, default="ok")


def below(value: float, warn: float, refuse: float) -> Level:
    """How bad it is that so little is left."""
    return "fail" if value < refuse else "warn" if value < warn else "ok"


def briefly(names: Sequence[str]) -> str:
    """Two names; of more, the first and how many follow it."""
    return ", ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} more"


def words(seconds: float) -> str:
    """A time that people can compare: seconds, minutes, hours, days."""
    for unit, length in (("days", DAY_S), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 1024**2:.1f} MiB"

"""Molecular subtype from the receptors by St Gallen 2013 (Goldhirsch 2013, Ann Oncol 24:2206), as a table.

What the rules do not cover, or what is not told, is "unclassified", never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Status = Literal["positive", "negative"]
Subtype = Literal["luminal A", "luminal B", "HER2-positive", "triple-negative", "unclassified"]

# A receptor counts as positive from 1 % of stained nuclei; PR and Ki-67 are high from 20 % (St Gallen 2013).
RECEPTOR_PERCENT: Final = 1.0
PR_HIGH_PERCENT: Final = 20.0
KI67_HIGH_PERCENT: Final = 20.0


@dataclass(frozen=True)
class Rule:
    """One row: what must hold (None: whatever), and the subtype it gives."""

    subtype: Subtype
    er: bool | None = None
    pr: bool | None = None
    her2: bool | None = None
    pr_high: bool | None = None
    ki67_high: bool | None = None


# Read from the top; the first row whose every told condition holds decides.
RULES: Final = (
    Rule("luminal B", er=True, her2=True),
    Rule("luminal A", er=True, her2=False, pr_high=True, ki67_high=False),
    Rule("luminal B", er=True, her2=False, ki67_high=True),
    Rule("luminal B", er=True, her2=False, pr_high=False),
    Rule("HER2-positive", er=False, pr=False, her2=True),
    Rule("triple-negative", er=False, pr=False, her2=False),
)


def molecular_subtype(
    er_percent: float | None,
    pr_percent: float | None,
    her2: Status | None,
    ki67_percent: float | None,
    ki67_high_percent: float = KI67_HIGH_PERCENT,
) -> Subtype:
    """The subtype from ER, PR and Ki-67 in percent of nuclei and HER2 status; None is not told.

    `ki67_high_percent`: 20 as St Gallen 2013 and 2015, 14 as St Gallen 2011 and Yu et al. 2021.

    Raises:
        ValueError: a percentage is not in 0..100.
    """
    for name, value in (("ER", er_percent), ("PR", pr_percent), ("Ki-67", ki67_percent)):
        if value is not None and not 0 <= value <= 100:
            raise ValueError(f"{name} {value} is not in 0..100 %")
    known = {
        "er": _from(er_percent, RECEPTOR_PERCENT),
        "pr": _from(pr_percent, RECEPTOR_PERCENT),
        "her2": None if her2 is None else her2 == "positive",
        "pr_high": _from(pr_percent, PR_HIGH_PERCENT),
        "ki67_high": _from(ki67_percent, ki67_high_percent),
    }
    for rule in RULES:
        conditions = {name: wanted for name in known if (wanted := getattr(rule, name)) is not None}
        if all(known[name] == wanted for name, wanted in conditions.items()):
            return rule.subtype
    return "unclassified"


def _from(percent: float | None, limit: float) -> bool | None:
    return None if percent is None else percent >= limit

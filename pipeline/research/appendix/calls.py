"""Calls of several readers and signatures on the same patients, alone and combined."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.research import metrics
from pipeline.research.appendix.patients_table import PatientsTable, numbers_of
from pipeline.research.metrics import Bools, Interval
from pipeline.research.tables.reading import shortened
from pipeline.signature.record import Floats

_SPEC = re.compile(r"(?P<name>[^=]+)=(?P<column>.+?)(?:@(?P<cutoff>[-+.\deE]+))?")
# Where the net benefit of acting on calls is told.
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Call:
    """`high`: (patients,), who is called positive; `scores`: (patients,), what it was called by, or None."""

    name: str
    high: Bools
    scores: Floats | None = None


@dataclass(frozen=True)
class Judged:
    """A call, or two combined, against node status.

    `net_benefit`: at each of `THRESHOLDS`, of acting on the call (Vickers and Elkin 2006).
    """

    name: str
    rule: bool
    auc: Interval | None
    accuracy: Mapping[str, Interval | None]
    net_benefit: tuple[float, ...]


@dataclass(frozen=True)
class Contest:
    """McNemar's exact test of `a` against `b`: patients whom only one of them gets right.

    `p_holm`: adjusted over all contests.
    """

    a: str
    b: str
    measure: str
    only_a: int
    only_b: int
    p: float
    p_holm: float = math.nan


def read_calls(table: PatientsTable, specs: Sequence[str]) -> tuple[PatientsTable, list[Call], int]:
    """The patients with every call, their calls, and how many patients lack one and are left out.

    `specs`: `NAME=COLUMN` of calls (0 and 1, or the words of the label), `NAME=COLUMN@CUTOFF` of probabilities or
    scores, which are high from the cutoff on.

    Raises:
        InputRejected: a column is missing or holds something else, or fewer than two calls are given.
    """
    parts = [_SPEC.fullmatch(spec) for spec in specs]
    wrong = [spec for spec, part in zip(specs, parts, strict=True) if part is None]
    names = [part.group("name") for part in parts if part is not None]
    if wrong or len(names) < 2 or len(set(names)) < len(names):
        why = f"no NAME=COLUMN[@CUTOFF]: {shortened(wrong)}" if wrong else "two calls with different names are needed"
        raise InputRejected(why, code="wrong-call")
    values = [_values(table, part) for part in parts if part is not None]
    whole = np.logical_and.reduce([np.isfinite(v) for v, _ in values])
    if not table.positive[whole].any() or table.positive[whole].all():
        raise InputRejected(
            f"{table.name}: {int(whole.sum())} patients have every call, and all of them the same node status",
            code="one-class",
        )
    calls = [
        Call(name, v[whole] >= (0.5 if cutoff is None else cutoff), None if cutoff is None else v[whole])
        for name, (v, cutoff) in zip(names, values, strict=True)
    ]
    return table.rows(whole), calls, int((~whole).sum())


def combined(calls: Sequence[Call]) -> list[Call]:
    """For each pair: high where either is, and high where both are."""
    rules = []
    for a, b in combinations(calls, 2):
        rules += [Call(f"{a.name} or {b.name}", a.high | b.high), Call(f"{a.name} and {b.name}", a.high & b.high)]
    return rules


def judged(call: Call, positive: Bools, *, rule: bool) -> Judged:
    """Accuracy with Wilson's intervals, the AUC where there are scores, and net benefit."""
    auc = None if call.scores is None else metrics.newcombe(call.scores, positive)
    true, false = float((call.high & positive).mean()), float((call.high & ~positive).mean())
    benefit = tuple(true - false * t / (1 - t) for t in THRESHOLDS)
    return Judged(call.name, rule, auc, metrics.accuracy_table(call.high, positive), benefit)


def contests(calls: Sequence[Call], rules: Sequence[Call], positive: Bools) -> list[Contest]:
    """Every pair of calls, and every rule against each of its two calls: accuracy, sensitivity, specificity."""
    by_name = {call.name: call for call in (*calls, *rules)}
    pairs = list(combinations(calls, 2))
    matches = [(a.name, b.name) for a, b in pairs]
    matches += [(f"{a.name} {word} {b.name}", one.name) for a, b in pairs for word in ("or", "and") for one in (a, b)]
    rows = []
    for a, b in matches:
        right_a, right_b = (by_name[name].high == positive for name in (a, b))
        for measure, which in (
            ("accuracy", np.ones_like(positive)),
            ("sensitivity", positive),
            ("specificity", ~positive),
        ):
            rows.append((a, b, measure, *metrics.mcnemar(right_a[which], right_b[which])))
    adjusted = metrics.holm([row[-1] for row in rows])
    return [Contest(*row, p_holm=q) for row, q in zip(rows, adjusted, strict=True)]


def right_by(a: Call, b: Call, positive: Bools) -> pd.Series:
    """Per patient who calls right: `both`, `only A`, `only B`, `neither`, with the names of the calls."""
    right_a, right_b = a.high == positive, b.high == positive
    conditions = [right_a & right_b, right_a & ~right_b, ~right_a & right_b]
    return pd.Series(np.select(conditions, ["both", f"only {a.name}", f"only {b.name}"], "neither"))


def _values(table: PatientsTable, part: re.Match[str]) -> tuple[Floats, float | None]:
    """Numbers (rows,), NaN where empty; 0 and 1 without a cutoff."""
    column, cutoff = part.group("column"), part.group("cutoff")
    if column not in table.frame.columns:
        raise InputRejected(f"{table.name} has no column {column}", code="missing-columns")
    cells = table.frame[column]
    if cutoff is not None:
        values = numbers_of(cells)
        if values is None:
            raise InputRejected(f"{table.name}, column {column}: not all cells are numbers", code="not-numbers")
        return values, float(cutoff)
    meaning = {"1": 1.0, "0": 0.0, table.positive_value: 1.0, table.negative_value: 0.0, "": math.nan}
    strange = sorted(set(cells) - set(meaning))
    if strange:
        raise InputRejected(
            f"{table.name}, column {column}: {shortened(strange)} is no call (0, 1, {table.negative_value}, "
            f"{table.positive_value}); name a cutoff for scores: {part.group('name')}={column}@CUTOFF",
            code="unknown-labels",
        )
    return np.array([meaning[cell] for cell in cells]), None

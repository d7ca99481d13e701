"""What the training data looked like: ranges, spread, distances of held-out cases, facts of the protocol."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.research.tables.feature_table import Table
from pipeline.research.tables.row_names import NOBODY
from pipeline.signature.names import PROTOCOL
from pipeline.signature.ranges import distances
from pipeline.signature.record import Floats, ProtocolFact

QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)
# Facts kept under their own name in a table, without the prefix.
PLAIN_FACTS = ("manufacturer", "field_strength_t")


def limits(values: Floats, margin: float) -> tuple[Floats, Floats]:
    """Lowest and highest training value per column, widened by `margin` times the range."""
    low, high = values.min(axis=0), values.max(axis=0)
    return low - margin * (high - low), high + margin * (high - low)


def precision_of(standardised: Floats) -> Floats:
    """Inverse of the shrunk covariance of standardised cases about 0, (p, p)."""
    from sklearn.covariance import LedoitWolf

    return np.asarray(LedoitWolf(assume_centered=True).fit(standardised).precision_, dtype=np.float64)


def held_out_quantiles(values: Floats, seed: int, parts: int = 10) -> dict[str, float]:
    """Quantiles of the distance of training cases (raw values, (cases, p)) from the other training cases."""
    order = np.random.default_rng(seed).permutation(len(values))
    held_out = np.empty(len(values))
    for part in np.array_split(order, min(parts, len(values) // 2)):
        rest = np.setdiff1d(order, part)
        mean, std = values[rest].mean(axis=0), values[rest].std(axis=0, ddof=1)
        std = np.where(std > 0, std, values.std(axis=0, ddof=1))
        held_out[part] = distances((values[part] - mean) / std, precision_of((values[rest] - mean) / std))
    return {f"{q:g}": float(np.quantile(held_out, q)) for q in QUANTILES}


def protocol_of(table: Table, rows: npt.NDArray[np.bool_]) -> dict[str, ProtocolFact]:
    """The protocol facts of a table's rows: columns `protocol.NAME`, `manufacturer`, `field_strength_t`."""
    facts = {}
    for column, cells in table.others.items():
        name = column.removeprefix(PROTOCOL)
        if (column.startswith(PROTOCOL) or column in PLAIN_FACTS) and name != "extraction_hash":
            texts = [str(c).strip() for c in cells[rows]]
            facts[name] = _fact([t for t in texts if t not in NOBODY])
    return {name: fact for name, fact in sorted(facts.items()) if fact is not None}


def _fact(texts: list[str]) -> ProtocolFact | None:
    if not texts:
        return None
    try:
        numbers = [float(t) for t in texts]
    except ValueError:
        return ProtocolFact(values=tuple(sorted(set(texts))))
    return ProtocolFact(low=min(numbers), high=max(numbers))

"""With which inputs an exam is answered, in words."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.records import ROLES, SEQUENCES
from pipeline.signature import names


def coverage(input_sets: Iterable[frozenset[str]]) -> str:
    """Sets of inputs in the order of asking, by sequences: `t1c+t2+adc (tumor+lymph_nodes, tumor); t1c (tumor)`."""
    regions: dict[str, list[str]] = {}
    for inputs in input_sets:
        clinical = sorted(inputs & frozenset(names.CLINICAL))
        groups = inputs.difference(clinical)
        sequences = [s for s in SEQUENCES if any(g.startswith(f"{s}.") for g in groups)]
        rois = [r for r in ROLES if any(g.endswith(f".{r}") for g in groups)]
        lacking = [f"{s}.{r}" for s in sequences for r in rois if f"{s}.{r}" not in groups]
        words = "+".join(rois) + (f" without {', '.join(lacking)}" if lacking else "")
        regions.setdefault("+".join(sequences), []).append(
            " with ".join([words, *(["+".join(clinical)] * bool(clinical))])
        )
    return "; ".join(f"{sequences} ({', '.join(some)})" for sequences, some in regions.items())

"""The kinds of object that a result is sent as, by the names of their files.

Segmentations are `union_tumor`, `union_nodes_l` and so on: one segment that unites those of a region; and `seg_t2`,
`seg_adc`: all regions as carried onto that sequence.
"""

from __future__ import annotations

from pipeline.records import Role, Sequence, Side

# Series numbers of revision 1; each later revision has ten more.
SERIES_NUMBERS = {"sr": 9901, "page": 9902, "pdf": 9903, "key_slices": 9904, "rejection": 9905}
SERIES_NUMBERS |= {"seg_t2": 9907, "seg_adc": 9908}
# The report in each of its classes, of which a destination takes one; `sr` is the class that `report` asks for.
REPORT_KINDS = ("sr", "sr_3d", "sr_comprehensive", "sr_enhanced", "sr_basic_text")
SERIES_NUMBERS |= dict.fromkeys(REPORT_KINDS, 9901)
UNION_SERIES = 9906
UNION_PREFIX, CARRIED_PREFIX = "union_", "seg_"


def series_number(kind: str, revision: int) -> int:
    """Another one for every revision, so that a study list tells them apart."""
    return SERIES_NUMBERS.get(kind, UNION_SERIES) + 10 * (max(1, revision) - 1)


def union_kind(role: Role, side: Side | None) -> str:
    """The kind of the segmentation that unites the segments of a region."""
    return f"{UNION_PREFIX}{'nodes' if role == 'lymph_nodes' else role}" + (f"_{side.lower()}" if side else "")


def carried_kind(sequence: Sequence) -> str:
    """The kind of the segmentation that holds the regions as carried onto a sequence."""
    return f"{CARRIED_PREFIX}{sequence}"

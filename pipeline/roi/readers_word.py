"""What a reader's segmentation says of proposed regions: the same voxels accept one, other voxels replace it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.roi.describe import Description
from pipeline.roi.edited_states import Drawn


def with_word_of_readers(drawn: Sequence[Drawn], proposed: Sequence[Drawn]) -> list[Drawn]:
    """The segments; one of the role, side and voxels of a proposal has its origin, and its maker stands for it."""
    return [_as_proposed(item, proposed) for item in drawn]


def _as_proposed(item: Drawn, proposed: Sequence[Drawn]) -> Drawn:
    if item.described.accepted is not None or not item.segment.mask.voxels:
        return item
    same = next((p for p in proposed if _is_same(item, p)), None)
    if same is None:
        return item
    by = f"segmentation {item.segment.source.sop_instance_uid}"
    origin = same.described.proposed_origin
    segment = replace(item.segment, origin=origin, algorithm=same.segment.algorithm, confirmed_by=by)
    return replace(item, segment=segment)


def _is_same(item: Drawn, proposal: Drawn) -> bool:
    """Equal role and voxels; the side follows, or is told by the copy in another way that contradicts nothing."""
    sides = {item.segment.laterality, proposal.segment.laterality} - {None}
    return (
        item.recognised.role == proposal.recognised.role
        and len(sides) < 2
        and np.array_equal(item.segment.mask.voxels_zyx, proposal.segment.mask.voxels_zyx)
    )


def readers_first(drawn: Sequence[Drawn]) -> tuple[list[Drawn], list[tuple[Description, str]]]:
    """The segments without those of an accepted proposal for whose role and side a reader drew; these, and why."""
    by_readers = [d for d in drawn if d.described.accepted is None and d.segment.mask.voxels]
    outdone = {d.described: _drawn_by(d, by_readers) for d in drawn if d.described.accepted is not None}
    gone = {described: why for described, why in outdone.items() if why}
    return [d for d in drawn if d.described not in gone], list(gone.items())


def _drawn_by(item: Drawn, readers: Sequence[Drawn]) -> str:
    for other in readers:
        sides = {item.segment.laterality, other.segment.laterality} - {None}
        if other.recognised.role == item.recognised.role and len(sides) < 2:
            return f"drawn again as {other.described.name}"
    return ""

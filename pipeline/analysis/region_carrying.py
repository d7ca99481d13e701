"""The regions carried from the grid that they were drawn on onto those of the other sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline import align
from pipeline.analysis.inputs import Inputs
from pipeline.analysis.inventory import Inventory
from pipeline.analysis.quality_checks import kept_volume_checks
from pipeline.analysis.result_draft import Draft, KeptVolumes, Masks, alignment_of
from pipeline.errors import GeometryRejected, RoiRejected
from pipeline.records import SEQUENCES, Roi, Role, Side, Volume
from pipeline.records import Sequence as SequenceName
from pipeline.result import Alignment


def carry_regions(
    rois: Sequence[Roi], grids: Mapping[SequenceName, Volume], inputs: Inputs, inventory: Inventory, draft: Draft
) -> tuple[Masks, KeptVolumes, dict[SequenceName, Alignment]]:
    """Every region on every grid, the share of its volume that it kept there, and how the grids are related.

    What cannot be carried is noted in the inventory. Where regions were drawn on several sequences, the alignment is
    relative to the first of these, for others to the one that there is.
    """
    settings = inputs.settings.align
    masks: Masks = {(region.drawn_on, region.role, region.side): region.mask for region in rois}
    kept_volumes: dict[tuple[SequenceName, Role, Side | None], float] = {}
    alignment: dict[SequenceName, Alignment] = {}
    sources = [name for name in SEQUENCES if any(region.drawn_on == name for region in rois)]
    for source in sources:
        drawn_here = [region for region in rois if region.drawn_on == source]
        for name in (name for name in SEQUENCES if name in grids and name != source):
            try:
                relation = align.relate(grids[source], grids[name], settings, inputs.exam.registrations)
            except GeometryRejected as error:
                inventory.regions |= {(name, region.role, region.side): error for region in drawn_here}
                continue
            alignment.setdefault(name, alignment_of(relation))
            for region in drawn_here:
                try:
                    carried = align.apply(region, grids[name], relation, settings)
                except RoiRejected as error:
                    inventory.regions[name, region.role, region.side] = error
                    continue
                masks[name, region.role, region.side] = carried.mask
                kept_volumes[name, region.role, region.side] = carried.kept_volume
    draft.quality += kept_volume_checks(kept_volumes, settings)
    return masks, kept_volumes, alignment

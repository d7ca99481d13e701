"""The regions of T1+C carried onto the grids of T2 and ADC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline import align
from pipeline.analysis.inputs import Inputs
from pipeline.analysis.quality_checks import kept_volume_checks
from pipeline.analysis.result_draft import Draft, KeptVolumes, Masks, alignment_of
from pipeline.records import SEQUENCES, Roi, Role, Side, Volume
from pipeline.records import Sequence as SequenceName
from pipeline.result import Alignment


def carry_regions(
    rois: Sequence[Roi], grids: Mapping[SequenceName, Volume], inputs: Inputs, draft: Draft
) -> tuple[Masks, KeptVolumes, dict[SequenceName, Alignment]]:
    """Every region on every grid, the share of its volume that it kept there, and how the grids are related."""
    settings = inputs.settings.align
    masks: Masks = {("t1c", region.role, region.side): region.mask for region in rois}
    kept_volumes: dict[tuple[SequenceName, Role, Side | None], float] = {}
    alignment: dict[SequenceName, Alignment] = {}
    for name in SEQUENCES[1:]:
        relation = align.relate(grids["t1c"], grids[name], settings, inputs.exam.registrations)
        alignment[name] = alignment_of(relation)
        for region in rois:
            carried = align.apply(region, grids[name], relation, settings)
            masks[name, region.role, region.side] = carried.mask
            kept_volumes[name, region.role, region.side] = carried.kept_volume
    draft.quality += kept_volume_checks(kept_volumes, settings)
    return masks, kept_volumes, alignment

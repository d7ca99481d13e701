"""N4 on the sequences that the settings name."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from config.schema import Settings
from pipeline import bias
from pipeline.analysis.result_draft import Draft
from pipeline.records import SEQUENCES, Volume
from pipeline.records import Sequence as SequenceName
from pipeline.result import QualityCheck


def correct_volumes(
    grids: Mapping[SequenceName, Volume], settings: Settings, draft: Draft
) -> dict[SequenceName, Volume]:
    """Every volume, corrected where the settings say so, side by side."""

    def correct(name: SequenceName) -> tuple[Volume, QualityCheck | None]:
        if name not in settings.bias.sequences:
            return grids[name], None
        corrected, evidence = _corrected_where_known(grids[name], settings)
        note = "; ".join(evidence.deviations)
        iterations = " + ".join(str(n) for n in evidence.iterations)
        return corrected, QualityCheck(check=f"bias.{name}.iterations", value=iterations, ok=True, note=note)

    with ThreadPoolExecutor(max_workers=settings.work.threads or 2) as pool:
        names = [name for name in SEQUENCES if name in grids]
        outcomes = dict(zip(names, pool.map(correct, names), strict=True))
    draft.quality += [check for _, check in outcomes.values() if check is not None]
    return {name: volume for name, (volume, _) in outcomes.items()}


def _corrected_where_known(volume: Volume, settings: Settings) -> tuple[Volume, bias.BiasEvidence]:
    """A computed ADC is unknown (NaN) in air: such voxels are background to N4, and unknown after it."""
    unknown = np.isnan(volume.voxels_zyx) if volume.voxels_zyx.dtype.kind == "f" else None
    if unknown is None or not unknown.any():
        return bias.correct(volume, settings.bias)
    filled = replace(volume, voxels_zyx=np.where(unknown, 0, volume.voxels_zyx).astype(volume.voxels_zyx.dtype))
    corrected, evidence = bias.correct(filled, settings.bias)
    voxels = np.where(unknown, np.float32(np.nan), corrected.voxels_zyx)
    return replace(corrected, voxels_zyx=voxels), evidence

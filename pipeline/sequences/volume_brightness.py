"""How bright a volume is, for the phase of strongest enhancement."""

from __future__ import annotations

import numpy as np

from config.schema import Sequences
from pipeline.catalog import FrameRef, Selection
from pipeline.sequences.slices import position_of

# Slices around the middle of the volume that are looked at.
SLICES = 9


def middle_of(frames: tuple[FrameRef, ...]) -> tuple[FrameRef, ...]:
    """The slices of a volume that `mean_signal` looks at; of these it takes all."""
    ordered = sorted(frames, key=lambda f: position_of(f) or ())
    middle = max(0, (len(ordered) - SLICES) // 2)
    return tuple(ordered[middle : middle + SLICES])


def mean_signal(frames: tuple[FrameRef, ...]) -> float:
    """The mean value of the volume's middle slices; volumes of one dynamic compare by it.

    Raises:
        PixelsRejected, GeometryRejected, NotDicom: the slices cannot be read.
    """
    # Volumes are loaded by what matching selects, so the loader imports this package.
    from pipeline.volumes import load

    part = middle_of(frames)
    volume = load(
        Selection(part[0].instance.ref.series_uid, "to find the peak", frames=part), Sequences(allow_lossy=True)
    )
    return float(np.mean(np.asarray(volume.voxels_zyx, dtype=np.float64)))

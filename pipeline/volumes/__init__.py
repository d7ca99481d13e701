"""DICOM images to volumes: one regular grid of real values each, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.records import Volume
from pipeline.volumes.assemble import volume_of
from pipeline.volumes.frames import Frame, frames_of, read_frames
from pipeline.volumes.selected_volume import load
from pipeline.volumes.series import Stack, load_series, stacks_of
from pipeline.volumes.stack import MIN_SLICES


def load_frames(
    frames: Sequence[tuple[Path, int | None]], allow_lossy: bool = False, min_slices: int = MIN_SLICES
) -> Volume:
    """The one volume that these files or frames (1-based) make up.

    Raises NotDicom, PixelsRejected, GeometryRejected (naming the slice that does not fit).
    """
    return volume_of(frames_of(frames), allow_lossy, min_slices)


__all__ = ["Frame", "Stack", "frames_of", "load", "load_frames", "load_series", "read_frames", "stacks_of", "volume_of"]

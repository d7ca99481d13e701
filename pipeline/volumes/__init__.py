"""DICOM images to volumes: one regular grid of real values each, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.records import Volume
from pipeline.volumes.assemble import volume_of
from pipeline.volumes.frames import Frame, read_frames
from pipeline.volumes.stack import MIN_SLICES


def frames_of(frames: Sequence[tuple[Path, int | None]]) -> list[Frame]:
    """Headers of the files and frames named; (path, None) means all that the file holds."""
    numbers: dict[Path, list[int] | None] = {}
    for path, number in frames:
        if number is None:
            numbers[path] = None
        else:
            wanted = numbers.setdefault(path, [])
            if wanted is not None:
                wanted.append(number)
    return [f for path, wanted in numbers.items() for f in read_frames(path, None if wanted is None else tuple(wanted))]


def load_frames(
    frames: Sequence[tuple[Path, int | None]], allow_lossy: bool = False, min_slices: int = MIN_SLICES
) -> Volume:
    """The one volume that these files or frames (1-based) make up.

    Raises NotDicom, PixelsRejected, GeometryRejected (naming the slice that does not fit).
    """
    return volume_of(frames_of(frames), allow_lossy, min_slices)


__all__ = ["Frame", "frames_of", "load_frames", "read_frames", "volume_of"]

"""What a bias correction says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Engine = Literal["fast", "simpleitk"]


@dataclass(frozen=True, slots=True)
class BiasEvidence:
    """How one volume was corrected.

    `iterations`: iterations done at each fitting level, coarse to fine. `mask_voxels`: voxels of the shrunk mask,
    those that the field was fitted to. `shrink_xyz`: the factors that were used. `deviations`: sentences on what
    differs from the settings.
    """

    engine: Engine
    iterations: tuple[int, ...]
    mask_voxels: int
    shrink_xyz: tuple[int, int, int]
    deviations: tuple[str, ...] = ()

"""Simple ways to a region from axes, to compare with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

from pipeline.proposal.box import Box, box_around
from pipeline.proposal.frame import frame_of
from pipeline.proposal.records import Axes
from pipeline.records import Volume

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]
# What lies farther out than so many half axes is cut off: without that, both methods run into vessels and muscle.
REACH = 1.2
# As far as a first prototype let its threshold go: `hard` phantoms are to be beyond it.
PROTOTYPE_REACH = 1.6


def dice(one: Bools, other: Bools) -> float:
    return 2 * int((one & other).sum()) / max(1, int(one.sum()) + int(other.sum()))


def ellipsoid(t1c: Volume, pre: Volume | None, marking: Axes) -> Bools:
    """The axes' ellipsoid; its third half axis is the mean of the others."""
    box, radius = _place(t1c, marking)
    return box.on(t1c.geometry.shape_zyx, (radius <= 1) | (radius == radius.min()))


def threshold(t1c: Volume, pre: Volume | None, marking: Axes, reach: float = REACH) -> Bools:
    """Brighter than half way between the middle (medians, up to 0.6 half axes) and what surrounds (1.3 to 2)."""
    box, radius = _place(t1c, marking)
    values = _values(t1c, pre, box)
    middle = np.median(values[(radius <= 0.6) | (radius == radius.min())])
    around = np.median(values[(radius > 1.3) & (radius < 2)])
    bright = (values > (middle + around) / 2) & (radius <= reach)
    return box.on(t1c.geometry.shape_zyx, _middle_part(bright, radius))


def confidence_connected(t1c: Volume, pre: Volume | None, marking: Axes) -> Bools:
    """SimpleITK's: four rounds, within two standard deviations, from the voxels up to 0.4 half axes."""
    box, radius = _place(t1c, marking)
    seeds = np.argwhere((radius <= 0.4) | (radius == radius.min()))[:, ::-1].tolist()
    image = SimpleITK.GetImageFromArray(_values(t1c, pre, box))
    region = SimpleITK.ConfidenceConnected(
        image, seedList=seeds, numberOfIterations=4, multiplier=2.0, initialNeighborhoodRadius=1, replaceValue=1
    )
    like = (SimpleITK.GetArrayFromImage(region) > 0) & (radius <= REACH)
    return box.on(t1c.geometry.shape_zyx, _middle_part(like, radius))


def _place(t1c: Volume, marking: Axes) -> tuple[Box, Floats]:
    frame = frame_of(marking, t1c.geometry)
    box = box_around(frame, t1c.geometry, 12.0)
    return box, box.radius(frame.half_mm)


def _values(t1c: Volume, pre: Volume | None, box: Box) -> npt.NDArray[np.float32]:
    after = t1c.voxels_zyx[box.window].astype(np.float32)
    return after if pre is None else after - pre.voxels_zyx[box.window].astype(np.float32)


def _middle_part(region: Bools, radius: Floats) -> Bools:
    parts, count = ndimage.label(region)
    if not count:
        return np.asarray(radius <= 1)
    sizes = np.bincount(parts[(radius <= 0.5) & region], minlength=count + 1)
    sizes[0] = 0
    one = int(sizes.argmax()) if sizes.any() else 1 + int(np.bincount(parts.ravel())[1:].argmax())
    return np.asarray(ndimage.binary_fill_holes(parts == one))


BASELINES: dict[str, Callable[[Volume, Volume | None, Axes], Bools]] = {
    "ellipsoid": ellipsoid,
    "threshold of T1+C": lambda t1c, pre, marking: threshold(t1c, None, marking),
    "threshold of T1+C within 1.6": lambda t1c, pre, marking: threshold(t1c, None, marking, PROTOTYPE_REACH),
    "threshold of the difference": threshold,
    "ConfidenceConnected of T1+C": lambda t1c, pre, marking: confidence_connected(t1c, None, marking),
    "ConfidenceConnected of the difference": confidence_connected,
}

"""Where the breasts are in T1 of a patient who lies on her front: before the chest, behind the skin.

The chest wall itself is not drawn. The skin between the breasts (where the images show one breast, the skin above or
below it at the edge of the images) tells how far back the breast can reach; what lies more than CHEST_MM behind it is
taken for heart, great vessels, muscle or axilla.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

from pipeline.errors import ExamRejected
from pipeline.geometry import Geometry
from pipeline.records import Side
from pipeline.roi.sides import BILATERAL_MM

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
CHEST_MM, SKIN_MM = 15.0, 3.0
# Half the width of the strip in which the skin between the breasts is looked for, and of one at the edge.
_STRIP_MM = 15.0
_SMOOTH_MM, _ALONG_MM, _FARTHEST = 2.0, 30.0, 95
# An axis of the grid that is turned further than this from the patient's is none: the cosine of 30 degrees.
_ALONG = 0.866


@dataclass(frozen=True, slots=True)
class Breasts:
    """`inside_zyx`: breast without skin, on the grid. `left_zyx`: the patient's left half; None with one breast."""

    inside_zyx: Bools
    left_zyx: Bools | None

    def sides(self) -> list[tuple[Side | None, Bools]]:
        """Each breast; of a single one the side is not told by its place."""
        if self.left_zyx is None:
            return [(None, self.inside_zyx)]
        return [("L", self.inside_zyx & self.left_zyx), ("R", self.inside_zyx & ~self.left_zyx)]


def breasts_in(brightness_zyx: Floats, grid: Geometry) -> Breasts:
    """The breasts in one T1 volume.

    Raises ExamRejected (`no-breast`) where the grid is oblique or no skin before the chest is in the images.
    """
    body = _body(brightness_zyx, grid)
    across, forwards = (_axis_of(grid, n) for n in (0, 1))
    if across is None or forwards is None or across[0] == forwards[0]:
        raise ExamRejected("the images are oblique to the body, and the breasts are not told in them", code="no-breast")
    spacing = grid.spacing_xyz_mm[::-1]
    # Axes in the order (third, left, backwards): views, so that the mask needs no way back.
    third = 3 - across[0] - forwards[0]
    order = (third, across[0], forwards[0])
    turned = body.transpose(order)
    if forwards[1] < 0:
        turned = turned[:, :, ::-1]
    left_to_right = across[1] < 0
    if left_to_right:
        turned = turned[:, ::-1]
    wide = turned.shape[1] * spacing[across[0]]
    limit = _limit(turned, spacing[third], spacing[across[0]], spacing[forwards[0]], two=wide >= BILATERAL_MM)
    depth = np.arange(turned.shape[2])
    before_chest = np.broadcast_to(depth[None, None, :] <= limit[:, None, None], turned.shape)
    half = np.broadcast_to((np.arange(turned.shape[1]) >= turned.shape[1] / 2)[None, :, None], turned.shape)
    inside = body & _back(before_chest, order, across[1], forwards[1])
    inside &= ndimage.distance_transform_edt(body, spacing) > SKIN_MM
    if not inside.any():
        raise ExamRejected("no breast lies before the chest in these images", code="no-breast")
    return Breasts(inside, _back(half, order, across[1], forwards[1]) if wide >= BILATERAL_MM else None)


def _back(turned: Bools, order: tuple[int, int, int], across: int, forwards: int) -> Bools:
    turned = turned[:, :: 1 if across > 0 else -1, :: 1 if forwards > 0 else -1]
    return turned.transpose(np.argsort(order))


def _body(brightness_zyx: Floats, grid: Geometry) -> Bools:
    """What is no air: the largest part above Otsu's threshold of the logarithm, holes filled slice by slice."""
    smooth = ndimage.gaussian_filter(brightness_zyx, [_SMOOTH_MM / 2 / s for s in grid.spacing_xyz_mm[::-1]])
    logarithm = np.log1p(np.maximum(smooth, 0)).astype(np.float32)
    image = SimpleITK.GetImageFromArray(logarithm)
    body = SimpleITK.GetArrayFromImage(SimpleITK.OtsuThreshold(image, 0, 1)) > 0
    labels, count = ndimage.label(body)
    if count == 0:
        raise ExamRejected("the images are of one brightness", code="no-breast")
    body = labels == int(np.bincount(labels.ravel())[1:].argmax()) + 1
    return np.stack([ndimage.binary_fill_holes(one) for one in body])


def _axis_of(grid: Geometry, patient: int) -> tuple[int, int] | None:
    """The axis of the array (z, y, x) along the patient's x (to the left) or y (backwards), and its sign."""
    cosines = np.asarray(grid.direction, np.float64).reshape(3, 3)[patient]
    index = int(np.abs(cosines).argmax())
    if abs(cosines[index]) < _ALONG:
        return None
    return 2 - index, 1 if cosines[index] > 0 else -1


def _limit(body: Bools, along_mm: float, across_mm: float, depth_mm: float, *, two: bool) -> npt.NDArray[np.float64]:
    """For each position along the third axis, how far back (in voxels) a breast can reach."""
    front = np.where(body.any(axis=2), body.argmax(axis=2), np.nan).astype(np.float64)
    width = max(1, round(_STRIP_MM / across_mm))
    if two:
        middle = body.shape[1] // 2
        skin = _median(front[:, max(0, middle - width) : middle + width])
    else:
        edges = np.fmin(_median(front[:, :width]), _median(front[:, -width:]))
        # Images of one breast may begin in the middle of it; above and below it, the skin is the chest's.
        skin = np.full(edges.size, np.nan if np.isnan(edges).all() else float(np.nanpercentile(edges, _FARTHEST)))
    known = np.flatnonzero(np.isfinite(skin))
    if not known.size:
        raise ExamRejected("the skin before the chest is not in these images", code="no-breast")
    skin = np.interp(np.arange(skin.size), known, skin[known])
    skin = ndimage.median_filter(skin, max(1, round(_ALONG_MM / along_mm)), mode="nearest")
    return np.asarray(skin + CHEST_MM / depth_mm)


def _median(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of each row; NaN where no column of it has a body."""
    enough = np.isfinite(columns).any(axis=1)
    medians = np.full(columns.shape[0], np.nan)
    medians[enough] = np.nanmedian(columns[enough], axis=1)
    return medians

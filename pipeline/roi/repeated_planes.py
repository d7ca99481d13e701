"""Which planes of one segment were drawn already: a plane that is written twice must show the same both times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.align.resample import Bools
from pipeline.errors import RoiRejected
from pipeline.geometry import Geometry

# Frames nearer to each other than this lie on one plane: no slices are that thin.
ONE_PLANE_MM = 0.05


class Drawn:
    """The frames of one segment that hold something. `name`: of two frames, with a place for each of their numbers."""

    def __init__(self, name: str, uid: str) -> None:
        self.count = 0
        self._name, self._uid = name, uid
        self._normal: npt.NDArray[np.float64] | None = None
        self._by_depth: dict[int, list[tuple[int, Geometry, bytes]]] = {}

    def first_time(self, number: int, plane: Geometry, mask: Bools) -> bool:
        """Whether this frame shows anything new. Raises RoiRejected where it contradicts another on its plane."""
        pixels = np.packbits(mask).tobytes()
        if self._normal is None:
            self._normal = np.asarray(plane.direction).reshape(3, 3)[:, 2]
        depth = int(np.floor(float(self._normal @ np.array(plane.origin_xyz_mm)) / ONE_PLANE_MM))
        for near in (depth - 1, depth, depth + 1):
            for other, known, shown in self._by_depth.get(near, ()):
                if not _one_plane(plane, known):
                    continue
                if pixels == shown and plane.same_grid(known, ONE_PLANE_MM):
                    return False
                raise RoiRejected(
                    f"{self._name.format(other, number)} lie on one plane and show different things",
                    code="roi-frames-on-one-plane",
                    uid=self._uid,
                )
        self._by_depth.setdefault(depth, []).append((number, plane, pixels))
        self.count += 1
        return True


def _one_plane(one: Geometry, other: Geometry) -> bool:
    """Whether two frames lie on one plane and overlap there; tiles of one plane lie beside each other."""
    axes = np.asarray(one.direction).reshape(3, 3)
    if abs(abs(float(axes[:, 2] @ np.asarray(other.direction).reshape(3, 3)[:, 2])) - 1) > 1e-6:
        return False
    apart = np.abs((np.array(other.origin_xyz_mm) - one.origin_xyz_mm) @ axes)
    if not np.allclose(one.direction, other.direction, atol=1e-3):
        return bool(apart[2] < ONE_PLANE_MM)
    rows, columns = one.shape_zyx[1:]
    x, y, _ = one.spacing_xyz_mm
    return bool(apart[2] < ONE_PLANE_MM and apart[0] < (columns - 0.5) * x and apart[1] < (rows - 0.5) * y)

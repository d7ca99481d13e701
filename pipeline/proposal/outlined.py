"""The inside of an outline."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.proposal.box import Box
from pipeline.proposal.frame import Frame
from pipeline.proposal.records import Outline

Bools = npt.NDArray[np.bool_]


def inside_outline(outline: Outline, frame: Frame, box: Box) -> Bools:
    """Voxels whose centres, looked at along the normal of its plane, lie within the closed line (even-odd)."""
    corners = frame.local(np.array(outline.points, dtype=np.float64))[:, :2]
    u, v = box.local_mm[..., 0], box.local_mm[..., 1]
    inside = np.zeros(u.shape, bool)
    for (u0, v0), (u1, v1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if v0 != v1:
            inside ^= ((v0 > v) != (v1 > v)) & (u < u0 + (v - v0) * (u1 - u0) / (v1 - v0))
    return inside

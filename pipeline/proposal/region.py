"""The region that a marking measures, proposed on T1+C."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputRejected
from pipeline.geometry import Geometry
from pipeline.proposal.box import Box, box_around
from pipeline.proposal.evidence import binned
from pipeline.proposal.frame import Frame, frame_of
from pipeline.proposal.growth import Setting, grown, surroundings
from pipeline.proposal.motion import aligned
from pipeline.proposal.outlined import inside_outline
from pipeline.proposal.quality import doubts, measure
from pipeline.proposal.records import Marking, Outline, Proposal, Quality
from pipeline.records import Role, Volume

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
# The first grows the region, the second is only there to be compared with.
SETTINGS: dict[Role, tuple[Setting, Setting]] = {
    "tumor": (Setting(agree=5.0), Setting(agree=5.0, weight=1.2, spread_share=0.26)),
    "lymph_nodes": (Setting(), Setting(weight=1.2, spread_share=0.26)),
}
# What is looked at around the axes: this share of the longer half axis, and at least and at most so many mm.
_AROUND, _AROUND_MM = 0.9, (8.0, 18.0)
# A region of less or more than this, as shares of the ellipsoid's volume, is no region of these axes.
_VOLUME = (0.25, 2.5)
# Fewer voxels than these make no histogram.
_FEWEST = 12


def propose(t1c: Volume, pre: Volume | None, marking: Marking, role: Role, others: Sequence[Marking] = ()) -> Proposal:
    """The region of one marking on the grid of `t1c`: equal arguments give equal voxels.

    `pre`: the same before contrast, on the same grid; else it is not used. `others`: markings of other lesions, which
    stay out of this one; those that are none of these images are left aside.

    Raises InputRejected where the marking is none: ends outside the images, length 0, two planes, not millimetres.
    """
    grid = t1c.geometry
    frame = frame_of(marking, grid)
    box = box_around(frame, grid, min(max(_AROUND_MM[0], _AROUND * frame.half_mm[0]), _AROUND_MM[1]))
    radius = box.radius(frame.half_mm)
    ellipsoid = (radius <= 1) | (radius == radius.min())
    notes: list[str] = []
    channels = _channels(t1c, pre, box, notes)
    drawn = inside_outline(marking, frame, box) if isinstance(marking, Outline) else None
    neighbours = _neighbours(marking, others, grid)
    cells = binned(channels)
    place = surroundings(frame, box, neighbours, drawn)
    region, other_setting = (grown(place, cells, len(channels), setting) for setting in SETTINGS[role])
    reason = _no_region(region, ellipsoid, channels)
    if reason:
        lines = (reason, "The region is the ellipsoid of the measured axes; the images did not shape it.", *notes)
        return Proposal(box.on(grid.shape_zyx, ellipsoid), "ellipsoid", "doubtful", Quality(), lines)
    quality = measure(region, other_setting, channels[-1], frame, box)
    lines = doubts(quality)
    mask = box.on(grid.shape_zyx, region)
    return Proposal(mask, "grown", "doubtful" if lines else "good", quality, (*lines, *notes))


def _neighbours(marking: Marking, others: Sequence[Marking], grid: Geometry) -> list[Frame]:
    frames = []
    for other in others:
        if other != marking:
            with suppress(InputRejected):
                frames.append(frame_of(other, grid))
    return frames


def _channels(t1c: Volume, pre: Volume | None, box: Box, notes: list[str]) -> list[Floats]:
    """Brightness after contrast on the box and, where it can be had, by how much it rose."""
    after = t1c.voxels_zyx[box.window].astype(np.float32)
    if pre is None:
        notes.append("There is no volume before contrast: the region is grown by brightness after contrast alone.")
        return [after]
    if not pre.geometry.same_grid(t1c.geometry):
        notes.append("The volume before contrast lies on another grid and was not used.")
        return [after]
    before = pre.voxels_zyx[box.window].astype(np.float32)
    return [after, after - aligned(before, after, box.spacing_zyx_mm)]


def _no_region(region: Bools, ellipsoid: Bools, channels: list[Floats]) -> str:
    """Why the images gave no region, or nothing."""
    expected = int(np.count_nonzero(ellipsoid))
    size = int(np.count_nonzero(region))
    if expected < _FEWEST:
        return f"The axes hold {expected} voxels, too few to tell a lesion from its surroundings."
    if all(float(np.ptp(channel)) == 0 for channel in channels):
        return "The images are of one brightness around the axes."
    if size == 0:
        return "Nothing between the axes stands out from its surroundings."
    share = size / expected
    if not _VOLUME[0] <= share <= _VOLUME[1]:
        return f"What stands out between the axes is {share:.0%} of their ellipsoid."
    return ""

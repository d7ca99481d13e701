"""The region that a marking measures, proposed on T1+C."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.proposal.box import box_around
from pipeline.proposal.frame import frame_of
from pipeline.proposal.records import Marking, Proposal, Quality
from pipeline.records import Role, Volume


def propose(t1c: Volume, pre: Volume | None, marking: Marking, role: Role, others: Sequence[Marking] = ()) -> Proposal:
    """The region of one marking on the grid of `t1c`: equal arguments give equal voxels.

    `pre`: the same before contrast, on the same grid; else it is not used. `others`: markings of other lesions, which
    stay out of this one.

    Raises InputRejected where the marking is none: ends outside the images, length 0, two planes, not millimetres.
    """
    frame = frame_of(marking, t1c.geometry)
    box = box_around(frame, t1c.geometry, 0.0)
    radius = box.radius(frame.half_mm)
    inside = (radius <= 1) | (radius == radius.min())
    return Proposal(
        box.on(t1c.geometry.shape_zyx, inside),
        "ellipsoid",
        "doubtful",
        Quality(),
        ("The region is the ellipsoid of the measured axes; it was not looked for in the images.",),
    )

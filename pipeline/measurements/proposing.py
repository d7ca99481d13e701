"""Proposed regions on T1+C for the measurements of readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.catalog.facts import InstanceFacts
from pipeline.errors import InputRejected, RoiRejected
from pipeline.measurements.merging import Merged, is_same, merged, renumbered
from pipeline.measurements.placing import Placed, placed
from pipeline.measurements.records import MeasurementReport, NotUsed
from pipeline.proposal.records import Proposal, label_of
from pipeline.proposal.region import propose
from pipeline.records import Mask, Origin, Role, Segment, Side, Volume
from pipeline.roi.sides import side_by_position

REJECTED = "rejected"
_SIDES: dict[Side, str] = {"L": "left", "R": "right"}


_Made = tuple[Placed, Proposal, Side | None]


@dataclass(frozen=True, slots=True)
class ProposedRegion:
    """A region proposed for one measurement. `label`: in our own vocabulary, by which it is understood again."""

    placed: Placed
    proposal: Proposal
    side: Side | None
    label: str

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Voxels (z, y, x) on the grid of T1+C."""
        return self.proposal.mask

    @property
    def role(self) -> Role:
        return self.placed.measurement.role

    @property
    def words(self) -> str:
        return f"{self.proposal.verdict}, {self.proposal.method}"

    @property
    def origin(self) -> Origin:
        return "measured"

    @property
    def algorithm(self) -> None:
        """The grower has no name of its own beside ours."""
        return


@dataclass(frozen=True, slots=True)
class ProposedRegions:
    """Regions in the order of role, side and number; `not_used`: measurements without a region."""

    regions: tuple[ProposedRegion, ...]
    not_used: tuple[NotUsed, ...]


def placed_together(
    reports: Sequence[MeasurementReport], t1c: Volume, images: Sequence[InstanceFacts], *, check_patient: bool = True
) -> Merged:
    """The measurements of several reports that count, on `t1c`."""
    own = frozenset(s.ref.sop_instance_uid for s in t1c.sources_z)
    return merged([placed(r, images, t1c.geometry, own, check_patient=check_patient) for r in reports])


def propose_regions(
    reports: Sequence[MeasurementReport],
    t1c: Volume,
    pre: Volume | None,
    images: Sequence[InstanceFacts],
    *,
    check_patient: bool = True,
    rejected: Sequence[Placed] = (),
) -> ProposedRegions:
    """The regions that several reports measure on `t1c`. Arguments as in `placed` and `propose`.

    `rejected`: measurements whose regions a reader rejected; none is proposed for the same ones.
    """
    together = placed_together(reports, t1c, images, check_patient=check_patient)
    not_used = list(together.not_used)
    proposals: list[_Made] = []
    for n, one in enumerate(together.placed):
        if any(is_same(one, other) for other in rejected):
            m = one.measurement
            not_used.append(NotUsed(m.source, m.number, m.label, REJECTED, "the reader rejected its region"))
            continue
        others = [o.marking for m, o in enumerate(together.placed) if m != n]
        try:
            proposal = propose(t1c, pre, one.marking, one.measurement.role, others)
            proposals.append((one, proposal, _side(one, proposal, t1c)))
        except (InputRejected, RoiRejected) as error:
            m = one.measurement
            not_used.append(NotUsed(m.source, m.number, m.label, error.code, error.message))
    proposals = _of_told_sides(proposals, not_used)
    sided = [replace(one, measurement=replace(one.measurement, side=side)) for one, _, side in proposals]
    numbered = renumbered(sided)
    regions = [
        ProposedRegion(one, proposal, side, label)
        for one, (_, proposal, side), label in zip(numbered, proposals, _labels(numbered), strict=True)
    ]
    return ProposedRegions(tuple(sorted(regions, key=_place)), tuple(not_used))


def _place(region: ProposedRegion) -> tuple[bool, str, int]:
    """Tumours before lymph nodes, left before right, by number."""
    measurement = region.placed.measurement
    return measurement.role != "tumor", region.side or "", measurement.lesion or 0


def _of_told_sides(proposals: list[_Made], not_used: list[NotUsed]) -> list[_Made]:
    """Regions that either all have a side or all have none: a mixture is refused when the regions are read.

    If the known sides are all the same, the side is removed from every region; if both sides occur, regions of unknown
    side are not used.
    """
    sides = {side for _, _, side in proposals}
    if None not in sides or len(sides) == 1:
        return proposals
    if len(sides) == 2:
        note = "the label has no side, since the side of another measurement of this exam is unknown"
        return [
            (replace(one, notes=(*one.notes, note)) if side else one, proposal, None)
            for one, proposal, side in proposals
        ]
    for one, _, side in proposals:
        if side is None:
            m = one.measurement
            why = "the side is unknown, and this exam has measurements on both sides; name the side in the label"
            not_used.append(NotUsed(m.source, m.number, m.label, "no-side", why))
    return [each for each in proposals if each[2] is not None]


def _side(one: Placed, proposal: Proposal, t1c: Volume) -> Side | None:
    """The side by the label, else by position if that is certain. Raises RoiRejected if the two differ."""
    measurement = one.measurement
    segment = Segment(measurement.source, measurement.number, measurement.label, Mask(proposal.mask, t1c.geometry))
    by_place = side_by_position(segment) if np.any(proposal.mask) else None
    if measurement.side and by_place and measurement.side != by_place:
        raise RoiRejected(
            f"the label names the {_SIDES[measurement.side]} side, and the measurement lies on the {_SIDES[by_place]}",
            code="side-contradicts",
        )
    return measurement.side or by_place


def _labels(placed: Sequence[Placed]) -> list[str]:
    """`Tumor, left`, `Lymph node 2, left`; tumours are numbered where a side has several."""
    tumors: dict[Side | None, int] = {}
    counts = [sum(_of(p) == _of(o) for o in placed) for p in placed]
    labels = []
    for one, count in zip(placed, counts, strict=True):
        measurement = one.measurement
        number = measurement.lesion
        if measurement.role == "tumor":
            tumors[measurement.side] = tumors.get(measurement.side, 0) + 1
            number = tumors[measurement.side] if count > 1 else None
        labels.append(label_of(measurement.role, measurement.side, number))
    return labels


def _of(one: Placed) -> tuple[str, Side | None]:
    return one.measurement.role, one.measurement.side

"""What is known of an exam while it is being evaluated, and its steps' records as the result keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any  # Any: values of a result's fields, each of its own type

from pipeline.catalog import Selection
from pipeline.pictures import Panel
from pipeline.records import SEQUENCES, AlignmentEvidence, InstanceRef, Mask, Roi, Role, Side
from pipeline.records import Sequence as SequenceName
from pipeline.result import Alignment, NodeSummary, QualityCheck, RoiSummary, SegmentSummary, SequenceChoice
from pipeline.roi.grid_regions import GridRegion

Timer = Callable[[], float]
Masks = dict[tuple[SequenceName, Role, Side | None], Mask]
# Volume of a region on a grid / its volume on the grid that it was drawn on.
KeptVolumes = Mapping[tuple[SequenceName, Role, Side | None], float]


@dataclass
class Draft:
    """What is known so far; becomes the result whether or not the end is reached.

    `fields`: of the result, by name; their types are checked when the result is made of them.
    """

    study_uid: str
    timer: Timer
    fields: dict[str, Any] = field(default_factory=dict)
    timings_s: dict[str, float] = field(default_factory=dict)
    quality: list[QualityCheck] = field(default_factory=list)
    evidence: list[InstanceRef] = field(default_factory=list)
    panels: tuple[Panel, ...] = ()
    regions: tuple[GridRegion, ...] = ()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = self.timer()
        try:
            yield
        finally:
            self.timings_s[stage] = self.timings_s.get(stage, 0.0) + self.timer() - started


def choice_of(selection: Selection) -> SequenceChoice:
    """The series used for one sequence, with every instance that it reads."""
    computed = tuple(sorted(selection.frames_by_b)) or None
    frames = [*selection.frames, *(f for group in selection.frames_by_b.values() for f in group)]
    return SequenceChoice(
        series_uid=selection.series_uid,
        why=selection.why,
        confidence=round(selection.confidence, 3),
        phase=selection.phase,
        description=selection.description,
        computed_from_b=computed,
        instances=tuple(dict.fromkeys(f.instance.ref for f in frames)),
    )


def alignment_of(relation: AlignmentEvidence) -> Alignment:
    """How the grid that regions were drawn on was related to another sequence."""
    return Alignment(
        method=relation.method,
        shift_mm=relation.shift_mm,
        rotation_deg=relation.rotation_deg,
        transform=relation.transform,
        details=dict(relation.details),
    )


def summary_of(region: Roi, masks: Masks, kept_volumes: KeptVolumes) -> RoiSummary:
    """One region on every grid."""
    return RoiSummary(
        source_uid=region.segments[0].source.sop_instance_uid,
        segments=tuple(s.number for s in region.segments),
        drawn_on=region.drawn_on,
        voxels={n: mask.voxels for n in SEQUENCES if (mask := masks.get((n, region.role, region.side)))},
        volume_mm3=region.mask.volume_mm3,
        kept_volume={n: round(part, 4) for n in SEQUENCES if (part := kept_volumes.get((n, region.role, region.side)))},
        count=region.count,
        nodes=tuple(NodeSummary.model_validate(asdict(node)) for node in region.nodes),
        why=region.why,
        origin=region.origin,
        confirmed_by=region.confirmed_by,
        segment_details=tuple(
            SegmentSummary(
                source=s.source,
                number=s.number,
                label=s.label,
                tracking_id=s.tracking_id,
                tracking_uid=s.tracking_uid,
                property_type=(t.value, t.scheme, t.meaning) if (t := s.property_type) is not None else None,
                origin=s.origin,
                algorithm=s.algorithm,
            )
            for s in region.segments
        ),
    )

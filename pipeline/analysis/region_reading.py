"""The regions drawn on an exam, on the grid of T1+C, and the sides of the body that they lie on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from config.schema import Settings
from pipeline import roi
from pipeline.analysis.inputs import Inputs
from pipeline.analysis.quality_checks import place_checks, shape_checks
from pipeline.analysis.result_draft import Draft
from pipeline.errors import RoiRejected
from pipeline.records import Roi, Side, Volume
from pipeline.records import Sequence as SequenceName


def read_regions(loaded: Mapping[SequenceName, Volume], inputs: Inputs, draft: Draft) -> Sequence[Roi]:
    """Every region that the signatures read. Raises RoiRejected."""
    exam, settings = inputs.exam, inputs.settings
    other_grids = {str(name): volume for name, volume in loaded.items() if name != "t1c"}
    reading = roi.read_all(exam.rois, loaded["t1c"], settings.roi, other_grids, exam.images)
    draft.fields["left_out"] = reading.left_out
    draft.evidence += [segment.source for region in reading.rois for segment in region.segments]
    draft.quality += [*place_checks(reading.rois), *shape_checks(reading.rois)]
    _require_agreeing_places(reading.rois, settings)
    return reading.rois


def _require_agreeing_places(rois: Sequence[Roi], settings: Settings) -> None:
    """Raises RoiRejected where a region lies elsewhere than the images it was drawn on, unless a setting allows it."""
    stopping = [(s, c) for r in rois for s in r.segments for c in s.contradictions if c.stops]
    if stopping and not settings.roi.allow_contradictory_positions:
        sentences = "; ".join(f"segment {s.number} of {s.source.sop_instance_uid}: {c.text}" for s, c in stopping)
        raise RoiRejected(
            f"{sentences}; nobody can tell which is right. Set roi.allow_contradictory_positions to go by the "
            "positions",
            code="roi-contradicts-images",
        )


def sides_of(rois: Sequence[Roi]) -> list[Side | None]:
    """The sides to evaluate one by one. Raises RoiRejected where only some of several regions tell their side."""
    sides = sorted({r.side for r in rois}, key=lambda s: s or "")
    if len(sides) > 1 and None in sides:
        raise RoiRejected(
            "ROIs of different sides are in this exam and at least one does not say which side it is on",
            code="laterality-ambiguous",
        )
    return sides

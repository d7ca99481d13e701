"""The regions drawn on an exam, on the grids that they were drawn on, and the sides of the body that they lie on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from config.schema import Settings
from pipeline import roi
from pipeline.analysis.drawn_on import objects_by_grid
from pipeline.analysis.inputs import Inputs
from pipeline.analysis.inventory import Inventory
from pipeline.analysis.quality_checks import distortion_checks, place_checks, shape_checks
from pipeline.analysis.result_draft import Draft
from pipeline.errors import RoiRejected
from pipeline.records import ROLES, SEQUENCES, Roi, Side, Volume
from pipeline.records import Sequence as SequenceName
from pipeline.roi.rules import load_rules
from pipeline.sequences import Match


def read_regions(
    loaded: Mapping[SequenceName, Volume], inventory: Inventory, match: Match, inputs: Inputs, draft: Draft
) -> Sequence[Roi]:
    """Every region that the signatures read, each on the grid it was drawn on.

    Raises RoiRejected, and the error of a series that regions were drawn on and that cannot be read.
    """
    exam, settings = inputs.exam, inputs.settings
    grids = [name for name in SEQUENCES if name in loaded or name in inventory.faulty]
    rois: list[Roi] = []
    for name, objects in objects_by_grid(exam, match, grids, load_rules(settings.roi.rules)).items():
        if name in inventory.faulty:
            raise inventory.faulty[name]
        others = {str(other): volume for other, volume in loaded.items() if other != name}
        reading = roi.read_all(objects, loaded[name], settings.roi, others, exam.images, exam.proposals, inputs.bring)
        draft.fields["left_out"] = (*draft.fields.get("left_out", ()), *reading.left_out)
        rois += [replace(region, drawn_on=name) for region in reading.rois]
    rois.sort(key=lambda region: ROLES.index(region.role))
    draft.evidence += [segment.source for region in rois for segment in region.segments]
    draft.quality += [*place_checks(rois), *shape_checks(rois), *distortion_checks(rois, settings.roi)]
    _require_agreeing_places(rois, settings)
    return rois


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

"""On which sequence's images the regions of an exam were drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.catalog import Exam, InstanceFacts
from pipeline.records import SEQUENCES, Role
from pipeline.records import Sequence as SequenceName
from pipeline.roi.describe import of_facts
from pipeline.roi.roles import role_of
from pipeline.roi.rules import Rules
from pipeline.sequences import Match
from pipeline.sequences.t1c import drawn_on

T2_LABELS = ("t2", "t2_stir")
DIFFUSION_LABELS = ("adc", "dwi")


def objects_by_grid(
    exam: Exam, match: Match, grids: Sequence[SequenceName], rules: Rules
) -> dict[SequenceName, list[InstanceFacts]]:
    """The ROI objects by the sequence on whose grid they are read, one of `grids`, in the order of the sequences.

    That is the one an object was drawn on; where it was drawn on none of them (a subtraction, a series that was not
    chosen), the first. Objects that name no region go where the others are.
    """
    naming = {roi.ref.sop_instance_uid: tuple(_roles(roi, rules)) for roi in exam.rois}
    grid_of = {roi.ref.sop_instance_uid: _grid(roi, exam, match, grids) for roi in exam.rois}
    first = next((n for n in SEQUENCES if n in {grid_of[uid] for uid, roles in naming.items() if roles}), grids[0])
    by_grid: dict[SequenceName, list[InstanceFacts]] = {name: [] for name in SEQUENCES}
    roles_by_grid: dict[SequenceName, set[Role]] = {name: set() for name in SEQUENCES}
    for roi in exam.rois:
        uid = roi.ref.sop_instance_uid
        name = grid_of[uid] if naming[uid] else first
        by_grid[name].append(roi)
        roles_by_grid[name] |= set(naming[uid])
    several = [roles for roles in roles_by_grid.values() if roles]
    if sum(len(roles) for roles in several) > len(set().union(*several)):
        # One region drawn on two sequences: which drawing counts can be told on one grid only.
        return {first: list(exam.rois)}
    return {name: objects for name, objects in by_grid.items() if objects}


def _grid(roi: InstanceFacts, exam: Exam, match: Match, grids: Sequence[SequenceName]) -> SequenceName:
    series = drawn_on(replace(exam, rois=(roi,)))
    labels = {label.series_uid: label.label for label in match.labels}
    drawn: set[SequenceName] = set()
    for uid in series:
        chosen = next((name for name, selection in match.chosen.items() if selection.series_uid == uid), None)
        if chosen is not None:
            drawn.add(chosen)
        elif labels.get(uid) in T2_LABELS:
            drawn.add("t2")
        elif labels.get(uid) in DIFFUSION_LABELS:
            drawn.add("adc")
        else:
            drawn.add("t1c")
    return next((name for name in SEQUENCES if name in drawn and name in grids), grids[0])


def _roles(roi: InstanceFacts, rules: Rules) -> Iterator[Role]:
    for segment in roi.segments:
        role = role_of(of_facts(roi, segment), rules).role
        if role is not None and not roi.ours:
            yield role

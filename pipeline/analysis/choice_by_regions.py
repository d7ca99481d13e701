"""Which T2 and which ADC show the regions: what headers leave open, decided by where the regions lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from config.schema import Settings
from pipeline import roi, sequences, volumes
from pipeline.catalog import Exam
from pipeline.errors import ExamRejected
from pipeline.records import Roi, Side
from pipeline.sequences import Match, Region

# Voxels of each region that are looked at; more tell nothing more of where it lies.
MOST_POINTS = 5000


def region_of(rois: Sequence[Roi]) -> Region:
    """Where these regions lie: the centres of at most `MOST_POINTS` voxels of each, evenly taken."""
    grid = rois[0].mask.geometry
    points = []
    for one in rois:
        index_zyx = np.argwhere(one.mask.voxels_zyx)
        index_zyx = index_zyx[:: max(1, len(index_zyx) // MOST_POINTS)]
        affine = one.mask.geometry.affine
        points.append(index_zyx[:, ::-1] @ affine[:3, :3].T + affine[:3, 3])
    return Region(grid.frame_of_reference_uid, tuple(points))


def decide(exam: Exam, settings: Settings, matched: Match, rois: Sequence[Roi]) -> dict[Side | None, Match]:
    """The match of each side of `rois`: one for all where one series of a sequence shows all regions, else its own.

    A match without contenders stands as it is.
    """
    sides = sorted({r.side for r in rois}, key=lambda s: s or "")
    if not matched.contenders:
        return dict.fromkeys(sides, matched)

    def of(some: Sequence[Roi]) -> Match:
        again = sequences.match(exam, settings.sequences, lambda _: 0.0, region_of(some))
        # T1+C, found by its pixels where it is to be the brightest phase, stands.
        if "t1c" not in matched.chosen:
            return again
        return replace(again, chosen={**again.chosen, "t1c": matched.chosen["t1c"]})

    together = of(rois)
    if len(sides) < 2 or not set(matched.contenders) & set(together.absent):
        return dict.fromkeys(sides, together)
    return {side: of([r for r in rois if r.side == side]) for side in sides}


def matched_by_regions(exam: Exam, settings: Settings) -> Match:
    """`sequences.match`, with the regions read where headers alone do not decide; exams whose facts carry paths.

    Where the regions cannot be read, or lie on two sides that no single series shows, the match by headers stands.
    """
    matched = sequences.match(exam, settings.sequences)
    if not matched.contenders or "t1c" not in matched.chosen or not exam.rois:
        return matched
    try:
        t1c = volumes.load(matched.chosen["t1c"], settings.sequences, exam.rois)
        decided = decide(exam, settings, matched, roi.read(exam.rois, t1c, settings.roi, images=exam.images))
    except ExamRejected:
        return matched
    first, *others = decided.values()
    return first if all(other.chosen == first.chosen for other in others) else matched

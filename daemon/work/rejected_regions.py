"""Regions that a reader rejected, as the spool holds them: a ledger that was lost knows no measurement of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import sqlalchemy as sa

from daemon.ledger.rows import InstanceRow, StudyRow, rows_where
from daemon.ledger.states import IN_SPOOL
from daemon.ledger.tables import instances
from daemon.work.context import Context
from pipeline.catalog import REJECTED_PROPOSAL, facts_from_json
from pipeline.catalog.facts import SEGMENTATION_CLASSES
from pipeline.proposal.records import Labelled
from pipeline.records import Volume
from pipeline.roi.edited_states import Drawn
from pipeline.roi.read import proposed_segments
from pipeline.roi.rules import load_rules

Region = TypeVar("Region", bound=Labelled)


def without_rejected(
    context: Context, study: StudyRow, regions: Sequence[Region], t1c: Volume, sop_uid: str
) -> tuple[Region, ...]:
    """The regions without those of the role, side and voxels of one that a reader rejected.

    All of them, where a word was given on just this proposal (`sop_uid`): it is known by its UID, and stands as it was.
    """
    with context.ledger.read() as connection:
        rows = list(_rejections(connection, study.study_uid))
    if any(row.sop_uid == sop_uid for row in rows):
        return tuple(regions)
    context.files.bring(rows)
    words = [facts_from_json(row.facts, context.files.place(row)) for row in rows]
    rules = load_rules(context.settings.roi.rules)
    rejected = [d for facts in words for d in proposed_segments(facts, t1c, context.settings.roi, rules)]
    return tuple(region for region in regions if not any(_is_same(region, one) for one in rejected))


def _rejections(connection: sa.Connection, study_uid: str) -> Iterator[InstanceRow]:
    """Files with a sealed word against regions: without our seal, the tag is taken away when they arrive."""
    of_study = (instances.c.study_uid == study_uid) & instances.c.sop_class.in_(SEGMENTATION_CLASSES)
    for row in rows_where(connection, InstanceRow, of_study, instances.c.state.in_(IN_SPOOL)):
        if REJECTED_PROPOSAL in facts_from_json(row.facts, None).tags:
            yield row


def _is_same(region: Labelled, rejected: Drawn) -> bool:
    sides = {region.side, rejected.segment.laterality} - {None}
    return (
        region.role == rejected.recognised.role
        and len(sides) < 2
        and np.array_equal(region.mask, rejected.segment.mask.voxels_zyx)
    )

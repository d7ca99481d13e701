"""The copy of a proposal that counts, once somebody stands for it, and what of it was accepted."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pydicom

from config.schema import Settings
from daemon.ledger import Ledger
from daemon.ledger.rows import InstanceRow, rows_where
from daemon.ledger.states import IN_SPOOL
from daemon.ledger.tables import instances
from pipeline.catalog import ACCEPTED, facts_from_json, put_acceptance
from pipeline.errors import InputRejected
from pipeline.roi.describe import describe
from pipeline.roi.roles import role_of
from pipeline.roi.rules import load_rules


def accepted_copy(
    proposal: Path, copy: Path, who: str, roles: Collection[str], settings: Settings, secret: bytes
) -> list[str]:
    """Write the proposal with the acceptance of its segments of these roles (none: all); their labels.

    Raises InputRejected where it has none of them.
    """
    ds = pydicom.dcmread(proposal)
    rules = load_rules(settings.roi.rules)
    described = describe(ds, proposal)
    wanted = [d for d in described if not roles or role_of(d, rules).role in roles]
    if not wanted:
        labels = ", ".join(d.label for d in described)
        raise InputRejected(f"nothing of this kind was proposed; there are: {labels}")
    put_acceptance(ds, who, wanted[0].proposed_origin, (d.number for d in wanted), secret)
    ds.save_as(copy, enforce_file_format=True)
    return [d.label for d in wanted]


def accepted_and_open(
    proposal: Path, sop_uid: str | None, ledger: Ledger, roles: Collection[str], settings: Settings
) -> tuple[list[str], list[str]]:
    """Labels of the segments of an accepted proposal: those that were accepted, and those of these roles (none: all)
    that were not. `sop_uid`: of the proposal and its accepted copy. Nothing where the copy is gone.
    """
    with ledger.read() as connection:
        copies = instances.c.sop_uid == sop_uid
        rows = rows_where(connection, InstanceRow, copies, instances.c.state.in_(IN_SPOOL))
    facts = [f for f in (facts_from_json(row.facts) for row in rows) if ACCEPTED in f.tags]
    if not facts:
        return [], []
    numbers = {segment.number for one in facts for segment in one.segments}
    rules = load_rules(settings.roi.rules)
    described = describe(pydicom.dcmread(proposal, stop_before_pixels=True), proposal)
    wanted = [d for d in described if not roles or role_of(d, rules).role in roles]
    return [d.label for d in described if d.number in numbers], [d.label for d in wanted if d.number not in numbers]

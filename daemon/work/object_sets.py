"""Which destinations share a set of objects: they took the same before, and get the same.

A report names as its predecessor what just that destination took, and no object that does not go there.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from config.schema import Destination, Settings
from daemon.ledger.tables import deliveries
from daemon.share.exam_files import Files
from daemon.work import correction
from daemon.work.context import Context
from dicom_sr.kinds import MOST_NUMBERS, parts_of
from dicom_sr.report_source import Earlier, ReportSource

# In the folder of a result: the number of the sets of each destination, and under an empty name that of all others.
SETS_FILE = "sets.json"


def sets_of(
    context: Context, study_id: str, revision_id: str, number: int, source: ReportSource
) -> tuple[list[Earlier], dict[str, int]]:
    """What the destinations of each number took before and get, and the number of each destination.

    Destinations alike in both have one number. Those that are named later have taken nothing.
    """
    earlier = {
        destination.name: replace(
            correction.earlier_at(context, study_id, number, destination.name, source.patient_study),
            what=_what(destination, context.settings),
        )
        for destination in context.settings.destination
    }
    # No set is made for them alone where there is one that says of no predecessor.
    earlier[""] = next((mine for mine in earlier.values() if mine == Earlier(what=mine.what)), Earlier())
    groups: list[Earlier] = []
    numbers = _opened(context, revision_id)
    for name in [*sorted(numbers, key=lambda n: numbers[n]), *earlier]:
        mine = earlier.get(name, Earlier())
        if name in numbers:
            # A result that is made again has the sets that its deliveries are of.
            groups += [mine] * (numbers[name] + 1 - len(groups))
        elif mine in groups:
            numbers[name] = groups.index(mine)
        elif len(groups) < MOST_NUMBERS:
            numbers[name] = len(groups)
            groups.append(mine)
        else:
            numbers[name] = 0
    return groups, numbers


def _what(destination: Destination, settings: Settings) -> tuple[str, ...] | None:
    """What of all that is made goes there; None: everything."""
    goes = tuple(kind for kind in settings.report.what if kind in destination.what)
    return None if goes == settings.report.what else goes


def _opened(context: Context, revision_id: str) -> dict[str, int]:
    """By destination, where deliveries of this result are open already."""
    with context.ledger.read() as connection:
        rows = connection.execute(
            sa.select(deliveries.c.destination, deliveries.c.objects).where(deliveries.c.revision_id == revision_id)
        ).all()
    return {row.destination: max(parts_of(name)[2] for name in row.objects) for row in rows if row.objects}


def to_bytes(numbers: dict[str, int]) -> bytes:
    return json.dumps(numbers).encode()


def number_of(files: Files, revision_id: str, destination: str) -> int:
    """The number of the sets of a destination. A result of an earlier version has one set."""
    path: Path | None = files.get(revision_id, SETS_FILE)
    if path is None:
        return 0
    numbers: dict[str, int] = json.loads(path.read_text())
    return numbers.get(destination, numbers.get("", 0))

"""An operator's word on which series of an exam is T1+C, T2 or ADC. The exam is judged again with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import sqlalchemy as sa

from config.schema import Settings
from daemon.assembly import InUse, why_not_chosen
from daemon.ledger.engine import note
from daemon.ledger.packed_exams import unpacked
from daemon.ledger.rows import StudyRow
from daemon.ledger.tables import studies
from daemon.ledger.verdicts import TooLarge, evidence_of
from pipeline.errors import InputRejected
from pipeline.needs import SEQUENCE_TITLES
from pipeline.records import Sequence

CHOSEN, CLEARED = "series-chosen", "choice-cleared"
FOLLOWS = "the exam is judged again, and a new report follows if it reads other images"


def choose(
    connection: sa.Connection, row: StudyRow, now: float, settings: Settings, in_use: InUse, name: Sequence, uid: str
) -> str:
    """Take a series for a sequence of this exam, before every rule; returns a sentence that says so.

    Raises InputRejected where the exam has no such series, or the series cannot be that sequence.
    """
    unpacked(connection, row.study_uid)
    choices = dict(row.chosen_series or {})
    if choices.get(name) == uid:
        return f"series {uid} was chosen as {SEQUENCE_TITLES[name]} already"
    choices[name] = uid
    try:
        exam = replace(evidence_of(connection, row, settings.assembly.max_instances), choices=choices)
    except TooLarge as error:
        raise InputRejected(f"study {row.id} has more than {error.what}, and was not looked at") from error
    other = next((n for n, chosen in choices.items() if chosen == uid and n != name), None)
    if other is not None:
        raise InputRejected(
            f"series {uid} is chosen as {SEQUENCE_TITLES[other]} already; take that back first: "
            f"axrad choose {row.id} --sequence {other} --clear",
            code="chosen-already",
        )
    why_not = why_not_chosen(exam, name, settings, in_use)
    if why_not is not None:
        raise InputRejected(f"study {row.id} stays as it is: {why_not}", code="unfit-choice")
    _write(connection, row, choices)
    note(connection, now, CHOSEN, f"{SEQUENCE_TITLES[name]}: series {uid}, by an operator", row.id)
    return f"series {uid} is {SEQUENCE_TITLES[name]} of study {row.id}; {FOLLOWS}"


def clear(connection: sa.Connection, row: StudyRow, now: float, names: Collection[Sequence]) -> str:
    """Leave these sequences to the rules again; returns a sentence that says so.

    Raises InputRejected where no series is chosen for any of them.
    """
    choices = row.chosen_series or {}
    cleared = [name for name in choices if name in names]
    if not cleared:
        raise InputRejected(f"study {row.id} has no series that an operator chose", code="nothing-chosen")
    _write(connection, row, {name: uid for name, uid in choices.items() if name not in cleared})
    titles = " and ".join(SEQUENCE_TITLES[name] for name in cleared)
    note(connection, now, CLEARED, f"{titles}, by an operator", row.id)
    return f"{titles} of study {row.id} is chosen by the rules again; {FOLLOWS}"


def _write(connection: sa.Connection, row: StudyRow, choices: dict[Sequence, str]) -> None:
    connection.execute(
        studies.update().where(studies.c.id == row.id).values(chosen_series=choices or sa.null(), dirty=True)
    )

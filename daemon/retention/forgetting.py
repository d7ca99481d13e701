"""What the ledger forgets with an exam's files: texts of headers, and sentences that quote them."""

from __future__ import annotations

import re

import sqlalchemy as sa

from config.schema import Settings
from daemon.ledger import Ledger
from daemon.ledger.periodic_jobs import take_if_due
from daemon.ledger.states import IN_SPOOL, STUDY
from daemon.ledger.tables import chores, events, instances, revisions, studies
from pipeline.analysis.body_part import exam_rules
from pipeline.analysis.remaining_words import CLEANED, RemainingWords
from pipeline.errors import InputRejected
from pipeline.sequences.rules import rules

# Events whose sentence may quote the exam; the others name counts, codes and peers.
QUOTING = (*STUDY, "analysed", "retry", "failed")
# What a sentence quotes or lists stands behind one of these; `result.json` keeps it in full, as the report has it.
_QUOTED = re.compile(r"\s*(?:[(\"']|: ).*", re.DOTALL)
LEFT_OUT = " …"
# An exam cleaned by an axrad that left the names of its series; all of them were looked at once this chore is there.
CHORE = "texts-of-before"
ROWS_AT_ONCE, BATCHES_AT_ONCE = 500, 20
NEVER_AGAIN_S = 1e18


def words_of(settings: Settings) -> RemainingWords:
    """By a site's rules; by the built-in ones while it has a fault in its own, since a full disk does not wait."""
    try:
        return RemainingWords(rules(settings.sequences.rules), exam_rules(settings.assembly.exam_rules))
    except InputRejected:
        return RemainingWords(rules(), exam_rules())


def forget(connection: sa.Connection, ids: list[int], words: RemainingWords) -> None:
    """With files that are gone go the texts of their headers, but for the words that a rule reads."""
    gone = instances.c.id.in_(ids) & (instances.c.state == "purged")
    rows = connection.execute(sa.select(instances.c.id, instances.c.exam_uid, instances.c.facts).where(gone)).all()
    changed = [
        {"instance": row.id, "remaining": remaining}
        for row in rows
        if row.facts and (remaining := words.of_document(row.facts)) != row.facts
    ]
    if changed:
        one = instances.c.id == sa.bindparam("instance")
        connection.execute(instances.update().where(one).values(facts=sa.bindparam("remaining")), changed)
    for exam_uid in sorted({row.exam_uid for row in rows if row.exam_uid}):
        _shorten_sentences(connection, exam_uid)


def forget_those_of_before(ledger: Ledger, words: RemainingWords, now: float) -> bool:
    """Some instances that an earlier version cleaned; whether there may be more."""
    if all_forgotten(ledger):
        return False
    last = 0
    for _ in range(BATCHES_AT_ONCE):
        some = _uncleaned(ledger, last)
        with ledger.write() as connection:
            if not some:
                take_if_due(connection, CHORE, now, NEVER_AGAIN_S)
                return False
            forget(connection, some, words)
        last = some[-1]
    return True


def all_forgotten(ledger: Ledger) -> bool:
    """Whether no instance is left that an earlier version cleaned."""
    with ledger.read() as connection:
        return connection.execute(sa.select(chores.c.name).where(chores.c.name == CHORE)).first() is not None


def _uncleaned(ledger: Ledger, after: int) -> list[int]:
    uncleaned = instances.c.facts["tags"][CLEANED].as_string().is_(None) & (instances.c.study_uid != "")
    with ledger.read() as connection:
        ids = connection.execute(
            sa.select(instances.c.id)
            .where(instances.c.id > after, instances.c.state == "purged", uncleaned)
            .order_by(instances.c.id)
            .limit(ROWS_AT_ONCE)
        )
        return list(ids.scalars())


def _shorten_sentences(connection: sa.Connection, exam_uid: str) -> None:
    """Of an exam that has no file left. The code of a reason stays as it is."""
    with_file = sa.select(instances.c.id).where(instances.c.exam_uid == exam_uid, instances.c.state.in_(IN_SPOOL))
    study = connection.execute(
        sa.select(studies.c.id, studies.c.reason).where(studies.c.study_uid == exam_uid, ~with_file.exists())
    ).one_or_none()
    if study is None:
        return
    quoting = (events.c.study_id == study.id) & events.c.kind.in_(QUOTING)
    for table, column, where in (
        (studies, studies.c.reason, studies.c.id == study.id),
        (revisions, revisions.c.reason, revisions.c.study_id == study.id),
        (events, events.c.detail, quoting),
    ):
        for row in connection.execute(sa.select(table.c.id, column.label("sentence")).where(where)).all():
            short = _QUOTED.sub(LEFT_OUT, row.sentence)
            if short != row.sentence:
                connection.execute(table.update().where(table.c.id == row.id).values({column.name: short}))

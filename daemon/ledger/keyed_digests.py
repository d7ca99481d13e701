"""Digests of identifiers in the ledger, row by row from plain ones to those under the site's key.

`key_id` of a row says under which key it is, empty: none. An axrad from before this step leaves it empty, so what such
a process writes during a rolling restart is found by the same question. All exams of one patient change in one
transaction: whoever compares patients meanwhile sees them equal before and after. Killed at any moment, it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any  # Any: rows of any columns; JSON

import sqlalchemy as sa
import structlog

from daemon.assembly.identity import NOBODY
from daemon.ledger.accessions import add_accessions
from daemon.ledger.engine import Ledger
from daemon.ledger.packed_exams import rewrite
from daemon.ledger.site_key import SiteKey, is_keyed
from daemon.ledger.tables import accessions, instances, pacs_answers, studies
from pipeline.catalog import InstanceFacts

log = structlog.get_logger("axrad.site_key")
# Of facts, beside `patient_key`.
TAGS = ("patient_id_key", "author_key")
# A patient with more exams than this, as in an archive that was made anonymous, is done in several transactions.
EXAMS_AT_ONCE = 100
ROWS_AT_ONCE = 1000
# How much one transaction takes before others may write.
ROWS_OF_A_STEP = 4000
ADVISORY_LOCK = 4217004


def keyed_facts(facts: InstanceFacts, key: SiteKey) -> InstanceFacts:
    """Facts as they enter the ledger."""
    tags = {name: key.keyed(str(facts.tags[name])) for name in TAGS if facts.tags.get(name)}
    return replace(facts, patient_key=key.keyed(facts.patient_key), tags={**facts.tags, **tags})


def is_done(ledger: Ledger, key: SiteKey) -> bool:
    """Whether every row is under this key. Looks at indexes alone."""
    with ledger.read() as connection:
        return all(
            connection.execute(sa.select(sa.literal(1)).where(_under_another(table, key)).limit(1)).first() is None
            for table in (studies, instances, pacs_answers, accessions)
        )


def bring(ledger: Ledger, key: SiteKey) -> int:
    """Bring some rows under the key; how many, 0: there are none left."""
    rows = 0
    with ledger.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        while rows < ROWS_OF_A_STEP and (done := _one_patient(connection, key)):
            rows += done
        return rows or _without_study(connection, key)


def bring_along(connection: sa.Connection, key: SiteKey, exam_uids: Collection[str], patients: Collection[str]) -> None:
    """Bring exams that something has come for, and every other exam of the same patients, in its own transaction.

    Args:
        patients: plain digests of the patients that came.
    """
    named = list(exam_uids)
    known = connection.execute(sa.select(studies.c.patient_key).where(studies.c.study_uid.in_(named))).scalars()
    for which in (studies.c.study_uid.in_(named), *map(_of, sorted({*known, *patients} - {"", NOBODY}))):
        while _studies(connection, key, which):
            pass
    for uid in named:
        # Regions that were filed under another exam have come to this one.
        _exam(connection, key, uid)


def bring_all(ledger: Ledger, key: SiteKey, stopped: Callable[[], bool] = lambda: False) -> int:
    """Bring every row under the key, before anything new is compared with it; how many there were."""
    rows = 0
    if is_done(ledger, key):
        return rows
    while not stopped() and (done := bring(ledger, key)):
        rows += done
    log.info("digests-under-the-key", rows=rows, key=key.id)
    return rows


def mark_mixed(connection: sa.Connection, key: SiteKey) -> int:
    """Studies that say they are under the key and hold a plain digest are to be done again; how many.

    A process of before this step copies identities from one column to another, whatever they are by then.
    """
    columns = (studies.c.patient_key, studies.c.identity_key, studies.c.corrected_key, studies.c.accepted_keys)
    rows = connection.execute(sa.select(studies.c.id, *columns).where(studies.c.key_id == key.id)).all()
    mixed = [row.id for row in rows if any(_is_plain(value) for value in (*row[1:4], *(row.accepted_keys or ())))]
    for start in range(0, len(mixed), ROWS_AT_ONCE):
        some = studies.c.id.in_(mixed[start : start + ROWS_AT_ONCE])
        connection.execute(studies.update().where(some).values(key_id=""))
    return len(mixed)


def _is_plain(value: str | None) -> bool:
    return bool(value) and value != NOBODY and not is_keyed(str(value))


def _under_another(table: sa.Table, key: SiteKey) -> sa.ColumnElement[bool]:
    """Two ranges of an index, where `!=` would look at every row."""
    return (table.c.key_id < key.id) | (table.c.key_id > key.id)


def _one_patient(connection: sa.Connection, key: SiteKey) -> int:
    """All exams of some patient that has exams under another key or none."""
    row = connection.execute(
        sa.select(studies.c.patient_key, studies.c.id).where(_under_another(studies, key)).limit(1)
    ).one_or_none()
    if row is None:
        return 0
    return _studies(connection, key, studies.c.id == row.id if row.patient_key == NOBODY else _of(row.patient_key))


def _of(patient: str) -> sa.ColumnElement[bool]:
    return studies.c.patient_key == patient


def _studies(connection: sa.Connection, key: SiteKey, which: sa.ColumnElement[bool]) -> int:
    """The first of these studies with all that belongs to them; how many rows."""
    rows = connection.execute(
        sa.select(studies)
        .where(which, studies.c.key_id != key.id)
        .order_by(studies.c.id)
        .limit(EXAMS_AT_ONCE)
        .with_for_update()
    ).all()
    count = 0
    for row in rows:
        count += 1 + _exam(connection, key, row.study_uid)
        values = {name: _value(key, getattr(row, name)) for name in ("patient_key", "identity_key", "corrected_key")}
        accepted = None if row.accepted_keys is None else [key.keyed(k) for k in row.accepted_keys]
        # One that is held may be so because half of it was under the key: it is judged again.
        connection.execute(
            studies.update()
            .where(studies.c.id == row.id)
            .values(
                **values,
                key_id=key.id,
                accepted_keys=sa.null() if accepted is None else accepted,
                dirty=sa.case((studies.c.state == "held", sa.true()), else_=studies.c.dirty),
            )
        )
    return count


def _exam(connection: sa.Connection, key: SiteKey, exam_uid: str) -> int:
    """Instances of one exam, and what archives said of it."""
    count = 0
    where = (instances.c.exam_uid == exam_uid) & (instances.c.key_id != key.id)
    while rows := _instances(connection, where):
        count += _write(connection, key, rows)
    count += rewrite(connection, exam_uid, lambda row: None if row["key_id"] == key.id else _keyed_row(row, key))
    count += _answers(connection, key, (pacs_answers.c.exam_uid == exam_uid) & (pacs_answers.c.key_id != key.id))
    return count + _numbers(connection, key, (accessions.c.exam_uid == exam_uid) & (accessions.c.key_id != key.id))


def _without_study(connection: sa.Connection, key: SiteKey) -> int:
    """Instances of exams that have come to one that is done already, and those that are nobody's exam."""
    count = _write(connection, key, _instances(connection, _under_another(instances, key)))
    count = count or _answers(connection, key, _under_another(pacs_answers, key))
    return count or _numbers(connection, key, _under_another(accessions, key))


def _instances(connection: sa.Connection, where: sa.ColumnElement[bool]) -> Sequence[sa.Row[Any, Any, Any]]:
    query = sa.select(instances.c.id, instances.c.patient_key, instances.c.facts).where(where)
    return connection.execute(query.limit(ROWS_AT_ONCE)).all()


def _write(connection: sa.Connection, key: SiteKey, rows: Sequence[sa.Row[Any, Any, Any]]) -> int:
    if not rows:
        return 0
    changed = [
        {"of": r.id, "patient": key.keyed(r.patient_key), "document": keyed_document(r.facts, key)} for r in rows
    ]
    connection.execute(
        instances.update()
        .where(instances.c.id == sa.bindparam("of"))
        .values(patient_key=sa.bindparam("patient"), facts=sa.bindparam("document"), key_id=key.id),
        changed,
    )
    return len(rows)


def _keyed_row(row: dict[str, Any], key: SiteKey) -> dict[str, Any]:
    patient = key.keyed(row["patient_key"])
    return row | {"patient_key": patient, "facts": keyed_document(row["facts"], key), "key_id": key.id}


def keyed_document(document: Any, key: SiteKey) -> Any:
    """`keyed_facts` of facts as the ledger has them."""
    if not isinstance(document, dict) or not document:
        return document
    tags = document.get("tags") or {}
    keyed = {name: key.keyed(str(tags[name])) for name in TAGS if tags.get(name)}
    return {**document, "patient_key": key.keyed(document.get("patient_key", "")), "tags": {**tags, **keyed}}


def _answers(connection: sa.Connection, key: SiteKey, where: sa.ColumnElement[bool]) -> int:
    rows = connection.execute(sa.select(pacs_answers).where(where).limit(ROWS_AT_ONCE)).all()
    for row in rows:
        connection.execute(
            pacs_answers.update()
            .where(pacs_answers.c.exam_uid == row.exam_uid, pacs_answers.c.pacs == row.pacs)
            .values(
                patient_key=_value(key, row.patient_key),
                patient_id_key=_value(key, row.patient_id_key),
                key_id=key.id,
            )
        )
    return len(rows)


def _numbers(connection: sa.Connection, key: SiteKey, where: sa.ColumnElement[bool]) -> int:
    """Accession numbers; one that is there under the key already is not written twice."""
    rows = connection.execute(sa.select(accessions).where(where).limit(ROWS_AT_ONCE)).all()
    for row in rows:
        mine = (accessions.c.exam_uid == row.exam_uid) & (accessions.c.accession_key == row.accession_key)
        connection.execute(accessions.delete().where(mine))
        add_accessions(connection, [(row.exam_uid, key.keyed(row.accession_key), key.id)])
    return len(rows)


def _value(key: SiteKey, digest: str | None) -> str | None:
    return None if digest is None else key.keyed(digest)

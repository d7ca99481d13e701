"""The list of exams: by state, page by page; an exam by its id, its study's UID, its accession number, or its
patient's id.
"""

from __future__ import annotations

import math
import time

import sqlalchemy as sa
from starlette.responses import Response

from daemon.console.visit import Visit
from daemon.ledger import accessions, site_key
from daemon.ledger.rows import StudyRow, rows_where
from daemon.ledger.states import STUDY
from daemon.ledger.studies import find
from daemon.ledger.tables import studies
from daemon.ledger.work_order import PRIORITIES, priority_in_words
from pipeline.catalog import accession_key, patient_key

PAGE = 50
MOST_TEXT = 128


def exams(visit: Visit) -> Response:
    """A page of exams, the most recently changed first. `after`: the key of the last one of the page before."""
    state, priority = visit.query.get("state", ""), visit.query.get("priority", "")
    where = []
    if state in STUDY:
        where.append(studies.c.state == state)
    if priority in PRIORITIES:
        where.append(studies.c.priority == PRIORITIES[priority])
    if (key := _key(visit.query.get("after", ""))) is not None:
        where.append(sa.tuple_(studies.c.changed_at, studies.c.id) < key)
    with visit.state.ledger.read() as connection:
        rows = page_of(connection, where)
    visit.viewed("exams")
    following = f"{rows[PAGE - 1].changed_at!r},{rows[PAGE - 1].id}" if len(rows) > PAGE else ""
    return _list(visit, rows[:PAGE], state=state, priority=priority, after=following, first=key is None)


def page_of(connection: sa.Connection, where: list[sa.ColumnElement[bool]]) -> list[StudyRow]:
    """Rows of one page and one more, by key: the cost is that of the page, wherever it lies."""
    order = [studies.c.changed_at.desc(), studies.c.id.desc()]
    return rows_where(connection, StudyRow, *where, order_by=order, limit=PAGE + 1)


def search(visit: Visit) -> Response:
    """Exams by what was typed, which came in a form and is in no address. A patient's id and an
    accession number are compared as digests.
    """
    text, issuer = (visit.form.get(name, "").strip()[:MOST_TEXT] for name in ("text", "issuer"))
    visit.viewed("search")
    with visit.state.ledger.read() as connection:
        one = find(connection, text) if text else None
        if one is not None:
            return visit.back_to(f"/exams/{one.id}")
        rows = _of_patient_or_order(visit, connection, text, issuer) if text and visit.may("search") else []
        older = not accessions.is_complete(connection), accessions.unknown(connection)
    if len(rows) == 1:
        return visit.back_to(f"/exams/{rows[0].id}")
    return _list(visit, rows, searched=True, older=older)


def _of_patient_or_order(visit: Visit, connection: sa.Connection, text: str, issuer: str) -> list[StudyRow]:
    """Exams of a patient with this id, or with this accession number. A number is compared without an issuer."""
    key = site_key.read(site_key.path_of(visit.settings))

    def digests(plain: str) -> list[str]:
        return [plain] if key is None else [plain, key.keyed(plain)]

    ordered = accessions.exams_of(connection, digests(accession_key(text)))[:PAGE]
    which = studies.c.patient_key.in_(digests(patient_key(text, issuer))) | studies.c.study_uid.in_(ordered)
    order = [studies.c.changed_at.desc(), studies.c.id.desc()]
    return rows_where(connection, StudyRow, which, order_by=order, limit=PAGE)


def _list(
    visit: Visit,
    rows: list[StudyRow],
    *,
    state: str = "",
    priority: str = "",
    after: str = "",
    first: bool = True,
    searched: bool = False,
    older: tuple[bool, int] = (False, 0),
) -> Response:
    """`older`: whether accession numbers of older exams are still being read, and of how many none can be."""
    shown = [(row, priority_in_words(row.priority)) for row in rows]
    return visit.render(
        "exams.html", 200, section="exams", exams=shown, states=list(STUDY), priorities=list(PRIORITIES),
        now=time.time(), state=state, priority=priority, after=after, first=first, searched=searched,
        reading=older[0], unknown=older[1],
    )  # fmt: skip


def _key(text: str) -> tuple[float, str] | None:
    """The key of a row, from the address of the next page."""
    at, _, study_id = text.partition(",")
    try:
        changed_at = float(at)
    except ValueError:
        return None
    return (changed_at, study_id) if math.isfinite(changed_at) and study_id.isalnum() else None

"""A ledger as years leave it: delivered exams of five instances, the newest with files, the others without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any  # Any: a time, which is arithmetic of integers

import sqlalchemy as sa

from benchmarks.judging import _arrival
from daemon.ledger import Ledger, tallies
from daemon.ledger.instances import columns_of
from daemon.ledger.tables import deliveries, instances, revisions, studies
from pipeline.catalog.free_text import after_the_files

PER_EXAM, WITH_FILES, EXAMS_AT_ONCE = 5, 50_000, 2_000
NOW, APART_S = 1_800_000_000.0, 600.0


def fill(ledger: Ledger, rows: int) -> None:
    """So many instances with their exams, revisions and deliveries, made by the database itself."""
    exams = rows // PER_EXAM
    for first in range(0, exams, EXAMS_AT_ONCE):
        numbers = _numbers(first, min(first + EXAMS_AT_ONCE, exams))
        with ledger.write() as connection:
            for table, columns in _rows(numbers.c.n, exams, first):
                for values in columns:
                    expressions = [_expression(table.c[name], value) for name, value in values.items()]
                    connection.execute(table.insert().from_select(list(values), sa.select(*expressions)))
        more = True
        while more:
            with ledger.write() as connection:
                more = tallies.sum_up(connection)


def _numbers(first: int, end: int) -> sa.CTE:
    numbers = sa.select(sa.cast(first, sa.BigInteger).label("n")).cte("numbers", recursive=True)
    return numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n < end - 1))


def _expression(column: sa.Column[object], value: object) -> sa.ColumnElement[object]:
    return value if isinstance(value, sa.ColumnElement) else sa.literal(value, column.type)


Columns = dict[str, object]


def _rows(n: sa.ColumnElement[int], exams: int, first: int) -> list[tuple[sa.Table, list[Columns]]]:
    """Of the exams with these numbers, what is to be inserted into each table."""
    number = sa.cast(n, sa.String)
    at = NOW - (exams - n) * APART_S
    study, revision = _padded(number, 16), sa.literal("r").concat(_padded(number, 31))
    times: Columns = {"first_arrival_at": at, "last_arrival_at": at, "changed_at": at}
    of_study: Columns = {
        "id": study, "study_uid": sa.literal("1.2.").concat(number), "state": "delivered",
        "patient_key": _padded(number, 32), "dirty": False, **times,
    }  # fmt: skip
    of_revision: Columns = {
        "id": revision, "study_id": study, "number": 1, "input_digest": _padded(number, 64), "inputs": {},
        "state": "delivered", "stage": "done", "created_at": at, "finished_at": at, "next_attempt_at": at,
    }  # fmt: skip
    of_delivery: Columns = {
        "id": sa.literal("d").concat(_padded(number, 31)), "revision_id": revision, "destination": "pacs",
        "state": "delivered", "objects": [], "created_at": at, "finished_at": at, "next_attempt_at": at,
    }  # fmt: skip
    here = (exams - first) * PER_EXAM <= WITH_FILES
    each = [_instance(number, k, at, here=here) for k in range(PER_EXAM)]
    return [(studies, [of_study]), (instances, each), (revisions, [of_revision]), (deliveries, [of_delivery])]


def _instance(number: sa.ColumnElement[str], k: int, at: sa.ColumnElement[Any], *, here: bool) -> Columns:
    study = sa.literal("1.2.").concat(number)
    uid = study.concat(f".{k}")
    path = sa.literal(f"instances/{k}/").concat(uid).concat(".dcm")
    row = columns_of(replace(_arrival(k), sop_uid="", at=0.0))
    facts = row["facts"]
    assert isinstance(facts, dict)
    return row | {
        "sop_uid": uid, "path": path, "received_at": at, "study_uid": study, "exam_uid": study, "size": 500_000,
        "state": "stored" if here else "purged", "facts": facts if here else after_the_files(facts),
    }  # fmt: skip


def _padded(number: sa.ColumnElement[str], width: int) -> sa.ColumnElement[str]:
    """With zeros before it."""
    return sa.func.substr(sa.literal("0" * width).concat(number), sa.func.length(number) + 1, width)

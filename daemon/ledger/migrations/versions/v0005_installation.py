"""A place for the ledger's own id; reasons as noun phrases, which each audience puts into sentences of its own."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

PHRASES = {
    "the exam has no series that could be T1+C": "a T1+C series",
    "the exam has no series that could be T2": "a T2 series",
    "the exam has no series that could be ADC": "an ADC map or DWI series",
    "newer data are incomplete: waits for ": "newer data are incomplete, missing: ",
}
RELEASE = re.compile(r"; check them, then `axrad retry [^`]*`( or remove the wrong ones)?")


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    connection = op.get_bind()
    for table, key, column in (("studies", "id", "reason"), ("studies", "id", "flagged"), ("events", "id", "detail")):
        _rewrite(connection, sa.table(table, sa.column(key), sa.column(column)), key, column)


def _rewrite(connection: sa.Connection, table: sa.TableClause, key: str, column: str) -> None:
    """Only rows of the versions before hold these words."""
    text = table.c[column]
    old = sa.or_(text.like("%waits for %"), text.like("%; check them, then `axrad retry %"))
    for row in connection.execute(sa.select(table).where(old)).all():
        new = in_phrases(getattr(row, column))
        connection.execute(table.update().where(table.c[key] == getattr(row, key)).values({column: new}))


def in_phrases(reason: str) -> str:
    for words, phrase in PHRASES.items():
        reason = reason.replace(words, phrase)
    return RELEASE.sub("", reason.removeprefix("waits for "))

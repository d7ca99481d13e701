"""What all tables are made of: their metadata, and the types of columns that they share."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from config.schema.values import MAIN_SPOOL

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Time = sa.Float(53)
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Uid = sa.String(128)


def spool_column() -> sa.Column[str]:
    """The spool that a row's files lie in; empty: none are made yet. Before version 0022 there was one spool."""
    return sa.Column("spool", sa.String(16), nullable=False, server_default=MAIN_SPOOL)


def claim_columns() -> tuple[sa.Column[Any], ...]:  # Any: of several types
    """Columns of work that is queued in the ledger: who has claimed it, how often it was tried, when it is due."""
    return (
        sa.Column("owner", sa.String(128), nullable=True),
        sa.Column("lease_until", Time, nullable=True),
        sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_attempt_at", Time, nullable=False),
        sa.Column("enqueued_until", Time, nullable=True),
    )


def key_id_column() -> sa.Column[str]:
    """Which key of the site the row's digests of identifiers were made with; empty: none, as before version 0014."""
    return sa.Column("key_id", sa.String(16), nullable=False, server_default="", index=True)


# Conditions of partial indexes. A query has to say them in the same words, beside its own, for either database to use
# the index. Of instances: their files have not been removed by retention. Of studies: they are judged again some time,
# and there is a reason for their state.
HERE = sa.text("state <> 'purged'")
DUE = sa.text("due_at IS NOT NULL")
REASONED = sa.text("reason_code <> ''")

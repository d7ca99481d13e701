"""What all tables are made of: their metadata, and the types of columns that they share."""

from __future__ import annotations

import sqlalchemy as sa

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

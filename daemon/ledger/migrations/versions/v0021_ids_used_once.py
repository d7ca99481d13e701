"""The id of an instance is never given again: revisions and proposals go on naming instances that are gone.

On SQLite by AUTOINCREMENT, which changes nothing in the rows: the table's text is written anew in the schema, as
SQLite's manual allows where the file's content stays as it is. To copy millions of rows would take hours, and the
triggers and partial indexes with them.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

from daemon.ledger.id_sequences import advance, highest_instance_named

revision = "0021"
down_revision = "0020"

CHANGES = (
    (r"\bid INTEGER NOT NULL\s*,", "id INTEGER NOT NULL CONSTRAINT pk_instances PRIMARY KEY AUTOINCREMENT,"),
    (r",\s*(CONSTRAINT pk_instances )?PRIMARY KEY \(id\)", ""),
)


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _autoincrement(connection)
    advance(connection, {"instances": highest_instance_named(connection)})


def _autoincrement(connection: sa.Connection) -> None:
    of_it = "FROM sqlite_master WHERE type = 'table' AND name = 'instances'"
    text = str(connection.exec_driver_sql(f"SELECT sql {of_it}").scalar_one())
    for before, after in CHANGES:
        text, times = re.subn(before, after, text)
        if times != 1:
            raise AssertionError("the table of instances is not as an earlier step left it")
    # SQLite makes the table of sequences with the first table that has one, and never drops it.
    connection.exec_driver_sql("CREATE TABLE with_sequence (id INTEGER PRIMARY KEY AUTOINCREMENT)")
    connection.exec_driver_sql("DROP TABLE with_sequence")
    version = int(connection.exec_driver_sql("PRAGMA schema_version").scalar_one())
    connection.exec_driver_sql("PRAGMA writable_schema=ON")
    connection.exec_driver_sql("UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = 'instances'", (text,))
    connection.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema=OFF")
    # Read anew, the schema has to be whole: this raises where it is not.
    connection.exec_driver_sql("SELECT id FROM instances LIMIT 1").all()

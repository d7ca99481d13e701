"""Numbers that the database gives to rows: how far they have come, so that none is given twice, also after a restore.

SQLite keeps that for tables with AUTOINCREMENT, PostgreSQL for every table with a number as its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

_SQLITE_NAMED = """
    SELECT max(named.value) FROM {table}, json_each({table}.{column}, '{path}') AS named WHERE named.type = 'integer'
"""
_POSTGRESQL_NAMED = """
    SELECT max(CASE WHEN json_typeof(named.value) = 'number' THEN floor((named.value #>> '{{}}')::numeric) END)
    FROM {table}, json_array_elements(CASE WHEN json_typeof({value}) = 'array' THEN {value} ELSE '[]' END) AS named
"""
_POSTGRESQL_SEQUENCES = """
    SELECT numbered.relname, key.attname, format('%I', sequence.relname)
    FROM pg_class AS sequence
    JOIN pg_depend AS owned ON owned.objid = sequence.oid AND owned.deptype IN ('a', 'i')
    JOIN pg_class AS numbered ON numbered.oid = owned.refobjid
    JOIN pg_attribute AS key ON key.attrelid = numbered.oid AND key.attnum = owned.refobjsubid
    WHERE sequence.relkind = 'S' AND numbered.relnamespace = current_schema()::regnamespace
"""


class _Numbered(NamedTuple):
    """A table whose rows the database numbers; `sequence`: by which, on PostgreSQL."""

    table: str
    key: str
    sequence: str = ""


def sequences(connection: sa.Connection) -> dict[str, int]:
    """The last number that was given, by table, as far as the database keeps it."""
    if connection.dialect.name == "sqlite":
        if not _numbered(connection):
            return {}
        rows = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all()
        return {str(name): int(last) for name, last in rows}
    last = {n.table: _scalar(connection, _LAST, n.sequence) for n in _numbered(connection)}
    return {table: number for table, number in last.items() if number}


def advance(connection: sa.Connection, last: Mapping[str, int]) -> None:
    """Give no number again up to these, by table, nor any that a row has; tables without numbers are left alone."""
    given = sequences(connection)
    for numbered in _numbered(connection):
        table = numbered.table
        highest = _scalar(connection, f"SELECT max({numbered.key}) FROM {table}")
        number = max(last.get(table, 0), given.get(table, 0), highest)
        if not number:
            continue
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.setval(numbered.sequence, number)))
        elif table in given:
            connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (number, table))
        else:
            connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))


def highest_instance_named(connection: sa.Connection) -> int:
    """The highest id of an instance that a revision or proposal names, whether the instance is there or not."""
    if connection.dialect.name == "sqlite":
        queries = [
            _SQLITE_NAMED.format(table="revisions", column="inputs", path="$.context"),
            _SQLITE_NAMED.format(table="proposals", column="context", path="$"),
        ]
    else:
        queries = [
            _POSTGRESQL_NAMED.format(table="revisions", value="inputs->'context'"),
            _POSTGRESQL_NAMED.format(table="proposals", value="context"),
        ]
    return max(_scalar(connection, query) for query in queries)


_LAST = "SELECT pg_sequence_last_value(%s::regclass)"


def _scalar(connection: sa.Connection, query: str, *values: str) -> int:
    return int(connection.exec_driver_sql(query, values or None).scalar_one() or 0)


def _numbered(connection: sa.Connection) -> list[_Numbered]:
    if connection.dialect.name == "postgresql":
        return [_Numbered(*row) for row in connection.exec_driver_sql(_POSTGRESQL_SEQUENCES)]
    made = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
    return [_Numbered(str(name), "id") for (name,) in connection.exec_driver_sql(made)]

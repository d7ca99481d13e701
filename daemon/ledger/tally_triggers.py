"""The triggers that keep `tallies`, in both dialects; part of migration 0016, and made with every new ledger.

Whoever changes rows, by whatever statement, changes the tallies in the same transaction. SQLite has triggers per row;
PostgreSQL's are per statement, so that a thousand rows are one change. A migration that makes one of the tables anew
(Alembic's batch mode) has to make its triggers again.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

# Table: kind, what its subject is, what its bytes are.
TALLIED = {
    "studies": ("study", "''", "0"),
    "deliveries": ("delivery", "destination", "0"),
    "instances": ("instance", "''", "size"),
}
INTO = "INSERT INTO tallies (kind, subject, state, number, bytes)"
# Of packed exams: how many and their bytes in the ledger; how many instances are in them.
PACKED = (("exams", "1", "octet_length({row}content)"), ("instances", "{row}instances", "0"))


def make_triggers(connection: sa.Connection) -> None:
    statements = _postgresql if connection.dialect.name == "postgresql" else _sqlite
    for table in TALLIED:
        for statement in statements(table):
            connection.exec_driver_sql(statement)


def make_packed_trigger(connection: sa.Connection) -> None:
    """Packed exams come and go, one row at a time; none is changed."""

    def changes(row: str, sign: str) -> str:
        each = ((state, *(c.format(row=f"{row}.") for c in counted)) for state, *counted in PACKED)
        return " ".join(f"{INTO} VALUES ('packed', '', '{s}', {sign}{n}, {sign}{b});" for s, n, b in each)

    for event, change in (("INSERT", changes("NEW", "")), ("DELETE", changes("OLD", "-"))):
        name = f"tally_packed_exams_{event.lower()}"
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN {change} RETURN NULL; END $$"
            )
            connection.exec_driver_sql(
                f"CREATE TRIGGER {name} AFTER {event} ON packed_exams FOR EACH ROW EXECUTE FUNCTION {name}()"
            )
        else:
            change = _in_dialect(connection, change)
            connection.exec_driver_sql(f"CREATE TRIGGER {name} AFTER {event} ON packed_exams BEGIN {change} END")


def _in_dialect(connection: sa.Connection, text: str) -> str:
    """SQLite has octet_length since 3.43 only; `length` of a blob is the same."""
    return text if connection.dialect.name == "postgresql" else text.replace("octet_length", "length")


def recount(connection: sa.Connection) -> None:
    """Count everything: the ledger is old, or was filled from a backup."""
    connection.exec_driver_sql("DELETE FROM tallies")
    for table, (kind, subject, size) in TALLIED.items():
        counted = f"SELECT '{kind}', {subject} AS subject, state, count(*), sum({size}) FROM {table}"
        connection.exec_driver_sql(f"{INTO} {counted} GROUP BY 2, 3")
    if sa.inspect(connection).has_table("packed_exams"):
        for state, number, size in PACKED:
            length = _in_dialect(connection, size.format(row=""))
            counted = f"SELECT 'packed', '', '{state}', sum({number.format(row='')}), sum({length}) FROM packed_exams"
            connection.exec_driver_sql(f"{INTO} {counted} HAVING count(*) > 0")


def _sqlite(table: str) -> Iterator[str]:
    kind, subject, size = TALLIED[table]

    def change(row: str, sign: str) -> str:
        of_row = {"destination": f"{row}.destination", "size": f"{row}.size"}
        values = f"'{kind}', {of_row.get(subject, subject)}, {row}.state, {sign}1, {sign}{of_row.get(size, size)}"
        return f"{INTO} VALUES ({values});"

    watched = ["state", *(column for column in (subject, size) if column.isidentifier())]
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in watched)
    yield f"CREATE TRIGGER tally_{table}_insert AFTER INSERT ON {table} BEGIN {change('NEW', '')} END"
    yield f"CREATE TRIGGER tally_{table}_delete AFTER DELETE ON {table} BEGIN {change('OLD', '-')} END"
    yield (
        f"CREATE TRIGGER tally_{table}_update AFTER UPDATE OF {', '.join(watched)} ON {table} WHEN {changed} "
        f"BEGIN {change('OLD', '-')} {change('NEW', '')} END"
    )


def _postgresql(table: str) -> Iterator[str]:
    kind, subject, size = TALLIED[table]
    old = f"SELECT {subject} AS subject, state, -1 AS one, -{size} AS held FROM old_rows"
    new = f"SELECT {subject} AS subject, state, 1 AS one, {size} AS held FROM new_rows"
    rows = {"insert": new, "delete": old, "update": f"{old} UNION ALL {new}"}
    seen = {
        "insert": "NEW TABLE AS new_rows",
        "delete": "OLD TABLE AS old_rows",
        "update": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
    }
    for event, changes in rows.items():
        yield (
            f"CREATE OR REPLACE FUNCTION tally_{table}_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"{INTO} SELECT '{kind}', subject, state, sum(one), sum(held) FROM ({changes}) AS changes "
            "GROUP BY subject, state HAVING sum(one) <> 0 OR sum(held) <> 0; RETURN NULL; END $$"
        )
        yield (
            f"CREATE TRIGGER tally_{table}_{event} AFTER {event.upper()} ON {table} "
            f"REFERENCING {seen[event]} FOR EACH STATEMENT EXECUTE FUNCTION tally_{table}_{event}()"
        )

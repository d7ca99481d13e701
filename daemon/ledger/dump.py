"""A ledger as a file and back: compressed JSON lines, the same for SQLite and PostgreSQL and for every version.

The first line says which version of the tables follows; then each table's name and columns, then its rows as lists.
Tables come in the order in which they may be filled. The line before the last says which numbers were given to rows.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import sqlalchemy as sa

from daemon.ledger.id_sequences import advance, sequences
from daemon.ledger.rows import JsonObject
from daemon.ledger.tally_triggers import recount
from pipeline.errors import InputRejected
from pipeline.whole_file import replacing

FORMAT = "axrad.ledger/1"
ROWS_PER_BATCH = 500
# The audit trail is not in a backup, and so what was noted of it is not either. Tallies are made of the other rows.
NOT_DUMPED = ("alembic_version", "audit_anchors", "tallies")


class NoLedgerDump(InputRejected):
    """A file that is no dump of a ledger, or a damaged one."""

    code = "no-ledger-dump"


def dump(connection: sa.Connection, path: Path, version: str) -> int:
    """Write every row; the number of rows. The file is whole and on the disk, or not there."""
    rows = 0
    with (
        replacing(path, temporary=path.with_name(path.name + ".part"), mode=0o600) as raw,
        gzip.open(raw, "wt", encoding="utf-8", newline="\n") as file,
    ):
        _line(file, {"format": FORMAT, "version": version})
        for table in _tables(connection):
            _line(file, {"table": table.name, "columns": [c.name for c in table.columns]})
            for row in connection.execute(sa.select(table), execution_options={"yield_per": ROWS_PER_BATCH}):
                _line(file, [_as_text(value) for value in row])
                rows += 1
        _line(file, {"sequences": sequences(connection)})
        _line(file, {"rows": rows})
    return rows


def version_in(path: Path) -> str:
    """Which version of the tables a dump has. Raises NoLedgerDump."""
    for line in _lines(path):
        if not isinstance(line, dict) or line.get("format") != FORMAT:
            raise NoLedgerDump(f"{path.name} is no dump of an axrad ledger in the format {FORMAT}")
        return str(line["version"])
    raise NoLedgerDump(f"{path.name} is empty")


def load(connection: sa.Connection, path: Path) -> int:
    """Fill empty tables of the dump's own version; the number of rows.

    Raises:
        NoLedgerDump: damaged, cut off, or with tables or columns that its version does not have.
    """
    tables = {table.name: table for table in _tables(connection)}
    columns: list[str] = []
    binary: list[str] = []
    into: sa.Table | None = None
    batch: list[JsonObject] = []
    given: dict[str, int] = {}
    rows, ended = 0, False
    for line in _lines(path):
        if isinstance(line, list) and into is not None:
            values = dict(zip(columns, line, strict=True))
            batch.append(values | {name: base64.b64decode(values[name]) for name in binary})
            rows += 1
            if len(batch) < ROWS_PER_BATCH:
                continue
        if batch and into is not None:
            connection.execute(into.insert(), batch)
            batch = []
        if isinstance(line, dict) and "table" in line:
            into, columns = tables.get(line["table"]), line["columns"]
            if into is None or set(columns) - {c.name for c in into.columns}:
                raise NoLedgerDump(f"{path.name} has a table {line['table']} that its version does not have")
            binary = [c.name for c in into.columns if isinstance(c.type, sa.LargeBinary) and c.name in columns]
        if isinstance(line, dict) and "sequences" in line:
            given = line["sequences"]
        ended = isinstance(line, dict) and line.get("rows") == rows
    if not ended:
        raise NoLedgerDump(f"{path.name} is cut off after {rows} rows")
    advance(connection, given)
    if sa.inspect(connection).has_table("tallies"):
        recount(connection)
    return rows


def _tables(connection: sa.Connection) -> list[sa.Table]:
    """The tables as the database has them, whatever version that is."""
    reflected = sa.MetaData()
    reflected.reflect(connection)
    return [t for t in reflected.sorted_tables if t.name not in NOT_DUMPED]


def _as_text(value: object) -> object:
    """Bytes in base 64; everything else as it is."""
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value


def _line(file: TextIO, value: object) -> None:
    file.write(json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n")


def _lines(path: Path) -> Iterator[object]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, EOFError, ValueError) as error:
        raise NoLedgerDump(f"{path.name} cannot be read: {type(error).__name__}") from error

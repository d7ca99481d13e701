"""The id of this ledger: random, made once. Keys in a broker begin with it, so that two installations may share one."""

from __future__ import annotations

import re

import sqlalchemy as sa

from daemon.ledger.engine import Ledger, new_id
from daemon.ledger.tables import installation

PREFIX = re.compile(r"axrad:([0-9a-f]{16}):")
# Any number: of processes that start together one makes the id.
ADVISORY_LOCK = 4217002


def id_of(ledger: Ledger) -> str:
    """The ledger's id, which its first use of a broker makes. It goes with the ledger into backups."""
    with ledger.read() as connection:
        ledger_id = connection.execute(sa.select(installation.c.id)).scalar_one_or_none()
    if ledger_id is not None:
        return str(ledger_id)
    with ledger.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        ledger_id = connection.execute(sa.select(installation.c.id)).scalar_one_or_none()
        if ledger_id is None:
            ledger_id = new_id()
            connection.execute(installation.insert().values(id=ledger_id))
    return str(ledger_id)


def prefix_of(ledger: Ledger) -> str:
    """What every key of ours in a broker begins with."""
    return f"axrad:{id_of(ledger)}:"

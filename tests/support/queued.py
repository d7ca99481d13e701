"""Studies with a revision in the ledger, without files: for tests of order, cancelling and views."""

from __future__ import annotations

from typing import Any

from daemon.ledger import Ledger
from daemon.ledger.tables import revisions, studies

NOW = 1_000_000.0


def add_study(ledger: Ledger, name: str, state: str = "ready", at: float = NOW, **values: Any) -> None:
    """A study whose opaque id and UID come from `name`."""
    with ledger.write() as connection:
        connection.execute(
            studies.insert().values(
                id=name,
                study_uid=f"1.2.{int.from_bytes(name.encode(), 'big')}",
                state=state,
                patient_key="k",
                first_arrival_at=at,
                last_arrival_at=at,
                changed_at=at,
                dirty=False,
                **values,
            )
        )


def add_revision(ledger: Ledger, study: str, at: float = NOW, **values: Any) -> str:
    """A revision of it, queued for analysis unless told otherwise; its id."""
    name = f"r-{study}"
    row = {
        "id": name,
        "study_id": study,
        "number": 1,
        "input_digest": "d",
        "inputs": {"selected": [], "context": []},
        "state": "ready",
        "stage": "analyse",
        "created_at": at,
        "next_attempt_at": at,
    }
    with ledger.write() as connection:
        connection.execute(revisions.insert().values(**row | values))
    return name


def queued(ledger: Ledger, name: str, at: float = NOW, priority: int = 0, role: str = "current", **values: Any) -> str:
    """A study that waits to be analysed; the id of its revision."""
    add_study(ledger, name, at=at, priority=priority, role=role)
    return add_revision(ledger, name, at, **values)

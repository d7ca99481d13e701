"""A report on storage commitment counts from who was asked, or from who is named for it, and from nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.schema import Settings
from daemon.export import commitment_reporters
from daemon.indexing.indexer import index_once
from daemon.ledger import commitments
from daemon.ledger.deliveries import record_sent
from daemon.spool import JournalWriter, Spool
from tests.support.delivering import CLASSES, Desk, desk

ARCHIVE = {"name": "a", "ae_title": "ARCHIVE", "host": "192.0.2.7", "port": 104, "proof": "commit"}
TRANSACTION = "2.25.17"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Desk] = []

    def at(**destination: Any) -> Desk:
        """A result that the archive has stored, and was asked to commit to."""
        made.append(desk(tmp_path, ARCHIVE | destination))
        revision = made[0].result()
        objects = [
            {"kind": kind, "sop_class_uid": CLASSES[kind], "sop_instance_uid": f"1.2.1.1.{n}", "status": 0}
            for n, kind in enumerate(CLASSES, start=1)
        ]
        with made[0].ledger.write() as connection:
            record_sent(connection, f"{revision}-a", objects, made[0].now)
            connection.exec_driver_sql(f"UPDATE deliveries SET state = 'stored', stored_at = {made[0].now}")
            commitments.open_transaction(connection, f"{revision}-a", TRANSACTION, made[0].now)
        return made[0]

    yield at
    for one in made:
        one.ledger.close()


def hear(at: Desk, calling_ae: str, address: str) -> str:
    """As the listener writes a report down and the indexer reads it; the state of the delivery afterwards."""
    spool = Spool(at.context.settings.spool.path)
    journal = JournalWriter(spool.journal, calling_ae, address)
    uids = [f"1.2.1.1.{n}" for n, _ in enumerate(CLASSES, start=1)]
    journal.append("commitment", transaction_uid=TRANSACTION, committed=uids, failed=[])
    journal.close("released")
    index_once(at.ledger, spool, at.now, at.context.settings)
    return str(at.row("r1-1-a").state)


@pytest.mark.parametrize(
    ("report_from", "calling_ae", "address", "state"),
    [
        ([], "ARCHIVE", "192.0.2.99", "delivered"),
        ([], "NODE2", "192.0.2.7", "delivered"),
        ([], "NODE2", "::ffff:192.0.2.7", "delivered"),
        ([], "MODALITY", "192.0.2.99", "stored"),
        ([], "archive", "192.0.2.99", "stored"),
        ([], "", "192.0.2.99", "stored"),
        (["NODE2"], "NODE2", "192.0.2.99", "delivered"),
        (["NODE2"], "ARCHIVE", "192.0.2.7", "stored"),
        (["192.0.2.8"], "ANY", "192.0.2.8", "delivered"),
        (["NODE2", "192.0.2.8"], "MODALITY", "192.0.2.7", "stored"),
    ],
)
def test_a_report_is_believed_from_who_was_asked_or_who_is_named(
    make: Any, report_from: list[str], calling_ae: str, address: str, state: str
) -> None:
    at = make(report_from=report_from)
    assert hear(at, calling_ae, address) == state
    assert ("commitment-not-believed" in at.notes()) == (state == "stored")


def test_a_forged_report_of_failure_has_nothing_sent_again(make: Any) -> None:
    at = make()
    with at.ledger.write() as connection:
        believed = commitment_reporters.destinations_believing(at.context.settings, "MODALITY", "192.0.2.99")
        assert not commitments.take_report(connection, TRANSACTION, [], ["1.2.1.1.1"], at.now, believed, "MODALITY")
    assert at.row("r1-1-a").state == "stored"


def test_an_archive_speaks_for_its_own_destinations_alone() -> None:
    settings = Settings.model_validate(
        {"destination": [ARCHIVE, ARCHIVE | {"name": "b", "ae_title": "OTHER", "host": "192.0.2.8"}]}
    )
    assert commitment_reporters.destinations_believing(settings, "ARCHIVE", "192.0.2.99") == {"a"}
    assert commitment_reporters.destinations_believing(settings, "X", "192.0.2.8") == {"b"}


def test_a_host_by_name_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(0, 0, 0, "", ("192.0.2.44", 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    commitment_reporters._resolved.cache_clear()
    settings = Settings.model_validate({"destination": [ARCHIVE | {"host": "pacs.example.org"}]})
    assert commitment_reporters.destinations_believing(settings, "X", "192.0.2.44") == {"a"}
    assert commitment_reporters.destinations_believing(settings, "X", "192.0.2.45") == frozenset()

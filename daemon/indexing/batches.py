"""Journal lines into the ledger, many in one transaction; one by one where the ledger refuses a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
import structlog

from config.schema import Settings
from config.schema.values import MAIN_SPOOL
from daemon.export.commitment_reporters import destinations_believing
from daemon.ledger import Ledger, commitments
from daemon.ledger.arrival_batches import take_all
from daemon.ledger.arrival_steps import Step, take_one_by_one
from daemon.ledger.chunks import in_chunks
from daemon.ledger.instances import Arrival
from daemon.ledger.keyed_digests import bring_along
from daemon.ledger.site_key import SiteKey
from daemon.ledger.tables import journal_positions
from daemon.logs import place_of
from daemon.spool.journal import Entry
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.indexer")
# A line of a journal, and what it brings.
Line = tuple[Entry, Arrival | None]
Take = Callable[[sa.Connection, Sequence[Step]], set[str]]


@dataclass(frozen=True, slots=True)
class Writer:
    """`settings`: whose reports of storage commitment are believed. `along`: the key that exams and patients of these
    lines are brought under with them. `spool`: whose journals they are."""

    ledger: Ledger
    now: float
    settings: Settings | None = None
    along: SiteKey | None = None
    spool: str = MAIN_SPOOL

    def write(self, batch: Sequence[Line]) -> int:
        """Everything at once; where the ledger does not take that, one by one, and without what it does not take. How
        many lines."""
        if not batch:
            return 0
        try:
            self._transaction(batch, take_all)
        except TryLater:
            raise
        except Exception:  # noqa: BLE001 - one instance must not keep all others from the ledger
            for line in batch:
                self.write_one(line)
        return len(batch)

    def write_one(self, line: Line) -> None:
        """As it is; else as a file that cannot be used; else its place in the journal alone: the walk finds it."""
        entry, arrival = line
        unusable = arrival and replace(arrival, facts=None, note="the ledger does not take what it says")
        passed_over = replace(entry, event="refused")
        for attempt in (line, (entry, unusable)):
            try:
                self._transaction([attempt], take_one_by_one)
                return
            except TryLater:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                kind = type(error).__name__
                log.error("not-recorded", path=entry.path, line=entry.event, error=kind, at=place_of(error))
        replace(self, along=None)._transaction([(passed_over, None)], take_one_by_one)

    def _transaction(self, batch: Sequence[Line], take: Take) -> None:
        # Outside of the transaction: the name of a host may have to be asked for.
        believed = {
            (entry.calling_ae, entry.address): destinations_believing(self.settings, entry.calling_ae, entry.address)
            for entry, _ in batch
            if entry.event == "commitment" and self.settings is not None
        }
        exams: set[str] = set()
        waiting: list[Step] = []
        with self.ledger.write() as connection:
            for entry, arrival in batch:
                if entry.event == "commitment":
                    # It moves studies: everything before it is written first.
                    exams |= take(connection, waiting)
                    waiting = []
                    self._commitment(connection, entry, believed.get((entry.calling_ae, entry.address)))
                waiting.append(self._step(entry, arrival))
            exams |= take(connection, waiting)
            if self.along is not None and exams:
                bring_along(connection, self.along, exams, {a.plain_patient for _, a in batch if a is not None})
            _save_positions(connection, {entry.journal: entry.end for entry, _ in batch}, self.spool)

    def _step(self, entry: Entry, arrival: Arrival | None) -> Step:
        sending, ended = entry.event in ("stored", "duplicate"), entry.event == "closed"
        return Step(entry.association, min(entry.ts, self.now), arrival, sending=sending, ended=ended)

    def _commitment(self, connection: sa.Connection, entry: Entry, believed: frozenset[str] | None) -> None:
        """A PACS reports on what we asked it to keep: delivered, or to be sent again."""
        if entry.transaction_uid is not None:
            who = (believed, entry.calling_ae)
            reported = (entry.transaction_uid, entry.committed, entry.failed)
            commitments.take_report(connection, *reported, self.now, *who)


def _save_positions(connection: sa.Connection, ends: dict[str, int], spool: str) -> None:
    for some in in_chunks(sorted(ends)):
        connection.execute(journal_positions.delete().where(journal_positions.c.name.in_(some)))
        rows = [{"name": name, "position": ends[name], "spool": spool} for name in some]
        connection.execute(journal_positions.insert(), rows)

"""Turns the spool's journals into ledger rows, and holds the two against each other all the time.

One indexer per spool (a file lock sees to it). Intake never waits for it: while the ledger is away, journals grow.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import sqlalchemy as sa
import structlog

from config.schema import Settings, UrgentRule
from daemon.assembly.duplicates import CONTENT_TAG
from daemon.clock import Clock, system_clock
from daemon.feedback.keep import collect as collect_feedback
from daemon.ledger import Ledger, commitments, open_ledger
from daemon.ledger.intake import (
    Arrival,
    association_ended,
    known,
    mark_lost,
    others_of,
    record,
    still_arriving,
)
from daemon.ledger.order import BACKFILL, OF_C_STORE, ROUTINE, URGENT
from daemon.ledger.tables import instances, journal_positions
from daemon.spool import Spool, read_meta
from daemon.spool.journal import Entry, is_finished, names, read_journals, retire
from daemon.work.trail import association_indexed
from pipeline.catalog import InstanceFacts, content_digest, read_facts
from pipeline.errors import NotDicom, TryLater

log = structlog.get_logger("axrad.indexer")
BATCH = 200
POLL_S = 0.25
RECONCILE_S = 600.0


def index_once(ledger: Ledger, spool: Spool, now: float, settings: Settings | None = None) -> int:
    """Bring every journal line into the ledger; the number of new lines. Safe to repeat, safe to kill.

    With `settings`, the site's rules make exams urgent, and the audit trail says what each association brought.
    """
    urgent = settings.work.urgent if settings is not None else ()
    with ledger.read() as connection:
        rows = connection.execute(sa.select(journal_positions)).all()
    positions = {row.name: int(row.position) for row in rows}
    done = 0
    batch: list[tuple[Entry, Arrival | None]] = []
    for entry in read_journals(spool.root, positions):
        batch.append((entry, _arrival(ledger, spool, entry, urgent, now)))
        if len(batch) >= BATCH:
            done += _write(ledger, batch, now)
            batch = []
    done += _write(ledger, batch, now)
    _retire_finished(ledger, spool, settings)
    return done


def _arrival(ledger: Ledger, spool: Spool, entry: Entry, urgent: Sequence[UrgentRule], now: float) -> Arrival | None:
    """Read the header outside of any transaction. None for lines that bring no file, or one already known.

    A line may be from before the clock was put back; nothing has arrived in the future.
    """
    if entry.event not in ("stored", "duplicate") or not entry.path or not entry.sop_instance_uid or not entry.digest:
        return None
    with ledger.read() as connection:
        if known(connection, entry.sop_instance_uid, entry.digest):
            return None
    arrival = describe(spool, entry.path, entry.sop_instance_uid, entry.digest, min(entry.ts, now), entry)
    arrival = compared(ledger, spool, arrival)
    return replace(arrival, priority=priority_of(entry, arrival.facts, urgent), backfill=entry.role == BACKFILL)


def compared(ledger: Ledger, spool: Spool, arrival: Arrival) -> Arrival:
    """Where other data sets came under this UID, with what they and this one show."""
    with ledger.read() as connection:
        others = others_of(connection, arrival.sop_uid, arrival.digest)
    if not others or arrival.facts is None:
        return arrival
    mine = content_digest(spool.root / arrival.path)
    facts = replace(arrival.facts, tags={**arrival.facts.tags, CONTENT_TAG: mine}) if mine else arrival.facts
    found = {instance_id: content_digest(spool.root / path) for instance_id, path in others}
    return replace(arrival, facts=facts, contents={key: text for key, text in found.items() if text is not None})


def priority_of(entry: Entry, facts: InstanceFacts | None, urgent: Sequence[UrgentRule]) -> int:
    """What the sender asked for, or urgent where a rule of the site says so."""
    tags = facts.tags if facts is not None else {}

    def fits(pattern: str | None, value: object) -> bool:
        return pattern is None or fnmatchcase(str(value or "").strip().casefold(), pattern.casefold())

    for rule in urgent:
        if (
            fits(rule.calling_ae, entry.calling_ae)
            and fits(rule.station, tags.get("StationName"))
            and fits(rule.department, tags.get("InstitutionalDepartmentName"))
            and fits(rule.service, tags.get("RequestingService"))
        ):
            return URGENT
    return OF_C_STORE.get(entry.priority or 0, ROUTINE)


def describe(spool: Spool, path: str, sop_uid: str, digest: str, at: float, entry: Entry | None = None) -> Arrival:
    """What the ledger should know of one file of the spool."""
    file = spool.root / path
    size = file.stat().st_size if file.exists() else 0
    facts, why = None, ""
    try:
        facts = read_facts(file)
    except NotDicom as error:
        why = error.message
    return Arrival(
        sop_uid=sop_uid,
        digest=digest,
        path=path,
        size=size,
        at=at,
        association=entry.association if entry else "",
        calling_ae=entry.calling_ae if entry else "",
        sop_class=(entry.sop_class_uid or "") if entry else "",
        note=why,
        facts=facts,
    )


def _write(ledger: Ledger, batch: list[tuple[Entry, Arrival | None]], now: float) -> int:
    if not batch:
        return 0
    ends: dict[str, int] = {}
    with ledger.write() as connection:
        for entry, arrival in batch:
            ends[entry.journal] = entry.end
            exam_uid = record(connection, arrival) if arrival is not None else None
            if exam_uid is not None:
                still_arriving(connection, entry.association, exam_uid, entry.ts)
            if entry.event == "closed":
                association_ended(connection, entry.association)
            if entry.event == "commitment":
                _committed(connection, entry, now)
        for name, position in ends.items():
            _remember(connection, name, position)
    return len(batch)


def _remember(connection: sa.Connection, name: str, position: int) -> None:
    done = connection.execute(
        journal_positions.update().where(journal_positions.c.name == name).values(position=position)
    )
    if done.rowcount == 0:
        connection.execute(journal_positions.insert().values(name=name, position=position))


def _committed(connection: sa.Connection, entry: Entry, now: float) -> None:
    """A PACS reports on what we asked it to keep: delivered, or to be sent again."""
    if entry.transaction_uid is not None:
        commitments.reported(connection, entry.transaction_uid, entry.committed, entry.failed, now)


def _retire_finished(ledger: Ledger, spool: Spool, settings: Settings | None) -> None:
    """Journals whose writer is gone and whose lines are all in the ledger are removed."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(journal_positions)).all()
    current = {row.name: int(row.position) for row in rows}
    gone = [name for name in names(spool.root / "journal") if is_finished(spool.root, name)]
    for name in gone:
        path = spool.root / "journal" / name
        # Finished before this look: nothing can follow. A torn last line is no entry.
        if any(True for entry in read_journals(spool.root, current) if entry.journal == name):
            continue
        if path.exists():
            if settings is not None:
                association_indexed(settings, ledger, spool, name)
            retire(spool.root, name)
        with ledger.write() as connection:
            connection.execute(journal_positions.delete().where(journal_positions.c.name == name))
            # Also where the writer died before it could say that it closed.
            association_ended(connection, Path(name).stem)


def reconcile(ledger: Ledger, spool: Spool, now: float) -> tuple[int, int]:
    """The spool is the truth: files without a row are recorded, rows without a file are marked lost. Counts of both."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(instances.c.id, instances.c.path, instances.c.state)).all()
    in_ledger = {row.path for row in rows if row.state not in ("lost", "purged")}
    found = 0
    for path in spool.walk():
        if path in in_ledger:
            continue
        with (spool.root / path).open("rb") as file:
            meta = read_meta(file)
        arrival = compared(ledger, spool, describe(spool, path, meta.sop_instance_uid, Path(path).stem, now))
        with ledger.write() as connection:
            record(connection, arrival)
        found += 1
    lost = [
        row.id
        for row in rows
        if row.state in ("stored", "ignored", "unreadable") and not (spool.root / row.path).exists()
    ]
    if lost:
        with ledger.write() as connection:
            mark_lost(connection, lost, now)
    return found, len(lost)


def run(settings: Settings, stop: threading.Event, clock: Clock = system_clock) -> None:
    """The indexer process: until `stop`, index, and reconcile at the start and every ten minutes."""
    spool = Spool(settings.spool.path)
    with _only_one(settings.spool.path, stop) as held:
        if not held:
            return
        ledger: Ledger | None = None
        reconciled_at = 0.0
        while not stop.is_set():
            try:
                ledger = ledger or open_ledger(settings)
                if index_once(ledger, spool, clock(), settings):
                    collect_feedback(ledger, spool.root, clock())
                if clock() - reconciled_at > RECONCILE_S:
                    found, lost = reconcile(ledger, spool, clock())
                    reconciled_at = clock()
                    if found or lost:
                        log.warning("reconciled", files_without_row=found, rows_without_file=lost)
            except TryLater as error:
                log.warning("ledger-away", code=error.code)
                stop.wait(2.0)
            stop.wait(POLL_S)
        if ledger is not None:
            ledger.close()


class _only_one:  # noqa: N801 - reads as a word in `with`
    """The lock that makes this the only indexer of a spool; waits for it until `stop`."""

    def __init__(self, root: Path, stop: threading.Event) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._file = (root / "indexer.lock").open("w")
        self._stop = stop

    def __enter__(self) -> bool:
        while not self._stop.is_set():
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                self._stop.wait(1.0)
        return False

    def __exit__(self, *_: object) -> None:
        self._file.close()

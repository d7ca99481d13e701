"""Turns the spool's journals into ledger rows, and holds the two against each other all the time.

One indexer per spool (a file lock sees to it). Intake never waits for it: while the ledger is away, journals grow.
"""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import sqlalchemy as sa
import structlog

from config.schema import Settings
from daemon.clock import Clock, system_clock
from daemon.export.commitment_reporters import destinations_believing
from daemon.feedback.feedback_records import collect as collect_feedback
from daemon.indexing.arrivals import describe
from daemon.indexing.pixel_comparison import comparing
from daemon.indexing.priority import Order, priority_of
from daemon.indexing.reconcile import reconcile, verify_after_boot
from daemon.indexing.trail_anchor import TrailAnchor
from daemon.ledger import Ledger, commitments, open_ledger
from daemon.ledger.instances import Arrival, is_known, record
from daemon.ledger.keyed_digests import bring, bring_along, is_done, mark_mixed
from daemon.ledger.open_associations import association_ended, still_arriving, still_sending
from daemon.ledger.site_key import SiteKey, key_for
from daemon.ledger.tables import journal_positions
from daemon.ledger.work_order import BACKFILL
from daemon.logs import Recurring, place_of
from daemon.machine.file_lock import waiting_for_lock
from daemon.recovery import unreadable_files
from daemon.spool import Spool
from daemon.spool.journal import Entry, is_finished, journal_names, read_journal, read_journals, retire
from daemon.work.audit_events import association_indexed
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.indexer")
LINES_AT_ONCE = 200
JOURNAL_POLL_S = 0.25
RECONCILE_S = 600.0
# How often it is looked whether a reader, be it a worker, has died.
LOOK_S = 2.0
# A line of a journal, and what it brings.
Line = tuple[Entry, Arrival | None]


def index_once(
    ledger: Ledger,
    spool: Spool,
    now: float,
    settings: Settings | None = None,
    key: SiteKey | None = None,
    *,
    behind: bool = False,
) -> int:
    """Bring every journal line into the ledger; the number of new lines. Safe to repeat, safe to kill.

    With `settings`, the site's rules make exams urgent, and the audit trail says what each association brought.
    With `key`, digests of identifiers are kept under it; `behind`: some rows of the ledger are not yet.
    """
    order = Order.of(settings) if settings is not None else Order()
    along = key if behind else None
    with ledger.read() as connection:
        rows = connection.execute(sa.select(journal_positions)).all()
    positions = {row.name: int(row.position) for row in rows}
    measured = settings is not None and settings.proposal.enabled
    done = 0
    batch: list[Line] = []
    for entry in read_journals(spool.root, positions):
        batch.append((entry, _arrival(ledger, spool, entry, order, now, key, measurements=measured)))
        if len(batch) >= LINES_AT_ONCE:
            done += _write(ledger, batch, now, settings, along)
            batch = []
    done += _write(ledger, batch, now, settings, along)
    _retire_finished(ledger, spool, settings)
    return done


def _arrival(
    ledger: Ledger, spool: Spool, entry: Entry, order: Order, now: float, key: SiteKey | None, *, measurements: bool
) -> Arrival | None:
    """Read the header outside of any transaction. None for lines that bring no file, or one already known.

    A line may be from before the clock was put back; nothing has arrived in the future.
    """
    if entry.event not in ("stored", "duplicate") or not entry.path or not entry.sop_instance_uid or not entry.digest:
        return None
    with ledger.read() as connection:
        if is_known(connection, entry.sop_instance_uid, entry.digest):
            return None
    try:
        what = (spool, entry.path, entry.sop_instance_uid, entry.digest)
        arrival = describe(*what, min(entry.ts, now), entry, key, measurements=measurements)
    except TryLater:
        raise
    except Exception as error:  # noqa: BLE001 - one line must not keep all others from the ledger
        # Left to the walk through the spool, which comes back to it until it can be read.
        number = error.errno if isinstance(error, OSError) else None
        log.error("file-unreadable", path=entry.path, error=errno.errorcode.get(number or 0, type(error).__name__))
        return None
    return replace(arrival, priority=priority_of(entry, arrival.facts, order), backfill=entry.role == BACKFILL)


def _write(ledger: Ledger, batch: list[Line], now: float, settings: Settings | None, along: SiteKey | None) -> int:
    """Everything at once; where the ledger does not take that, one by one, and without what it does not take."""
    if not batch:
        return 0
    try:
        _write_all(ledger, batch, now, settings, along)
    except TryLater:
        raise
    except Exception:  # noqa: BLE001 - one instance must not keep all others from the ledger
        for line in batch:
            _write_one(ledger, line, now, settings, along)
    return len(batch)


def _write_one(ledger: Ledger, line: Line, now: float, settings: Settings | None, along: SiteKey | None) -> None:
    """As it is; else as a file that cannot be used; else its place in the journal alone, so that the walk finds it."""
    entry, arrival = line
    unusable = arrival and replace(arrival, facts=None, note="the ledger does not take what it says")
    passed_over = replace(entry, event="refused")
    for attempt in (line, (entry, unusable)):
        try:
            _write_all(ledger, [attempt], now, settings, along)
            return
        except TryLater:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            log.error("not-recorded", path=entry.path, line=entry.event, error=type(error).__name__, at=place_of(error))
    _write_all(ledger, [(passed_over, None)], now, settings, None)


def _write_all(ledger: Ledger, batch: list[Line], now: float, settings: Settings | None, along: SiteKey | None) -> None:
    """`along`: the key that exams and patients of these lines are brought under with them."""
    ends: dict[str, int] = {}
    exams: set[str] = set()
    # Outside of the transaction: the name of a host may have to be asked for.
    believed = {
        (entry.calling_ae, entry.address): destinations_believing(settings, entry.calling_ae, entry.address)
        for entry, _ in batch
        if entry.event == "commitment" and settings is not None
    }
    with ledger.write() as connection:
        for entry, arrival in batch:
            ends[entry.journal] = entry.end
            exam_uid = record(connection, arrival) if arrival is not None else None
            if exam_uid is not None:
                exams.add(exam_uid)
                still_arriving(connection, entry.association, exam_uid, min(entry.ts, now))
            elif entry.event in ("stored", "duplicate"):
                still_sending(connection, entry.association, min(entry.ts, now))
            if entry.event == "closed":
                association_ended(connection, entry.association)
            if entry.event == "commitment":
                _record_commitment(connection, entry, now, believed.get((entry.calling_ae, entry.address)))
        if along is not None and exams:
            bring_along(connection, along, exams, {a.plain_patient for _, a in batch if a is not None})
        for name, position in ends.items():
            _save_position(connection, name, position)


def _save_position(connection: sa.Connection, name: str, position: int) -> None:
    done = connection.execute(
        journal_positions.update().where(journal_positions.c.name == name).values(position=position)
    )
    if done.rowcount == 0:
        connection.execute(journal_positions.insert().values(name=name, position=position))


def _record_commitment(connection: sa.Connection, entry: Entry, now: float, believed: frozenset[str] | None) -> None:
    """A PACS reports on what we asked it to keep: delivered, or to be sent again."""
    if entry.transaction_uid is not None:
        who = (believed, entry.calling_ae)
        commitments.take_report(connection, entry.transaction_uid, entry.committed, entry.failed, now, *who)


def _retire_finished(ledger: Ledger, spool: Spool, settings: Settings | None) -> None:
    """Journals whose writer is gone and whose lines are all in the ledger are removed."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(journal_positions)).all()
    current = {row.name: int(row.position) for row in rows}
    journals = journal_names(spool.root / "journal")
    finished = [name for name in journals if is_finished(spool.root, name)]
    # And those that an indexer removed just before it died itself.
    for name in finished + sorted(current.keys() - set(journals)):
        path = spool.root / "journal" / name
        # Finished before this look: nothing can follow. A torn last line is no entry.
        if any(read_journal(spool.root, name, current.get(name, 0))):
            continue
        if path.exists():
            if settings is not None:
                association_indexed(settings, ledger, spool, name)
            retire(spool.root, name)
        with ledger.write() as connection:
            connection.execute(journal_positions.delete().where(journal_positions.c.name == name))
            # Also where the writer died before it could say that it closed.
            association_ended(connection, Path(name).stem)


def run(settings: Settings, stop: threading.Event, clock: Clock = system_clock) -> None:
    """The indexer process: until `stop`, index, and reconcile at the start and every ten minutes."""
    spool = Spool(settings.spool.path)
    with waiting_for_lock(settings.spool.path / "indexer.lock", stop) as acquired:
        if not acquired:
            return
        unreadable_files.start(spool.root, "the indexer", clock())
        with comparing(settings, spool, stop, clock):
            _keep_indexing(settings, spool, stop, clock)


def _keep_indexing(settings: Settings, spool: Spool, stop: threading.Event, clock: Clock) -> None:
    ledger: Ledger | None = None
    key: SiteKey | None = None
    anchor = TrailAnchor()
    verified, news, reconciled_at, looked_at = False, False, 0.0, 0.0
    away = Recurring(log, "ledger-away")
    while not stop.is_set():
        try:
            if ledger is None:
                ledger = open_ledger(settings)
            if key is None:
                key = key_for(settings, ledger, clock())
                with ledger.write() as connection:
                    mark_mixed(connection, key)
            behind = not is_done(ledger, key) and bring(ledger, key) > 0
            if not verified:
                if torn := verify_after_boot(ledger, spool, clock()):
                    log.error("torn-by-power-cut", instances=torn)
                verified = True
            if abs(clock() - looked_at) > LOOK_S:
                unreadable_files.judge_notes(spool.root, clock())
                unreadable_files.report_to_ledger(ledger, spool.root, clock())
                anchor.note_trail(ledger, settings, clock())
                looked_at = clock()
            news = index_once(ledger, spool, clock(), settings, key, behind=behind) > 0 or news
            if behind:
                continue
            if news:
                collect_feedback(ledger, spool.root, clock(), settings, key)
                news = False
            if abs(clock() - reconciled_at) > RECONCILE_S:
                index, measured = partial(index_once, ledger, spool, clock(), settings, key), settings.proposal.enabled
                recorded, lost = reconcile(ledger, spool, clock(), index, key, measurements=measured)
                reconciled_at = clock()
                if recorded or lost:
                    log.warning("reconciled", files_without_row=recorded, rows_without_file=lost)
        except TryLater as error:
            away.note(error.code, reason=error.message)
            stop.wait(2.0)
        except Exception as error:  # noqa: BLE001 - the outermost loop: what went wrong is tried again
            log.error("indexing-failed", error=type(error).__name__, at=place_of(error))
            stop.wait(2.0)
        stop.wait(JOURNAL_POLL_S)
    if ledger is not None:
        ledger.close()

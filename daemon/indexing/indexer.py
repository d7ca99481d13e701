"""Turns the spool's journals into ledger rows, and holds the two against each other all the time.

One indexer per spool (a file lock sees to it). Intake never waits for it: while the ledger is away, journals grow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import sqlalchemy as sa
import structlog

from config.schema import Settings
from daemon.clock import Clock, system_clock
from daemon.feedback.feedback_records import collect as collect_feedback
from daemon.indexing.batches import Line, Writer
from daemon.indexing.header_pool import HeaderPool
from daemon.indexing.line_reading import Rules, arrival_of, brings_file
from daemon.indexing.pixel_comparison import comparing
from daemon.indexing.reconcile import reconcile, verify_after_boot
from daemon.indexing.trail_anchor import TrailAnchor
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.chunks import in_chunks
from daemon.ledger.heartbeats import SPOOL_SIGN, sign
from daemon.ledger.instances import Arrival, known_of
from daemon.ledger.keyed_digests import bring, is_done, mark_mixed
from daemon.ledger.open_associations import associations_ended
from daemon.ledger.site_key import SiteKey, key_for
from daemon.ledger.spools import home_in, own_spool
from daemon.ledger.tables import journal_positions
from daemon.logs import Recurring, place_of
from daemon.machine.file_lock import waiting_for_lock
from daemon.recovery import unreadable_files
from daemon.share.spool_files import files_of
from daemon.spool import Spool
from daemon.spool.identity import SpoolRefused
from daemon.spool.journal import Entry, is_finished, journal_names, read_journal, read_journals, retire
from daemon.work.assessed_proposals import Words
from daemon.work.audit_events import association_indexed
from pipeline.errors import PeerUnreachable, TryLater

log = structlog.get_logger("axrad.indexer")
# In one transaction: others that write wait for it.
LINES_AT_ONCE = 100
JOURNAL_POLL_S = 0.25
RECONCILE_S = 600.0
# How often it is looked whether a reader, be it a worker, has died.
LOOK_S = 2.0
SIGN_EVERY_S = 10.0
FEEDBACK_AGAIN_S = 60.0
# A folder that is not the spool of its id waits for an operator.
REFUSED_S = 10.0
T = TypeVar("T")
U = TypeVar("U")


class Readers(Protocol):
    """Processes that read headers."""

    def read(self, entries: Sequence[Entry], rules: Rules, now: float) -> list[Arrival | None]: ...


def index_once(
    ledger: Ledger,
    spool: Spool,
    now: float,
    settings: Settings | None = None,
    key: SiteKey | None = None,
    *,
    behind: bool = False,
    readers: Readers | None = None,
) -> int:
    """Bring every journal line into the ledger; the number of new lines. Safe to repeat, safe to kill.

    With `settings`, the site's rules make exams urgent, and the audit trail says what each association brought.
    With `key`, digests of identifiers are kept under it; `behind`: some rows of the ledger are not yet.
    Without `readers`, headers are read in this process.
    """
    rules = Rules.of(settings, key, spool.id)
    writer = Writer(ledger, now, settings, key if behind else None, spool.id)
    batches = in_chunks(read_journals(spool.root, _positions(ledger, spool)), LINES_AT_ONCE)
    lines: Iterator[list[Line]]
    if readers is None:
        lines = map(
            partial(_lines, ledger, spool, lambda some: [arrival_of(spool, e, rules, now) for e in some]), batches
        )
    else:
        lines = one_ahead(partial(_lines, ledger, spool, partial(readers.read, rules=rules, now=now)), batches)
    done = sum(map(writer.write, lines))
    _retire_finished(ledger, spool, settings)
    return done


def _positions(ledger: Ledger, spool: Spool) -> dict[str, int]:
    """How far each journal of this spool has been read."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(journal_positions).where(journal_positions.c.spool == spool.id)).all()
    return {row.name: int(row.position) for row in rows}


def _lines(
    ledger: Ledger,
    spool: Spool,
    read: Callable[[Sequence[Entry]], Sequence[Arrival | None]],
    entries: Sequence[Entry],
) -> list[Line]:
    """Lines with what they bring: None where that is no file, or one already known."""
    wanted = [entry for entry in entries if brings_file(entry)]
    with ledger.read() as connection:
        known = known_of(connection, ((e.sop_instance_uid or "", e.digest or "") for e in wanted), spool.id)
    unknown = [entry for entry in wanted if (entry.sop_instance_uid, entry.digest) not in known]
    arrivals = {(e.journal, e.end): a for e, a in zip(unknown, read(unknown), strict=True)}
    return [(entry, arrivals.get((entry.journal, entry.end))) for entry in entries]


def one_ahead(work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """As `map`, with each item worked on while the caller is busy with the result before it."""
    with ThreadPoolExecutor(1, "one-ahead") as beside:
        coming: Future[U] | None = None
        for item in items:
            ahead = beside.submit(work, item)
            if coming is not None:
                yield coming.result()
            coming = ahead
        if coming is not None:
            yield coming.result()


def _retire_finished(ledger: Ledger, spool: Spool, settings: Settings | None) -> None:
    """Journals whose writer is gone and whose lines are all in the ledger are removed."""
    current = _positions(ledger, spool)
    journals = journal_names(spool.root / "journal")
    finished = [name for name in journals if is_finished(spool.root, name)]
    gone = []
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
        gone.append(name)
    for some in in_chunks(gone):
        with ledger.write() as connection:
            connection.execute(journal_positions.delete().where(journal_positions.c.name.in_(some)))
            # Also where the writer died before it could say that it closed.
            associations_ended(connection, [Path(name).stem for name in some])


def run(settings: Settings, stop: threading.Event, clock: Clock = system_clock) -> None:
    """The indexer process: until `stop`, index, and reconcile at the start and every ten minutes."""
    spool = Spool(settings.spool.path, settings.spool.id)
    with waiting_for_lock(settings.spool.path / "indexer.lock", stop) as acquired:
        if not acquired:
            return
        unreadable_files.start(spool.root, "the indexer", clock())
        with comparing(settings, spool, stop, clock), HeaderPool(spool.root, settings.log, clock) as readers:
            _Indexer(settings, spool, readers, clock).run(stop)


class _Indexer:
    """What the process knows from one round to the next."""

    def __init__(self, settings: Settings, spool: Spool, readers: HeaderPool, clock: Clock) -> None:
        self._settings, self._spool, self._readers, self._clock = settings, spool, readers, clock
        self._ledger: Ledger | None = None
        self._key: SiteKey | None = None
        self._anchor = TrailAnchor()
        self._introduced, self._verified, self._news = False, False, False
        self._reconciled_at, self._looked_at, self._signed_at = 0.0, 0.0, 0.0
        self._feedback_at = 0.0

    def run(self, stop: threading.Event) -> None:
        away, refused = Recurring(log, "ledger-away"), Recurring(log, "spool-refused")
        while not stop.is_set():
            try:
                if self._round():
                    continue
            except TryLater as error:
                away.note(error.code, reason=error.message)
                stop.wait(2.0)
            except SpoolRefused as error:
                refused.note(error.code, reason=error.message)
                stop.wait(REFUSED_S)
            except Exception as error:  # noqa: BLE001 - the outermost loop: what went wrong is tried again
                log.error("indexing-failed", error=type(error).__name__, at=place_of(error))
                stop.wait(2.0)
            stop.wait(JOURNAL_POLL_S)
        if self._ledger is not None:
            self._ledger.close()

    def _collect_feedback(self, ledger: Ledger, key: SiteKey) -> None:
        """What reports of others say. Of results in another spool, whose host does not answer, it waits."""
        settings, now = self._settings, self._clock()
        files = files_of(settings, home_in(ledger), patient=False)
        words = Words(ledger, settings, key)
        try:
            collect_feedback(
                ledger, self._spool.root, now, settings, key, words, lambda name: files.get(name, "result.json")
            )
            self._news = False
        except PeerUnreachable as error:
            log.warning("feedback-put-off", code=error.code, reason=error.message)
            self._feedback_at = now + FEEDBACK_AGAIN_S

    def _round(self) -> bool:
        """Whether older digests are still to be brought under the key, so that the next round comes at once."""
        settings, spool, clock = self._settings, self._spool, self._clock
        ledger = self._ledger = self._ledger or open_ledger(settings)
        if not self._introduced:
            own_spool(settings, ledger, clock())
            self._introduced = True
        if self._key is None:
            self._key = key_for(settings, ledger, clock())
            with ledger.write() as connection:
                mark_mixed(connection, self._key)
        key = self._key
        behind = not is_done(ledger, key) and bring(ledger, key) > 0
        if not self._verified:
            if torn := verify_after_boot(ledger, spool, clock()):
                log.error("torn-by-power-cut", instances=torn)
            self._verified = True
        if abs(clock() - self._looked_at) > LOOK_S:
            unreadable_files.judge_notes(spool.root, clock())
            unreadable_files.report_to_ledger(ledger, spool.root, clock())
            self._anchor.note_trail(ledger, settings, clock())
            self._readers.end_idle()
            self._looked_at = clock()
        if abs(clock() - self._signed_at) > SIGN_EVERY_S:
            with ledger.write() as connection:
                sign(connection, f"{SPOOL_SIGN}:{spool.id}", SPOOL_SIGN, clock())
            self._signed_at = clock()
        index = partial(index_once, ledger, spool, settings=settings, key=key, readers=self._readers)
        self._news = index(clock(), behind=behind) > 0 or self._news
        if behind:
            return True
        if self._news and clock() >= self._feedback_at:
            self._collect_feedback(ledger, key)
        if abs(clock() - self._reconciled_at) > RECONCILE_S:
            own_spool(settings, ledger, clock())  # still mounted
            measured = settings.proposal.enabled
            recorded, lost = reconcile(ledger, spool, clock(), lambda: index(clock()), key, measurements=measured)
            self._reconciled_at = clock()
            if recorded or lost:
                log.warning("reconciled", files_without_row=recorded, rows_without_file=lost)
        return False

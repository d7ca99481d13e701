"""Spool and ledger held against each other. The spool is the truth; a digest in each name says whether it is whole."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa
import structlog

from config.schema.values import MAIN_SPOOL
from daemon.indexing.arrivals import describe, remove_torn
from daemon.ledger import Ledger
from daemon.ledger.chunks import in_chunks
from daemon.ledger.instances import is_known, mark_lost, record
from daemon.ledger.site_key import SiteKey
from daemon.ledger.spools import copies_in, forget_copies
from daemon.ledger.states import IN_SPOOL, UNSETTLED, WITHOUT_FILE
from daemon.ledger.tables import instances, studies
from daemon.ledger.tables.columns import HERE
from daemon.logs import place_of
from daemon.spool import Spool, read_meta
from pipeline.errors import TryLater
from pipeline.whole_file import write_whole

log = structlog.get_logger("axrad.indexer")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# What came in so long before the machine stopped may not have been on the disk.
UNSYNCED_S = 3600.0
ROWS_AT_ONCE = 5000


def reconcile(
    ledger: Ledger,
    spool: Spool,
    now: float,
    index: Callable[[], object] = lambda: None,
    key: SiteKey | None = None,
    *,
    measurements: bool = False,
) -> tuple[int, int]:
    """Files without a row are recorded, rows without a file are marked lost. Counts of both.

    `measurements`: whether those of readers count.

    What arrives meanwhile is left to its journal, which also knows who sent it: `index` brings the journals in.
    """
    unrecorded = [path for paths in in_chunks(spool.walk()) for path in _without_row(ledger, spool, paths)]
    if unrecorded:
        index()
    recorded = sum(_record_file(ledger, spool, path, now, key, measurements=measurements) for path in unrecorded)
    gone = [row_id for row_id, path in _copies(ledger, spool.id) if not (spool.root / path).exists()]
    lost = [row_id for row_id, path in rows_with_files(ledger, spool.id) if not (spool.root / path).exists()]
    for ids in in_chunks(gone):
        with ledger.write() as connection:
            forget_copies(connection, ids, spool.id)
    for ids in in_chunks(lost):
        with ledger.write() as connection:
            mark_lost(connection, ids, now)
    return recorded, len(lost)


def _without_row(ledger: Ledger, spool: Spool, paths: list[str]) -> list[str]:
    """Those of some files that the ledger does not know to be here."""
    here = HERE & (instances.c.spool == spool.id) & instances.c.state.not_in(WITHOUT_FILE)
    with ledger.read() as connection:
        in_ledger = set(
            connection.execute(sa.select(instances.c.path).where(here, instances.c.path.in_(paths))).scalars()
        )
        if others := [path for path in paths if path not in in_ledger]:
            copied = connection.execute(copies_in(spool.id).where(instances.c.path.in_(others)))
            in_ledger |= {row.path for row in copied}
    return [path for path in paths if path not in in_ledger]


def _copies(ledger: Ledger, spool_id: str) -> list[tuple[int, str]]:
    with ledger.read() as connection:
        return [(row.id, row.path) for row in connection.execute(copies_in(spool_id))]


def rows_with_files(ledger: Ledger, spool_id: str = MAIN_SPOOL) -> Iterator[tuple[int, str]]:
    """Id and path of every row that should have a file in this spool: some at a time, whatever their number, in no
    order."""
    last = ""
    while True:
        with ledger.read() as connection:
            rows = connection.execute(
                sa.select(instances.c.id, instances.c.path, instances.c.state)
                .where(HERE, instances.c.spool == spool_id, instances.c.path > last)
                .order_by(instances.c.path)
                .limit(ROWS_AT_ONCE)
            ).all()
        if not rows:
            return
        last = rows[-1].path
        yield from ((row.id, row.path) for row in rows if row.state in IN_SPOOL)


def _record_file(
    ledger: Ledger, spool: Spool, path: str, now: float, key: SiteKey | None, *, measurements: bool
) -> bool:
    """A row for a file that still has none. One that cannot be read keeps no other from its row."""
    digest = Path(path).stem
    try:
        if not (spool.root / path).exists():
            return False  # cleaned away meanwhile
        if not spool.verify(path):
            remove_torn(spool, path)
            return False
        with (spool.root / path).open("rb") as file:
            uid = read_meta(file).sop_instance_uid
        with ledger.read() as connection:
            if is_known(connection, uid, digest, spool.id):
                return False
        arrival = describe(spool, path, uid, digest, now, key=key, measurements=measurements)
    except TryLater:
        raise
    except Exception as error:  # noqa: BLE001 - one file must not keep all others from the ledger
        number = error.errno if isinstance(error, OSError) else None
        log.error("file-unreadable", path=path, error=errno.errorcode.get(number or 0, type(error).__name__))
        return False
    try:
        with ledger.write() as connection:
            record(connection, arrival)
    except TryLater:
        raise
    except Exception as error:  # noqa: BLE001 - one file must not keep all others from the ledger
        log.error("not-recorded", path=path, error=type(error).__name__, at=place_of(error))
        return False
    return True


def verify_after_boot(ledger: Ledger, spool: Spool, now: float, boot_id: str | None = None) -> int:
    """Once after the machine was started: read again what a power cut may have torn, and lose what it has.

    That is what came in the hour before the newest instance, and everything of exams that are not done. How many files
    were torn and removed, to be sent or fetched again.
    """
    mark = spool.root / "boot_id"
    current = boot_id or (BOOT_ID.read_text().strip() if BOOT_ID.exists() else "")
    before = mark.read_text().strip() if mark.exists() else None
    torn: list[int] = []
    torn_copies: list[int] = []
    if before not in (None, current):
        for instance_id, path in in_doubt(ledger, spool.id):
            if _is_torn(spool, path):
                remove_torn(spool, path)
                torn.append(instance_id)
        for instance_id, path in _copies(ledger, spool.id):
            if _is_torn(spool, path):
                remove_torn(spool, path)
                torn_copies.append(instance_id)
    if torn:
        with ledger.write() as connection:
            mark_lost(connection, torn, now)
    if torn_copies:
        with ledger.write() as connection:
            forget_copies(connection, torn_copies, spool.id)
    if before != current:
        write_whole(mark, current.encode())
    return len(torn)


def _is_torn(spool: Spool, path: str) -> bool:
    """Whether the file is here and its bytes are others. One that cannot be read now is not known to be torn."""
    try:
        return (spool.root / path).exists() and not spool.verify(path)
    except OSError as error:
        log.error("file-unreadable", path=path, error=errno.errorcode.get(error.errno or 0, "unknown"))
        return False


def in_doubt(ledger: Ledger, spool_id: str = MAIN_SPOOL) -> list[tuple[int, str]]:
    """Id and path of what may be torn in this spool."""
    columns = sa.select(instances.c.id, instances.c.path, instances.c.state).where(instances.c.spool == spool_id)
    of_spool = sa.select(sa.func.max(instances.c.received_at)).where(HERE, instances.c.spool == spool_id)
    with ledger.read() as connection:
        newest = connection.execute(of_spool).scalar_one() or 0.0
        # The states are looked at here: asked for them, a database may prefer to look through all rows in them.
        rows = list(connection.execute(columns.where(HERE, instances.c.received_at >= newest - UNSYNCED_S)))
        unfinished = connection.execute(sa.select(studies.c.study_uid).where(studies.c.state.in_(UNSETTLED))).scalars()
        for exams in in_chunks(unfinished.all()):
            rows += connection.execute(columns.where(instances.c.exam_uid.in_(exams)))
    return list({row.id: (row.id, row.path) for row in rows if row.state in IN_SPOOL}.values())

"""Which files go, and how: the ledger says that they are going, then they go, then the ledger says that they went.

Whoever dies in between leaves rows that are `purging`; the next round finishes them. An instance that is sent again in
the very moment is `stored` again by then; if its file went all the same, the row is `lost`, and fetched where needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from config.schema import Settings
from daemon.ledger import Ledger
from daemon.ledger.chunks import in_chunks
from daemon.ledger.engine import backups_folder, note
from daemon.ledger.instances import mark_lost
from daemon.ledger.migrations import copies_before_upgrades
from daemon.ledger.moves import move_all
from daemon.ledger.spools import copies_going, forget_copies, own_spool
from daemon.ledger.states import SETTLED, UNUSED
from daemon.ledger.tables import instances, studies
from daemon.ledger.tables.columns import HERE
from daemon.machine import disk_space
from daemon.retention.forgetting import forget, forget_those_of_before, words_of
from daemon.retention.packing import pack_old
from daemon.spool import Spool
from daemon.spool.identity import SpoolRefused
from pipeline.analysis.remaining_words import RemainingWords

log = structlog.get_logger("axrad.retention")
DAY_S = 86400.0
# Files in one round: the sweep that calls has other things to do as well.
FILES_AT_ONCE = 3000
# The way back from an upgrade, however soon exams go.
LEAST_DAYS_OF_A_COPY = 7.0
# Nothing came that is still to be looked at; of what an operator has cancelled, nothing is looked at.
DONE = studies.c.state.in_(SETTLED) & (sa.not_(studies.c.dirty) | (studies.c.state == "cancelled"))


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one round did. `more`: there is more to do at once."""

    files: int = 0
    bytes: int = 0
    more: bool = False


def clean(ledger: Ledger, settings: Settings, now: float, files_at_once: int = FILES_AT_ONCE) -> Cleaned:
    """One round, of this machine's spool. Does nothing where there is none, or another than the ledger knows."""
    if not settings.retention.enabled or not (settings.spool.path / "instances").is_dir():
        return Cleaned()
    try:
        spool = own_spool(settings, ledger, now)
    except SpoolRefused as error:
        log.error("not-cleaned", code=error.code, reason=error.message)
        return Cleaned()
    words = words_of(settings)
    files, size = finish(ledger, spool, words, now)
    for exam_uid, why in candidates(ledger, spool, settings, now):
        if files >= files_at_once:
            return Cleaned(files, size, more=True)
        more_files, more_bytes = _clean_exam(ledger, spool, words, exam_uid, why, now)
        files, size = files + more_files, size + more_bytes
    more_files, more_bytes = clean_unused(ledger, spool, words, settings, now, files_at_once)
    files, size = files + more_files, size + more_bytes
    _remove_old_copies(settings, now)
    of_before = forget_those_of_before(ledger, words, now)
    if files:
        log.info("cleaned", files=files, bytes=size)
    packed = pack_old(ledger, settings, now)
    if files or of_before or packed.exams:
        ledger.shred()
    return Cleaned(files, size, more=more_files >= files_at_once or of_before or packed.more)


def _remove_old_copies(settings: Settings, now: float) -> None:
    """A ledger as it was before an upgrade holds what was forgotten since; it goes when an exam of its time would."""
    before = now - max(settings.retention.keep_days, LEAST_DAYS_OF_A_COPY) * DAY_S
    for copy in copies_before_upgrades(backups_folder(settings)):
        if copy.made_at < before:
            copy.path.unlink(missing_ok=True)
            log.info("copy-of-ledger-removed", version=copy.version)


def candidates(ledger: Ledger, spool: Spool, settings: Settings, now: float) -> Iterator[tuple[str, str]]:
    """Exams to clean, the oldest first: by age all of them, then, while the disk is too full, younger ones."""
    keep = settings.retention
    limits = settings.spool
    if keep.keep_free_bytes is not None:
        limits = limits.model_copy(update={"warn_free_bytes": keep.keep_free_bytes, "refuse_free_bytes": 0})
    before = now - min(keep.keep_days, keep.at_least_days) * DAY_S
    with ledger.read() as connection:
        rows = sorted(_done_with_files(connection, before, spool.id))
    for last_arrival_at, _, study_uid in rows:
        if last_arrival_at <= now - keep.keep_days * DAY_S:
            yield study_uid, f"nothing came for {keep.keep_days:g} days"
        elif disk_space.level_of(disk_space.room(spool.root), limits) != "ok":
            yield study_uid, "the disk is too full"
        else:
            return


def _done_with_files(connection: sa.Connection, before: float, spool_id: str) -> Iterator[tuple[float, str, str]]:
    """Last arrival, id and Study Instance UID of exams with files in this spool that are done and to which nothing came
    since."""
    stored = (instances.c.state == "stored") & (instances.c.spool == spool_id)
    with_files = sa.select(instances.c.exam_uid).where(HERE, stored).distinct()
    for exams in in_chunks(connection.execute(with_files).scalars().all()):
        # By the exams alone, which are few: asked for states as well, SQLite would look through all studies in them.
        rows = connection.execute(
            sa.select(
                studies.c.last_arrival_at, studies.c.id, studies.c.study_uid, studies.c.state, studies.c.dirty
            ).where(studies.c.study_uid.in_(exams))
        )
        for row in rows:
            if row.last_arrival_at <= before and row.state in SETTLED and (not row.dirty or row.state == "cancelled"):
                yield row.last_arrival_at, row.id, row.study_uid


def _clean_exam(
    ledger: Ledger, spool: Spool, words: RemainingWords, exam_uid: str, why: str, now: float
) -> tuple[int, int]:
    """Files and bytes of one exam that are gone from this spool; none if something happened to it since it was looked
    at. An exam goes whole: what of it lies in other spools is removed there."""
    with ledger.write() as connection:
        study = connection.execute(
            sa.select(studies.c.id).where(studies.c.study_uid == exam_uid, DONE).with_for_update()
        ).one_or_none()
        if study is None:
            return 0, 0
        stored_of_exam = (instances.c.exam_uid == exam_uid) & (instances.c.state == "stored")
        count, size = connection.execute(
            sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(instances.c.size), 0)).where(stored_of_exam)
        ).one()
        move_all(connection, "instance", stored_of_exam, ("stored",), "purging")
        note(connection, now, "purged", f"{count} files, {int(size) / 1e6:.1f} MB: {why}", study.id)
    return finish(ledger, spool, words, now)


def clean_unused(
    ledger: Ledger, spool: Spool, words: RemainingWords, settings: Settings, now: float, limit: int
) -> tuple[int, int]:
    """What was kept without being of use: documents, other modalities, our own reports come back, unreadable files."""
    before = now - settings.retention.keep_days * DAY_S
    with ledger.read() as connection:
        ids = (
            connection.execute(
                sa.select(instances.c.id)
                .where(
                    HERE,
                    instances.c.state.in_(UNUSED),
                    instances.c.received_at <= before,
                    instances.c.spool == spool.id,
                )
                .order_by(instances.c.received_at)
                .limit(limit)
            )
            .scalars()
            .all()
        )
    if not ids:
        return 0, 0
    with ledger.write() as connection:
        for chunk in in_chunks(ids):
            move_all(connection, "instance", instances.c.id.in_(chunk), UNUSED, "purging")
        days = settings.retention.keep_days
        note(connection, now, "purged", f"{len(ids)} files that axrad does not use: older than {days:g} days")
    return finish(ledger, spool, words, now)


def finish(ledger: Ledger, spool: Spool, words: RemainingWords, now: float) -> tuple[int, int]:
    """Delete what is going from this spool, and say that it is gone."""
    of_spool = HERE & (instances.c.state == "purging") & (instances.c.spool == spool.id)
    with ledger.read() as connection:
        going = connection.execute(sa.select(instances.c.id, instances.c.path, instances.c.size).where(of_spool)).all()
        of_others = copies_going(connection, spool.id, FILES_AT_ONCE)
    _finish_copies(ledger, spool, of_others, now)
    if not going:
        return 0, 0
    for row in going:
        spool.remove(row.path)
    for chunk in in_chunks([row.id for row in going]):
        with ledger.write() as connection:
            move_all(connection, "instance", instances.c.id.in_(chunk), ("purging",), "purged")
            forget(connection, chunk, words)
            back = connection.execute(
                sa.select(instances.c.id, instances.c.path).where(
                    instances.c.id.in_(chunk), instances.c.state == "stored", instances.c.spool == spool.id
                )
            ).all()
            mark_lost(connection, [row.id for row in back if not (spool.root / row.path).exists()], now)
    return len(going), sum(int(row.size) for row in going)


def _finish_copies(ledger: Ledger, spool: Spool, going: Sequence[tuple[int, str]], now: float) -> None:
    """Delete the copies that lie here of what another spool removes."""
    for _, path in going:
        spool.remove(path)
    for rows in in_chunks(going):
        with ledger.write() as connection:
            ids = [instance_id for instance_id, path in rows if not (spool.root / path).exists()]
            forget_copies(connection, ids, spool.id)
            back = (instances.c.state == "stored") & (instances.c.spool == spool.id)
            mark_lost(
                connection,
                connection.execute(sa.select(instances.c.id).where(instances.c.id.in_(ids), back)).scalars().all(),
                now,
            )

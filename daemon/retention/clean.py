"""Which files go, and how: the ledger says that they are going, then they go, then the ledger says that they went.

Whoever dies in between leaves rows that are `purging`; the next round finishes them. An instance that is sent again in
the very moment is `stored` again by then; if its file went all the same, the row is `lost`, and fetched where needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from config.schema import Settings
from daemon.ledger import Ledger
from daemon.ledger.engine import note
from daemon.ledger.instances import mark_lost
from daemon.ledger.moves import move_all
from daemon.ledger.states import SETTLED, UNUSED
from daemon.ledger.tables import instances, studies
from daemon.machine import disk_space
from daemon.spool import Spool
from pipeline.catalog.free_text import after_the_files

log = structlog.get_logger("axrad.retention")
DAY_S = 86400.0
# Files in one round: the sweep that calls has other things to do as well.
FILES_AT_ONCE = 3000
# Nothing came that is still to be looked at; of what an operator has cancelled, nothing is looked at.
DONE = studies.c.state.in_(SETTLED) & (sa.not_(studies.c.dirty) | (studies.c.state == "cancelled"))


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one round did. `more`: there is more to do at once."""

    files: int = 0
    bytes: int = 0
    more: bool = False


def clean(ledger: Ledger, settings: Settings, now: float, files_at_once: int = FILES_AT_ONCE) -> Cleaned:
    """One round. Does nothing where the spool is not on this machine."""
    root = settings.spool.path
    if not settings.retention.enabled or not (root / "instances").is_dir():
        return Cleaned()
    spool = Spool(root)
    files, size = _finish(ledger, spool, now)
    for exam_uid, why in _candidates(ledger, spool, settings, now):
        if files >= files_at_once:
            return Cleaned(files, size, more=True)
        more_files, more_bytes = _clean_exam(ledger, spool, exam_uid, why, now)
        files, size = files + more_files, size + more_bytes
    more_files, more_bytes = _clean_unused(ledger, spool, settings, now, files_at_once)
    files, size = files + more_files, size + more_bytes
    if files:
        log.info("cleaned", files=files, bytes=size)
    return Cleaned(files, size, more=more_files >= files_at_once)


def _candidates(ledger: Ledger, spool: Spool, settings: Settings, now: float) -> Iterator[tuple[str, str]]:
    """Exams to clean, the oldest first: by age all of them, then, while the disk is too full, younger ones."""
    keep = settings.retention
    limits = settings.spool
    if keep.keep_free_bytes is not None:
        limits = limits.model_copy(update={"warn_free_bytes": keep.keep_free_bytes, "refuse_free_bytes": 0})
    has_files = sa.select(instances.c.exam_uid).where(instances.c.state == "stored").distinct()
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(studies.c.study_uid, studies.c.last_arrival_at)
            .where(
                DONE,
                studies.c.last_arrival_at <= now - min(keep.keep_days, keep.at_least_days) * DAY_S,
                studies.c.study_uid.in_(has_files),
            )
            .order_by(studies.c.last_arrival_at, studies.c.id)
        ).all()
    for row in rows:
        if row.last_arrival_at <= now - keep.keep_days * DAY_S:
            yield row.study_uid, f"nothing came for {keep.keep_days:g} days"
        elif disk_space.level_of(disk_space.room(spool.root), limits) != "ok":
            yield row.study_uid, "the disk is too full"
        else:
            return


def _clean_exam(ledger: Ledger, spool: Spool, exam_uid: str, why: str, now: float) -> tuple[int, int]:
    """Files and bytes of one exam that are gone; none if something happened to it since it was looked at."""
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
    return _finish(ledger, spool, now)


def _clean_unused(ledger: Ledger, spool: Spool, settings: Settings, now: float, limit: int) -> tuple[int, int]:
    """What was kept without being of use: documents, other modalities, our own reports come back, unreadable files."""
    before = now - settings.retention.keep_days * DAY_S
    with ledger.write() as connection:
        ids = (
            connection.execute(
                sa.select(instances.c.id)
                .where(instances.c.state.in_(UNUSED), instances.c.received_at <= before)
                .order_by(instances.c.received_at)
                .limit(limit)
            )
            .scalars()
            .all()
        )
        if not ids:
            return 0, 0
        for chunk in _chunks(ids):
            move_all(connection, "instance", instances.c.id.in_(chunk), UNUSED, "purging")
        days = settings.retention.keep_days
        note(connection, now, "purged", f"{len(ids)} files that axrad does not use: older than {days:g} days")
    return _finish(ledger, spool, now)


def _finish(ledger: Ledger, spool: Spool, now: float) -> tuple[int, int]:
    """Delete what is going, and say that it is gone."""
    with ledger.read() as connection:
        going = connection.execute(
            sa.select(instances.c.id, instances.c.path, instances.c.size).where(instances.c.state == "purging")
        ).all()
    if not going:
        return 0, 0
    for row in going:
        spool.remove(row.path)
    with ledger.write() as connection:
        for chunk in _chunks([row.id for row in going]):
            move_all(connection, "instance", instances.c.id.in_(chunk), ("purging",), "purged")
            _forget_texts(connection, chunk)
            back = connection.execute(
                sa.select(instances.c.id, instances.c.path).where(
                    instances.c.id.in_(chunk), instances.c.state == "stored"
                )
            ).all()
            mark_lost(connection, [row.id for row in back if not (spool.root / row.path).exists()], now)
    return len(going), sum(int(row.size) for row in going)


def _forget_texts(connection: sa.Connection, ids: list[int]) -> None:
    """With the files go the descriptions and labels of their headers, in which somebody may have written a name."""
    gone = instances.c.id.in_(ids) & (instances.c.state == "purged")
    changed = [
        {"instance": row.id, "remaining": facts}
        for row in connection.execute(sa.select(instances.c.id, instances.c.facts).where(gone))
        if (facts := after_the_files(row.facts)) != row.facts
    ]
    if changed:
        one = instances.c.id == sa.bindparam("instance")
        connection.execute(instances.update().where(one).values(facts=sa.bindparam("remaining")), changed)


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    """As many at a time as a statement takes."""
    listed = list(ids)
    for start in range(0, len(listed), 500):
        yield listed[start : start + 500]

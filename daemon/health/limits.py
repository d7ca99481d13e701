"""Each limit of this machine and how close it is: what `axrad doctor` shows before something stops."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from config.schema import Settings
from daemon.ledger import Ledger
from daemon.ledger.states import SETTLED
from daemon.ledger.tables import deliveries, fetches, instances, revisions, studies

DAY_S, GIB = 86400.0, 1024**3
# From this part of a limit on somebody should look.
NEAR = 0.8
# The indexer brings a journal into the ledger within seconds.
INDEX_S = 600.0
# Retention runs every ten minutes; a day late it does not run.
SLACK_DAYS = 1.0


@dataclass(frozen=True, slots=True)
class Limit:
    """`used` of `limit`, in words. `near`: somebody should look; `remedy` says what to do."""

    part: str
    text: str
    near: bool = False
    remedy: str = ""


def of_listener(settings: Settings, said: dict[str, object]) -> Iterator[Limit]:
    """What the listener last said of itself, and the descriptors that its processes have open."""
    listen = settings.listen
    now, busiest = int(str(said.get("associations", 0))), int(str(said.get("busiest_peer", 0)))
    yield Limit(
        "associations",
        f"{now} of {listen.max_associations} at once; {busiest} of {listen.max_associations_per_peer} of one peer",
        now >= NEAR * listen.max_associations or busiest >= NEAR * listen.max_associations_per_peer,
        "raise listen.max_associations, or max_associations_per_peer, or have senders open fewer",
    )
    pids = said.get("acceptors")
    found = [use for pid in pids if (use := open_files(int(pid))) is not None] if isinstance(pids, list) else []
    if found:
        used, limit = max(found, key=lambda use: use[0] / use[1])
        # Socket, journal, file, bell and a little more per association.
        yield Limit(
            "open files",
            f"{used} of {limit} in the busiest acceptor",
            used >= NEAR * limit,
            "raise the limit of open files (ulimit -n, LimitNOFILE=), or start more listen.acceptors",
        )


def open_files(pid: int) -> tuple[int, int] | None:
    """Descriptors that a process has open, and how many it may have; None where nobody may look."""
    try:
        used = len(os.listdir(f"/proc/{pid}/fd"))
        lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    (soft,) = (line.split()[3] for line in lines if line.startswith("Max open files"))
    return used, int(soft) if soft.isdigit() else 2**31


def of_intake(settings: Settings, now: float) -> Iterator[Limit]:
    """What was received and is not in the ledger yet, and reports on storage commitment that nobody took."""
    root = settings.spool.path
    oldest, count = _oldest(root / "journal", ".jsonl")
    behind = max(0.0, now - oldest) if count else 0.0
    yield Limit(
        "to index",
        f"{count} journals, the oldest untouched for {words(behind)}" if count else "nothing waits for the ledger",
        behind > INDEX_S,
        "does the indexer run, does the ledger answer? (`indexer-died`, `ledger-away` in the log of listen)",
    )
    _, waiting = _oldest(root / "commitment", ".json")
    yield Limit("commitment", f"{waiting} reports to senders are owed; each is tried for a week")


def _oldest(folder: Path, suffix: str) -> tuple[float, int]:
    """When the file that was written to longest ago was written to, and how many there are."""
    try:
        times = [entry.stat().st_mtime for entry in os.scandir(folder) if entry.name.endswith(suffix)]
    except FileNotFoundError:  # no spool yet, or a journal that was finished with meanwhile
        return 0.0, 0
    return min(times, default=0.0), len(times)


def of_ledger(settings: Settings, ledger: Ledger, now: float) -> Iterator[Limit]:
    """Sizes, ages and queues as the ledger has them."""
    with ledger.read() as connection:
        largest, held_bytes, files = connection.execute(
            sa.select(sa.func.max(instances.c.size), sa.func.sum(instances.c.size), sa.func.count()).where(
                instances.c.state == "stored"
            )
        ).one()
        oldest = connection.execute(
            sa.select(sa.func.min(studies.c.last_arrival_at)).where(
                studies.c.state.in_(SETTLED),
                studies.c.study_uid.in_(sa.select(instances.c.exam_uid).where(instances.c.state == "stored")),
            )
        ).scalar_one()
        waiting = _queue(connection, studies, ("waiting", "assembling"), studies.c.first_arrival_at)
        queues = [
            ("to analyse", _queue(connection, revisions, ("ready", "running"), revisions.c.created_at)),
            ("to fetch", _queue(connection, fetches, ("pending", "fetching"), fetches.c.created_at)),
            ("to deliver", _queue(connection, deliveries, ("pending", "sending"), deliveries.c.created_at)),
        ]
    limit = settings.listen.max_instance_bytes
    yield Limit(
        "instance size",
        f"{size(largest or 0)} was the largest, {size(limit)} are taken",
        (largest or 0) >= NEAR * limit,
        "raise listen.max_instance_bytes",
    )
    yield _age_of_spool(settings, int(files), int(held_bytes or 0), oldest, now)
    yield Limit(
        "incomplete",
        _told(waiting, now) + f"; each for at most {settings.assembly.give_up_days:g} days after its last arrival",
    )
    for part, found in queues:
        yield Limit(part, _told(found, now))


def _age_of_spool(settings: Settings, files: int, held_bytes: int, oldest: float | None, now: float) -> Limit:
    keep = settings.retention
    age_days = (now - oldest) / DAY_S if oldest is not None else 0.0
    kept = f"kept for {keep.keep_days:g} days" if keep.enabled else "kept for ever (retention is off)"
    return Limit(
        "spool",
        f"{files} files, {size(held_bytes)}"
        + (f"; the oldest exam that is done: {age_days:.1f} days; {kept}" if files else ""),
        keep.enabled and age_days > keep.keep_days + SLACK_DAYS,
        "retention does not run: is there an `axrad beat`, and a worker for the sweep on the machine with the spool?",
    )


def _queue(
    connection: sa.Connection, table: sa.Table, states: Sequence[str], since: sa.Column[float]
) -> tuple[int, float | None]:
    row = connection.execute(sa.select(sa.func.count(), sa.func.min(since)).where(table.c.state.in_(states))).one()
    return int(row[0]), row[1]


def _told(found: tuple[int, float | None], now: float) -> str:
    count, oldest = found
    return f"{count}, the oldest for {words(now - oldest)}" if oldest is not None else "nothing waits"


def words(seconds: float) -> str:
    """A time that people can compare: seconds, minutes, hours, days."""
    for unit, length in (("days", DAY_S), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 1024**2:.1f} MiB"


def examine(settings: Settings, ledger: Ledger | None, said: dict[str, object] | None) -> list[Limit]:
    """Every limit that can be told here; without a ledger or a listener on this machine those of the others."""
    now = time.time()
    found: list[Limit] = []
    if said is not None:
        found += of_listener(settings, said)
    found += of_intake(settings, now)
    if ledger is not None:
        found += of_ledger(settings, ledger, now)
    return found

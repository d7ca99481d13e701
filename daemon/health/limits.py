"""Each limit of this machine and how close it is: what `axrad doctor` shows before something stops."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from config.schema import Settings
from daemon.finding import DAY_S, Finding, size, words
from daemon.health.standing_checks import oldest_file
from daemon.ledger import Ledger
from daemon.ledger.states import FETCH_OPEN, REVISION_OPEN, SETTLED, UNJUDGED, UNSENT
from daemon.ledger.tables import deliveries, fetches, instances, revisions, studies
from daemon.ledger.tables.columns import HERE
from daemon.ledger.tallies import Tally, tallied

# Fraction of a limit above which an operator is warned.
NEAR = 0.8
# Retention runs every ten minutes; a day late it does not run.
SLACK_DAYS = 1.0


def _limit(
    code: str,
    text: str,
    near: bool = False,
    remedy: str = "",
    value: float | None = None,
    limit: float | None = None,
    subject: str = "",
) -> Finding:
    return Finding(code, "warn" if near else "ok", text, remedy if near else "", subject, value, limit)


def of_listener(settings: Settings, listener: dict[str, object]) -> Iterator[Finding]:
    """The listener's associations, and the descriptors that its processes have open. `listener`: its last state."""
    listen = settings.listen
    now, busiest = int(str(listener.get("associations", 0))), int(str(listener.get("busiest_peer", 0)))
    yield _limit(
        "associations",
        f"{now} of {listen.max_associations} at once; {busiest} of {listen.max_associations_per_peer} of one peer",
        now >= NEAR * listen.max_associations or busiest >= NEAR * listen.max_associations_per_peer,
        "raise listen.max_associations, or max_associations_per_peer, or have senders open fewer",
        now,
        listen.max_associations,
    )
    pids = listener.get("acceptors")
    usages = [use for pid in pids if (use := open_files(int(pid))) is not None] if isinstance(pids, list) else []
    if usages:
        used, limit = max(usages, key=lambda use: use[0] / use[1])
        # Socket, journal, file, wakeup pipe and a little more per association.
        yield _limit(
            "open-files",
            f"{used} of {limit} in the busiest acceptor",
            used >= NEAR * limit,
            "raise the limit of open files (ulimit -n, LimitNOFILE=), or start more listen.acceptors",
            used,
            limit,
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


def of_intake(settings: Settings) -> Iterator[Finding]:
    """Reports on storage commitment that no sender has taken yet."""
    _, waiting = oldest_file(settings.spool.path / "commitment", ".json")
    yield _limit("commitment", f"{waiting} reports to senders are owed; each is tried for a week", value=waiting)


def of_ledger(settings: Settings, ledger: Ledger, now: float) -> Iterator[Finding]:
    """Sizes, ages and queues as the ledger has them."""
    with ledger.read() as connection:
        largest, held_bytes, files = connection.execute(
            sa.select(sa.func.max(instances.c.size), sa.func.sum(instances.c.size), sa.func.count()).where(
                HERE, instances.c.state == "stored"
            )
        ).one()
        oldest = connection.execute(
            sa.select(sa.func.min(studies.c.last_arrival_at)).where(
                studies.c.state.in_(SETTLED),
                studies.c.study_uid.in_(
                    sa.select(instances.c.exam_uid).where(HERE, instances.c.state == "stored").distinct()
                ),
            )
        ).scalar_one()
        waiting = _queue(connection, studies, UNJUDGED, studies.c.first_arrival_at)
        queues = [
            ("analyse", _queue(connection, revisions, REVISION_OPEN, revisions.c.created_at)),
            ("fetch", _queue(connection, fetches, FETCH_OPEN, fetches.c.created_at)),
            ("deliver", _queue(connection, deliveries, UNSENT, deliveries.c.created_at)),
        ]
        packed = {tally.state: tally for tally in tallied(connection, "packed")}
    limit = settings.listen.max_instance_bytes
    yield _limit(
        "instance-size",
        f"{size(largest or 0)} was the largest, {size(limit)} are taken",
        (largest or 0) >= NEAR * limit,
        "raise listen.max_instance_bytes",
        largest or 0,
        limit,
    )
    yield _age_of_spool(settings, int(files), int(held_bytes or 0), oldest, now)
    yield _limit(
        "incomplete",
        _queue_in_words(waiting, now)
        + f"; each for at most {settings.assembly.give_up_days:g} days after its last arrival",
        value=waiting[0],
    )
    yield _limit("packed", _packed_in_words(settings, packed), value=_number(packed, "exams"))
    for queue, waiting_there in queues:
        yield _limit("waiting", _queue_in_words(waiting_there, now), value=waiting_there[0], subject=queue)


def _age_of_spool(settings: Settings, files: int, held_bytes: int, oldest: float | None, now: float) -> Finding:
    keep = settings.retention
    age_days = (now - oldest) / DAY_S if oldest is not None else 0.0
    duration = f"kept for {keep.keep_days:g} days" if keep.enabled else "kept for ever (retention is off)"
    return _limit(
        "spool",
        f"{files} files, {size(held_bytes)}"
        + (f"; the oldest exam that is done: {age_days:.1f} days; {duration}" if files else ""),
        keep.enabled and age_days > keep.keep_days + SLACK_DAYS,
        "retention does not run: start `axrad beat`, and a worker for the sweep on the machine with the spool",
        age_days,
        keep.keep_days if keep.enabled else None,
    )


def _number(packed: Mapping[str, Tally], what: str) -> int:
    return packed[what].number if what in packed else 0


def _packed_in_words(settings: Settings, packed: Mapping[str, Tally]) -> str:
    exams, rows = _number(packed, "exams"), _number(packed, "instances")
    days = settings.retention.pack_days
    when = "no exam is packed any more (retention.pack_days)" if days is None else f"packed after {days:g} days"
    if not exams:
        return "no exam is packed in the ledger" + ("" if days is None else f"; {when}")
    return f"{exams} exams, {rows} instances, {packed['exams'].bytes / max(rows, 1):.0f} bytes each; {when}"


def _queue(
    connection: sa.Connection, table: sa.Table, states: Sequence[str], since: sa.Column[float]
) -> tuple[int, float | None]:
    row = connection.execute(sa.select(sa.func.count(), sa.func.min(since)).where(table.c.state.in_(states))).one()
    return int(row[0]), row[1]


def _queue_in_words(waiting: tuple[int, float | None], now: float) -> str:
    count, oldest = waiting
    return f"{count}, the oldest for {words(now - oldest)}" if oldest is not None else "nothing waits"


def examine(settings: Settings, ledger: Ledger | None, listener: dict[str, object] | None) -> list[Finding]:
    """Every limit that can be seen here. Without a ledger or a listener on this machine, theirs are left out."""
    findings: list[Finding] = []
    if listener is not None:
        findings += of_listener(settings, listener)
    findings += of_intake(settings)
    if ledger is not None:
        findings += of_ledger(settings, ledger, time.time())
    return findings

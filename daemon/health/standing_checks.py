"""Checks that send no traffic: rows of the ledger, disk space, files beside the spool, one key in the broker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from config.schema import Settings
from daemon.broker.queue_names import NAMES
from daemon.broker.redis_client import BrokerTrouble, usable
from daemon.broker.server import broker_url
from daemon.finding import Finding, Level, briefly, words
from daemon.health import site_files
from daemon.health.proposal_check import proposed
from daemon.health.site_key_check import site_key
from daemon.health.spool_checks import spools
from daemon.ledger import deliveries as ledger_deliveries
from daemon.ledger import heartbeats, set_aside
from daemon.ledger.states import JUDGING_FAILED, UNSENT
from daemon.ledger.tables import deliveries, fetches, studies
from daemon.ledger.tables.columns import REASONED
from daemon.machine import disk_space
from pipeline.errors import PeerUnreachable

# A sweep ticks every few seconds and leaves a sign every ten.
SWEEP_LATE_S = 60.0
# The indexer brings a journal into the ledger within seconds.
INDEX_LATE_S = 600.0
# How long work waits without a worker before that is trouble: starting everything takes a while.
NO_WORKERS_S = 120.0


def of_machine(settings: Settings, listener: dict[str, object] | None, now: float) -> Iterator[Finding]:
    """Checks of this machine's own files. `listener`: the state that the listener last wrote."""
    yield from disk_space.findings(settings.spool)
    yield listening(listener)
    yield indexing(settings, now)
    yield site_files.finding(settings)


def of_ledger(connection: sa.Connection, settings: Settings, now: float) -> Iterator[Finding]:
    """Checks of the ledger's rows: processes, queues, destinations, what is set aside."""
    swept = sweep(connection, now)
    yield swept
    yield judging(connection)
    yield signatures(connection)
    yield beat(connection, swept, now)
    for queue in NAMES:
        yield workers(connection, settings, queue, now, swept)
    yield from destinations(connection, settings, now)
    yield dead_letters(connection)
    yield unreadable(connection)
    yield corrected_patients(connection)
    if settings.proposal.enabled:
        yield proposed(connection, now)
    yield site_key(connection, settings)
    yield from spools(connection, settings, now)


def broker(settings: Settings) -> Iterator[Finding]:
    """Whether the broker takes what is written to it; nothing where none is configured and none runs here."""
    try:
        url = broker_url(settings)
    except PeerUnreachable:
        return
    try:
        usable(url, patience_s=2.0)
    except BrokerTrouble as error:
        yield Finding("broker", "fail", error.message)
    else:
        yield Finding("broker", "ok", "the broker takes messages")


def listening(listener: dict[str, object] | None) -> Finding:
    if listener is None:
        text = "nothing is received on this machine: no listener runs here"
        return Finding("listening", "fail", text, "start `axrad up` or `axrad listen`")
    return Finding("listening", "ok", f"listening at {listener['host']}:{listener['port']}")


def indexing(settings: Settings, now: float) -> Finding:
    """How far the ledger is behind the spool's journals."""
    oldest, count = oldest_file(settings.spool.path / "journal", ".jsonl")
    behind_s = max(0.0, now - oldest) if count else 0.0
    late = behind_s > INDEX_LATE_S
    return Finding(
        "index",
        "fail" if late else "ok",
        f"{count} journals, the oldest untouched for {words(behind_s)}" if count else "nothing waits for the ledger",
        "look for `indexer-died` and `ledger-away` in the log of `axrad listen`, and restart it" if late else "",
        value=behind_s,
        limit=INDEX_LATE_S,
    )


def oldest_file(folder: Path, suffix: str) -> tuple[float, int]:
    """When the file that was written to longest ago was written to, and how many there are."""
    times = []
    try:
        with os.scandir(folder) as entries:
            times = [entry.stat().st_mtime for entry in entries if entry.name.endswith(suffix)]
    except FileNotFoundError:  # no spool yet, or a journal that was finished with meanwhile
        return 0.0, 0
    return min(times, default=0.0), len(times)


def sweep(connection: sa.Connection, now: float) -> Finding:
    last = heartbeats.last_sign(connection, "sweep")
    if last is not None and now - last.at <= SWEEP_LATE_S:
        text = f"the last sweep was {max(0.0, now - last.at):.0f} s ago"
        return Finding("sweep", "ok", text, value=now - last.at, limit=SWEEP_LATE_S)
    return Finding(
        "sweep",
        "fail",
        "no exam advances: no sweep " + ("yet" if last is None else f"for {words(now - last.at)}"),
        "start `axrad up`, or `axrad beat` and `axrad work --role sweep`",
        value=None if last is None else now - last.at,
        limit=SWEEP_LATE_S,
    )


def beat(connection: sa.Connection, swept: Finding, now: float) -> Finding:
    """Beat's own sign; a sweep that ticks proves it as well."""
    signs = heartbeats.signs_of(connection, "beat", now - heartbeats.WORKER_GONE_S)
    if signs:
        newest = max(sign.at for sign in signs)
        return Finding("beat", "ok", f"beat ticked {max(0.0, now - newest):.0f} s ago", value=len(signs))
    if swept.ok:
        return Finding("beat", "ok", "the sweep ticks")
    return Finding("beat", "fail", "no beat ticks the sweep", "start `axrad up` or `axrad beat`")


def judging(connection: sa.Connection) -> Finding:
    """Exams whose judging fails: they wait for nothing that could come."""
    stuck = REASONED & (studies.c.reason_code == JUDGING_FAILED)
    count = connection.execute(sa.select(sa.func.count()).where(stuck)).scalar_one()
    if not count:
        return Finding("judging", "ok", "no exam fails to be judged", value=0)
    first = connection.execute(
        sa.select(studies.c.id, studies.c.reason).where(stuck).order_by(studies.c.last_arrival_at).limit(1)
    ).one()
    many = "exams cannot be judged" if count > 1 else "exam cannot be judged"
    return Finding(
        "judging",
        "fail",
        f"{count} {many}, {first.id} first: {first.reason}",
        "mend what it says: each is judged again by itself, every minute; `judging-failed` in the log has the place",
        value=count,
    )


def signatures(connection: sa.Connection) -> Finding:
    """Which signatures the sweep goes by: it decides by them what an exam waits for."""
    sign = heartbeats.last_sign(connection, "signatures")
    if sign is None:
        return Finding("in-use", "ok", "no sweep has read the signatures yet")
    if sign.detail["trouble"]:
        remedy = (
            "the machine or container of the sweep needs the folder of signature.registry, with an active signature"
        )
        return Finding("in-use", "fail", f"the sweep lets every exam wait: {sign.detail['trouble']}", remedy)
    return Finding("in-use", "ok", f"exams wait for what these read: {briefly(sign.detail['names'])}")


def workers(connection: sa.Connection, settings: Settings, queue: str, now: float, swept: Finding) -> Finding:
    """Processes that take from a queue, by their own signs; without any, what waits for one."""
    count = heartbeats.worker_processes(connection, queue, now)
    if count:
        text = f"{count} process{'es' * (count != 1)} of `axrad work` take{'s' * (count == 1)} from it"
        return Finding("workers", "ok", text, subject=queue, value=count)
    if queue == "sweep" and swept.ok:
        return Finding("workers", "ok", "the sweep ticks", subject=queue)
    waiting, oldest = _waiting(connection, queue)
    things, role = WORK[queue]
    remedy = f"start `axrad up` or `axrad work --role {role}`"
    if waiting:
        level: Level = "fail" if now - (oldest or now) > NO_WORKERS_S else "warn"
        return Finding(
            "workers", level, f"{waiting} {things} and no worker takes them", remedy, queue, value=0, limit=1
        )
    if _needed(settings, queue):
        return Finding("workers", "warn", f"no worker takes from the queue {queue}", remedy, queue, value=0, limit=1)
    return Finding("workers", "ok", "none, and nothing is configured that needs one", subject=queue, value=0)


# queue: what waits there, and the role of those who take it
WORK = {
    "analyse": ("exams are queued", "analyse"),
    "deliver": ("results are to be delivered", "deliver"),
    "fetch": ("exams are to be completed from an archive", "deliver"),
    "sweep": ("exams are to be judged", "sweep"),
}


def _waiting(connection: sa.Connection, queue: str) -> tuple[int, float | None]:
    of_queue: dict[str, tuple[sa.Table, sa.ColumnElement[bool], sa.ColumnElement[float]]] = {
        "analyse": (studies, studies.c.state == "ready", studies.c.changed_at),
        "deliver": (deliveries, deliveries.c.state == "pending", deliveries.c.created_at),
        "fetch": (fetches, fetches.c.state == "pending", fetches.c.created_at),
        "sweep": (studies, studies.c.dirty, studies.c.last_arrival_at),
    }
    table, where, since = of_queue[queue]
    row = connection.execute(sa.select(sa.func.count(), sa.func.min(since)).select_from(table).where(where)).one()
    return int(row[0]), row[1]


def _needed(settings: Settings, queue: str) -> bool:
    return {"deliver": bool(settings.destination), "fetch": bool(settings.pacs)}.get(queue, True)


def destinations(connection: sa.Connection, settings: Settings, now: float) -> Iterator[Finding]:
    """Destinations that do not take results; `fail` from their breaker on."""
    for down in ledger_deliveries.failing(connection):
        destination = ledger_deliveries.destination_named(settings, down["destination"])
        waiting = connection.execute(
            sa.select(sa.func.count()).where(
                deliveries.c.destination == down["destination"], deliveries.c.state.in_(UNSENT)
            )
        ).scalar_one()
        reason = f" ({down['reason']})" if down["reason"] else ""
        yield Finding(
            "destination",
            "fail" if destination is not None and down["failures"] >= destination.breaker_failures else "warn",
            f"{down['destination']} has not taken results for {words(now - down['failing_since'])}{reason}; "
            f"{waiting} wait and are sent when it answers",
            "`axrad doctor` asks it for everything that is used of it",
            subject=down["destination"],
            value=down["failures"],
            limit=None if destination is None else destination.breaker_failures,
        )


def corrected_patients(connection: sa.Connection) -> Finding:
    """Studies that came again under another Patient ID, on which nobody has decided."""
    open_ones = studies.c.corrected_key.is_not(None)
    count = connection.execute(sa.select(sa.func.count()).where(open_ones)).scalar_one()
    if not count:
        return Finding("patients", "ok", "no study came again under another Patient ID", value=0)
    first = connection.execute(
        sa.select(studies.c.id).where(open_ones).order_by(studies.c.last_arrival_at).limit(1)
    ).scalar_one()
    many = "studies" if count > 1 else "study"
    return Finding(
        "patients",
        "warn",
        f"{count} {many} came again under another Patient ID, {first} first",
        f"look at it in the PACS; if the new Patient ID is right: `axrad retry {first} --new-revision`; if not: "
        f"`axrad retry {first} --accept-identity`",
        value=count,
    )


def dead_letters(connection: sa.Connection) -> Finding:
    letters = ledger_deliveries.dead_letters(connection)
    if not letters:
        return Finding("dead-letters", "ok", "no delivery is set aside", value=0)
    return Finding(
        "dead-letters",
        "warn",
        f"{len(letters)} deliveries are set aside",
        "when the cause is mended, send them again: `axrad deliver --all`; or one study's: "
        f"`axrad deliver {letters[0]['study']}`",
        value=len(letters),
    )


def unreadable(connection: sa.Connection) -> Finding:
    """Files whose readers died of them."""
    number = set_aside.count(connection)
    if not number:
        return Finding("unreadable", "ok", "no file is set aside", value=0)
    newest = set_aside.listed(connection, limit=1)[0]
    sender = f" from {newest['calling_ae']}" if newest["calling_ae"] else ""
    return Finding(
        "unreadable",
        "warn",
        f"{number} file{'s are' if number > 1 else ' is'} set aside, the last instance {newest['sop_instance_uid']}"
        f"{sender}: {newest['reason']}",
        "everything else goes on; when the file or axrad is mended, `axrad ingest FILE` takes it up again",
        value=number,
    )

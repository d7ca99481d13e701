"""What is asked of archives and fetched from them, in the ledger: opened by a verdict, worked on like everything else.

One row per study and subject: the same images are not fetched again and again from archives that do not have them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa

from config.schema import Pacs, Settings
from daemon.assembly import Verdict, Wanted
from daemon.ledger.engine import new_id, note
from daemon.ledger.tables import fetches

OPEN_STATES = ("pending", "fetching")


def sources(settings: Settings) -> tuple[Pacs, ...]:
    """Archives that images can be fetched from."""
    if not settings.fetch.enabled:
        return ()
    return tuple(p for p in settings.pacs if {"move", "get"} & set(p.can) or p.dicomweb_url)


def open_for(connection: sa.Connection, study: Any, verdict: Verdict, now: float, settings: Settings) -> str:
    """Queue what the verdict asks for, unless that was tried before; in words what is queued now."""
    if verdict.ask:
        _open(connection, study, "ask", repr(study.last_arrival_at), (), now)
    if not verdict.wanted or not sources(settings):
        return ""
    names = " or ".join(p.name for p in sources(settings))
    if not _open(connection, study, "images", subject_of(verdict.wanted), verdict.wanted, now, names):
        return ""
    note(connection, now, "fetch", f"{how_many(verdict.wanted)} from {names}", study.id)
    return f"fetching {how_many(verdict.wanted)} from {names}"


def subject_of(wanted: tuple[Wanted, ...]) -> str:
    listed = sorted([w.study_uid, w.series_uid, w.sop_uid] for w in wanted)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def how_many(wanted: tuple[Wanted, ...]) -> str:
    """What is wanted, in words."""
    images = sum(1 for w in wanted if w.sop_uid)
    series = sum(1 for w in wanted if w.series_uid and not w.sop_uid)
    if len(wanted) > images + series:
        return "what is missing of the study"
    parts = [f"{images} images"] * bool(images) + [f"{series} series"] * bool(series)
    return " and ".join(parts)


def wanted_of(row: Any) -> tuple[Wanted, ...]:
    return tuple(Wanted(*one) for one in row.wanted)


def in_words(connection: sa.Connection, study_id: str) -> str:
    """How fetching for this study stands: the newest attempt at images of it."""
    row = connection.execute(
        sa.select(fetches)
        .where(fetches.c.study_id == study_id, fetches.c.kind == "images", fetches.c.state != "cancelled")
        .order_by(fetches.c.created_at.desc())
        .limit(1)
    ).one_or_none()
    if row is None or row.state == "done":
        return "" if row is None else row.reason
    what = f"fetching {how_many(wanted_of(row))} from {row.pacs}"
    if row.state == "failed":
        return f"{what} was given up after {row.attempts} attempts: {row.reason}"
    return f"{what}" + (f" (attempt {row.attempts}: {row.reason})" if row.reason else "")


def open_priors(connection: sa.Connection, study: Any, now: float, settings: Settings) -> bool:
    """Queue the fetching of the patient's earlier exams; False where no archive can be asked."""
    if not any("find" in p.can for p in sources(settings)):
        return False
    _open(connection, study, "priors", "", (), now, again=True)
    return True


def open_again(connection: sa.Connection, study: Any, now: float) -> int:
    """An operator asks: whatever was given up is tried from the start; how many that are."""
    done = connection.execute(
        fetches.update()
        .where(fetches.c.study_id == study.id, fetches.c.kind == "images", fetches.c.state != "cancelled")
        .values(**_anew(now))
    )
    return int(done.rowcount)


def cancel(connection: sa.Connection, study_id: str, now: float) -> None:
    """What is still to be fetched is not needed any more."""
    connection.execute(
        fetches.update()
        .where(fetches.c.study_id == study_id, fetches.c.kind == "images", fetches.c.state.in_(OPEN_STATES))
        .values(state="cancelled", finished_at=now, fence=fetches.c.fence + 1, owner=None, lease_until=None)
    )


def _open(
    connection: sa.Connection,
    study: Any,
    kind: str,
    subject: str,
    wanted: tuple[Wanted, ...],
    now: float,
    pacs: str = "",
    *,
    again: bool = False,
) -> bool:
    """Whether something is queued that was not. What ended before the study's last arrival may be tried again."""
    row = connection.execute(
        sa.select(fetches).where(fetches.c.study_id == study.id, fetches.c.kind == kind, fetches.c.subject == subject)
    ).one_or_none()
    if row is None:
        listed = [[w.study_uid, w.series_uid, w.sop_uid] for w in wanted]
        connection.execute(
            fetches.insert().values(
                id=new_id(),
                study_id=study.id,
                kind=kind,
                subject=subject,
                wanted=listed,
                state="pending",
                pacs=pacs,
                created_at=now,
                next_attempt_at=now,
            )
        )
        return True
    stale = row.state == "cancelled" or (row.finished_at is not None and row.finished_at < study.last_arrival_at)
    if row.state in OPEN_STATES or not (again or stale):
        return False
    connection.execute(fetches.update().where(fetches.c.id == row.id).values(pacs=pacs, created_at=now, **_anew(now)))
    return True


def _anew(now: float) -> dict[str, Any]:
    return {
        "state": "pending",
        "reason": "",
        "attempts": 0,
        "next_attempt_at": now,
        "enqueued_until": None,
        "finished_at": None,
        "owner": None,
        "lease_until": None,
        "fence": fetches.c.fence + 1,
    }

"""Questions to archives and fetches from them, in the ledger: opened by a verdict, claimed like revisions.

One row per study and subject: the same images are not fetched again and again from archives that do not have them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from config.schema import Pacs, Settings
from daemon.assembly import Verdict, Wanted
from daemon.ledger import claims
from daemon.ledger.claims import OPEN, Claim, to_announce
from daemon.ledger.engine import new_id, note
from daemon.ledger.moves import add, move_all, queued_anew
from daemon.ledger.rows import FetchRow, StudyRow, row_where, rows_where, the_row
from daemon.ledger.states import FETCH_OPEN, FETCH_WANTED
from daemon.ledger.tables import fetches, studies

# At a time, over all workers: an archive that hangs must not take the workers that deliver.
FETCHES_AT_ONCE = 2
UNLIMITED = 10**9
# What was fetched is here after this; if it is missed then, it came and was lost.
COME_BY_S = 600.0


def sources(settings: Settings) -> tuple[Pacs, ...]:
    """Archives that images can be fetched from."""
    if not settings.fetch.enabled:
        return ()
    return tuple(p for p in settings.pacs if {"move", "get"} & set(p.can) or p.dicomweb_url)


def open_for(connection: sa.Connection, study: StudyRow, verdict: Verdict, now: float, settings: Settings) -> str:
    """Queue what the verdict asks for, unless it was tried before; returns in words what is queued now."""
    if verdict.ask:
        _open_unless_tried(connection, study, "ask", repr(study.last_arrival_at), (), now)
    if not verdict.wanted or not sources(settings):
        return ""
    names = " or ".join(p.name for p in sources(settings))
    if not _open_unless_tried(connection, study, "images", subject_of(verdict.wanted), verdict.wanted, now, names):
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


def wanted_of(row: FetchRow) -> tuple[Wanted, ...]:
    return tuple(Wanted(*one) for one in row.wanted)


def in_words(connection: sa.Connection, study_id: str) -> str:
    """How fetching for this study stands: the newest attempt at images of it."""
    wanted = (fetches.c.study_id == study_id) & (fetches.c.kind == "images") & (fetches.c.state != "cancelled")
    newest = rows_where(connection, FetchRow, wanted, order_by=[fetches.c.created_at.desc()], limit=1)
    if not newest:
        return ""
    row = newest[0]
    if row.state == "done":
        return row.reason
    attempt = f"fetching {how_many(wanted_of(row))} from {row.pacs}"
    if row.state == "failed":
        return f"{attempt} was given up after {row.attempts} attempts: {row.reason}"
    return f"{attempt}" + (f" (attempt {row.attempts}: {row.reason})" if row.reason else "")


def open_priors(connection: sa.Connection, study: StudyRow, now: float, settings: Settings) -> bool:
    """Queue the fetching of the patient's earlier exams; False where no archive can be asked."""
    if not any("find" in p.can for p in sources(settings)):
        return False
    _open_unless_tried(connection, study, "priors", "", (), now, again=True)
    return True


def open_again(connection: sa.Connection, study: StudyRow, now: float) -> int:
    """Start all fetches of images of this study from the beginning, as an operator asks; returns how many."""
    of_it = (fetches.c.study_id == study.id) & (fetches.c.kind == "images")
    return _start_anew(connection, of_it, FETCH_WANTED, now)


def cancel(connection: sa.Connection, study_id: str, now: float) -> None:
    """Cancel the open fetches of images for a study."""
    _cancel(connection, study_id, now)


def _cancel(connection: sa.Connection, study_id: str, now: float, but: str = "") -> None:
    of_it = (fetches.c.study_id == study_id) & (fetches.c.kind == "images") & (fetches.c.subject != but)
    move_all(connection, "fetch", of_it, FETCH_OPEN, "cancelled", {"finished_at": now}, void_lease=True)


# What a worker does


def due(connection: sa.Connection, now: float) -> list[FetchRow]:
    """Fetches to announce to workers: as many as may run beside those under way, quick questions first."""
    under_way = connection.execute(
        sa.select(sa.func.count())
        .select_from(fetches)
        .where(OPEN["fetch"], (fetches.c.lease_until >= now) | (fetches.c.enqueued_until >= now))
    ).scalar_one()
    room = FETCHES_AT_ONCE - int(under_way)
    if room <= 0:
        return []
    rows = rows_where(connection, FetchRow, to_announce("fetch", now), order_by=[fetches.c.created_at], limit=100)
    return sorted(rows, key=lambda row: row.kind != "ask")[:room]


def take(
    connection: sa.Connection, fetch_id: str, owner: str, now: float, settings: Settings
) -> tuple[Claim, FetchRow, StudyRow] | None:
    """Claim a fetch that is due: the claim, its row, its study."""
    kind = connection.execute(sa.select(fetches.c.kind).where(fetches.c.id == fetch_id)).scalar_one_or_none()
    attempts = UNLIMITED if kind == "ask" else settings.fetch.attempts
    held = claims.claim(connection, "fetch", fetch_id, owner, now, settings.work.lease_s, attempts)
    if held is None:
        return None
    row = the_row(connection, FetchRow, fetch_id)
    study = the_row(connection, StudyRow, row.study_id)
    return held, row, study


def finish(connection: sa.Connection, held: Claim, study: StudyRow, now: float, outcome: str) -> None:
    """Record that a fetch is done. Its study is judged again."""
    claims.release(connection, held, {"reason": "", "finished_at": now}, state="done")
    if outcome:
        note(connection, now, "fetched", outcome, study.id)
    _judge_again(connection, study)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a fetch did not succeed. `final`: given up; otherwise tried again at `again_at`.

    `attempts`: as many as count from now on, where that is not every one that was made.
    """

    code: str
    reason: str
    final: bool
    again_at: float
    attempts: int | None = None


def record_failure(connection: sa.Connection, held: Claim, study: StudyRow, now: float, failure: Failure) -> None:
    """Record that a fetch failed: it is tried again, or given up. Its study is judged again."""
    values: dict[str, object] = {"reason": failure.reason, "next_attempt_at": failure.again_at}
    if failure.attempts is not None:
        values["attempts"] = failure.attempts
    if failure.final:
        claims.release(connection, held, values | {"finished_at": now}, state="failed")
    else:
        claims.release(connection, held, values, state="pending")
    kind = "fetch-failed" if failure.final else "fetch-retry"
    note(connection, now, kind, f"{failure.code}: {failure.reason}", study.id)
    _judge_again(connection, study)


def _judge_again(connection: sa.Connection, study: StudyRow) -> None:
    connection.execute(studies.update().where(studies.c.id == study.id).values(dirty=True))


def _open_unless_tried(
    connection: sa.Connection,
    study: StudyRow,
    kind: str,
    subject: str,
    wanted: tuple[Wanted, ...],
    now: float,
    pacs: str = "",
    *,
    again: bool = False,
) -> bool:
    """Whether something is queued that was not. What ended before the study's last arrival may be tried again, and
    what came and is missed once more."""
    same = (fetches.c.study_id == study.id) & (fetches.c.kind == kind) & (fetches.c.subject == subject)
    row = row_where(connection, FetchRow, same)
    if kind == "images":
        _cancel(connection, study.id, now, but=subject)
    if row is None:
        listed = [[w.study_uid, w.series_uid, w.sop_uid] for w in wanted]
        add(
            connection,
            "fetch",
            "pending",
            {
                "id": new_id(),
                "study_id": study.id,
                "kind": kind,
                "subject": subject,
                "wanted": listed,
                "pacs": pacs,
                "created_at": now,
                "next_attempt_at": now,
            },
        )
        return True
    ended = row.finished_at if row.finished_at is not None else now
    lost_again = row.state == "done" and ended < now - COME_BY_S
    stale = row.state == "cancelled" or ended < study.last_arrival_at or lost_again
    if row.state in FETCH_OPEN or not (again or stale):
        return False
    _start_anew(connection, fetches.c.id == row.id, (row.state,), now, pacs=pacs, created_at=now)
    return True


def _start_anew(
    connection: sa.Connection, where: sa.ColumnElement[bool], start: Iterable[str], now: float, **columns: object
) -> int:
    """Fetches that are in one of these states begin again; how many."""
    columns |= queued_anew(now) | {"reason": ""}
    return move_all(connection, "fetch", where, start, "pending", columns, void_lease=True)

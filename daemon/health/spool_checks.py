"""The spools of a ledger: whether this machine's folder is the one that the ledger knows, and who does not answer."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from config.schema import Settings
from daemon.finding import Finding, words
from daemon.ledger.spools import folder_of, known_spools
from daemon.spool.identity import SpoolRefused, require_id

# An indexer gives a sign every ten seconds.
SILENT_S = 120.0


def spools(connection: sa.Connection, settings: Settings, now: float) -> Iterator[Finding]:
    """One line where the folder is wrong; where there are several spools, one for each of the others."""
    known = known_spools(connection)
    own = settings.spool
    if not own.remote:
        try:
            name, expected = require_id(own.path, own.id), folder_of(connection, own.id)
        except (SpoolRefused, OSError) as error:
            yield Finding("spools", "fail", str(error), "set spool.id and spool.path as they were", own.id)
            return
        if expected is not None and name != expected and own.path.is_dir():
            text = f"the folder {own.path} is not the one that the ledger knows as the spool {own.id}"
            remedy = "mount it, give each host its own spool.id, or, if the other is gone, `axrad spools --replace`"
            yield Finding("spools", "fail", text, remedy, own.id)
    if len(known) < 2:
        return
    for spool in known:
        silent_s = None if spool.seen_at is None else max(0.0, now - spool.seen_at)
        if silent_s is None or silent_s > SILENT_S:
            since = "has never run" if silent_s is None else f"has given no sign for {words(silent_s)}"
            text = f"the indexer of the spool {spool.id} {since}: exams with files there wait, others go on"
            remedy = f"start `axrad listen` there; if it is gone for good: axrad spools --give-up {spool.id}"
            yield Finding("spools", "fail", text, remedy, spool.id, value=silent_s, limit=SILENT_S)
        elif spool.id != own.id and spool.id not in own.others:
            text = f"this machine does not read the spool {spool.id}: exams with files there are left to other machines"
            yield Finding("spools", "warn", text, "name its intake host in spool.others", spool.id)
        else:
            yield Finding("spools", "ok", f"the spool {spool.id} is indexed", subject=spool.id, value=silent_s)

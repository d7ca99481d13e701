"""Notes in the ledger how far this machine's audit trail has come, and tells of a trail whose end is gone."""

from __future__ import annotations

import structlog

from config.schema import Settings
from daemon import audit
from daemon.audit_trail import chain
from daemon.ledger import Ledger, audit_anchors

log = structlog.get_logger("axrad.audit")


class TrailAnchor:
    """What is noted, and of which missing end people have been told."""

    def __init__(self) -> None:
        self._told = 0

    def note_trail(self, ledger: Ledger, settings: Settings, now: float) -> None:
        """Note number and digest of the last line; a Security Alert where lines at the end are missing."""
        if not settings.audit.enabled:
            return
        path = audit.trail_path(settings)
        try:
            last = chain.last_link(path)
        except OSError:
            return  # the writers tell of it
        if last is None:
            return
        with ledger.read() as connection:
            noted = audit_anchors.last_noted(connection, last.trail)
        if noted > last.number or chain.missing_at_the_end(path, last):
            self._tell(settings, max(noted, last.number))
        elif noted < last.number:
            with ledger.write() as connection:
                audit_anchors.note(connection, last.trail, last.number, last.digest, now)

    def _tell(self, settings: Settings, written: int) -> None:
        if written > self._told:
            self._told = written
            log.error("audit-trail-cut", written=written)
            audit.alert(settings, "audit-trail-cut")

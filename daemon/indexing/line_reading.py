"""What a journal line brings: the header of its file, read outside of any transaction, by whichever process."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace

import structlog

from config.schema import Settings
from config.schema.values import MAIN_SPOOL
from daemon.indexing.arrivals import describe
from daemon.indexing.priority import Order, priority_of
from daemon.ledger.instances import Arrival
from daemon.ledger.site_key import SiteKey
from daemon.ledger.work_order import BACKFILL
from daemon.spool import Spool
from daemon.spool.journal import Entry
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.indexer")


@dataclass(frozen=True, slots=True)
class Rules:
    """How headers are read. `key`: of the site, under which digests of identifiers are kept. `measurements`: whether
    those of readers count. `spool`: which one their files lie in."""

    order: Order = field(default_factory=Order)
    key: SiteKey | None = None
    measurements: bool = False
    spool: str = MAIN_SPOOL

    @classmethod
    def of(cls, settings: Settings | None, key: SiteKey | None, spool: str = MAIN_SPOOL) -> Rules:
        if settings is None:
            return cls(key=key, spool=spool)
        return cls(Order.of(settings), key, settings.proposal.enabled, spool)


def brings_file(entry: Entry) -> bool:
    return bool(entry.event in ("stored", "duplicate") and entry.path and entry.sop_instance_uid and entry.digest)


def arrival_of(spool: Spool, entry: Entry, rules: Rules, now: float) -> Arrival | None:
    """What a line brings that brings a file; None where it cannot be read now: the walk through the spool comes back to
    it until it can.

    A line may be from before the clock was put back; nothing has arrived in the future.
    """
    what = (spool, entry.path or "", entry.sop_instance_uid or "", entry.digest or "")
    try:
        arrival = describe(*what, min(entry.ts, now), entry, rules.key, measurements=rules.measurements)
    except TryLater:
        raise
    except Exception as error:  # noqa: BLE001 - one line must not keep all others from the ledger
        number = error.errno if isinstance(error, OSError) else None
        log.error("file-unreadable", path=entry.path, error=errno.errorcode.get(number or 0, type(error).__name__))
        return None
    priority = priority_of(entry, arrival.facts, rules.order)
    return replace(arrival, priority=priority, backfill=entry.role == BACKFILL, spool=rules.spool)

"""Which exams are packed in the ledger: those that retention has removed long ago, some in each round."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from config.schema import Settings
from daemon.ledger import Ledger
from daemon.ledger.packed_exams import content_for, put, to_pack
from daemon.retention.forgetting import all_forgotten

log = structlog.get_logger("axrad.retention")
DAY_S = 86400.0
# In one round, some tenths of a second: the sweep that calls has other things to do as well.
INSTANCES_AT_ONCE = 2000
LOOKED_AT_ONCE = 200
# Taking away the rows of more would keep others from writing for more than 50 ms.
MOST_INSTANCES = 2500


@dataclass(frozen=True, slots=True)
class Packed:
    """What one round did. `more`: there is more to do at once."""

    exams: int = 0
    instances: int = 0
    more: bool = False


def pack_old(ledger: Ledger, settings: Settings, now: float, instances_at_once: int = INSTANCES_AT_ONCE) -> Packed:
    """One round. An exam is packed by itself: read and compressed first, then written in a short transaction."""
    days = settings.retention.pack_days
    if days is None or not all_forgotten(ledger):
        return Packed()
    before = now - max(days, settings.retention.keep_days) * DAY_S
    exams = rows = 0
    last = (0.0, "")
    while True:
        with ledger.read() as connection:
            studies = to_pack(connection, before, last, LOOKED_AT_ONCE)
        for study in studies:
            last = (study.last_arrival_at, study.id)
            with ledger.read() as connection:
                content = content_for(connection, study, MOST_INSTANCES)
            if content is None:
                continue
            with ledger.write() as connection:
                done = put(connection, study, *content, now)
            exams, rows = exams + done, rows + done * len(content[1])
            if rows >= instances_at_once:
                return _logged(Packed(exams, rows, more=True))
        if len(studies) < LOOKED_AT_ONCE:
            return _logged(Packed(exams, rows))


def _logged(packed: Packed) -> Packed:
    if packed.exams:
        log.info("packed", exams=packed.exams, instances=packed.instances)
    return packed

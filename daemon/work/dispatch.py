"""Which revisions the workers are told of, and when: the ledger decides the order, the broker only carries the word.

A message that is in the broker cannot be overtaken, so only a few more are there than workers take at once; everything
else waits in the ledger, where its place in line can change until the last moment.
"""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

from config.schema import Settings
from daemon.ledger.claims import announced
from daemon.ledger.heartbeats import worker_processes
from daemon.ledger.work_order import next_revisions, under_way
from daemon.work.context import Context

# A message that was sent is trusted this long; then it is sent again, unless the broker still has messages to give.
ANNOUNCED_S = 60.0
QUEUE = "analyse"
TASK = {"analyse": "axrad.analyse", "report": "axrad.report"}


def dispatch_revisions(context: Context) -> int:
    """Tell the workers of as many revisions as they have room for; how many."""
    now, work = context.clock(), context.settings.work
    with context.ledger.read() as connection:
        held, announced_count = under_way(connection, now)
        room = worker_processes(connection, QUEUE, now) + work.queue_ahead - held - announced_count
        # What is still in the broker was announced a while ago and has not been lost, only not been taken.
        room -= max(0, (context.queued(QUEUE) or 0) - announced_count)
        if room <= 0:
            return 0
        rows = next_revisions(connection, now, room, work.head_start_s, backfills=may_backfill(context.settings, now))
    for row in rows:
        if not context.announce(TASK[row.stage], row.id):
            break
        with context.ledger.write() as connection:
            announced(connection, "revision", row.id, now + ANNOUNCED_S)
    return len(rows)


def may_backfill(settings: Settings, now: float) -> bool:
    """Whether it is one of the hours in which backfills run, by the site's clock."""
    hours = settings.work.background_hours
    if not hours:
        return True
    clock = datetime.fromtimestamp(now, tz=ZoneInfo(settings.site.timezone)).time()
    return any(_within(clock, *(time.fromisoformat(end) for end in window.split("-"))) for window in hours)


def _within(clock: time, start: time, end: time) -> bool:
    """From `start` to before `end`; over midnight where `end` comes first; the whole day where they are the same."""
    if start == end:
        return True
    return start <= clock < end if start < end else clock >= start or clock < end

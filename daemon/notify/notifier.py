"""Decides what is told when. Where it is in the timeline is kept in the ledger: a restart tells nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import sqlalchemy as sa
import structlog

from config.schema import Settings
from daemon.clock import Clock
from daemon.ledger import Ledger, heartbeats
from daemon.metrics import counters
from daemon.notify.conditions import EVENT_KINDS, WORDS, Happened, happened, lasting, newest_event

log = structlog.get_logger("axrad.notify")
POSITION = "notify"
STUDIES_SHOWN = 10
# After a channel did not take a notice.
SEND_AGAIN_S = 60.0
# Notices that wait for a channel; those whose content has changed meanwhile are forgotten.
REMEMBERED = 100


@dataclass(frozen=True, slots=True)
class Notice:
    """One message. `items`: opaque ids with codes, for machines; `over`: the trouble has ended."""

    kind: str
    text: str
    items: tuple[dict[str, object], ...] = ()
    over: bool = False


# Raises OSError when it could not be handed over; it is tried again then.
Channel = Callable[[Notice], None]


@dataclass
class _Known:
    """What is remembered, in the ledger: per kind the last event that was told and when, and states people know of."""

    told: dict[str, int] = field(default_factory=dict)
    told_at: dict[str, float] = field(default_factory=dict)
    # kind:subject → when they were told
    lasting: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Due:
    """A notice, and what to remember once it was taken."""

    notice: Notice
    afterwards: Callable[[], None]


class Notifier:
    """`tick` looks for conditions and sends every channel the notices that are due."""

    def __init__(self, settings: Settings, ledger: Ledger, clock: Clock, channels: dict[str, Channel]) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._channels = channels
        counters.begin_notices(channels)
        self._not_before = float("-inf")
        # Notices that some channels took and others did not: by whom.
        self._partly: dict[tuple[str, bool, str], set[str]] = {}

    def tick(self) -> list[Notice]:
        """The notices that every channel took. A notice that a channel did not take is sent to it again later."""
        now = self._clock()
        if now < self._not_before:
            return []
        with self._ledger.read() as connection:
            known = self._known(connection)
            due = [*self._of_events(connection, known, now), *self._of_states(connection, known, now)]
        sent = []
        for item in due:
            if not self._send(item.notice):
                self._not_before = now + SEND_AGAIN_S
                break
            item.afterwards()
            sent.append(item.notice)
        self._remember(known, now)
        return sent

    def _of_events(self, connection: sa.Connection, known: _Known, now: float) -> Iterator[_Due]:
        """One notice per kind, unless there was one a short while ago: then its events wait for the next."""
        for kind in EVENT_KINDS:
            if kind not in self._settings.notify.on:
                continue
            # At the very first, nothing is told that happened before.
            after = known.told.setdefault(kind, newest_event(connection))
            if now - known.told_at.get(kind, float("-inf")) < self._settings.notify.min_interval_s:
                continue
            items = happened(connection, kind, after)
            if items:
                yield _Due(_digest(kind, items), partial(_remember_sent, known, kind, items[-1].event_id, now))

    def _of_states(self, connection: sa.Connection, known: _Known, now: float) -> Iterator[_Due]:
        states = lasting(connection, self._settings, now)
        current = {f"{s.kind}:{s.subject}": s for s in states if s.kind in self._settings.notify.on}
        for key, state in current.items():
            told_at = known.lasting.get(key)
            if told_at is None or now - told_at >= self._settings.notify.repeat_s:
                notice = Notice(state.kind, f"axrad: {state.text}", ({"subject": state.subject},))
                yield _Due(notice, partial(known.lasting.__setitem__, key, now))
        for key in [k for k in known.lasting if k not in current]:
            kind, _, subject = key.partition(":")
            notice = Notice(kind, f"axrad: over for {subject}: {WORDS[kind]}.", ({"subject": subject},), over=True)
            yield _Due(notice, partial(known.lasting.__delitem__, key))

    def _send(self, notice: Notice) -> bool:
        """Send a notice to the channels that have not taken it. True once every channel has."""
        key = (notice.kind, notice.over, repr(notice.items))
        if key not in self._partly and len(self._partly) >= REMEMBERED:
            self._partly.clear()
        took = self._partly.setdefault(key, set())
        for name in [n for n in self._channels if n not in took]:
            try:
                self._channels[name](notice)
                took.add(name)
            except OSError as error:
                log.warning("not-told", channel=name, kind=notice.kind, error=type(error).__name__)
            counters.NOTICES.labels(name, counters.TOLD if name in took else counters.NOT_TOLD).inc()
        if took < self._channels.keys():
            return False
        del self._partly[key]
        log.info("told", kind=notice.kind, items=len(notice.items), over=notice.over)
        return True

    def _known(self, connection: sa.Connection) -> _Known:
        row = heartbeats.last_sign(connection, POSITION)
        return _Known() if row is None else _Known(**row.detail)

    def _remember(self, known: _Known, now: float) -> None:
        detail = asdict(known)
        with self._ledger.read() as connection:
            row = heartbeats.last_sign(connection, POSITION)
        if row is None or row.detail != detail:
            with self._ledger.write() as connection:
                heartbeats.sign(connection, POSITION, "notify", now, detail)


def _remember_sent(known: _Known, kind: str, event_id: int, now: float) -> None:
    known.told[kind] = event_id
    known.told_at[kind] = now


def _digest(kind: str, items: Sequence[Happened]) -> Notice:
    """Several events of one kind in one message: how many, why, and the first few by id."""
    why = Counter(item.code or "no code" for item in items)
    causes = next(iter(why)) if len(why) == 1 else ", ".join(f"{n} {code}" for code, n in why.most_common())
    named = ", ".join(dict.fromkeys(item.study for item in items[:STUDIES_SHOWN]))
    more = f" and {len(items) - STUDIES_SHOWN} more" if len(items) > STUDIES_SHOWN else ""
    text = f"axrad: {WORDS[kind]}: {len(items)} ({causes}): {named}{more}. `axrad show STUDY` says more."
    return Notice(kind, text, tuple({"study": i.study, "code": i.code} for i in items))

"""What fails on a day of faults, and when: a seed decides it, and every eight seeds in a row have every kind."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.world import ROLES

# Seeds in a row of four share out all kinds between them; then four others do so on PostgreSQL and Redis.
SHARES = 4
# Every kind once on a machine by itself, and a day on PostgreSQL and Redis; `script/test --long` takes more.
USUAL_SEEDS = (1, 2, 3, 4, 8)
# Longer than a lease of the day (`work.lease_s`).
LEASE_S = 5.0
# Processes that a day stops for longer than a lease.
STOPPED = tuple(role for role in ROLES if role != "broker")


@dataclass(frozen=True, slots=True)
class Fault:
    """At `at_s` of the day's own clock, for `seconds` where it lasts. `amount`: by how many seconds the clock jumps."""

    at_s: float
    kind: str
    seconds: float = 0.0
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What may happen. `embedded`: only where axrad brings its own broker and ledger."""

    name: str
    seconds: Callable[[random.Random], float] = lambda rng: 0.0
    amount: Callable[[random.Random], float] = lambda rng: 0.0
    embedded: bool = False


def between(low: float, high: float) -> Callable[[random.Random], float]:
    return lambda rng: rng.uniform(low, high)


KINDS = (
    *(Kind(f"kill {role}") for role in ROLES),
    *(Kind(f"stop {role}", between(LEASE_S + 1, LEASE_S + 3)) for role in STOPPED),
    Kind("broker silent", between(2, 6)),
    Kind("broker emptied"),
    Kind("broker readonly", between(2, 6)),
    Kind("broker full", between(2, 6)),
    Kind("ledger locked", between(2, 5)),
    Kind("disk full", between(2, 5)),
    Kind("disk of the ledger full", between(2, 5), embedded=True),
    Kind("descriptors exhausted", between(2, 5)),
    Kind("temporary files cleaned"),
    Kind("results vanish"),
    Kind("archive refuse", between(3, 6)),
    Kind("archive hang", between(3, 6)),
    Kind("archive drop", between(3, 6)),
    Kind("clock jumps", amount=between(60, 7200)),
    Kind("clock falls", amount=between(-7200, -60)),
    Kind("poison codestream small"),
    Kind("poison codestream wide"),
    Kind("poison bomb"),
    Kind("poison slice"),
    Kind("association kept open"),
    Kind("destination renamed"),
)


def elsewhere(seed: int) -> bool:
    """Whether the day of this seed is on PostgreSQL and a Redis of the hospital's own."""
    return (seed - 1) // SHARES % 2 == 1


def schedule(seed: int, span_s: float) -> tuple[Fault, ...]:
    """The seed's share of the kinds and a few others, in an order and at times that the seed decides.

    Workers are killed or stopped less often than an exam has attempts: who dies with the same exam three times is
    meant to be set aside.
    """
    rng = random.Random(seed)
    possible = [kind for kind in KINDS if not (kind.embedded and elsewhere(seed))]
    pot = possible[(seed - 1) % SHARES :: SHARES]
    rng.shuffle(pot)
    times = sorted(rng.uniform(0, span_s) for _ in pot)
    return tuple(
        Fault(round(at, 2), kind.name, round(kind.seconds(rng), 2), round(kind.amount(rng)))
        for at, kind in zip(times, pot, strict=True)
    )

"""Keys in our database of a broker that are not ours: of other installations, other programs, an older axrad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from daemon.broker.queue_names import NAMES
from daemon.broker.redis_client import PROBE, keys
from daemon.ledger.installation import PREFIX as INSTALLATION

# Of a database with more keys than these only so many are looked at.
MOST_KEYS = 20_000
# A version before there were prefixes made these: first what only it makes, then what every Celery program makes.
BEFORE_PREFIXES = frozenset({*NAMES, *(f"_kombu.binding.{name}" for name in NAMES)})
OF_CELERY = frozenset(
    {
        *("unacked", "unacked_index", "unacked_mutex"),
        *(f"_kombu.binding.{name}" for name in ("celery.pidbox", "reply.celery.pidbox", "celeryev")),
    }
)


@dataclass(frozen=True, slots=True)
class ForeignKeys:
    """The other owners in words, and the keys that an axrad before 0.2.0 left."""

    others: tuple[str, ...] = ()
    old_keys: tuple[str, ...] = ()


def foreign_keys_at(url: str, prefix: str) -> ForeignKeys:
    """The owners of keys that do not begin with `prefix`. Raises BrokerTrouble."""
    return _sorted_out(key for key in keys(url, MOST_KEYS) if not key.startswith(prefix) and key != PROBE)


def _sorted_out(foreign: Iterable[str]) -> ForeignKeys:
    others: Counter[str] = Counter()
    old, of_celery = [], []
    for key in foreign:
        if other := INSTALLATION.match(key):
            others[f"another installation of axrad ({other[1]})"] += 1
        elif key.startswith("axrad.") or _plain(key) in BEFORE_PREFIXES:
            old.append(key)
        elif _plain(key) in OF_CELERY:
            of_celery.append(key)
        else:
            others["another program"] += 1
    # Beside another program nobody can tell whose these are, so they are left alone.
    if old and not others["another program"]:
        old += of_celery
    elif of_celery:
        others["another program"] += len(of_celery)
    descriptions = tuple(f"{name} ({count} key{'s' * (count != 1)})" for name, count in sorted(others.items()) if count)
    return ForeignKeys(descriptions, tuple(sorted(old)))


def _plain(key: str) -> str:
    """Kombu has two kinds of bindings, and keeps messages of another priority under the queue's name and a number."""
    return key.partition("\x06")[0].replace("_kombu.binding_permanent.", "_kombu.binding.", 1)

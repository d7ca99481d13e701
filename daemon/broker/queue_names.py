"""The queues of the broker. Each has workers of its own: a dead PACS stops no science, long science no sweep."""

from __future__ import annotations

# task: the queue it goes to
QUEUES = {
    "axrad.analyse": "analyse",
    "axrad.report": "analyse",
    "axrad.propose": "analyse",
    "axrad.deliver": "deliver",
    "axrad.fetch": "fetch",
    "axrad.sweep": "sweep",
    "axrad.ping": "sweep",  # health asks every queue by name
}
NAMES = tuple(sorted(set(QUEUES.values())))
ROLES = {"analyse": ("analyse",), "deliver": ("deliver", "fetch"), "sweep": ("sweep",)}

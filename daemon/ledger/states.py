"""Which state may follow which. State is a table; a step that is not in it is a bug and raises.

Who resumes what after a crash: `assembling`, `waiting`, `expired` and `not_ours` are looked at by assembly (on
arrival or when due), `ready`, `running` and `reported` are enqueued again by the sweep, `held` and `failed` wait for an
operator's `retry`, `cancelled` likewise.
"""

from __future__ import annotations

OF_A_REVISION = frozenset({"running", "reported", "delivered", "not_evaluated", "failed"})

STUDY: dict[str, frozenset[str]] = {
    # To the state of a revision: what was looked at again turned out to be what had been reported.
    "assembling": frozenset({"waiting", "held", "ready", "expired", "not_ours", "cancelled"}) | OF_A_REVISION,
    "waiting": frozenset({"assembling", "held", "ready", "expired", "not_ours", "cancelled"}) | OF_A_REVISION,
    "held": frozenset({"assembling", "waiting", "ready", "expired", "not_ours", "cancelled"}) | OF_A_REVISION,
    "ready": frozenset({"running", "assembling", "failed", "held", "reported", "not_evaluated", "cancelled"}),
    "running": frozenset({"reported", "not_evaluated", "failed", "assembling", "ready", "held", "cancelled"}),
    "reported": frozenset({"delivered", "failed", "assembling", "held", "ready", "cancelled"}),
    "delivered": frozenset({"assembling", "held", "reported", "ready"}),
    "not_evaluated": frozenset({"assembling", "held", "ready"}),
    "failed": frozenset({"assembling", "ready", "reported", "held", "cancelled"}),
    "expired": frozenset({"assembling", "held"}),
    # Of another part of the body: until something more of it comes, or an operator's `retry` says that it is ours.
    "not_ours": frozenset({"assembling", "held"}),
    # Until an operator's `retry`, or `deliver` where there was a report.
    "cancelled": frozenset({"assembling", "ready", "reported", "delivered"}),
}

REVISION: dict[str, frozenset[str]] = {
    "ready": frozenset({"running", "held", "failed", "superseded"}),
    "running": frozenset({"ready", "held", "reported", "not_evaluated", "failed", "superseded"}),
    "held": frozenset({"ready", "failed", "superseded"}),
    # To `ready`: its results vanished before they were delivered.
    "reported": frozenset({"delivered", "failed", "superseded", "ready"}),
    "delivered": frozenset({"superseded", "reported"}),
    "not_evaluated": frozenset({"superseded", "ready"}),
    "failed": frozenset({"ready", "reported", "superseded"}),
    "superseded": frozenset(),
}

DELIVERY: dict[str, frozenset[str]] = {
    "pending": frozenset({"sending", "cancelled", "refused", "failed"}),
    "sending": frozenset({"pending", "stored", "delivered", "failed", "cancelled"}),
    "stored": frozenset({"delivered", "pending", "failed", "cancelled"}),
    "delivered": frozenset({"pending"}),
    # A storage commitment report may come after we gave up waiting for it.
    "failed": frozenset({"pending", "cancelled", "delivered"}),
    "cancelled": frozenset({"pending"}),
    "refused": frozenset({"pending"}),
}

# Instances that may be part of an exam: a file that is gone is known all the same, by its facts.
KNOWN_STATES = ("stored", "lost", "purging", "purged")

# Code of a hold that is no matter of identity: assembly's `too_many`.
TOO_MANY = "too-many-instances"
JUDGING_FAILED = "judging-failed"

# Studies in these states have nothing under way and nothing to wait for.
SETTLED = frozenset({"delivered", "not_evaluated", "expired", "not_ours", "cancelled"})


def check(table: dict[str, frozenset[str]], old: str, new: str) -> None:
    """Raise unless `old` → `new` is a legal step (staying is)."""
    if old != new and new not in table[old]:
        raise AssertionError(f"no such transition: {old} → {new}")

"""Every state of everything that the ledger moves, which state may follow which, and the groups they form.

`daemon/ledger/moves.py` writes states and refuses a step that is not in these tables. `docs/states.md` is drawn from
them (`script/describe-states`). A new state is an entry here and the code that produces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class State:
    """One state. `next`: states that may follow; staying always may. `first`: a new row may begin here.

    `moved_on_by`: who moves a row on from here after a crash; empty where nothing is left to do.
    """

    meaning: str
    next: frozenset[str]
    moved_on_by: str = ""
    first: bool = False


Steps = Mapping[str, State]


def _state(meaning: str, follow: str = "", moved_on_by: str = "", *, first: bool = False) -> State:
    return State(meaning, frozenset(follow.split()), moved_on_by, first)


# What a study shows of its newest revision. Judged again, it may turn out to be what had been reported already.
_OF_A_REVISION = "running reported delivered not_evaluated failed"
_ASSEMBLY = "assembly, on arrival or when due"
_SWEEP = "the sweep enqueues it again"
_RETRY = "an operator: `axrad retry`"

STUDY: Steps = {
    "assembling": _state(
        "still arriving", f"waiting held ready expired not_ours cancelled {_OF_A_REVISION}", _ASSEMBLY, first=True
    ),
    "waiting": _state(
        "something is missing", f"assembling held ready expired not_ours cancelled {_OF_A_REVISION}", _ASSEMBLY
    ),
    "held": _state(
        "an operator must look", f"assembling waiting ready expired not_ours cancelled {_OF_A_REVISION}", _RETRY
    ),
    "ready": _state("queued", "running assembling failed held reported not_evaluated cancelled", _SWEEP),
    "running": _state(
        "being analysed", "reported not_evaluated failed assembling ready held cancelled", "the sweep, lease over"
    ),
    "reported": _state(
        "report made, delivery under way", "delivered failed assembling held ready cancelled", "its deliveries"
    ),
    "delivered": _state("report delivered, or nowhere to go", "assembling held reported ready"),
    "not_evaluated": _state("could not be evaluated", "assembling held ready"),
    "failed": _state("set aside after errors", "assembling ready reported held cancelled", _RETRY),
    # To what its revision shows: one that is to be done again keeps its report, whose deliveries go on.
    "expired": _state("given up waiting, or a prior", f"assembling held {_OF_A_REVISION}", "assembly, on arrival"),
    "not_ours": _state(
        "of another part of the body", f"assembling held {_OF_A_REVISION}", f"assembly, on arrival; {_RETRY}"
    ),
    "cancelled": _state(
        "stopped by an operator", "assembling ready reported delivered", f"{_RETRY}; `axrad deliver` where reported"
    ),
}

REVISION: Steps = {
    # To a result without `running`: its analysis had been done, and it was only reported.
    "ready": _state("queued", "running held reported not_evaluated failed superseded", _SWEEP, first=True),
    "running": _state(
        "a worker has begun", "ready held reported not_evaluated failed superseded", "the sweep, lease over"
    ),
    "held": _state("stopped with its study", "ready failed superseded", "the verdict that releases its study"),
    # To `ready`: its results vanished before they were delivered.
    "reported": _state("report made", "delivered failed superseded ready", "its deliveries"),
    "delivered": _state("every delivery of its report is proven or closed", "superseded reported"),
    "not_evaluated": _state("finished without a prediction", "superseded ready"),
    "failed": _state("set aside after errors, or cancelled", "ready reported superseded", _RETRY),
    "superseded": _state("replaced by newer inputs"),
}

STAGE: Steps = {
    "analyse": _state("is analysed next", "report done", _SWEEP, first=True),
    # To `analyse`: its results vanished.
    "report": _state("is reported next", "analyse done", _SWEEP),
    "done": _state("nothing is left for a worker", "analyse"),
}

DELIVERY: Steps = {
    "pending": _state("to be sent", "sending cancelled refused failed", _SWEEP, first=True),
    "sending": _state("a worker sends it", "pending stored delivered failed cancelled", "the sweep, lease over"),
    "stored": _state("taken by the destination, not proven", "delivered pending failed cancelled", _SWEEP),
    "delivered": _state("proven to be at the destination", "pending"),
    # A storage commitment report may come after we gave up waiting for it.
    "failed": _state("set aside: a dead letter", "pending cancelled delivered", "an operator: `axrad deliver`"),
    "cancelled": _state("not wanted any more", "pending"),
    "refused": _state("must not go there", "pending", first=True),
}

FETCH: Steps = {
    "pending": _state("to be fetched or asked", "fetching cancelled", _SWEEP, first=True),
    "fetching": _state("a worker is at it", "pending done failed cancelled", "the sweep, lease over"),
    # What came and is missed again, what was given up, and what is wanted again are fetched anew.
    "done": _state("came, or was answered", "pending"),
    "failed": _state("given up", "pending", "new arrivals, or an operator: `axrad retry`"),
    "cancelled": _state("not needed any more", "pending"),
}

PROPOSAL: Steps = {
    "pending": _state(
        "to be made and sent", "sent accepted edited empty failed rejected superseded", _SWEEP, first=True
    ),
    "sent": _state("at its destinations; waits for a reader", "accepted edited rejected superseded"),
    "accepted": _state("a reader has accepted it, or one kind of region of it", "edited superseded"),
    "edited": _state("a reader has drawn its regions, or edited them", "superseded"),
    # For ever: what it was made from is not proposed again.
    "rejected": _state("a reader has rejected it, or one of the same measurements"),
    "empty": _state("no region could be proposed", "superseded"),
    "failed": _state("set aside after errors", "superseded"),
    "superseded": _state(
        "other measurements came, or the study was cancelled", "pending", "a verdict that asks for it again"
    ),
}

INSTANCE: Steps = {
    "stored": _state("in the spool, part of an exam", "lost purging unreadable", first=True),
    "ignored": _state("in the spool, of no use to axrad", "lost purging unreadable", first=True),
    "unreadable": _state("in the spool, cannot be read or is set aside", "lost purging stored ignored", first=True),
    "lost": _state("its file vanished", "stored ignored unreadable", "the sender, or a fetch", first=True),
    "purging": _state("retention removes its file", "purged stored ignored unreadable", "the next round of retention"),
    "purged": _state("removed by retention", "stored ignored unreadable"),
}

# Groups of studies

# States in which a study shows its newest revision.
OF_A_REVISION = frozenset(_OF_A_REVISION.split())
# Its revision has a result, or is about to: results that vanish are made again.
AS_ITS_REVISION = OF_A_REVISION - {"failed"}
# A study shows no revision, so that a verdict decides what it shows.
BEFORE_A_REVISION = ("assembling", "waiting", "held", "expired", "not_ours")
# New data put the study back to `assembling`.
WOKEN_BY_ARRIVALS = ("waiting", "expired", "not_ours")
# Not reported yet, and nobody has to decide anything.
UNJUDGED = ("assembling", "waiting")
# Nothing is under way and nothing is waited for.
SETTLED = frozenset({"delivered", "not_evaluated", "expired", "not_ours", "cancelled"})
UNSETTLED = tuple(name for name in STUDY if name not in SETTLED)
# Somebody has to do something: what `axrad status` lists.
STUCK = ("held", "failed", "waiting")
# A verdict after which nothing more is fetched for the study.
NOT_FETCHED_FOR = ("ready", "expired", "not_ours", "held")
# A verdict for another cause than inputs that are missing.
NOT_FOR_LACK = ("held", "not_ours")
# Nothing is known yet, or wanted, of what a study's answers lack.
LACK_UNTOLD = ("assembling", "cancelled")
# An operator may ask for a new revision of the same inputs.
MAY_BE_REDONE = ("reported", "delivered", "not_evaluated", "failed")

# Orders that the console offers for an exam.
RETRY_OFFERED = ("failed", "cancelled", "not_ours", "held")
NEW_REVISION_OFFERED = ("reported", "delivered", "not_evaluated", "held")
DELIVERY_OFFERED = ("reported", "delivered", "not_evaluated", "cancelled")
MAY_BE_CANCELLED = tuple(name for name, state in STUDY.items() if "cancelled" in state.next)

# Groups of revisions

# A worker may claim it, as its stage says.
REVISION_OPEN = ("ready", "running")
STAGE_OPEN = ("analyse", "report")
# It has a result that may be sent.
FINISHED = ("reported", "delivered", "not_evaluated")
# It ended without a prediction.
WITHOUT_PREDICTION = ("not_evaluated", "failed")
# Its result is still needed: for its report, or by a destination.
RESULT_NEEDED = ("running", "reported", "not_evaluated")

# Groups of deliveries

# A worker may claim it; of a `stored` one the proof is asked for.
DELIVERY_OPEN = ("pending", "sending", "stored")
# To be sent, or being sent.
UNSENT = ("pending", "sending")
DEAD_LETTER = ("failed",)
# Nothing more of it will reach the destination.
DELIVERY_OVER = ("delivered", "refused", "cancelled")
NEVER_DELIVERED = ("cancelled", "refused")
# The destination has taken it: a reader may have it.
AT_DESTINATION = ("delivered", "stored")
# Closed where its destination is gone: whatever can be cancelled.
NOT_DELIVERED = tuple(name for name, state in DELIVERY.items() if "cancelled" in state.next)
# Stopped with the study or revision: not taken by the destination, as far as is known.
STOPPABLE = tuple(name for name in NOT_DELIVERED if name not in AT_DESTINATION)
# A storage commitment report can change it.
AWAITS_COMMITMENT = ("sending", "stored", "failed")

# Groups of fetches

FETCH_OPEN = ("pending", "fetching")
# An operator's `retry` starts it anew; what was cancelled was not needed any more.
FETCH_WANTED = ("pending", "fetching", "done", "failed")

# Groups of proposals

PROPOSAL_OPEN = ("pending",)
# It is the newest of its study until other measurements come.
PROPOSAL_STANDS = tuple(name for name in PROPOSAL if name != "superseded")
# A newer one takes its place.
PROPOSAL_REPLACED = tuple(name for name, state in PROPOSAL.items() if "superseded" in state.next)
AWAITS_READER = ("sent",)
# A reader has said what becomes of it.
ANSWERED_BY_READER = ("accepted", "edited", "rejected")
# He has said it of the proposal: the same again changes nothing, and a kind that was left open is still answered.
ANSWERED_BY_WORD = ("accepted", "rejected")
# Readers may have seen it, and something of it counts or may count.
TOLD_BY_KIND = ("sent", "accepted")

# Groups of instances

# Part of an exam as far as its facts go: a file that is gone is known all the same.
KNOWN_STATES = ("stored", "lost", "purging", "purged")
GONE = ("lost", "purged", "purging")
WITHOUT_FILE = ("lost", "purged")
# Retention removes its file, or has removed it.
REMOVED = ("purging", "purged")
IN_SPOOL = ("stored", "ignored", "unreadable")
# Its age alone decides when it is removed.
UNUSED = ("ignored", "unreadable")
# May be set aside when its readers die.
READABLE = ("stored", "ignored")

# Codes of reasons

# Why a study is held, where identity is not the matter: assembly's `too_many_verdict`.
TOO_MANY = "too-many-instances"
JUDGING_FAILED = "judging-failed"


def check(table: Steps, old: str, new: str) -> None:
    """Raise unless `old` → `new` is a legal step (staying is)."""
    if old != new and new not in table[old].next:
        raise AssertionError(f"no such transition: {old} → {new}")


def check_first(table: Steps, state: str) -> None:
    """Raise unless a new row may begin in this state."""
    if not table[state].first:
        raise AssertionError(f"nothing begins as {state}")


def may_become(table: Steps, new: str) -> tuple[str, ...]:
    """States from which `new` can be reached in one step, itself included."""
    return tuple(old for old, state in table.items() if old == new or new in state.next)


def those_that_may_become(table: Steps, states: Iterable[str], new: str) -> tuple[str, ...]:
    """`states`, each checked: raise unless every one may become `new`."""
    listed = tuple(states)
    for old in listed:
        check(table, old, new)
    return listed


class CountsAs(StrEnum):
    """What an instance is, other than a part of its exam (empty); its state says where its file is."""

    RESULT = "result"  # axrad made it, and an archive sent it back
    OTHERS = "others"  # of no use to axrad, unless it is a reader's report that was not looked at yet
    FEEDBACK = "feedback"  # looked at for what a reader says of a report
    SET_ASIDE = "set-aside"  # a part of its exam whose readers died of it

"""The ledger in words: what `axrad status`, `studies` and `show` print, and what the console shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from config.schema import Settings
from daemon.assembly.corrected_patient import CODE as PATIENT_CODE
from daemon.finding import Finding, not_ok
from daemon.health import standing_checks
from daemon.ledger import deliveries, heartbeats, set_aside, views, work_order
from daemon.ledger.rows import JsonObject
from daemon.ledger.states import NOT_DELIVERED, STUCK, STUDY, TOO_MANY
from daemon.ledger.tables import breakers
from daemon.listener.supervisor import state as listener_state
from daemon.spool.journal import journal_names
from pipeline.needs import REGION_NAMES, SEQUENCE_TITLES

UID = re.compile(r"\b(?=[\d.]{12})[12](?:\.\d+){2,}")
WORDS = {name: state.meaning for name, state in STUDY.items()}
# Of one study; a report that has nowhere to go has a reason.
WORDS_OF_ONE = WORDS | {"delivered": "report delivered"}
INPUTS = {str(name): words for name, words in (*SEQUENCE_TITLES.items(), *REGION_NAMES.items())}
REMEDIES = {
    "failed": "when the cause is mended: axrad retry {id}",
    "waiting": "send what is missing to this listener; or stop it: axrad cancel {id}",
    "not_evaluated": "the report says so; send what is mended (a new region, say): a new report follows by itself",
    "not_ours": "it is an exam of the breasts: axrad retry {id}",
    "held": "they belong together: axrad retry {id} --accept-identity\nthey do not: axrad cancel {id}",
}
# Of held studies, by why.
BY_CODE = {
    TOO_MANY: "it is no exam: axrad cancel {id}\nit is: raise assembly.max_instances, then axrad retry {id}",
    PATIENT_CODE: "the new Patient ID is right: axrad retry {id} --new-revision\n"
    "it is not: axrad retry {id} --accept-identity",
}
EVENTS = {
    "first-instance": "first instance",
    "received": "received",
    "revision": "complete",
    "ready": "queued",
    "started": "analysis began",
    "analysed": "analysed",
    "reported": "report made",
    "not_evaluated": "not evaluated",
    "delivered-at-destination": "delivered to",
    "stored-at-destination": "stored at",
    "delivered": "delivered everywhere",
    "stays-here": "stays here",
    "judging-failed": "cannot be judged",
    "failed": "set aside",
    "retry": "will be tried again",
    "waiting": "missing",
    "fetch": "asking for",
    "fetch-retry": "will ask again",
    "fetched": "fetched",
    "resent-changed": "sent again",
    "lost": "lost",
    "copies-used": "other copies used",
    "set-aside": "file set aside",
    "taken-up": "file taken up again",
    "series-chosen": "series chosen",
    "choice-cleared": "choice taken back",
    "patient-corrected": "another patient",
    "patient-followed": "another patient",
    "delivery-closed": "delivery closed",
    "fetch-closed": "fetching ended",
    "commitment-not-believed": "not believed",
    "feedback-not-taken": "feedback not taken",
}
# Of these there is one per instance: an exam that a PACS has rewritten comes with hundreds.
PER_INSTANCE = {
    "resent-changed": "{} instances came again, rewritten; `axrad show --json` names each",
    "lost": "{} instances are no longer in the spool; `axrad show --json` names each",
}


def gather(settings: Settings, connection: sa.Connection, now: float) -> JsonObject:
    """Everything `axrad status` knows, from the ledger and this machine's disk alone."""
    running, announced = work_order.under_way(connection, now)
    last_sweep = heartbeats.last_sign(connection, "sweep")
    since = now - heartbeats.WORKER_GONE_S
    rows = connection.execute(sa.select(breakers).where(breakers.c.failures > 0).order_by(breakers.c.destination)).all()
    stuck = [s for state in STUCK for s in views.list_studies(connection, state, limit=5)]
    listener = listener_state(settings)
    checks = [*standing_checks.of_machine(settings, listener, now), *standing_checks.broker(settings)]
    checks += standing_checks.of_ledger(connection, settings, now)
    counts = views.counts(connection, now)
    # Of a destination that is gone, only what is still to be closed is of interest.
    configured = {d.name for d in settings.destination}
    counts["deliveries"] = {
        name: states
        for name, states in counts["deliveries"].items()
        if name in configured or set(NOT_DELIVERED) & states.keys()
    }
    return counts | {
        "stuck": stuck,
        "running": running,
        "announced": announced,
        "workers": [
            {"name": w.name, "seen_s": round(now - w.at, 1), **w.detail}
            for w in heartbeats.signs_of(connection, "worker", since)
        ],
        "sweep_s": None if last_sweep is None else round(now - last_sweep.at, 1),
        "destinations_down": [
            {"destination": b.destination, "for_s": round(now - b.failing_since, 1), "reason": b.reason} for b in rows
        ],
        "dead_letters": deliveries.dead_letters(connection),
        "set_aside": set_aside.listed(connection),
        "listener": listener,
        "journals": len(journal_names(settings.spool.path / "journal")),
        "disk_free_bytes": next((check.value for check in checks if check.code == "disk"), None),
        "checks": [asdict(check) for check in checks],
    }


def advice(facts: JsonObject) -> Iterator[str]:
    """What needs a person, and what to do about it; nothing, when all is well."""
    for finding in not_ok(Finding(**check) for check in facts["checks"]):
        yield finding.sentence


def remedies_of(study: JsonObject) -> list[str]:
    """What an operator can do about a study, one sentence each; nothing where nobody has to."""
    remedy = BY_CODE.get(study["reason_code"]) or REMEDIES.get(study["state"], "")
    return remedy.format(id=study["id"]).splitlines()


def arrivals_of(study: JsonObject) -> Iterator[JsonObject]:
    for a in study["arrivals"]:
        who = a["calling_ae"] or "the file system"
        yield {"at": a["last_at"], "kind": "received", "who": who, **a}


def grouped(events: Sequence[JsonObject]) -> list[JsonObject]:
    """What came from one sender in a row, and what happened to many instances, is one line; `show --json` has each."""
    lines: list[JsonObject] = []
    for event in events:
        last = lines[-1] if lines else None
        if "who" in event and last and last.get("who") == event["who"]:
            count = last["instances"] + event["instances"]
            lines[-1] = event | {"instances": count, "associations": last["associations"] + 1}
        elif last and last["kind"] == event["kind"] and event["kind"] in PER_INSTANCE:
            lines[-1] = event | {"several": last.get("several", 1) + 1}
        else:
            lines.append(event | {"associations": 1})
    return [e | {"detail": _summed_up(e)} for e in lines]


def _summed_up(event: JsonObject) -> str:
    if "who" in event:
        return _arrived(event)
    if "several" in event:
        return PER_INSTANCE[event["kind"]].format(event["several"])
    return str(event["detail"])


def _arrived(event: JsonObject) -> str:
    how = f"{event['associations']} associations, the last"
    if event["associations"] == 1:
        how = "association"
    number = event["instances"]
    return f"{number} instance{'s' * (number != 1)} from {event['who']}, {how} {event['association'] or 'unknown'}"


def age(seconds: float) -> str:
    """A duration as a person says it."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def bytes_in_words(number: float) -> str:
    for size, name in ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB")):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return f"{number / 1024:.0f} KiB"


def in_words(state: str, reason: str) -> str:
    """State and reason, which is made of noun phrases, as one sentence. What to type is said by whoever prints it."""
    return f"waiting, missing: {reason}" if state == "waiting" else f"{state}: {reason}"


def brief(reason: str) -> str:
    """A reason for one line of a list: of UIDs only their end."""
    return UID.sub(lambda uid: f"…{uid[0][-6:]}", reason)

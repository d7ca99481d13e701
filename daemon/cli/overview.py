"""The ledger in words: what `axrad status`, `studies` and `show` print, in at most 100 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.schema import Settings
from daemon.assembly.corrected_patient import CODE as PATIENT_CODE
from daemon.cli.wording import WIDTH, age, brief, bytes_in_words, hanging, in_words
from daemon.finding import Finding, not_ok
from daemon.health import standing_checks
from daemon.ledger import deliveries, heartbeats, set_aside, views, work_order
from daemon.ledger.rows import JsonObject
from daemon.ledger.states import LACK_UNTOLD, NOT_DELIVERED, STUCK, STUDY, TOO_MANY, WITHOUT_FILE
from daemon.ledger.tables import breakers
from daemon.listener.supervisor import state as listener_state
from daemon.spool.journal import journal_names
from pipeline.needs import REGION_NAMES, SEQUENCE_TITLES

WORDS = {name: state.meaning for name, state in STUDY.items()}
# Of one study; a report that has nowhere to go has a reason.
WORDS_OF_ONE = WORDS | {"delivered": "report delivered"}
INPUTS = {str(name): words for name, words in (*SEQUENCE_TITLES.items(), *REGION_NAMES.items())}
COLOURS = {"held": "yellow", "failed": "red", "waiting": "cyan", "delivered": "green", "not_evaluated": "magenta"}
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
    "set-aside": "file set aside",
    "taken-up": "file taken up again",
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


def print_status(out: Console, facts: JsonObject) -> None:
    """Counts, what runs, what is stuck and why, what to do; or that there is nothing to do."""
    if not facts["studies"]:
        out.print("No study has arrived yet.")
    table = Table("studies", "", "oldest", box=None, show_header=bool(facts["studies"]))
    for state, words in WORDS.items():
        row = facts["studies"].get(state)
        if row:
            text = Text.assemble((state, COLOURS.get(state, "")), f": {words}")
            table.add_row(str(row["count"]), text, age(row["oldest_s"]))
    out.print(table)
    for destination, states in facts["deliveries"].items():
        hanging(out, f"to {destination}: " + ", ".join(f"{n} {state}" for state, n in sorted(states.items())))
    hanging(out, _machinery(facts))
    hanging(out, _disk(facts))
    for letter in facts["dead_letters"][:5]:
        hanging(out, f"set aside for {letter['destination']}: study {letter['study']}: {letter['reason']}")
    for line in _set_aside(facts):
        hanging(out, line)
    for study in facts["stuck"]:
        reason = " " + in_words(study["state"], study["reason"])
        hanging(out, reason, head=study["id"], head_style=COLOURS.get(study["state"], ""))
        _print_remedies(out, study, "    ")
    todo = list(advice(facts))
    for sentence in todo:
        hanging(out, sentence, style="yellow")
    if not todo and not facts["stuck"]:
        out.print("All is well: nothing waits for you.")


def _set_aside(facts: JsonObject) -> Iterator[str]:
    """Files whose readers died, as far as one wants to read of them."""
    for item in facts["set_aside"][:5]:
        sender = item["calling_ae"] or "an unknown sender"
        yield f"set aside: instance {item['sop_instance_uid']} from {sender}: {item['reason']}"


def _machinery(facts: JsonObject) -> str:
    listener = facts["listener"]
    heard = "no listener here"
    if listener is not None:
        heard = f"listening at {listener['host']}:{listener['port']}, {listener['associations']} associations open"
    processes = sum(w["processes"] for w in facts["workers"] if "analyse" in w["queues"])
    swept = "never" if facts["sweep_s"] is None else f"{age(facts['sweep_s'])} ago"
    return f"{heard}; {processes} analysis processes, {facts['running']} busy; last sweep {swept}"


def _disk(facts: JsonObject) -> str:
    stored_bytes = sum(row["bytes"] for state, row in facts["instances"].items() if state not in WITHOUT_FILE)
    free = facts["disk_free_bytes"]
    left = "" if free is None else f", {bytes_in_words(free)} free"
    return f"disk of the spool: {bytes_in_words(stored_bytes)} of images and regions{left}"


def print_studies(out: Console, listed: Sequence[JsonObject], now: float) -> None:
    """One line per study; `axrad show` has reasons in full."""
    if not listed:
        out.print("There is no such study.")
        return
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0))
    for name, width in (("study", 16), ("state", 13), ("rev", 3), ("images", 6), ("changed", 7)):
        table.add_column(name, no_wrap=True, width=width)
    table.add_column("reason", no_wrap=True, overflow="ellipsis", ratio=1)
    for s in listed:
        where = ", ".join(f"{d['destination']}: {d['state']}" for d in s["deliveries"] if d["state"] != "delivered")
        marks = " ".join(m for m in (s["priority"], s["role"]) if m not in ("routine", "current"))
        reason = brief(s["reason"]) or where or s["flagged"]
        table.add_row(
            s["id"],
            Text(s["state"], style=COLOURS.get(s["state"], "")),
            str(s["revision"]),
            str(s["instances"]),
            age(now - s["changed_at"]),
            Text(" ".join(x for x in (f"({marks})" if marks else "", reason) if x)),
        )
    out.print(table)
    settled = [s for s in listed if s["state"] not in LACK_UNTOLD]
    lacked = Counter(", ".join(INPUTS[name] for name in s["lacked"]) for s in settled if s["lacked"])
    if lacked:
        # The most frequent first; of equals not whatever exam was listed first, which changes from one day to the next.
        by_number = sorted(lacked.items(), key=lambda item: (-item[1], item[0]))
        counted = "; ".join(f"{words}: {number}" for words, number in by_number)
        hanging(out, f"lacked, of what the first signature reads: {counted}")


def print_timeline(out: Console, study: JsonObject, settings: Settings) -> None:
    """One study, from its first instance to the proof of its delivery."""
    zone = ZoneInfo(settings.site.timezone)
    hanging(out, f"study {study['id']}  {in_words(study['state'], study['reason'] or WORDS_OF_ONE[study['state']])}")
    out.print(f"Study Instance UID {study['study_uid']}")
    out.print(
        f"{study['instances']} instances, {study['priority']}, role {study['role']}, revision {study['revision']}"
    )
    if study["flagged"]:
        hanging(out, f"note: {study['flagged']}")
    out.print(_events(study, zone))
    for line in _set_aside(study):
        hanging(out, line)
    for item in study["deliveries"]:
        rest = " ".join(x for x in (item["proof"] and f"({item['proof']})", item["reason"]) if x)
        hanging(out, f"to {item['destination']}: {item['state']} {rest}")
    _print_remedies(out, study)


def _print_remedies(out: Console, study: JsonObject, indent: str = "") -> None:
    remedy = BY_CODE.get(study["reason_code"]) or REMEDIES.get(study["state"], "")
    for line in remedy.format(id=study["id"]).splitlines():
        out.print(f"{indent}→ {line}", soft_wrap=True)


def _events(study: JsonObject, zone: ZoneInfo) -> Table:
    """Each day, and below it what happened when."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name in ("time", "passed", "event"):
        table.add_column(no_wrap=True, justify="right" if name == "passed" else "left")
    table.add_column(overflow="fold")
    day, before, printed = "", None, {"", study["reason"]}
    for event in _grouped(sorted([*study["events"], *_arrivals(study)], key=lambda e: e["at"])):
        when = datetime.fromtimestamp(event["at"], tz=zone)
        passed = "" if before is None else f"+{age(event['at'] - before)}"
        before = event["at"]
        if f"{when:%Y-%m-%d}" != day:
            day = f"{when:%Y-%m-%d}"
            table.add_row(day)
        # A long reason is told once: above, or where it was given first. The event's name says that it is missing.
        detail = "" if event["detail"] in printed else event["detail"]
        printed.add(detail if len(detail) > WIDTH // 2 else "")
        table.add_row(f"  {when:%H:%M:%S}", passed, EVENTS.get(event["kind"], event["kind"]), Text(detail))
    return table


def _arrivals(study: JsonObject) -> Iterator[JsonObject]:
    for a in study["arrivals"]:
        who = a["calling_ae"] or "the file system"
        yield {"at": a["last_at"], "kind": "received", "who": who, **a}


def _grouped(events: Sequence[JsonObject]) -> list[JsonObject]:
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

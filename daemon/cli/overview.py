"""The ledger at a terminal: what `axrad status`, `studies` and `show` print, in at most 100 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.schema import Settings
from daemon.cli.wording import WIDTH, hanging
from daemon.ledger.rows import JsonObject
from daemon.ledger.states import LACK_UNTOLD, WITHOUT_FILE
from daemon.ledger_in_words import (
    EVENTS,
    INPUTS,
    WORDS,
    WORDS_OF_ONE,
    advice,
    age,
    arrivals_of,
    brief,
    bytes_in_words,
    grouped,
    in_words,
    remedies_of,
)
from pipeline.needs import SEQUENCE_TITLES

COLOURS = {"held": "yellow", "failed": "red", "waiting": "cyan", "delivered": "green", "not_evaluated": "magenta"}


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
    if exams := facts["packed"].get("exams"):
        left += f"; {exams['count']} old exams are packed in the ledger ({bytes_in_words(exams['bytes'])})"
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
    if len(study["spools"]) > 1 or study["spools"].keys() - {settings.spool.id}:
        out.print("in the spools " + ", ".join(f"{name} ({n})" for name, n in study["spools"].items()))
    if study["flagged"]:
        hanging(out, f"note: {study['flagged']}")
    for name, uid in study["chosen_series"].items():
        hanging(out, f"{SEQUENCE_TITLES[name]}: series {uid}, chosen by an operator")
    out.print(_events(study, zone))
    for line in _set_aside(study):
        hanging(out, line)
    for item in study["deliveries"]:
        rest = " ".join(x for x in (item["proof"] and f"({item['proof']})", item["reason"]) if x)
        hanging(out, f"to {item['destination']}: {item['state']} {rest}")
    _print_remedies(out, study)


def _print_remedies(out: Console, study: JsonObject, indent: str = "") -> None:
    for line in remedies_of(study):
        out.print(f"{indent}→ {line}", soft_wrap=True)


def _events(study: JsonObject, zone: ZoneInfo) -> Table:
    """Each day, and below it what happened when."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name in ("time", "passed", "event"):
        table.add_column(no_wrap=True, justify="right" if name == "passed" else "left")
    table.add_column(overflow="fold")
    day, before, printed = "", None, {"", study["reason"]}
    for event in grouped(sorted([*study["events"], *arrivals_of(study)], key=lambda e: e["at"])):
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

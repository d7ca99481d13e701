"""`axrad refused`: what was not taken in, from whom, why, and what to do. Reads the audit trail of this machine."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table

from config.load import load
from config.schema import Settings
from daemon import audit
from daemon.cli.options import config_option, json_option
from daemon.cli.wording import console, hanging
from daemon.ledger.rows import JsonObject
from daemon.listener import statuses

AGAIN = "the sender comes back by itself; nothing to do if this is over"
SENDER = "the sending system makes invalid objects: tell whoever looks after it, with time and AE title"
MEANING = {r.reason: r.comment for r in statuses.ALL} | {
    "unknown-peer": "no [[peer]] has this AE title and address",
    "not-its-certificate": "its certificate is not in certificates of its [[peer]], or belongs to another AE title",
    "other-called-title": "it did not call us by called_ae of its [[peer]]",
    "too-many-associations": "listen.max_associations were open",
    "too-many-associations-of-peer": "listen.max_associations_per_peer were open",
    "not-authorised": "`may` of its [[peer]], or the role that it asked for, does not let it store this; or it came by "
    "a C-MOVE of ours and had not been asked for",
}
REMEDIES = {
    "unknown-peer": "if it may send: list it under [[peer]], restart `axrad listen`, and have it send again",
    "not-its-certificate": "list its certificate's name there if it is that peer and restart; else find out who it is",
    "other-called-title": "mend the called AE title at the sender, or called_ae here, and restart `axrad listen`",
    "too-many-associations": f"raise the limit if it happens often; {AGAIN}",
    "too-many-associations-of-peer": f"raise the limit if it happens often; {AGAIN}",
    "disk-low": "make room on the spool's disk (`axrad status`); the sender comes back by itself",
    "write-failed": "look at disk and permissions of the spool (`axrad doctor`); the sender comes back by itself",
    "too-large": "raise listen.max_instance_bytes if such objects are wanted, and have it sent again",
    "class-not-accepted": SENDER,
    "not-authorised": "add the right to `may` of its [[peer]] if it may, or mend the sender's role selection",
    "failed": "the log of the listener has the line `instance refused`; have it sent again",
}
FLOOD = "refusals-flood"
# What is refused beside associations and instances: what it means, what to do.
ALERTS = {
    FLOOD: (
        "more than 30 of the same kind from the same address within a minute; further ones are only counted",
        "find out what sends there, and keep it away (`networks` of its [[peer]], spool.share_networks, the firewall)",
    ),
    "right-lacking": (
        "`may` of its [[peer]] does not have this right",
        "if it may: add the right to `may` and restart `axrad listen`; else have the sender leave it",
    ),
    "tls-handshake": (
        "no TLS connection came about; the text behind it says why, `no shared cipher` that the sender offers only "
        "suites without forward secrecy or authenticated encryption",
        "mend certificate or cipher suites at the sender; docs/security.md, *Devices with old TLS*",
    ),
    "wrong-token": (
        "it showed no token of the shared spool",
        "if it is a worker, give it the token files of this host; else find out who it is",
    ),
    "token-lacks-scope": (
        "its token of the shared spool is for the other of reading and writing",
        "a worker needs both spool.share_read_token_file and spool.share_write_token_file",
    ),
    "address-not-listed": (
        "its address is not in spool.share_networks",
        "if it is a worker, add it there and restart `axrad listen`; else find out who it is",
    ),
}


@click.command()
@config_option
@json_option
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The newest so many.")
def refused(config_path: Path | None, as_json: bool, limit: int) -> None:
    """What this machine's listener refused: from whom, why, and what to do."""
    settings = load(config_path)
    refusals_found = list(refusals(audit.trail_path(settings), limit))
    if as_json:
        click.echo(json.dumps({"refused": refusals_found}))
        return
    out = console()
    if not settings.audit.enabled:
        hanging(out, "The audit trail is off (audit.enabled): only the listener's log says what is refused.")
    elif not refusals_found:
        out.print("Nothing has been refused.")
    else:
        _print(out, refusals_found, settings)


def refusals(path: Path, limit: int) -> Iterator[JsonObject]:
    """The last of the trail's lines that are about associations or instances which were not taken, oldest first."""
    wanted: deque[JsonObject] = deque(maxlen=limit)
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if f'"EventOutcomeIndicator":{audit.SUCCESS},' in line:
                    continue
                try:
                    refusal = _refusal(line)
                except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                    continue  # cut off by a full disk, or somebody else's: `axrad audit verify` names those
                if refusal is not None:
                    wanted.append(refusal)
    yield from wanted


def _refusal(line: str) -> JsonObject | None:
    """Raises ValueError, LookupError, TypeError, AttributeError, RecursionError for a line that is no audit message."""
    message = json.loads(line)
    event, detail = message["EventIdentification"], message.get("axrad", {})
    kind = event["EventID"]["csd-code"]
    if kind == audit.ALERT[0] and message["ActiveParticipant"][0]["RoleIDCode"]["csd-code"] == audit.SOURCE[0]:
        what, reasons = _alert(event, detail)
    elif kind == audit.TRANSFERRED[0] and "refused" in detail:
        what, reasons = "instances", detail["refused"]
    else:
        return None
    sender = message["ActiveParticipant"][0]
    return {
        "at": event["EventDateTime"],
        "calling_ae": sender["AlternativeUserID"].removeprefix("AETITLES="),
        "address": sender["NetworkAccessPointID"],
        "what": what,
        "reasons": reasons,
        "association": detail.get("association"),
    }


def _alert(event: JsonObject, more: JsonObject) -> tuple[str, dict[str, int]]:
    """What was refused, and why: a right that is lacking, a request to the shared spool, else an association."""
    reason = str(event["EventOutcomeDescription"])
    if reason.startswith(FLOOD):
        return reason.removeprefix(f"{FLOOD}: ").partition(";")[0], {FLOOD: 1}
    if event.get("EventTypeCode", {}).get("csd-code") == audit.RESTRICTED_FUNCTION[0]:
        return reason.removeprefix("not authorised: "), {"right-lacking": 1}
    return "share" if more.get("endpoint") == "share" else "association", {reason: 1}


def _print(out: Console, items: Sequence[JsonObject], settings: Settings) -> None:
    """A line per refusal and reason; below, what each reason asks for."""
    zone = ZoneInfo(settings.site.timezone)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("when", "from", "address", "what", "reason"):
        table.add_column(name, no_wrap=name != "reason")
    for item in items:
        when = datetime.fromisoformat(item["at"]).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
        for reason, number in sorted(item["reasons"].items()):
            counted = f"{number} instance" + "s" * (number != 1) if item["what"] == "instances" else item["what"]
            table.add_row(when, item["calling_ae"] or "(not said)", item["address"], counted, reason)
    out.print(table)
    for reason in sorted({r.partition(":")[0].partition(";")[0] for item in items for r in item["reasons"]}):
        unknown = MEANING.get(reason, "the listener's log says more"), REMEDIES.get(reason, SENDER)
        meaning, remedy = ALERTS.get(reason, unknown)
        hanging(out, f"{reason}: {meaning[0].lower()}{meaning[1:]}. What to do: {remedy}.")

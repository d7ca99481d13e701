"""`axrad status | studies | show | retry | deliver`: the ledger, read and nudged. Works while all else is down."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table

from config.load import load
from config.schema import Settings
from daemon.cli.options import config_option, json_option
from daemon.ledger import Ledger, open_ledger, operate, studies, views
from pipeline.errors import InputRejected

WORDS = {
    "assembling": "still arriving",
    "waiting": "something is missing",
    "held": "an operator must look",
    "ready": "queued",
    "running": "being analysed",
    "reported": "report made, delivery under way",
    "delivered": "report delivered",
    "not_evaluated": "could not be evaluated",
    "failed": "set aside after errors",
    "expired": "given up waiting",
}
COLOURS = {"held": "yellow", "failed": "red", "waiting": "cyan", "delivered": "green", "not_evaluated": "magenta"}


def _open(config_path: Path | None) -> tuple[Settings, Ledger]:
    settings = load(config_path)
    return settings, open_ledger(settings)


def age(seconds: float) -> str:
    """A duration as a person says it."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


@click.command()
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Show it again every two seconds until Ctrl-C.")
def status(config_path: Path | None, as_json: bool, watch: bool) -> None:
    """What is happening, what is stuck, and what to do about it."""
    _, ledger = _open(config_path)
    console = Console(width=100)
    while True:
        with ledger.read() as connection:
            found = views.counts(connection, time.time())
            stuck = [
                s for state in ("held", "failed", "waiting") for s in views.list_studies(connection, state, limit=5)
            ]
        if as_json:
            click.echo(json.dumps(found | {"stuck": stuck}))
        else:
            if watch:
                console.clear()
            _print_status(console, found, stuck)
        if not watch:
            return
        time.sleep(2)


def _print_status(console: Console, found: dict[str, Any], stuck: list[dict[str, Any]]) -> None:
    if not found["studies"]:
        console.print("No study has arrived yet.")
    table = Table("studies", "", "oldest", box=None)
    for state, words in WORDS.items():
        row = found["studies"].get(state)
        if row:
            table.add_row(
                str(row["count"]), f"[{COLOURS.get(state, 'default')}]{state}[/]: {words}", age(row["oldest_s"])
            )
    console.print(table)
    for destination, states in found["deliveries"].items():
        console.print(f"to {destination}: " + ", ".join(f"{n} {state}" for state, n in sorted(states.items())))
    for study in stuck:
        console.print(f"[{COLOURS[study['state']]}]{study['id']}[/] {study['state']}: {study['reason']}")
        if study["state"] == "failed":
            console.print(f"    when the cause is mended: axrad retry {study['id']}")


@click.command(name="studies")
@config_option
@json_option
@click.option("--state", type=click.Choice(list(WORDS)), help="Only studies in this state.")
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True)
def studies_command(config_path: Path | None, as_json: bool, state: str | None, limit: int) -> None:
    """Every study: its state, and for what it waits."""
    _, ledger = _open(config_path)
    with ledger.read() as connection:
        found = views.list_studies(connection, state, limit)
    if as_json:
        click.echo(json.dumps({"studies": found}))
        return
    table = Table("study", "state", "rev", "images", "changed", "reason", box=None)
    now = time.time()
    for s in found:
        where = ", ".join(f"{d['destination']}: {d['state']}" for d in s["deliveries"] if d["state"] != "delivered")
        colour = COLOURS.get(s["state"], "default")
        table.add_row(
            s["id"],
            f"[{colour}]{s['state']}[/]",
            str(s["revision"]),
            str(s["instances"]),
            age(now - s["changed_at"]),
            s["reason"] or where or s["flagged"],
        )
    Console(width=100).print(table)


def _found(connection: Any, name: str) -> Any:
    row = studies.find(connection, name)
    if row is None:
        raise InputRejected(f"the ledger knows no study {name}; `axrad studies` lists those it knows")
    return row


@click.command()
@config_option
@json_option
@click.argument("study")
def show(config_path: Path | None, as_json: bool, study: str) -> None:
    """One study's timeline. STUDY: opaque id or Study Instance UID."""
    settings, ledger = _open(config_path)
    with ledger.read() as connection:
        found = views.timeline(connection, _found(connection, study))
    if as_json:
        click.echo(json.dumps(found))
        return
    console = Console(width=100)
    zone = ZoneInfo(settings.site.timezone)
    console.print(f"study {found['id']}  {found['state']}: {found['reason'] or WORDS[found['state']]}")
    console.print(f"Study Instance UID {found['study_uid']}, {found['instances']} instances, role {found['role']}")
    for event in found["events"]:
        when = datetime.fromtimestamp(event["at"], tz=zone).strftime("%Y-%m-%d %H:%M:%S")
        console.print(f"  {when}  {event['kind']:<24} {event['detail']}")
    for item in found["deliveries"]:
        console.print(f"  to {item['destination']}: {item['state']} {item['proof']} {item['reason']}")


@click.command()
@config_option
@click.argument("study")
@click.option("--new-revision", is_flag=True, help="Redo a study that was reported.")
@click.option("--accept-identity", is_flag=True, help="Release a study held because its patient identity changes.")
def retry(config_path: Path | None, study: str, new_revision: bool, accept_identity: bool) -> None:
    """Repeat a failed study."""
    _, ledger = _open(config_path)
    with ledger.write() as connection:
        row = _found(connection, study)
        said = operate.retry(connection, row, time.time(), new_revision=new_revision, accept_identity=accept_identity)
    click.echo(said)


@click.command()
@config_option
@click.argument("study")
@click.option("--to", "destination", help="Only this destination.")
def deliver(config_path: Path | None, study: str, destination: str | None) -> None:
    """Send a study's report again, byte for byte."""
    _, ledger = _open(config_path)
    with ledger.write() as connection:
        opened = operate.deliver(connection, _found(connection, study), time.time(), destination)
    click.echo(f"{len(opened)} deliveries are queued")

"""`axrad feedback import`: outcomes of pathology, from a table."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from config.load import load
from daemon import audit
from daemon.cli.options import config_option, json_option
from daemon.feedback.feedback_records import store_outcomes
from daemon.feedback.pathology import read_outcomes
from daemon.ledger import existing_ledger
from daemon.ledger.rows import JsonObject
from daemon.ledger.spools import home_in
from daemon.share.spool_files import files_of


@click.group()
def feedback() -> None:
    """What pathology found, stored beside what was predicted. `axrad studies --feedback` lists it."""


@feedback.command(name="import")
@config_option
@json_option
@click.argument("table", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_(config_path: Path | None, as_json: bool, table: Path) -> None:
    """Store the outcomes in TABLE: a CSV with the columns study_uid, outcome (positive or negative), perhaps side."""
    settings = load(config_path)
    outcomes = read_outcomes(table)
    ledger = existing_ledger(settings)
    files = files_of(settings, home_in(ledger))
    with ledger.write() as connection:
        result = store_outcomes(connection, lambda name: files.get(name, "result.json"), outcomes, time.time())
    audit.operator_action(settings, "feedback-import", detail=f"{result.stored} outcomes")
    if as_json:
        click.echo(json.dumps({"stored": result.stored, "unknown": list(result.unknown)}))
        return
    click.echo(f"{result.stored} outcomes are stored")
    if result.unknown:
        click.echo(f"{len(result.unknown)} studies are not in the ledger, the first: {result.unknown[0]}", err=True)


def print_feedback(out: Console, statements: list[JsonObject]) -> None:
    """One line per verdict, newest first."""
    if not statements:
        out.print("Nobody has said anything of a result yet.")
        return
    table = Table("study", "side", "who", "said", "predicted", "signature", "author as claimed", box=None)
    for one in statements:
        predicted = "" if one["probability"] is None else f"{one['probability']:.2f} {one['category']}"
        author = " from ".join(x for x in (one["author_claimed"] or "", one["from"] or "") if x)
        values = (one["study"], one["side"] or "", one["source"], one["verdict"], predicted, one["signature"], author)
        table.add_row(*values)
    out.print(table)

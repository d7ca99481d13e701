"""`axrad audit verify`: whether the audit trail is as it was written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from config.load import load
from config.schema import Settings
from daemon import audit as trail
from daemon.audit_trail.chain import Link, last_link
from daemon.audit_trail.verification import Verdict, files_of_trail
from daemon.audit_trail.verification import verify as verify_files
from daemon.cli.options import config_option, json_option
from daemon.ledger import audit_anchors, existing_ledger
from pipeline.errors import InputRejected

MOST_SHOWN = 20


@click.group()
def audit() -> None:
    """The audit trail: who was given, used, made, sent and ordered what."""


@audit.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--without-ledger", is_flag=True, help="Only the files: where the ledger is not at hand.")
@config_option
@json_option
def verify(files: tuple[Path, ...], without_ledger: bool, config_path: Path | None, as_json: bool) -> None:
    """Whether lines were changed, removed, added or put in another order; exit 1 if so.

    FILES, the oldest first (also .gz); default: the trail of the settings and what was rotated away beside it.
    """
    settings = load(config_path)
    recorded = _recorded(settings, without_ledger=without_ledger)
    chosen = list(files) or files_of_trail(trail.trail_path(settings))
    if not chosen and not recorded:
        raise InputRejected(f"there is no audit trail at {trail.trail_path(settings)}", code="no-audit-trail")
    verdict = verify_files(chosen, recorded)
    if as_json:
        ends = {name: [verdict.first[name], link.number] for name, link in verdict.last.items()}
        facts = {"lines": verdict.lines, "unchained": verdict.unchained, "trails": ends, "faults": verdict.faults}
        click.echo(json.dumps(facts))
    else:
        _print(verdict)
    if verdict.faults:
        sys.exit(1)


def _recorded(settings: Settings, *, without_ledger: bool) -> list[Link]:
    """What ledger and the file beside the trail say of its lines; read before the lines, which others go on writing."""
    recorded: list[Link] = []
    if not without_ledger:
        ledger = existing_ledger(settings)
        try:
            with ledger.read() as connection:
                recorded += [Link(*row) for row in audit_anchors.noted(connection)]
        finally:
            ledger.close()
    last = last_link(trail.trail_path(settings))
    return recorded if last is None or last.number == 0 else [*recorded, last]


def _print(verdict: Verdict) -> None:
    for name, last in verdict.last.items():
        click.echo(f"trail {name}: lines {verdict.first[name]} to {last.number}")
    if verdict.unchained:
        click.echo(f"{verdict.unchained} lines are in no chain")
    for fault in verdict.faults[:MOST_SHOWN]:
        click.echo(f"axrad: {fault}", err=True)
    if len(verdict.faults) > MOST_SHOWN:
        click.echo(f"axrad: and {len(verdict.faults) - MOST_SHOWN} more", err=True)
    if not verdict.faults:
        click.echo("as it was written")

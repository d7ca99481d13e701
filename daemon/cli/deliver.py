"""`axrad deliver`: a report again, or to another destination; what was set aside again; what is not wanted any more."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from pathlib import Path

import click
from sqlalchemy import Connection

from config.load import load
from config.schema import Settings
from daemon import audit
from daemon.cli.options import config_option
from daemon.ledger import Ledger, existing_ledger, obsolete, operator_requests, studies
from daemon.ledger.rows import JsonObject, StudyRow
from daemon.ledger.spools import home_in
from daemon.share.spool_files import files_of
from pipeline.errors import InputRejected


@click.command()
@config_option
@click.argument("study", required=False)
@click.option("--to", "destination", help="Only this destination; also one that the report was never meant for.")
@click.option("--all", "set_aside", is_flag=True, help="Every delivery that was set aside, instead of one study's.")
@click.option(
    "--forget",
    "forgotten",
    metavar="NAME",
    help="Close what was set aside for a destination, or waits for one that is gone.",
)
def deliver(
    config_path: Path | None, study: str | None, destination: str | None, set_aside: bool, forgotten: str | None
) -> None:
    """Send a study's report again, byte for byte."""
    if sum((study is not None, set_aside, forgotten is not None)) != 1:
        raise click.UsageError("give a STUDY, or --all for every delivery that was set aside, or --forget NAME")
    if forgotten is not None and destination is not None:
        raise click.UsageError("--forget names its destination itself; leave --to away")
    settings = load(config_path)
    ledger = existing_ledger(settings)
    if forgotten is not None:
        with ledger.write() as connection:
            obsolete.require_heard_of(connection, settings, forgotten)
            closed = obsolete.forget(connection, settings, forgotten, time.time())
        audit.operator_action(settings, "forget", detail=forgotten)
        click.echo(f"{closed} deliveries to {forgotten} are closed")
    elif study is not None:
        row, opened = _one(settings, ledger, study, destination)
        from daemon.work.audit_events import named

        about = named(settings, ledger, audit.Study(row.study_uid, {}, row.id))
        audit.operator_action(settings, "deliver", about, destination or "")
        click.echo(f"{len(opened)} deliveries are queued")
    else:
        opened = _all(settings, ledger, destination)
        audit.operator_action(settings, "deliver", detail=f"{len(opened)} that were set aside")
        click.echo(f"{len(opened)} deliveries are queued")


def _one(settings: Settings, ledger: Ledger, study: str, destination: str | None) -> tuple[StudyRow, list[str]]:
    # Not at the top: it loads what reads results.
    from daemon.work.delivery_opening import send_to

    now = time.time()
    with ledger.write() as connection:
        row = studies.find(connection, study)
        if row is None:
            raise InputRejected(f"the ledger knows no study {study}; `axrad studies` lists those it knows")
        if destination is not None:
            opened = send_to(connection, settings, files_of(settings, home_in(ledger)), row, destination, now)
            if opened is not None:
                return row, [opened]
        known = {d.name for d in settings.destination}
        return row, operator_requests.deliver(connection, row, now, destination, known)


def _all(settings: Settings, ledger: Ledger, destination: str | None) -> list[str]:
    """What must fail is not queued; it is told with the reason."""
    from daemon.work.delivery_opening import why_not

    files, not_sent = files_of(settings, home_in(ledger)), Counter[tuple[str, str]]()

    def may(connection: Connection, letter: JsonObject) -> bool:
        reason = why_not(connection, settings, files, letter)
        if reason:
            not_sent[letter["destination"], reason] += 1
        return not reason

    with ledger.write() as connection:
        if destination is not None:
            obsolete.require_heard_of(connection, settings, destination)
        opened = operator_requests.deliver_dead_letters(connection, time.time(), destination, partial(may, connection))
    for (name, reason), count in not_sent.items():
        click.echo(f"{count} to {name} are left: {reason}; `axrad deliver --forget {name}` closes them", err=True)
    return opened

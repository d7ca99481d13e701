"""`axrad status | studies | show | retry | cancel | prioritise | deliver`: the ledger, read and nudged.

Works while everything else is down.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import sqlalchemy as sa

from config.load import load
from config.schema import Settings
from daemon import audit
from daemon.cli import overview
from daemon.cli.feedback import print_feedback
from daemon.cli.options import config_option, json_option
from daemon.cli.report import print_report
from daemon.cli.wording import console
from daemon.feedback import verdicts
from daemon.ledger import Ledger, existing_ledger, operator_requests, priority_and_cancel, studies, views
from daemon.ledger.rows import StudyRow
from daemon.ledger.work_order import PRIORITIES
from daemon.ledger_in_words import WORDS, advice, gather
from pipeline.errors import InputRejected

# More rows than anybody reads; a database counts in 64 bits.
MOST_ROWS = 10**9


def _open(config_path: Path | None) -> tuple[Settings, Ledger]:
    settings = load(config_path)
    return settings, existing_ledger(settings)


@click.command()
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Show it again every two seconds until Ctrl-C.")
def status(config_path: Path | None, as_json: bool, watch: bool) -> None:
    """What is happening, what is stuck, and what to do about it."""
    if as_json and watch:
        raise click.UsageError("--watch is for people: it does not go with --json")
    settings, ledger = _open(config_path)
    if as_json:
        with ledger.read() as connection:
            facts = gather(settings, connection, time.time())
        click.echo(json.dumps(facts | {"advice": list(advice(facts))}))
        return
    out = console()
    while True:
        with ledger.read() as connection:
            facts = gather(settings, connection, time.time())
        if watch:
            out.clear()
        overview.print_status(out, facts)
        if not watch:
            return
        time.sleep(2)


@click.command(name="studies")
@config_option
@json_option
@click.option("--state", type=click.Choice(list(WORDS)), help="Only studies in this state.")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), default=200, show_default=True)
@click.option(
    "--feedback", "with_feedback", is_flag=True, help="What readers and pathology said, beside the prediction."
)
def studies_command(
    config_path: Path | None, as_json: bool, state: str | None, limit: int, with_feedback: bool
) -> None:
    """Every study: its state, and for what it waits."""
    _, ledger = _open(config_path)
    with ledger.read() as connection:
        if with_feedback:
            answer = verdicts.listed(connection, limit)
            if as_json:
                click.echo(json.dumps({"feedback": answer}))
            else:
                print_feedback(console(), answer)
            return
        rows = views.list_studies(connection, state, limit)
    if as_json:
        click.echo(json.dumps({"studies": rows}))
        return
    overview.print_studies(console(), rows, time.time())


def _study_named(connection: sa.Connection, name: str) -> StudyRow:
    row = studies.find(connection, name)
    if row is None:
        raise InputRejected(f"the ledger knows no study {name}; `axrad studies` lists those it knows")
    return row


def _ordered(settings: Settings, ledger: Ledger, action: str, row: StudyRow, detail: str = "") -> None:
    """An operator's order is in the audit trail."""
    from daemon.work.audit_events import named

    audit.operator_action(settings, action, named(settings, ledger, audit.Study(row.study_uid, {}, row.id)), detail)


@click.command()
@config_option
@json_option
@click.option("--report", is_flag=True, help="The text of its newest report instead; on the machine with the spool.")
@click.argument("study")
def show(config_path: Path | None, as_json: bool, report: bool, study: str) -> None:
    """One study's timeline. STUDY: opaque id or Study Instance UID."""
    settings, ledger = _open(config_path)
    with ledger.read() as connection:
        rows = views.timeline(connection, _study_named(connection, study))
    if report:
        print_report(settings, ledger, rows, as_json)
        return
    if as_json:
        click.echo(json.dumps(rows))
        return
    overview.print_timeline(console(), rows, settings)


@click.command()
@config_option
@click.argument("study")
@click.option("--new-revision", is_flag=True, help="Redo a study that was reported.")
@click.option("--accept-identity", is_flag=True, help="Release a study held because its patient identity changes.")
def retry(config_path: Path | None, study: str, new_revision: bool, accept_identity: bool) -> None:
    """Repeat a failed study."""
    settings, ledger = _open(config_path)
    with ledger.write() as connection:
        row = _study_named(connection, study)
        answer = operator_requests.retry(
            connection, row, time.time(), new_revision=new_revision, accept_identity=accept_identity
        )
    _ordered(settings, ledger, "accept-identity" if accept_identity else "retry", row)
    click.echo(answer)


@click.command()
@config_option
@click.argument("study")
def cancel(config_path: Path | None, study: str) -> None:
    """Stop a study: nothing of it is analysed or sent any more. `axrad retry` takes that back."""
    settings, ledger = _open(config_path)
    with ledger.write() as connection:
        row = _study_named(connection, study)
        answer = priority_and_cancel.cancel(connection, row, time.time())
    _ordered(settings, ledger, "cancel", row)
    click.echo(answer)


@click.command()
@config_option
@click.argument("study")
@click.option("--level", type=click.Choice(list(PRIORITIES)), default="urgent", show_default=True)
def prioritise(config_path: Path | None, study: str, level: str) -> None:
    """Bring a study forward, or put it back."""
    settings, ledger = _open(config_path)
    head_start_s = settings.work.head_start_s
    with ledger.write() as connection:
        row = _study_named(connection, study)
        answer = priority_and_cancel.prioritise(connection, row, time.time(), level, head_start_s)
    _ordered(settings, ledger, "prioritise", row, level)
    click.echo(answer)

"""`axrad choose`: which series of an exam is T1+C, T2 or ADC, on an operator's word."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import click

from config.load import load
from daemon import audit
from daemon.cli.options import config_option
from daemon.ledger import existing_ledger, series_choice, studies
from pipeline.errors import InputRejected
from pipeline.records import SEQUENCES, Sequence


@click.command()
@config_option
@click.argument("study")
@click.option("--sequence", type=click.Choice(get_args(Sequence)), help="What the series is.")
@click.option("--series", "uid", metavar="UID", help="Series Instance UID; `axrad match` and the console list them.")
@click.option("--clear", is_flag=True, help="Leave it to the rules again; without --sequence, every sequence.")
def choose(config_path: Path | None, study: str, sequence: Sequence | None, uid: str | None, clear: bool) -> None:
    """Say which series of STUDY is T1+C, T2 or ADC. It comes before every rule, also after new images have come.

    A new report follows if it reads other images than the last one.
    """
    if clear == (uid is not None) or (sequence is None and not clear):
        raise click.UsageError("give --sequence and --series, or --clear")
    from daemon.work.audit_events import named
    from daemon.work.signatures_that_answer import signatures_in_use

    settings = load(config_path)
    ledger = existing_ledger(settings)
    in_use = signatures_in_use(settings.signature)
    with ledger.write() as connection:
        row = studies.find(connection, study)
        if row is None:
            raise InputRejected(f"the ledger knows no study {study}; `axrad studies` lists those it knows")
        now = time.time()
        if uid is None or sequence is None:
            answer = series_choice.clear(connection, row, now, SEQUENCES if sequence is None else (sequence,))
        else:
            answer = series_choice.choose(connection, row, now, settings, in_use, sequence, uid.strip())
    about = named(settings, ledger, audit.Study(row.study_uid, {}, row.id))
    audit.operator_action(settings, "choose", about, f"{sequence or 'all'} {uid or 'cleared'}")
    click.echo(answer)

"""`axrad fetch`: have missing images, or earlier exams of the patient, fetched from the archives."""

from __future__ import annotations

import time
from pathlib import Path

import click

from config.load import load
from daemon.cli.options import config_option
from daemon.ledger import existing_ledger, fetches, studies
from pipeline.errors import InputRejected


@click.command()
@config_option
@click.argument("study")
@click.option("--priors", is_flag=True, help="Earlier MR exams of the same patient instead; they are not reported.")
def fetch(config_path: Path | None, study: str, priors: bool) -> None:
    """Try again what could not be fetched. STUDY: opaque id or Study Instance UID."""
    settings = load(config_path)
    if not fetches.sources(settings):
        raise InputRejected("no [[pacs]] can move or get or has a dicomweb_url, or fetch.enabled is false")
    with existing_ledger(settings).write() as connection:
        row = studies.find(connection, study)
        if row is None:
            raise InputRejected(f"the ledger knows no study {study}; `axrad studies` lists those it knows")
        if priors:
            if not fetches.open_priors(connection, row, time.time(), settings):
                raise InputRejected("no [[pacs]] that can be fetched from can find")
            click.echo("earlier exams of this patient are asked for")
            return
        opened = fetches.open_again(connection, row, time.time())
    click.echo("what is missing is asked for again" if opened else "nothing of this study is missing that was named")

"""`axrad spools`: the spools of the ledger; one that took another's place, one that is gone for good."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import click

from config.load import load
from daemon import audit
from daemon.cli.options import config_option, json_option
from daemon.cli.wording import console
from daemon.ledger_in_words import age
from pipeline.errors import InputRejected


@click.command()
@config_option
@json_option
@click.option("--replace", is_flag=True, help="This machine's folder takes the place of the one known under its id.")
@click.option("--give-up", metavar="ID", help="Forget a spool that is gone for good; what lay there alone is lost.")
def spools(config_path: Path | None, as_json: bool, replace: bool, give_up: str | None) -> None:
    """The spools of the ledger, and when the indexer of each was last seen."""
    from daemon.ledger import existing_ledger
    from daemon.ledger.chunks import in_chunks
    from daemon.ledger.instances import mark_lost
    from daemon.ledger.spools import give_up as forget
    from daemon.ledger.spools import gone_with, known_spools, put
    from daemon.spool import Spool

    settings, now = load(config_path), time.time()
    ledger = existing_ledger(settings)
    if replace:
        if settings.spool.remote:
            raise InputRejected("the spool is on another machine (spool.remote): replace it there")
        put(ledger, Spool(settings.spool.path, settings.spool.id), now)
        audit.operator_action(settings, "spool-replace", detail=settings.spool.id)
    if give_up is not None:
        with ledger.write() as connection:
            if give_up == settings.spool.id or give_up not in {spool.id for spool in known_spools(connection)}:
                raise InputRejected(f"{give_up} is not another spool of this ledger; `axrad spools` lists them")
            lost = gone_with(connection, give_up)
        for some in in_chunks(lost):
            with ledger.write() as connection:
                mark_lost(connection, some, now)
        with ledger.write() as connection:
            forget(connection, give_up, settings.spool.id, now)
        audit.operator_action(settings, "spool-give-up", detail=give_up)
    with ledger.read() as connection:
        known = known_spools(connection)
    if as_json:
        click.echo(json.dumps({"spools": [asdict(spool) for spool in known]}))
        return
    out = console()
    for spool in known:
        seen = "never indexed" if spool.seen_at is None else f"its indexer was seen {age(now - spool.seen_at)} ago"
        here = ", this machine's" if spool.id == settings.spool.id and not settings.spool.remote else ""
        out.print(f"{spool.id}{here}: {seen}")

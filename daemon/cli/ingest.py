"""`axrad ingest`: files or folders treated as if just received."""

from __future__ import annotations

import json
from pathlib import Path

import click

from config.load import load
from daemon.cli.options import config_option, json_option
from daemon.logs import set_up


@click.command()
@config_option
@json_option
@click.option(
    "--background", is_flag=True, help="A backfill: worked on when nothing else waits, in work.background_hours."
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def ingest(config_path: Path | None, as_json: bool, background: bool, paths: tuple[Path, ...]) -> None:
    """Put PATHS (files or folders) into the spool and the ledger."""
    from rich.progress import track

    from daemon.clock import system_clock
    from daemon.indexing.indexer import index_once
    from daemon.ledger import open_ledger
    from daemon.ledger.keyed_digests import bring_all
    from daemon.ledger.site_key import key_for
    from daemon.ledger.spools import own_spool
    from daemon.ledger.work_order import BACKFILL
    from daemon.recovery import unreadable_files
    from daemon.spool import JournalWriter
    from pipeline.errors import InputRejected, NotDicom

    settings = load(config_path)
    set_up(settings.log, "ingest")
    ledger = open_ledger(settings)
    spool = own_spool(settings, ledger, system_clock())
    key = key_for(settings, ledger, system_clock())
    bring_all(ledger, key)
    files = [
        f for path in paths for f in (sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path])
    ]
    stored_paths: list[str] = []
    stored, refused = 0, []
    unreadable_files.start(spool.root, "axrad ingest", system_clock())
    more = {"role": BACKFILL} if background else {}
    journal = JournalWriter(spool.journal, "INGEST", "local")
    try:
        for file, outcome in track(
            spool.ingest(files, journal, **more), total=len(files), description="ingesting", disable=as_json
        ):
            if isinstance(outcome, NotDicom):
                refused.append({"file": str(file), "reason": outcome.message})
            else:
                stored += 1
                stored_paths.append(outcome.path)
    finally:
        journal.close("released")
    taken_up = sum(unreadable_files.take_up(ledger, spool.root, path, system_clock()) for path in stored_paths)
    index_once(ledger, spool, system_clock(), settings, key)
    if as_json:
        click.echo(json.dumps({"stored": stored, "refused": refused, "taken_up": taken_up}))
    else:
        click.echo(f"{stored} files in the spool, {len(refused)} refused")
        if taken_up:
            click.echo(f"{taken_up} of them had been set aside and are read again")
        for item in refused:
            click.echo(f"  {item['file']}: {item['reason']}", err=True)
    if refused and not stored:
        raise InputRejected("no file was DICOM")

"""`axrad site-key`: the key that digests of patients' ids are kept under."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click

from config.load import load
from daemon import audit
from daemon.cli.options import config_option, json_option
from daemon.ledger import existing_ledger
from daemon.ledger.site_key import allow_change, id_in, path_of, read
from pipeline.errors import InputRejected


@click.command()
@config_option
@json_option
@click.option("--lost", is_flag=True, help="The ledger's key is gone: the next start takes the file's, or a new one.")
def site_key(config_path: Path | None, as_json: bool, lost: bool) -> None:
    """Which key this machine has and which one the ledger needs; never the key itself."""
    settings = load(config_path)
    path = path_of(settings)
    key = read(path)
    with closing(existing_ledger(settings)) as ledger:
        with ledger.read() as connection:
            needed = id_in(connection)
        if lost:
            if needed is None or (key is not None and key.id == needed):
                raise InputRejected("no key is lost: the ledger has none yet, or the file is the one that it needs")
            with ledger.write() as connection:
                allow_change(connection)
            audit.operator_action(settings, "site-key-lost", detail=needed)
    here = None if key is None else key.id
    if as_json:
        click.echo(json.dumps({"file": str(path), "id": here, "ledger": needed, "replaced_at_next_start": lost}))
        return
    click.echo(f"{path}: {'no key' if here is None else f'key {here}'}")
    click.echo("the ledger has none yet" if needed is None else f"the ledger needs {needed}")
    if lost:
        click.echo(
            "the next start takes the key in the file, or makes one; patients of before are not recognised by it: "
            "docs/security.md says what follows"
        )

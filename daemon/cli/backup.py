"""`axrad backup | restore`: the ledger and the results in one file, and back."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from config.load import load
from config.places import console_users
from daemon import audit
from daemon.cli.options import config_option, json_option, out_file
from daemon.ledger import existing_ledger
from daemon.ledger.engine import backups_folder
from daemon.ledger.site_key import path_of

key_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@config_option
@json_option
@click.option("--out", type=out_file, help="Default: a new file beside the spool.")
@click.option("--instances", is_flag=True, help="Also the received images and ROIs.")
@click.option(
    "--encrypt", "key_file", type=key_file, help="Encrypted with what stands in this file; then with the site's key."
)
def backup(config_path: Path | None, as_json: bool, out: Path | None, instances: bool, key_file: Path | None) -> None:
    """Write ledger, results, signatures and the console's users to one file; everything may go on meanwhile."""
    from daemon.recovery.backup import backup as make

    settings = load(config_path)
    now = time.time()
    name = f"axrad-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}.tar"
    path = out or backups_folder(settings) / name
    ledger = existing_ledger(settings)
    try:
        contents = make(settings, ledger, path, now, instances=instances, key_file=key_file)
    finally:
        ledger.close()
    audit.operator_action(settings, "backup", detail=path.name)
    if as_json:
        click.echo(json.dumps({"file": str(path), "bytes": path.stat().st_size, **asdict(contents)}))
    else:
        click.echo(f"{path}: {contents.rows} rows and {contents.files} files, {path.stat().st_size / 1e6:.1f} MB")
        if key_file is None:
            click.echo("the site's key is not in it: keep a copy of that apart (`axrad site-key`)", err=True)


@click.command()
@config_option
@json_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Replace a ledger that is not empty; it is kept in the backups folder.")
@click.option("--key-file", type=key_file, help="What an encrypted backup was made with (`backup --encrypt`).")
def restore(config_path: Path | None, as_json: bool, file: Path, replace: bool, key_file: Path | None) -> None:
    """Bring a backup back, also one of an older axrad, also from SQLite into PostgreSQL. Stop axrad first."""
    from daemon.recovery.backup import BEFORE_DIGESTS, missing_key
    from daemon.recovery.backup import restore as bring_back

    settings = load(config_path)
    had_users = console_users(settings).exists()
    contents = bring_back(settings, file, time.time(), replace=replace, key_file=key_file)
    with closing(existing_ledger(settings)) as ledger, ledger.read() as connection:
        missing = missing_key(connection, settings)
    audit.operator_action(settings, "restore", detail=f"made {contents.made_at}")
    if as_json:
        click.echo(json.dumps({**asdict(contents), "missing_site_key": missing}))
    else:
        click.echo(f"{contents.rows} rows and {contents.files} files of {contents.made_at} are back")
    if had_users:
        click.echo(f"the console's users stay as they are in {console_users(settings)}", err=True)
    if contents.format == BEFORE_DIGESTS:
        click.echo("it was made before backups had a digest: whether all of its bytes are right is not known", err=True)
    if missing is not None:
        click.echo(
            f"the site's key {missing} is not in the backup, and {path_of(settings)} is not it: copy it there before "
            "axrad starts. Otherwise the next start takes the key that is there, or makes one, and patients of before "
            "are not recognised by it (docs/security.md)",
            err=True,
        )

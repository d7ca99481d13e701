"""Options that every command shares."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config", "config_path", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")

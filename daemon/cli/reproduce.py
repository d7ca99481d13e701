"""`axrad reproduce`: the paper's tables → its figures and numbers, beside what was published."""

from __future__ import annotations

import json
from pathlib import Path

import click

from daemon.cli.options import config_option, json_option, out_folder
from daemon.cli.research_extra import require_research


@click.command()
@click.argument("tables", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=out_folder, required=True, help="Folder for the report.")
@config_option
@json_option
def reproduce(tables: Path, out: Path, config_path: Path | None, as_json: bool) -> None:
    """Reproduce the published figures from the paper's released TABLES (a folder; see docs/reproduce.md)."""
    require_research()
    from rich.console import Console

    from pipeline.research.reproduce.reproduction_page import comparison, write
    from pipeline.research.reproduce.reproduction_page import reproduce as work_out

    with Console(stderr=True).status("Fitting and drawing"):
        result = work_out(tables)
        write(result, out)
    if as_json:
        click.echo(json.dumps(result.facts, indent=1, ensure_ascii=False))
        return
    head = ("", "published", "one positive class (95 % CI)", "as published")
    rows = [head, *comparison(result.facts)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    click.echo(f"{len(result.irregularities)} irregularities of the tables are listed in {out / 'report.html'}")

"""`axrad cohort characteristics` and `calls`: the tables of a paper's appendix."""

from __future__ import annotations

import json
from pathlib import Path

import click

from daemon.cli.options import config_option, json_option, out_folder
from daemon.cli.research_extra import require_research

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--table", "named", multiple=True, required=True, metavar="NAME=TABLE", help="A cohort; repeatable.")
@click.option("--label", required=True, metavar="COLUMN", help="Node status.")
@click.option("--positive", default="1", show_default=True, metavar="VALUE", help="The class with metastases.")
@click.option(
    "--column", "columns", multiple=True, required=True, metavar="COLUMN", help="A characteristic; repeatable."
)
@click.option("--out", type=out_folder, required=True, help="Folder for report.html, JSON and CSVs.")
@config_option
@json_option
def characteristics(
    named: tuple[str, ...],
    label: str,
    positive: str,
    columns: tuple[str, ...],
    out: Path,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Table 1: characteristics by cohort and by node status, and each one alone against node status."""
    require_research()
    from pipeline.research.appendix.characteristics_page import write
    from pipeline.research.appendix.patients_table import read_patients

    tables = {}
    for text in named:
        name, equals, path = text.partition("=")
        if not equals or not Path(path).is_file() or name in tables:
            raise click.UsageError(f"--table {text}: say NAME=TABLE, each name once, and a file that is there")
        tables[name] = read_patients(Path(path), label=label, positive=positive, name=name)
    facts = write(tables, columns, out)
    if as_json:
        click.echo(json.dumps(facts, allow_nan=False))
        return
    for name, table in tables.items():
        click.echo(f"{name}: {len(table)} patients, {int(table.positive.sum())} with {label} = {table.positive_value}")
    click.echo(f"report: {out / 'report.html'}")


@click.command()
@click.argument("table", type=_file)
@click.option("--label", required=True, metavar="COLUMN", help="Node status.")
@click.option("--positive", default="1", show_default=True, metavar="VALUE", help="The class with metastases.")
@click.option(
    "--call", "specs", multiple=True, required=True, metavar="NAME=COLUMN[@CUTOFF]",
    help="A reader's or signature's calls, or scores that are high from the cutoff on; repeatable.",
)  # fmt: skip
@click.option("--column", "columns", multiple=True, metavar="COLUMN", help="Compared between who is right; repeatable.")
@click.option("--nodes", metavar="COLUMN", help="The number of positive nodes: calls by 1, 2, 3 and more.")
@click.option("--out", type=out_folder, required=True, help="Folder for report.html, JSON and CSVs.")
@config_option
@json_option
def calls(
    table: Path,
    label: str,
    positive: str,
    specs: tuple[str, ...],
    columns: tuple[str, ...],
    nodes: str | None,
    out: Path,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Calls on the patients of TABLE, alone and combined: accuracy, McNemar, net benefit, who is classified right."""
    require_research()
    from pipeline.research.appendix.calls import read_calls
    from pipeline.research.appendix.calls_page import write
    from pipeline.research.appendix.patients_table import read_patients

    patients, made, left_out = read_calls(read_patients(table, label=label, positive=positive), specs)
    facts = write(patients, made, left_out, columns, out, nodes)
    if as_json:
        click.echo(json.dumps(facts, allow_nan=False))
        return
    click.echo(f"{len(patients)} patients with every call, {left_out} left out")
    click.echo(f"report: {out / 'report.html'}")

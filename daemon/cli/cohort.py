"""`axrad cohort`: how a cohort changed, and what its molecules say of its images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.cohort_appendix import calls, characteristics
from daemon.cli.cohort_microenvironment import microenvironment
from daemon.cli.options import config_option, json_option, out_folder
from daemon.cli.research_extra import require_research

if TYPE_CHECKING:
    from pipeline.research.change.paired_tests import Test

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def cohort() -> None:
    """Questions to tables of many exams."""


@cohort.command()
@click.argument("before", type=_file)
@click.argument("after", type=_file)
@click.option("--out", type=out_folder, required=True, help="Folder for the report.")
@click.option("--id", "id_column", help="Column that names the patient in both tables.")
@click.option("--test", type=click.Choice(["t", "wilcoxon"]), default="t", show_default=True)
@click.option("--complete-cases", is_flag=True, help="Leave out pairs with empty cells.")
@click.option("--foreign-columns", is_flag=True, help="Take every numeric column as a feature, whatever its name.")
@config_option
@json_option
def delta(
    before: Path,
    after: Path,
    out: Path,
    id_column: str | None,
    test: Test,
    complete_cases: bool,
    foreign_columns: bool,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Paired tests between the feature tables BEFORE and AFTER of the same patients."""
    require_research()
    from pipeline.research.change.change_page import facts, write
    from pipeline.research.change.paired_tests import delta as tested
    from pipeline.research.change.pairs import read

    pairs = read(before, after, id_column=id_column, complete_cases=complete_cases, foreign_columns=foreign_columns)
    result = tested(pairs, test)
    write(result, pairs, out)
    if as_json:
        click.echo(json.dumps(facts(result, pairs), indent=1))
        return
    if pairs.incomplete:
        click.echo(f"{pairs.incomplete} pairs with empty cells left out", err=True)
    click.echo(f"{result.pairs} pairs, {len(pairs.columns)} features: {result.up} up, {result.down} down (P<0.05)")
    for row in result.by_class().to_dict("records"):
        click.echo(
            f"{row['group']:<20} {row['class']:<12} {row['features']:>5} {row['up']:>5} up {row['down']:>5} down"
        )
    click.echo(f"Report: {out / 'report.html'}")


for _command in (calls, characteristics, microenvironment):
    cohort.add_command(_command)

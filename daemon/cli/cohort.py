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
@click.option("--response", metavar="COLUMN", help="Response to treatment, in either table.")
@click.option("--responder", "values", multiple=True, metavar="VALUE", help="Of the response: a responder; repeatable.")
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
    response: str | None,
    values: tuple[str, ...],
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Paired tests between the feature tables BEFORE and AFTER of the same patients; responders against the others."""
    require_research()
    if (response is None) != (not values):
        raise click.UsageError("--response COLUMN and --responder VALUE go together")
    from pipeline.research.change.change_page import facts, write
    from pipeline.research.change.paired_tests import delta as tested
    from pipeline.research.change.pairs import read
    from pipeline.research.change.responders import responders

    pairs = read(
        before, after, id_column=id_column, complete_cases=complete_cases, foreign_columns=foreign_columns,
        response=response,
    )  # fmt: skip
    compared = responders(pairs, values) if values else None
    result = tested(pairs, test)
    write(result, pairs, out, compared)
    if as_json:
        click.echo(json.dumps(facts(result, pairs, compared), indent=1))
        return
    if pairs.incomplete:
        click.echo(f"{pairs.incomplete} pairs with empty cells left out", err=True)
    click.echo(f"{result.pairs} pairs, {len(pairs.columns)} features: {result.up} up, {result.down} down (P<0.05)")
    for row in result.by_class().to_dict("records"):
        click.echo(
            f"{row['group']:<20} {row['class']:<12} {row['features']:>5} {row['up']:>5} up {row['down']:>5} down"
        )
    if compared is not None:
        for moment in () if compared.why_not else ("before", "change"):
            below, by_chance, discoveries = compared.below(moment)
            click.echo(
                f"responders ({compared.responders}) against others ({compared.others}), {moment}: {below} features "
                f"with P<0.05, by chance {by_chance:.0f}; {discoveries} with q<0.05"
            )
        if compared.why_not:
            click.echo(f"responders not compared: {compared.why_not}")
    click.echo(f"Report: {out / 'report.html'}")


for _command in (calls, characteristics, microenvironment):
    cohort.add_command(_command)

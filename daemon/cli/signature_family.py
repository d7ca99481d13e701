"""`axrad signature family`: every subset of sequences and regions that a table allows, trained, judged, compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: values of options; the recipe checks them

import click

from daemon.cli.options import config_option, json_option, out_folder
from daemon.cli.recipe_options import progress_bar, recipe_of, recipe_options, table_options, with_ki67
from daemon.cli.research_extra import require_research

if TYPE_CHECKING:
    from pipeline.research.families.train_family import TrainedFamily


@click.command()
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@table_options
@click.option("--out", required=True, type=out_folder, help="Folder for the signatures, family.json and report.html.")
@click.option("--name", help="Of the family; default: the name of the folder.")
@click.option("--version", default="1", show_default=True)
@recipe_options
@click.option("--repeats", default=10, show_default=True, type=click.IntRange(1), help="Of nested cross-validation.")
@json_option
@config_option
def family(
    table: Path,
    label: str,
    positive: str,
    negative: str | None,
    positive_name: str | None,
    id_column: str | None,
    out: Path,
    name: str | None,
    version: str,
    repeats: int,
    ignore: tuple[str, ...],
    map_path: Path | None,
    ki67_high: float | None,
    as_json: bool,
    config_path: Path | None,
    **steps: Any,
) -> None:
    """Train every subset of sequences and regions that TABLE allows; judge and compare them on the same exams.

    `axrad signature activate` on the folder makes them active together, in the order of its family.json.
    """
    require_research()
    from config.load import load
    from pipeline.research.families import family_page
    from pipeline.research.families.train_family import train_family
    from pipeline.research.tables import feature_table
    from pipeline.research.tables.column_map import NOTHING, read_map
    from pipeline.research.tables.scanners import columns_of
    from pipeline.research.training.train import Identity

    settings = with_ki67(load(config_path, writes=False), ki67_high)
    recipe = recipe_of(settings.signature.training, steps)
    read = feature_table.read(
        table, label=label, positive=positive, negative=negative, id_column=id_column, ignore=ignore,
        settings=settings, mapping=NOTHING if map_path is None else read_map(map_path),
        companions=columns_of(recipe),
    )  # fmt: skip
    identity = Identity(name or out.resolve().name.replace(" ", "-"), version, positive_name)
    with progress_bar("signatures") as progress:
        trained = train_family(read, recipe, identity, repeats, progress)
    facts = family_page.write_family(trained, out)
    if as_json:
        click.echo(json.dumps(facts, allow_nan=False))
    else:
        _print_members(trained, out)


def _print_members(trained: TrainedFamily, out: Path) -> None:
    click.echo(f"{trained.identity.name}@{trained.identity.version}: {len(trained.members)} signatures, in this order")
    for number, member in enumerate(trained.members, 1):
        auc, n, rest = member.judged.auc, len(member.cases.positive), member.cases.left_out
        incomplete = f", {rest} incomplete" if rest else ""
        click.echo(
            f"{number:3}. {member.signature.header.title:40} {n} exams{incomplete}; nested AUC {auc.value:.3f} "
            f"({auc.low:.3f} to {auc.high:.3f})"
        )
    for one in trained.left_out:
        click.echo(f"left out: {one.subset.name}: {one.why}", err=True)
    if trained.on_common:
        click.echo(f"metrics on the same exams: {out / 'metrics.csv'}")
    click.echo(f"report: {out / 'report.html'}")

"""`axrad signature levels`: an outcome with more than two ordered levels, for research alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: values of options; the recipe checks them

import click

from daemon.cli.options import config_option, json_option, out_folder
from daemon.cli.recipe_options import column_options, progress_bar, recipe_of, recipe_options, with_ki67
from daemon.cli.research_extra import require_research

if TYPE_CHECKING:
    from pipeline.research.tables.feature_table import Table
    from pipeline.signature.level_split import LevelSplit

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("table", type=_file)
@click.option("--label", required=True, metavar="COLUMN", help="Column with the outcome.")
@click.option(
    "--level", "levels", multiple=True, required=True, metavar="VALUE", help="Of the outcome, the lowest first; repeat."
)
@column_options
@click.option("--out", required=True, type=out_folder, help="Folder for the files, levels.json and report.html.")
@click.option("--name", help="Default: the name of the folder.")
@click.option("--version", default="1", show_default=True)
@recipe_options
@click.option("--repeats", default=10, show_default=True, type=click.IntRange(1), help="Of nested cross-validation.")
@json_option
@config_option
def levels(
    table: Path,
    label: str,
    levels: tuple[str, ...],
    id_column: str | None,
    ki67_high: float | None,
    ignore: tuple[str, ...],
    map_path: Path | None,
    out: Path,
    name: str | None,
    version: str,
    repeats: int,
    as_json: bool,
    config_path: Path | None,
    **steps: Any,
) -> None:
    """Train on an outcome with more than two ordered levels, such as negative, sentinel only, beyond sentinel.

    Ordinal and one against the rest, judged by nested cross-validation. The files are for research alone.
    """
    require_research()
    from config.load import load
    from pipeline.research.levels import levels_page
    from pipeline.research.levels.train_levels import train_levels
    from pipeline.research.tables import feature_table
    from pipeline.research.tables.column_map import NOTHING, read_map
    from pipeline.research.tables.reading import read_frame
    from pipeline.research.tables.row_names import as_text
    from pipeline.research.tables.scanners import columns_of
    from pipeline.research.training.train import Identity

    settings = with_ki67(load(config_path, writes=False), ki67_high)
    recipe = recipe_of(settings.signature.training, steps)
    mapping = NOTHING if map_path is None else read_map(map_path)
    frame, digest = read_frame(table, mapping)

    def classes(split: LevelSplit) -> Table:
        return feature_table.from_frame(
            frame, name=table.name, sha256=digest, label=label, positive=split.positive_class,
            negative=split.negative_class, id_column=id_column, ignore=ignore, companions=columns_of(recipe),
            settings=settings, mapping=mapping, level_split=split, perturbations=feature_table.perturbations_of(table),
        )  # fmt: skip

    identity = Identity(name or out.resolve().name.replace(" ", "-"), version)
    with progress_bar("questions") as progress:
        trained = train_levels(classes, [as_text(level) for level in levels], recipe, identity, repeats, progress)
    content = levels_page.write_levels(trained, out)
    if as_json:
        click.echo(json.dumps(content, allow_nan=False))
        return
    for one in trained.questions:
        auc, header = one.judged.auc, one.signature.header
        click.echo(
            f"{header.positive_value} from {header.negative_value}: nested AUC {auc.value:.3f} ({auc.low:.3f} to "
            f"{auc.high:.3f})"
        )
    for question, why in trained.left_out.items():
        click.echo(f"left out: {question}, and every answer that needs it: {why}", err=True)
    for answer in trained.joint:
        kappa = answer.kappa
        click.echo(f"{answer.name}: quadratic kappa {kappa.value:.3f} ({kappa.low:.3f} to {kappa.high:.3f})")
    click.echo(levels_page.RESEARCH)
    click.echo(f"report: {out / 'report.html'}")

"""Options of the commands that train: columns of the table, steps of the recipe, and how far training has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args  # Any: parameters of commands, values of options

import click

from config.schema import Classifier

if TYPE_CHECKING:
    from config.schema import Settings, Training

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _least_icc(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """`icc>=0.9`."""
    if text is None:
        return None
    measure, _, number = text.replace(" ", "").partition(">=")
    try:
        least = float(number) if measure.lower() == "icc" else 0.0
    except ValueError:
        least = 0.0
    if not 0 < least < 1:
        raise click.BadParameter('is written as in "icc>=0.9"', context, parameter)
    return least


_COLUMN_OPTIONS = (
    click.option("--id", "id_column", help="Column with the patient or exam."),
    click.option(
        "--ki67-high", "ki67_high", type=click.FloatRange(0, 100), metavar="PERCENT",
        help="From where on Ki-67 is high in the table's molecular subtypes; default: clinical.ki67_high_percent.",
    ),
    click.option("--ignore", multiple=True, metavar="COLUMN", help="Leave a column out; repeatable."),
    click.option(
        "--map", "map_path", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="What columns and cells of a table from elsewhere are here (TOML).",
    ),
)  # fmt: skip
_TABLE_OPTIONS = (
    click.option("--label", required=True, help="Column with the outcome."),
    click.option("--positive", required=True, help="Its value for the positive class."),
    click.option("--negative", help="Its value for the other class; found out where there are only two."),
    click.option("--positive-name", help="What the positive class is called in reports; default: its value."),
    *_COLUMN_OPTIONS,
)
_OPTIONS = (
    click.option("--sequences", help="Comma-separated, of t1c,t2,adc."),
    click.option("--rois", help="Comma-separated, of tumor,lymph_nodes."),
    click.option("--clinical", help="Comma-separated clinical columns: a multiomic signature."),
    click.option("--classifier", type=click.Choice(get_args(Classifier))),
    click.option(
        "--recipe", type=click.Choice(["out_of_fold", "paper"]), help="paper: calibrate and cut by resubstitution."
    ),
    click.option(
        "--cutoff", metavar="RULE", help="youden, sensitivity=0.95 or net-benefit=0.2, on out-of-fold probabilities."
    ),
    click.option(
        "--stable",
        "stable_icc",
        metavar="icc>=N",
        callback=_least_icc,
        help="Only features whose ICC over the table's perturbations is at least N, in every fold.",
    ),
    click.option("--harmonise", type=click.Choice(["combat"]), help="Take differences between scanner groups out."),
    click.option(
        "--batch",
        metavar="COLUMN",
        help="With --harmonise: the scanner group; several as manufacturer+field_strength_t.",
    ),
    click.option("--covariates", help="With --harmonise: comma-separated facts whose part in the features stays."),
    click.option("--top", metavar="N|auto", help="Features per group; auto: by out-of-fold AUC, in every fold."),
    click.option("--folds", type=click.IntRange(2)),
    click.option("--trees", type=click.IntRange(1)),
    click.option("--seed", type=click.IntRange(0)),
    click.option("--complete-cases", is_flag=True, default=None, help="Leave out cases with missing values."),
)


def table_options(command: _Command) -> _Command:
    """Which columns of a training table are the outcome and the patient."""
    for option in reversed(_TABLE_OPTIONS):
        command = option(command)
    return command


def column_options(command: _Command) -> _Command:
    """Which columns of a training table are read, and how, whatever the outcome is."""
    for option in reversed(_COLUMN_OPTIONS):
        command = option(command)
    return command


def recipe_options(command: _Command) -> _Command:
    """The steps of the recipe as options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def recipe_of(defaults: Training, steps: dict[str, Any]) -> Training:
    """The recipe of the settings with the steps that were given as options."""
    from pydantic import ValidationError

    options = {k: v for k, v in steps.items() if v is not None}
    for key in ("sequences", "rois", "clinical", "covariates"):
        if key in options:
            options[key] = tuple(part.strip() for part in options[key].split(",") if part.strip())
    try:
        return type(defaults).model_validate({**defaults.model_dump(), **options})
    except ValidationError as error:
        problem = error.errors()[0]
        raise click.UsageError(f"--{problem['loc'][0]}: {problem['msg']}") from None


def with_ki67(settings: Settings, percent: float | None) -> Settings:
    """The settings with this cutoff of Ki-67, where one is given."""
    if percent is None:
        return settings
    clinical = settings.clinical.model_copy(update={"ki67_high_percent": percent})
    return settings.model_copy(update={"clinical": clinical})


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

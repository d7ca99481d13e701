"""`axrad signature evaluate`: a signature, or every member of a family, judged on cohorts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.options import config_option, json_option, out_folder
from daemon.cli.recipe_options import progress_bar, with_ki67
from daemon.cli.research_extra import require_research
from daemon.cli.signature_author import keep_authors
from daemon.cli.signature_methods import making_of
from daemon.cli.signature_registry import find_signature, registry_in

if TYPE_CHECKING:
    from config.schema import Settings
    from pipeline.research.evaluation.evaluate import Questions
    from pipeline.research.tables.feature_table import Table
    from pipeline.signature.family import Family
    from pipeline.signature.record import Signature
    from pipeline.signature.registry import Registry

_folder = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("reference", metavar="SIGNATURE")
@click.option("--table", "named", multiple=True, required=True, metavar="NAME=TABLE", help="A cohort; repeatable.")
@click.option("--out", required=True, type=out_folder, help="Folder for report.html, evaluation.json, card and CSVs.")
@click.option("--compare", "others", multiple=True, metavar="SIGNATURE", help="Another signature; repeatable.")
@click.option("--subgroup", "subgroups", multiple=True, metavar="COLUMN", help="Any column; repeatable.")
@click.option("--reading", metavar="COLUMN", help="A reader's calls, for McNemar's test.")
@click.option("--survival", metavar="TIME,EVENT", help="Columns; default survival_time,survival_event.")
@click.option("--repeats", default=10, show_default=True, type=click.IntRange(1), help="Of nested cross-validation.")
@click.option(
    "--prevalence", type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of the positive class at another site: say what probabilities, PPV and NPV would be there.",
)  # fmt: skip
@click.option(
    "--ki67-high", "ki67_high", type=click.FloatRange(0, 100), metavar="PERCENT",
    help="From where on Ki-67 is high in the molecular subtypes of cohorts; default: clinical.ki67_high_percent.",
)  # fmt: skip
@click.option("--complete-cases", is_flag=True, help="Leave out cases with missing values.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Leave a column out; repeatable.")
@click.option(
    "--map", "maps", multiple=True, metavar="[NAME=]FILE",
    help="What columns and cells of a cohort's table, or of all of them, are here (TOML); repeatable.",
)  # fmt: skip
@click.option("--registry", "registry_path", type=_folder, help="Overrides signature.registry.")
@json_option
@config_option
def evaluate(
    reference: str,
    named: tuple[str, ...],
    out: Path,
    others: tuple[str, ...],
    subgroups: tuple[str, ...],
    reading: str | None,
    survival: str | None,
    repeats: int,
    prevalence: float | None,
    ki67_high: float | None,
    complete_cases: bool,
    ignore: tuple[str, ...],
    maps: tuple[str, ...],
    registry_path: Path | None,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Judge SIGNATURE on cohorts; on its own training table by nested cross-validation.

    Of a family's folder every member is judged on the exams that have what it reads, and all on the same exams.
    """
    require_research()
    from config.load import load
    from pipeline.research.evaluation.evaluate import Questions
    from pipeline.signature.family import read

    whole = load(config_path, writes=False)
    settings = whole.signature
    registry = registry_in(registry_path, settings)
    family = read(Path(reference)) if Path(reference).is_dir() else None
    if family is not None and others:
        raise click.UsageError("--compare: the members of a family are compared with each other")
    signature = find_signature(reference, registry) if family is None else family.members[0]
    questions = Questions(
        subgroups,
        reading,
        _pair(survival),
        repeats,
        settings.alpha,
        complete_cases,
        settings.minimum_per_class,
        settings.max_outside,
        settings.max_distance,
        prevalence,
    )
    strange = [m for m in maps if "=" in m and m.partition("=")[0] not in {n.partition("=")[0] for n in named}]
    if strange:
        raise click.UsageError(f"--map {strange[0]}: no --table has that name")
    percent = with_ki67(whole, ki67_high).clinical.ki67_high_percent
    tables = {
        name: replace(table, ki67_high_percent=percent)
        for name, table in (_cohort(signature, text, questions.columns, ignore, maps) for text in named)
    }
    if len(tables) != len(named):
        raise click.UsageError("two cohorts have the same name")
    if family is None:
        compared = [find_signature(other, registry) for other in others]
        _evaluate_signature(signature, tables, questions, compared, out, registry, whole, as_json=as_json)
    else:
        _evaluate_family(family, tables, questions, out, registry, whole, as_json=as_json)
    if registry is not None:
        keep_authors(reference, registry)


def _evaluate_signature(
    signature: Signature,
    tables: Mapping[str, Table],
    questions: Questions,
    others: Sequence[Signature],
    out: Path,
    registry: Registry | None,
    settings: Settings,
    *,
    as_json: bool,
) -> None:
    from pipeline.research.evaluation import evaluation_page
    from pipeline.research.evaluation.evaluate import evaluate
    from pipeline.signature import card

    with progress_bar("nested cross-validation") as progress:
        evaluation = evaluate(signature, tables, questions, others, progress)
    evaluation_page.write_evaluation(evaluation, out, making_of(signature, settings))
    if registry is not None:
        registry.add(signature)
        registry.record(evaluation.facts)
    for sentence in card.conclusions(evaluation.facts):
        click.secho(sentence, err=True, fg="red", bold=True)
    if as_json:
        click.echo(json.dumps(evaluation.facts, allow_nan=False))
    else:
        click.echo("\n".join(card.performance(signature, evaluation.facts)))
        click.echo(f"report: {out / 'report.html'}")


def _evaluate_family(
    family: Family,
    tables: Mapping[str, Table],
    questions: Questions,
    out: Path,
    registry: Registry | None,
    settings: Settings,
    *,
    as_json: bool,
) -> None:
    from pipeline.research.families.evaluate_family import evaluate_family
    from pipeline.research.families.family_evaluation_page import write_family_evaluation
    from pipeline.signature import card

    with progress_bar("signatures") as progress:
        judged = evaluate_family(family, tables, questions, progress)
    members = [one.signature for one in judged.evaluations]
    write_family_evaluation(judged, out, {member.sha256: making_of(member, settings) for member in members})
    for one in judged.evaluations:
        if registry is not None:
            registry.add(one.signature)
            registry.record(one.facts)
        for sentence in card.conclusions(one.facts):
            click.secho(f"{one.signature.header.title}: {sentence}", err=True, fg="red", bold=True)
    if as_json:
        click.echo(json.dumps(judged.facts, allow_nan=False))
        return
    for one in judged.evaluations:
        click.echo(one.signature.header.title)
        click.echo("\n".join(card.performance(one.signature, one.facts)))
    click.echo(f"report: {out / 'report.html'}")


def _cohort(
    signature: Signature, text: str, companions: tuple[str, ...], ignore: tuple[str, ...], maps: tuple[str, ...]
) -> tuple[str, Table]:
    from pipeline.research.tables import feature_table
    from pipeline.research.tables.column_map import NOTHING, read_map
    from pipeline.research.tables.reading import read_frame
    from pipeline.research.tables.scanners import columns_of

    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise click.UsageError(f"--table {text}: give NAME=TABLE")
    header = signature.header
    own = [m.removeprefix(f"{name}=") for m in maps if m.startswith(f"{name}=")] or [m for m in maps if "=" not in m]
    mapping = read_map(Path(own[0])) if own else NOTHING
    frame, digest = read_frame(Path(path), mapping)
    if digest == header.table_sha256:
        # Readers, survival and subgroups are asked of cohorts that the signature has not seen.
        companions = tuple(c for c in companions if c in frame.columns or c in mapping.columns.values())
    return name, feature_table.from_frame(
        frame,
        name=Path(path).name,
        sha256=digest,
        label=header.label_column,
        positive=header.positive_value,
        negative=header.negative_value,
        id_column=header.id_column,
        companions=(*companions, *(() if header.harmonisation is None else columns_of(header.harmonisation))),
        ignore=ignore,
        foreign_columns=header.foreign_columns,
        mapping=mapping,
        level_split=header.level_split,
    )


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    time, comma, event = text.partition(",")
    if not (time and comma and event):
        raise click.UsageError("--survival: give TIME,EVENT")
    return time.strip(), event.strip()

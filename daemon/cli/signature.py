"""`axrad signature`: train, evaluate, show, list, activate, and what other modules here add."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: values of options; the recipe checks them

import click

from daemon.cli.options import config_option, json_option, out_file
from daemon.cli.recipe_options import progress_bar, recipe_of, recipe_options, table_options, with_ki67
from daemon.cli.research_extra import require_research
from daemon.cli.signature_author import authors_of, authors_section, require_authors, sign, trust
from daemon.cli.signature_evaluation import evaluate
from daemon.cli.signature_family import family
from daemon.cli.signature_levels import levels
from daemon.cli.signature_methods import methods_of
from daemon.cli.signature_registry import (
    activate_family,
    audit_use,
    family_card,
    family_of,
    family_section,
    find_signature,
    registry_in,
    required_registry,
)

if TYPE_CHECKING:
    from pipeline.signature.record import Signature

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_folder = click.Path(file_okay=False, path_type=Path)
_registry_option = click.option("--registry", "registry_path", type=_folder, help="Overrides signature.registry.")


@click.group()
def signature() -> None:
    """Make, judge and choose signatures."""


for _command in (evaluate, family, levels, sign, trust):
    signature.add_command(_command)


@signature.command()
@click.argument("table", type=_file)
@table_options
@click.option("--out", required=True, type=out_file, help="The signature file to write.")
@click.option("--name", help="Default: the name of the file.")
@click.option("--version", default="1", show_default=True)
@recipe_options
@click.option(
    "--anticipated-auc", type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
    help="Say how many cases this AUC would need with so many candidate columns.",
)  # fmt: skip
@click.option(
    "--foreign-columns", is_flag=True,
    help="Take every numeric column as a feature, whatever its name; the signature can never become active.",
)  # fmt: skip
@json_option
@config_option
def train(
    table: Path,
    label: str,
    positive: str,
    negative: str | None,
    positive_name: str | None,
    id_column: str | None,
    out: Path,
    name: str | None,
    version: str,
    ignore: tuple[str, ...],
    map_path: Path | None,
    ki67_high: float | None,
    foreign_columns: bool,
    anticipated_auc: float | None,
    as_json: bool,
    config_path: Path | None,
    **steps: Any,
) -> None:
    """Train a signature on TABLE and write it to one file."""
    require_research()
    from config.load import load
    from pipeline.research.tables import design
    from pipeline.research.tables import feature_table as tables
    from pipeline.research.tables.column_map import NOTHING, read_map
    from pipeline.research.tables.scanners import columns_of
    from pipeline.research.training import train as training
    from pipeline.signature import card, container

    settings = with_ki67(load(config_path, writes=False), ki67_high)
    recipe = recipe_of(settings.signature.training, steps)
    read = tables.read(
        table, label=label, positive=positive, negative=negative, id_column=id_column, ignore=ignore,
        foreign_columns=foreign_columns, settings=settings, mapping=NOTHING if map_path is None else read_map(map_path),
        companions=columns_of(recipe),
    )  # fmt: skip
    identity = training.Identity(name or out.stem.replace(" ", "-"), version, positive_name)
    with progress_bar("out of fold") as progress:
        trained = container.save(training.train(read, recipe, identity, progress), out)
    left_out = trained.header.incomplete_cases_left_out
    if left_out:
        lacking = "; ".join(f"without {group}: {n}" for group, n in design.counts_without(read, recipe).items())
        why = f" ({lacking})" if lacking else ""
        click.echo(f"{left_out} of {len(read)} cases are incomplete and were left out{why}", err=True)
    if anticipated_auc is not None:
        click.echo(_sample_size(trained, anticipated_auc), err=True)
    if as_json:
        click.echo(json.dumps(card.facts(trained), allow_nan=False))
    else:
        _print_summary(trained, out)


@signature.command()
@click.argument("signature_file", metavar="SIGNATURE", required=False)
@click.option("--html", "page", type=out_file, help="Write the card to this HTML file instead.")
@click.option("--methods", "as_methods", is_flag=True, help="Print a methods section for a paper instead.")
@_registry_option
@json_option
@config_option
def show(
    signature_file: str | None,
    page: Path | None,
    as_methods: bool,
    registry_path: Path | None,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Print the model card of SIGNATURE: a file, a family's folder, or name@version or digest in the registry.

    Default: the demonstration. A signature of a family shows the family as well.
    """
    from config.load import load
    from pipeline.signature import card, demonstration_path, model_card
    from pipeline.signature.family import read
    from pipeline.signature.whole_files import write_atomically

    whole = load(config_path)
    settings = whole.signature
    registry = registry_in(registry_path, settings)
    if signature_file is not None and Path(signature_file).is_dir():
        if page is not None or as_methods:
            raise click.UsageError("--html and --methods: name one member of the family")
        family = read(Path(signature_file))
        signed = authors_of(signature_file, registry, settings)
        if as_json:
            click.echo(json.dumps({**family.facts, **({"authors": signed} if signed else {})}, allow_nan=False))
        else:
            click.echo(family_card(family.title, family.facts) + "\n" + authors_section(signed))
        return
    shown = find_signature(signature_file or str(demonstration_path()), registry)
    known = registry.evaluations(shown.sha256) if registry is not None else []
    merged = card.merge(known)
    if page is not None:
        write_atomically(page, model_card.page(shown, merged).encode())
        click.echo(f"card: {page}")
        return
    if as_methods:
        click.echo(methods_of(shown, merged, whole))
        return
    siblings = family_of(shown, registry)
    signed = authors_of(signature_file or str(demonstration_path()), registry, settings)
    if as_json:
        click.echo(json.dumps({**card.facts(shown, merged), "family": siblings, "authors": signed}, allow_nan=False))
    else:
        click.echo(model_card.markdown(shown, merged) + authors_section(signed) + family_section(siblings))


@signature.command("list")
@_registry_option
@json_option
@config_option
def list_(registry_path: Path | None, as_json: bool, config_path: Path | None) -> None:
    """List the registry's signatures: the active ones in the order in which they are asked, then the others."""
    from pipeline.signature.coverage import coverage

    registry = required_registry(registry_path, config_path)
    entries, families = registry.entries(), registry.families()
    titles = {e.signature.sha256: e.signature.header.title for e in entries}
    if as_json:
        rows = [
            {**e.signature.describe(), "active": e.active, "shadow": e.shadow, "orientations": list(e.orientations),
             "place": e.place, "family": e.family or e.signature.header.title}
            for e in entries
        ]  # fmt: skip
        listed = [
            {"name": f.name, "version": f.version, "members": [titles[sha] for sha in f.members]} for f in families
        ]
        click.echo(json.dumps({"signatures": rows, "families": listed}))
        return
    if active := [e.signature.inputs for e in entries if e.active]:
        click.echo(f"answers exams with {coverage(active)}")
    for f in families:
        click.echo(f"family {f.title}, asked in this order: {', '.join(titles[sha] for sha in f.members)}")
    for e in entries:
        state = f"active {e.place}" if e.active else "shadow" if e.shadow else "-"
        orientations = ", ".join(e.orientations) or "not evaluated"
        click.echo(f"{e.signature.sha256[:12]}  {e.signature.header.title:30}  {state:9}  {orientations}")
        click.echo(f"{'':14}{' + '.join(sorted(e.signature.inputs))}")


@signature.command()
@click.argument("signature_file", metavar="SIGNATURE")
@click.option("--shadow", is_flag=True, help="Compute and keep it, never report it.")
@click.option("--off", is_flag=True, help="Take it out of use.")
@click.option("--unevaluated", is_flag=True, help="Although no external cohort has been scored.")
@_registry_option
@config_option
def activate(
    signature_file: str,
    shadow: bool,
    off: bool,
    unevaluated: bool,
    registry_path: Path | None,
    config_path: Path | None,
) -> None:
    """Make SIGNATURE the active one for the inputs it needs; of a family's folder, all its members in their order."""
    from pipeline.signature.family import read

    registry = required_registry(registry_path, config_path)
    if not off:
        require_authors(config_path, signature_file, registry)
    folder = Path(signature_file)
    if folder.is_dir() and not (shadow or off):
        members = read(folder)
        activate_family(registry, members, _made_for(members.members[0], config_path), unevaluated=unevaluated)
        audit_use(registry.folder, members.members, config_path)
        return
    chosen = read(folder).members if folder.is_dir() else (registry.find(signature_file),)
    for one in chosen:
        title = one.header.title
        if shadow:
            registry.shadow(one, on=not off)
            click.echo(f"{title} is {'no longer a' if off else 'a'} shadow")
        elif off:
            registry.deactivate(one)
            click.echo(f"{title} is not active")
        else:
            before = registry.activate(one, _made_for(one, config_path), unevaluated=unevaluated)
            instead = f", instead of {before[:12]}" if before else ""
            click.echo(f"{title} is active for {' + '.join(sorted(one.inputs))}{instead}")
    audit_use(registry.folder, () if shadow else chosen, config_path)


def _made_for(asked: Signature, config_path: Path | None) -> frozenset[str]:
    """Every feature that exams have where it is asked first: they are extracted as it was trained."""
    from config.load import load
    from pipeline.features import columns_made

    return columns_made(asked.as_trained(load(config_path)).features)


def _sample_size(trained: Signature, auc: float) -> str:
    from pipeline.signature import card
    from pipeline.signature.sample_size import cases_needed

    cases, columns = trained.header.positives + trained.header.negatives, card.candidates(trained)
    needed = cases_needed(columns, auc, trained.header.positives / cases)
    return (
        f"{columns} candidate columns and an anticipated AUC of {auc:g} need {needed} cases "
        f"(Riley 2020, shrinkage 0.9); there are {cases}"
    )


def _print_summary(trained: Signature, out: Path) -> None:
    header = trained.header
    selected = ", ".join(f"{group} {e.kept} of {e.candidates}" for group, e in header.groups.items())
    click.echo(f"{out}: {header.title}, positive class {header.positive_class}, SHA-256 {trained.sha256}")
    click.echo(f"{header.positives} positive and {header.negatives} negative cases; kept {selected}")
    if (harmonised := header.harmonisation) is not None:
        groups = ", ".join(f"{group.name} {group.cases}" for group in harmonised.groups)
        click.echo(f"harmonised by ComBat between {groups}; Cramér's V with the label {harmonised.association:.2f}")
    if header.out_of_fold is not None:
        rule = "" if header.recipe.cutoff == "youden" else f", {header.cutoff_rule}"
        click.echo(f"out of fold: AUC {header.out_of_fold.auc:.3f}; cutoff {header.cutoff:.3f}{rule}")
    if header.constant_columns:
        click.echo(f"{len(header.constant_columns)} constant columns dropped: {', '.join(header.constant_columns[:5])}")

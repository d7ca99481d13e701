"""The registry of signatures that a command works on, and a signature by file, name or digest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.errors import InputRejected
from pipeline.records import Json

if TYPE_CHECKING:
    from config.schema import SignatureSettings
    from pipeline.signature import Signature
    from pipeline.signature.family import Family
    from pipeline.signature.registry import Registry


def registry_in(folder: Path | None, settings: SignatureSettings) -> Registry | None:
    """The registry in a folder, else the one of the settings; None where neither is named."""
    from pipeline.signature.registry import Registry

    folder = folder or settings.registry
    return None if folder is None else Registry(folder, settings.minimum_per_class)


def required_registry(folder: Path | None, config_path: Path | None) -> Registry:
    """The registry in a folder, else the one of the settings.

    Raises:
        InputRejected: the folder does not exist.
    """
    from config.load import load

    registry = registry_in(folder, load(config_path).signature)
    if registry is None:
        raise click.UsageError("no registry: set signature.registry in the settings or give --registry")
    if not registry.folder.is_dir():
        raise InputRejected(f"there is no registry at {registry.folder}: no such folder", code="no-registry")
    return registry


def find_signature(reference: str, registry: Registry | None) -> Signature:
    """The signature in a file, else the one of the registry with this name@version or digest."""
    from pipeline.signature import load

    if registry is not None and not Path(reference).is_file():
        return registry.find(reference)
    return load(Path(reference))


def activate_family(registry: Registry, family: Family, made: Collection[str], *, unevaluated: bool) -> None:
    """Activate a family's members together; print which, in which order, and which are left out and why."""
    done = registry.activate_family(family, made, unevaluated=unevaluated)
    for member, why in done.left_out:
        click.secho(f"{member.header.title} is left out: {why}", err=True, fg="red", bold=True)
    click.echo(f"{family.title} is active: {len(done.members)} signatures, asked in this order")
    for number, member in enumerate(done.members, 1):
        click.echo(f"{number:3}. {member.header.title} for {' + '.join(sorted(member.inputs))}")
    if done.replaced:
        click.echo(f"no longer active: {', '.join(done.replaced)}")


def family_of(signature: Signature, registry: Registry | None) -> Json:
    """The family that a signature belongs to in the registry, or the demonstration's; None: its own."""
    from pipeline.signature.family import demonstration

    if registry is not None:
        for family in registry.families():
            if signature.sha256 in family.members:
                return {"name": family.title, "members": [registry.load(sha).header.title for sha in family.members]}
    shipped = demonstration() if signature.header.demonstration else ()
    if len(shipped) > 1 and signature.sha256 in {s.sha256 for s in shipped}:
        return {"name": shipped[0].header.title, "members": [s.header.title for s in shipped]}
    return None


def family_section(family: Json) -> str:
    """The part of a card that names a signature's family; "" where it is its own."""
    if not isinstance(family, dict):
        return ""
    members = family["members"]
    assert isinstance(members, list)
    lines = [f"{number}. {title}" for number, title in enumerate(members, 1)]
    return "\n".join([f"\n## Family {family['name']}, asked in this order", "", *lines, ""])


def family_card(title: str, facts: Mapping[str, Json]) -> str:
    """The members of a family's folder for people: what each reads, on how many exams it was trained, its AUC."""
    lines = [
        f"# Family {title}",
        "",
        "| | signature | reads | exams | incomplete | nested AUC |",
        "|---|---|---|---|---|---|",
    ]
    members = facts["members"]
    assert isinstance(members, list)
    for number, member in enumerate(members, 1):
        assert isinstance(member, dict)
        judged, reads = member.get("nested_cv"), member.get("reads")
        auc = ""
        if isinstance(judged, dict):
            low, high = judged["ci"]  # type: ignore[misc, str-unpack]
            auc = f"{judged['auc']:.3f} ({low:.3f} to {high:.3f})"
        inputs = " + ".join(map(str, reads)) if isinstance(reads, list) else ""
        name, n, incomplete = (member.get(key, "") for key in ("name", "n", "incomplete_exams"))
        lines.append(f"| {number} | {name or member['file']} | {inputs} | {n} | {incomplete} | {auc} |")
    return "\n".join(lines)


def audit_use(registry: Path, changed: Sequence[Signature], config_path: Path | None) -> None:
    """What is in use at a site is in its audit trail; a registry that is not the settings' has none."""
    from config.load import load
    from daemon import audit

    settings = load(config_path)
    if settings.signature.registry is not None and settings.signature.registry.resolve() == registry.resolve():
        for signature in changed:
            audit.operator_action(settings, "activate", detail=signature.sha256)

"""The registry of signatures that a command works on, and a signature by file, name or digest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.errors import InputRejected

if TYPE_CHECKING:
    from pipeline.signature import Signature
    from pipeline.signature.family import Family
    from pipeline.signature.registry import Registry


def registry_in(folder: Path | None) -> Registry | None:
    """The registry in a folder; None without a folder."""
    from pipeline.signature.registry import Registry

    return None if folder is None else Registry(folder)


def required_registry(folder: Path | None, config_path: Path | None) -> Registry:
    """The registry in a folder, else the one of the settings.

    Raises:
        InputRejected: the folder does not exist.
    """
    from config.load import load

    registry = registry_in(folder or load(config_path).signature.registry)
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


def activate_family(registry: Registry, family: Family, *, unevaluated: bool) -> None:
    """Activate a family's members together; print which, in which order, and which are left out and why."""
    done = registry.activate_family(family, unevaluated=unevaluated)
    for member, why in done.left_out:
        click.secho(f"{member.header.title} is left out: {why}", err=True, fg="red", bold=True)
    click.echo(f"{family.title} is active: {len(done.members)} signatures, asked in this order")
    for number, member in enumerate(done.members, 1):
        click.echo(f"{number:3}. {member.header.title} for {' + '.join(sorted(member.inputs))}")
    if done.replaced:
        click.echo(f"no longer active: {', '.join(done.replaced)}")

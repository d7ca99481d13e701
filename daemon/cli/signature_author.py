"""`axrad signature sign` and `trust`: who answers for a signature file, and whom the site believes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.audit_trail.operating_user import operating_user
from daemon.cli.options import config_option, json_option
from daemon.cli.signature_registry import registry_in
from pipeline.errors import InputRejected
from pipeline.records import Json

if TYPE_CHECKING:
    from config.schema import Settings, SignatureSettings
    from pipeline.signature import Signature
    from pipeline.signature.authors import Trusted
    from pipeline.signature.registry import Registry

_path = click.Path(path_type=Path)
_registry_option = click.option("--registry", "registry_path", type=_path, help="Overrides signature.registry.")
_authors_option = click.option("--authors", "authors_path", type=_path, help="Overrides signature.authors.")


@click.command()
@click.argument("references", metavar="SIGNATURE...", nargs=-1, required=True)
@click.option("--key", required=True, type=_path, help="The author's private key (PEM); made where there is none.")
@click.option("--author", help="The author's name; default: the user who is logged in.")
@_registry_option
@json_option
@config_option
def sign(
    references: tuple[str, ...],
    key: Path,
    author: str | None,
    registry_path: Path | None,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Sign each SIGNATURE: a file, a family's folder with all its members, or name@version in the registry.

    What is signed is the SHA-256 of the file, which stays as it is; the author's word is in SIGNATURE.author beside it.
    """
    from config.load import load
    from pipeline.signature import authors

    registry = registry_in(registry_path, load(config_path, writes=False).signature)
    name = author or operating_user()[0]
    if not name.strip() or not name.isprintable():
        raise click.UsageError("--author: a name on one line is needed")
    files = [pair for reference in references for pair in files_of(reference, registry)]
    new = not key.exists()
    private = authors.private_key(key, make=True)
    if new:
        click.echo(f"new key: {key}, which only its owner may read, and {key}.pub, to be trusted by sites", err=True)
    signed = [(one, authors.sign(file, one.sha256, name.strip(), private)) for file, one in files]
    if as_json:
        rows = [
            {"signature": s.header.title, "sha256": s.sha256, "author": a.author, "key": a.fingerprint}
            for s, a in signed
        ]
        click.echo(json.dumps({"signed": rows}))
        return
    for one, mine in signed:
        click.echo(f"{one.header.title} is signed by {mine.author}, key {mine.fingerprint}")


@click.command()
@click.argument("keys", metavar="KEY...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--author", help="What the site calls the owner of KEY; default: the name in the signature, or the file's."
)
@click.option("--remove", "removed", multiple=True, metavar="FINGERPRINT", help="Trust this key no longer; repeatable.")
@_authors_option
@_registry_option
@json_option
@config_option
def trust(
    keys: tuple[Path, ...],
    author: str | None,
    removed: tuple[str, ...],
    authors_path: Path | None,
    registry_path: Path | None,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Trust the author whose public key is in KEY (PEM), or who signed the signature file KEY. Without KEY: list them.

    Compare the fingerprint with the one that the author tells you.
    """
    from config.load import load
    from pipeline.signature import authors

    settings = load(config_path, writes=False)
    places = _places(settings.signature, registry_path, authors_path)
    path = authors.trusted_path(places)
    if path is None:
        raise click.UsageError(
            "no file of trusted keys: set signature.registry or signature.authors, or give --authors"
        )
    before = authors.trusted(path)
    known = {one.key: one for one in before}
    for file in keys:
        known.update({one.key: one for one in _owners(file, author)})
    for text in removed:
        known = {key: one for key, one in known.items() if key != _one_called(text, before).key}
    if tuple(known.values()) != before:
        authors.write_trusted(path, known.values())
        _audit(settings, path, set(known) ^ {one.key for one in before})
    if as_json:
        click.echo(json.dumps({"authors": [{"author": a.author, "key": a.fingerprint} for a in known.values()]}))
        return
    for one in known.values():
        click.echo(f"{one.fingerprint}  {one.author}")
    if not known:
        click.echo("no author is trusted", err=True)


def files_of(reference: str, registry: Registry | None) -> list[tuple[Path, Signature]]:
    """The file of a signature with what is in it; of a family's folder, those of all its members."""
    from pipeline.signature import container, family

    path = Path(reference)
    if path.is_dir():
        members = family.read(path)
        return [(file, one) for file, one in zip(family.files(path, members), members.members, strict=True)]
    if registry is not None and not path.is_file():
        one = registry.find(reference)
        return [(registry.file_of(one.sha256), one)]
    return [(path, container.load(path))]


def keep_authors(reference: str, registry: Registry) -> None:
    """Take the authors' signatures on a file, or on a family's members, into the registry beside its copies."""
    from pipeline.signature import authors

    for file, one in files_of(reference, registry):
        authors.keep(registry.file_of(one.sha256), one.sha256, authors.read(file))


def require_authors(config_path: Path | None, reference: str, registry: Registry) -> None:
    """Take the authors' signatures into the registry; where the site demands it, each file needs one that it trusts.

    Raises:
        InputRejected: the signature, or a member of the family, has none.
    """
    from config.load import load
    from daemon import audit
    from pipeline.signature import authors

    settings = load(config_path)
    if settings.signature.require_author:
        known = authors.trusted(authors.trusted_path(_places(settings.signature, registry.folder, None)))
        for file, one in files_of(reference, registry):
            if why := authors.against(one.header.title, one.sha256, authors.read(file), known):
                audit.alert(settings, f"{authors.NOT_TRUSTED}: {why}")
                raise InputRejected(f"{one.header.title} cannot be activated: {why}", code=authors.NOT_TRUSTED)
    keep_authors(reference, registry)


def authors_of(reference: str, registry: Registry | None, settings: SignatureSettings) -> list[dict[str, Json]]:
    """Who signed a signature file, or each member of a family, and whether that holds and is believed here."""
    from pipeline.signature import authors

    known = {one.key for one in authors.trusted(authors.trusted_path(settings))}
    return [
        {
            "signature": one.header.title,
            "author": s.author,
            "key": s.fingerprint,
            "valid": s.is_valid(one.sha256),
            "trusted": s.key in known,
        }
        for file, one in files_of(reference, registry)
        for s in authors.read(file)
    ]


def authors_section(signed: Sequence[dict[str, Json]]) -> str:
    """The part of a card that names the authors."""
    lines = ["\n## Signed by", ""]
    for one in signed:
        state = "trusted here" if one["trusted"] else "not trusted here"
        state = state if one["valid"] else "NOT VALID for this file"
        lines.append(f"- {one['signature']}: {one['author']}, key {one['key']}, {state}")
    return "\n".join([*lines, *([] if signed else ["no author"]), ""])


def _places(settings: SignatureSettings, registry: Path | None, authors: Path | None) -> SignatureSettings:
    changed = {"registry": registry or settings.registry, "authors": authors or settings.authors}
    return settings.model_copy(update=changed)


def _owners(file: Path, name: str | None) -> Iterable[Trusted]:
    """Whose key is in this file: a public key in PEM, or a signature file with its authors."""
    from pipeline.signature import authors, container

    if authors.beside(file).exists():
        sha256 = container.load(file).sha256
        trusted = [authors.Trusted(name or s.author, s.key) for s in authors.read(file) if s.is_valid(sha256)]
        if not trusted:
            raise InputRejected(f"no author's signature on {file} is valid", code=authors.NOT_TRUSTED)
        return trusted
    return [authors.Trusted(name or file.name.split(".")[0], authors.public_key(file))]


def _one_called(text: str, known: Sequence[Trusted]) -> Trusted:
    matching = [one for one in known if len(text) >= 6 and one.fingerprint.startswith(text.lower())]
    if len(matching) != 1:
        count = "no key" if not matching else f"{len(matching)} keys"
        raise InputRejected(f"{count} trusted with a fingerprint that begins with {text}", code="no-such-key")
    return matching[0]


def _audit(settings: Settings, path: Path, changed: Iterable[bytes]) -> None:
    """Whom the site trusts is in its audit trail; a file that is not the settings' has none."""
    from daemon import audit
    from pipeline.signature import authors

    own = authors.trusted_path(settings.signature)
    if own is not None and own.resolve() == path.resolve():
        for key in sorted(changed):
            audit.operator_action(settings, "trust", detail=authors.fingerprint(key))

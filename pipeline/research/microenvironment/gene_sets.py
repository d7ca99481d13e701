"""Gene sets that the user supplies, in the GMT format of MSigDB: name, description, genes, separated by tabs."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputRejected
from pipeline.research.microenvironment.symbols import is_mangled
from pipeline.research.tables.reading import sha256_of, shortened
from pipeline.research.tables.separated import text_of

_SUFFIXES = (".gz", ".gmt", ".txt")


@dataclass(frozen=True)
class GeneSet:
    """`collection`: the file it comes from, without its ending: GO, KEGG."""

    collection: str
    term: str
    genes: frozenset[str]


@dataclass(frozen=True)
class Collection:
    """The sets of a file, and gene names in them that a spreadsheet has mangled."""

    name: str
    file: str
    sha256: str
    sets: tuple[GeneSet, ...]
    mangled: tuple[str, ...]


def read_gene_sets(path: Path) -> Collection:
    """Read a GMT file, which may be compressed by gzip.

    Raises:
        InputRejected: it cannot be read, a line is no gene set, or two sets have one name.
    """
    data, text = _read(path)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    split = [(number, [cell.strip() for cell in line.split("\t")]) for number, line in lines]
    wrong = [number for number, cells in split if len(cells) < 3 or not cells[0]]
    if wrong or not split:
        raise InputRejected(
            f"{path.name} is no file of gene sets (GMT: name, description, genes, separated by tabs): "
            + (f"lines {shortened(wrong)}" if wrong else "it is empty"),
            code="gene-sets-unreadable",
        )
    collection = _without_suffixes(path.name)
    sets = tuple(GeneSet(collection, cells[0], frozenset(filter(None, cells[2:]))) for _, cells in split)
    _refuse_repeated(sets, path.name)
    mangled = tuple(sorted({gene for one in sets for gene in one.genes if is_mangled(gene)}))
    return Collection(collection, path.name, sha256_of(data), sets, mangled)


def read_collections(paths: Sequence[Path]) -> tuple[Collection, ...]:
    """The files of gene sets, each once.

    Raises:
        InputRejected: as `read_gene_sets`, or two files have one content or one name, so that their sets would count
            twice or be taken for each other's.
    """
    collections = tuple(read_gene_sets(path) for path in paths)
    for what, keys in (("content", [one.sha256 for one in collections]), ("name", [one.name for one in collections])):
        if len(set(keys)) < len(keys):
            files = [one.file for one, key in zip(collections, keys, strict=True) if keys.count(key) > 1]
            raise InputRejected(f"gene sets of one {what}: {shortened(files)}", code="duplicate-gene-sets")
    return collections


def read_names(path: Path) -> set[str]:
    """Names of genes, one per line.

    Raises:
        InputRejected: it cannot be read.
    """
    return set(_read(path)[1].split())


def _read(path: Path) -> tuple[bytes, str]:
    """A file's bytes, and its text, which may be compressed by gzip."""
    try:
        data = path.read_bytes()
        return data, text_of(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data, path.name)
    except (OSError, EOFError, zlib.error) as error:
        raise InputRejected(f"cannot read the genes in {path.name}: {error}", code="gene-sets-unreadable") from error


def _without_suffixes(name: str) -> str:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _refuse_repeated(sets: Sequence[GeneSet], file: str) -> None:
    names = [one.term for one in sets]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise InputRejected(f"{file}: gene sets that occur twice: {shortened(repeated)}", code="duplicate-gene-sets")

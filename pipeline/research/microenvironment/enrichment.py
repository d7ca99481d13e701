"""Over-representation of gene sets among the genes that differ."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from pipeline.errors import InputRejected
from pipeline.research.microenvironment.differences import adjusted
from pipeline.research.microenvironment.gene_sets import Collection

COLUMNS = ("set", "term", "size", "overlap", "expected", "up", "down", "p", "q", "genes")


@dataclass(frozen=True)
class Enrichment:
    """`table`: one row per set with genes in the background; columns set (the collection), term, size (its genes in the
    background), overlap, expected, up, down, p, q, genes.

    P: the chance of so large an overlap when as many genes are drawn from the background (hypergeometric, as Fisher's
    one-sided test). q: Benjamini-Hochberg over all rows, sets without overlap included. `without_genes`: sets of which
    the background has no gene; they cannot be tested and do not count.
    """

    table: pd.DataFrame
    background: int
    selected: int
    without_genes: int


def over_represented(
    collections: Sequence[Collection], up: Names[str], down: Names[str], background: Names[str]
) -> Enrichment:
    """Test each set.

    Args:
        up, down: genes that are higher, lower; those outside the background do not count.
        background: the genes that could have been selected.

    Raises:
        InputRejected: the background has genes of no set of a collection, which then has other names of genes.
    """
    universe = frozenset(background)
    higher, lower = universe & set(up), universe & set(down)
    selected = higher | lower
    rows, without = [], 0
    for collection in collections:
        present = [(one, one.genes & universe) for one in collection.sets]
        if not any(genes for _, genes in present):
            raise InputRejected(
                f"{collection.file}: none of its {len(present)} gene sets has a gene of the {len(universe)} in the "
                f"background{_hint(universe, collection)}",
                code="no-genes-in-common",
            )
        for one, genes in present:
            without += not genes
            overlap = genes & selected
            if genes:
                rows.append(
                    (one.collection, one.term, len(genes), len(overlap), len(genes) * len(selected) / len(universe),
                     len(overlap & higher), len(overlap & lower), ";".join(sorted(overlap)))
                )  # fmt: skip
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c not in ("p", "q")])
    p = stats.hypergeom.sf(table["overlap"] - 1, len(universe), table["size"], len(selected))
    table.insert(7, "p", p.clip(max=1.0))
    table.insert(8, "q", adjusted(table["p"].to_numpy()))
    ordered = table.sort_values(["p", "set", "term"], kind="stable", ignore_index=True)
    return Enrichment(ordered, len(universe), len(selected), without)


def _hint(universe: frozenset[str], collection: Collection) -> str:
    """What may be wrong with the names."""
    theirs = {gene for one in collection.sets for gene in one.genes}
    if {gene.upper() for gene in theirs} & {gene.upper() for gene in universe}:
        return "; names differ in capital letters, as those of mouse and man do"
    for side, names in (("matrix", universe), ("sets", theirs)):
        if sum(name.startswith("ENS") for name in names) > len(names) / 2:
            return f"; the {side} has Ensembl's identifiers"
        if sum(name.isdigit() for name in names) > len(names) / 2:
            return f"; the {side} has Entrez's numbers"
    return ""

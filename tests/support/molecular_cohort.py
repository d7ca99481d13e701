"""Simulated cohorts with planted truth: genes, cell fractions, lncRNAs, methylated sites and their correlations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

CELLS = ("B cells", "T cells CD8", "T cells CD4", "NK cells", "Macrophages M2", "Neutrophils")


@dataclass(frozen=True)
class MolecularCohort:
    """`features`: patients as rows, with the columns patient_id, score, aln and f0, f1, …; the matrices: patients as
    columns. `up`, `down`: genes that follow the score; `fractions`: patients by cells; `lncrna_truth`, `sites_truth`:
    markers that follow `aln`; feature f0 follows the first cell."""

    features: pd.DataFrame
    expression: pd.DataFrame
    lncrna: pd.DataFrame
    methylation: pd.DataFrame
    signature: pd.DataFrame
    fractions: pd.DataFrame
    up: tuple[str, ...]
    down: tuple[str, ...]
    lncrna_truth: tuple[str, ...]
    sites_truth: tuple[str, ...]
    gene_sets: dict[str, tuple[str, ...]]

    def write(self, folder: Path) -> None:
        """All files: features.csv, expression.tsv.gz, lncrna.csv, methylation.parquet, signature.txt, go.gmt."""
        self.features.to_csv(folder / "features.csv", index=False)
        self.expression.to_csv(folder / "expression.tsv.gz", sep="\t")
        self.lncrna.to_csv(folder / "lncrna.csv")
        self.methylation.T.rename_axis("patient").to_parquet(folder / "methylation.parquet")
        self.signature.to_csv(folder / "signature.txt", sep="\t")
        lines = ["\t".join((name, "simulated", *genes)) for name, genes in self.gene_sets.items()]
        (folder / "go.gmt").write_text("\n".join(lines) + "\n")


def molecular_cohort(
    *, patients: int = 90, genes: int = 20_000, markers: int = 2_000, planted: int = 200, seed: int = 1,
    shuffled: bool = False,
) -> MolecularCohort:  # fmt: skip
    """A cohort; `shuffled`: the features, score and node status belong to other patients than the molecules."""
    rng = np.random.default_rng(seed)
    names = [f"TCGA-{n // 1000:02d}-{n % 1000:04d}" for n in range(patients)]
    score = rng.permutation(np.linspace(0.05, 0.95, patients))
    high = score >= np.median(score)
    aln = rng.random(patients) < np.where(high, 0.75, 0.25)
    symbols = [f"GENE{n}" for n in range(genes)]
    signature = pd.DataFrame(
        rng.lognormal(4, 1.5, (min(300, genes // 2), len(CELLS))), symbols[: min(300, genes // 2)], list(CELLS)
    ).rename_axis("Gene symbol")
    fractions = rng.dirichlet(np.full(len(CELLS), 1.5), patients)
    log2 = (
        rng.normal(7, 1.5, (genes, 1))
        + rng.normal(0, 1, (genes, patients)) * np.sqrt(1 / rng.gamma(3, 1 / 3, (genes, 1))) * 0.5
    )
    log2[: len(signature)] = np.log2(signature.to_numpy() @ fractions.T + 1) + rng.normal(
        0, 0.1, (len(signature), patients)
    )
    first = len(signature)
    up, down = symbols[first : first + planted // 2], symbols[first + planted // 2 : first + planted]
    log2[first : first + planted // 2] += 1.2 * high
    log2[first + planted // 2 : first + planted] -= 1.2 * high
    expression = pd.DataFrame(np.maximum(log2, 0), symbols, [f"{n}-01A-11R-A00Z-07" for n in names]).rename_axis("gene")
    features = pd.DataFrame({"patient_id": names, "score": score, "aln": aln.astype(int)})
    features["f0"] = fractions[:, 0] + rng.normal(0, 0.05, patients)
    for n in range(1, 20):
        features[f"f{n}"] = rng.normal(size=patients)
    lncrna, lncrna_truth = _markers(rng, "LINC", markers, aln, names, 0.0)
    sites, sites_truth = _markers(rng, "cg", markers, aln, names, 0.5)
    if shuffled:
        order = rng.permutation(patients)
        columns = [c for c in features.columns if c != "patient_id"]
        features[columns] = features[columns].to_numpy()[order]
    sets = {f"SET{n}": tuple(rng.choice(symbols[first + planted :], 40, replace=False)) for n in range(200)}
    sets |= {"PLANTED_UP": (*up[:30], *symbols[-10:]), "PLANTED_DOWN": (*down[:30], *symbols[-20:-10])}
    return MolecularCohort(
        features, expression, lncrna, sites, signature, pd.DataFrame(fractions, names, list(CELLS)), tuple(up),
        tuple(down), lncrna_truth, sites_truth, sets,
    )  # fmt: skip


def _markers(
    rng: np.random.Generator, prefix: str, count: int, aln: np.ndarray, patients: list[str], middle: float
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Markers by patients, of which the first 15 follow node status; beta values where `middle` is 0.5."""
    values = rng.normal(size=(count, len(patients)))
    values[:15] += 1.6 * aln
    values = 1 / (1 + np.exp(-values)) if middle else values + 5
    names = [f"{prefix}{n:05d}" for n in range(count)]
    return pd.DataFrame(values, names, patients).rename_axis("marker"), tuple(names[:15])

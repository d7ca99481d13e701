"""The paragraph for a methods section: what was done here, with its figures and sources."""

from __future__ import annotations

from pipeline.research.microenvironment.analysis import Findings
from pipeline.research.microenvironment.correlations import CHOICES, SHUFFLES
from pipeline.research.microenvironment.deconvolution import NUS
from pipeline.research.microenvironment.scales import WORDS


def methods(findings: Findings) -> str:
    """Markdown. Every sentence is about something that was done in this analysis."""
    parts = [_patients(findings)]
    if findings.deg is not None:
        parts.append(_genes(findings))
    if findings.enrichment is not None:
        parts.append(_sets(findings))
    if findings.cells is not None:
        parts.append(_cells(findings))
    if findings.markers:
        parts.append(_markers(findings))
    if findings.correlations:
        parts.append(_correlations(findings))
    return "# Methods\n\n" + "\n\n".join(parts) + "\n"


def _patients(findings: Findings) -> str:
    cohort, groups = findings.cohort, findings.groups
    text = f"Radiomic features of {len(cohort.patients)} patients were related to molecular data of the same patients."
    if groups is not None:
        cut = "" if groups.cutoff is None else f" (from {groups.cutoff:.6g} on)"
        text += (
            f" Groups were formed by {groups.by}: {groups.count(first=True)} {groups.first}{cut}, "
            f"{groups.count(first=False)} {groups.second}."
        )
    for kind, matrix in findings.matrices.items():
        samples = matrix.intake.samples
        text += (
            f" The {kind} matrix ({WORDS[findings.scales[kind]]}) has {len(matrix.patients)} of the patients and "
            f"{len(matrix.names)} rows; {samples.missing} patients were missing and left out."
        )
        if samples.repeated or samples.other_tissue:
            text += (
                f" By TCGA barcode only primary tumours were used ({samples.other_tissue} other samples left out), of "
                f"several samples of a patient the first in order ({samples.repeated} left out)."
            )
    return text + " Nothing was imputed."


def _genes(findings: Findings) -> str:
    plan, groups = findings.plan, findings.groups
    assert groups is not None
    fold = f" and an absolute log2 fold change of at least {plan.deg_fold:g}" if plan.deg_fold else ""
    scale = findings.scales["expression"]
    added = {"linear": " after log2(x + 1)", "counts": " after log2(counts per million + 1)"}.get(scale, "")
    return (
        f"Genes were compared between {groups.first} and {groups.second}{added} by Welch's t-test and by the moderated "
        "t-test with an empirical Bayes prior of the variances (Smyth 2004), two-sided, with q values of Benjamini and "
        f"Hochberg (1995) over all genes tested. Genes with moderated q < {plan.deg_q:g}{fold} count as differentially "
        "expressed."
    )


def _sets(findings: Findings) -> str:
    assert findings.enrichment is not None
    files = ", ".join(c.file for c in findings.collections)
    return (
        f"Over-representation among these genes was tested for the gene sets of {files} by the hypergeometric "
        f"distribution against a background of {findings.enrichment.background} genes; q values of Benjamini and "
        f"Hochberg are over all {len(findings.enrichment.table)} sets with a gene in the background, those without "
        "overlap included. P < 0.05 and q < 0.05 were required."
    )


def _cells(findings: Findings) -> str:
    cells = findings.cells
    assert cells is not None
    if cells.fit is None:
        return f"{len(cells.names)} cell types of {len(cells.patients)} patients were {cells.origin} ({cells.kind})."
    normalised = " after quantile normalisation" if findings.plan.quantile_normalisation else ""
    nus = ", ".join(f"{nu:g}" for nu in NUS)
    return (
        f"Fractions of {len(cells.names)} cell types were estimated{normalised} by ν-support vector regression as "
        f"CIBERSORT describes it (Newman 2015): linear kernel, ν in {nus}, the fit with the smallest error, negative "
        f"weights set to 0 and the others scaled to a sum of 1, on {cells.fit.genes} genes of the signature matrix. P "
        f"of the fit is from {len(cells.fit.null)} mixtures of randomly drawn values, one null for all patients. This "
        "is an independent implementation."
    )


def _markers(findings: Findings) -> str:
    plan, groups = findings.plan, findings.status or findings.groups
    assert groups is not None
    return (
        f"{' and '.join('lncRNAs' if k == 'lncrna' else 'methylated sites' for k in findings.markers)} were compared "
        f"between {groups.first} and {groups.second} by {groups.by} with Welch's t-test. Those with P < {plan.level:g} "
        f"entered a random forest of {plan.trees} trees (seed {plan.seed}); the {plan.top} with the largest mean "
        "decrease in Gini impurity were selected. Both steps saw the same patients, so the selection describes this "
        "cohort and is no validated predictor."
    )


def _correlations(findings: Findings) -> str:
    kinds = ", ".join(c.kind for c in findings.correlations)
    return (
        f"Spearman's correlation of the features with {kinds} was tested by Student's t, two-sided, with q values of "
        "Benjamini and Hochberg over all pairs of features with the markers of a kind; where markers were chosen, with "
        "all that they were chosen from. The number of P values that chance alone would give was counted after "
        f"exchanges of the patients ({SHUFFLES}; {CHOICES} with the choice repeated each time)."
    )

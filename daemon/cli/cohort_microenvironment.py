"""`axrad cohort microenvironment`: radiomic features beside genes, immune cells, lncRNAs and methylated sites."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from daemon.cli.options import config_option, json_option, out_folder
from daemon.cli.research_extra import require_research

if TYPE_CHECKING:
    from pipeline.research.microenvironment.analysis import Findings
    from pipeline.research.microenvironment.plan import Kind
    from pipeline.research.microenvironment.scales import Scale

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--features", type=_file, required=True, metavar="TABLE", help="Radiomic features; one row per patient.")
@click.option("--score", metavar="COLUMN", help="The radiomic score, in the same table: genes are compared by it.")
@click.option("--cutoff", type=float, help="From where on a score is high.  [default: the median]")
@click.option("--label", metavar="COLUMN", help="Node status, in the same table: lncRNAs and sites are selected by it.")
@click.option("--positive", metavar="VALUE", help="Of the label: the class with metastases.")
@click.option("--id", "id_column", metavar="COLUMN", help="Names the patients in the table of features.")
@click.option("--feature", "key_features", multiple=True, metavar="COLUMN", help="A key feature; repeatable.")
@click.option("--expression", type=_file, metavar="MATRIX", help="Genes by patients.")
@click.option("--lncrna", type=_file, metavar="MATRIX", help="lncRNAs by patients.")
@click.option("--methylation", type=_file, metavar="MATRIX", help="Methylated sites by patients.")
@click.option("--gene-sets", type=_file, multiple=True, metavar="GMT", help="GO, KEGG or other sets; repeatable.")
@click.option("--background", type=_file, help="One gene per line.  [default: the genes tested]")
@click.option("--cell-signature", type=_file, metavar="MATRIX", help="Genes by cells: LM22 or another.")
@click.option("--cells", type=_file, metavar="TABLE", help="Results of a CIBERSORT run elsewhere.")
@click.option("--cells-p", type=click.FloatRange(0, 1), help="Leave out patients whose fit has a larger P.")
@click.option("--scale", "stated", multiple=True, metavar="MATRIX=SCALE", help="Such as expression=counts; repeatable.")
@click.option("--deg-q", default=0.05, show_default=True, type=click.FloatRange(0, 1), help="Genes below it differ.")
@click.option("--deg-fold", default=0.0, show_default=True, type=click.FloatRange(0), help="And log2 change at least.")
@click.option("--permutations", default=1000, show_default=True, type=click.IntRange(0), help="Of the deconvolution.")
@click.option("--quantile-normalisation", is_flag=True, help="Before the deconvolution; for microarrays.")
@click.option("--trees", default=500, show_default=True, type=click.IntRange(1), help="Of the random forest.")
@click.option("--top", default=30, show_default=True, type=click.IntRange(1), help="Markers selected of each kind.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--workers", type=click.IntRange(1), help="Threads.  [default: one per core]")
@click.option("--out", type=out_folder, required=True, help="Folder for report.html, CSVs and microenvironment.json.")
@config_option
@json_option
def microenvironment(
    features: Path,
    expression: Path | None,
    lncrna: Path | None,
    methylation: Path | None,
    gene_sets: tuple[Path, ...],
    background: Path | None,
    cell_signature: Path | None,
    cells: Path | None,
    key_features: tuple[str, ...],
    stated: tuple[str, ...],
    workers: int | None,
    out: Path,
    config_path: Path | None,
    as_json: bool,
    **asked: Any,  # Any: options of several types, named as the fields of Plan
) -> None:
    """Relate radiomic features to molecular matrices of the same patients.

    Matrices are CSV, TSV or Parquet, also compressed by gzip, with patients in rows or columns.
    """
    require_research()
    from pipeline.research.microenvironment.analysis import analyse
    from pipeline.research.microenvironment.page import write
    from pipeline.research.microenvironment.plan import Plan, Sources

    if cells is not None and cell_signature is not None:
        raise click.UsageError("--cells and --cell-signature: give one of them")
    plan = Plan(features=key_features, scales=_scales(stated), workers=workers or _cores(), **asked)
    sources = Sources(features, expression, lncrna, methylation, gene_sets, background, cell_signature, cells)
    with _progress(quiet=as_json) as progress:
        findings = analyse(sources, plan, progress)
        progress("report", 0, 1)
        facts = write(findings, out)
    if as_json:
        click.echo(json.dumps(facts, allow_nan=False))
        return
    click.echo("\n".join(_lines(findings, facts)))
    click.echo(f"report: {out / 'report.html'}")


def _scales(stated: tuple[str, ...]) -> dict[Kind, Scale]:
    from pipeline.research.microenvironment.scales import SCALES

    scales: dict[Kind, Scale] = {}
    for text in stated:
        kind, _, scale = text.partition("=")
        if kind not in ("expression", "lncrna", "methylation") or scale not in SCALES:
            raise click.UsageError(
                f"--scale {text}: say expression, lncrna or methylation, = and one of {', '.join(SCALES)}"
            )
        scales[cast("Kind", kind)] = cast("Scale", scale)
    return scales


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr that says which step is being done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def _lines(findings: Findings, facts: Mapping[str, object]) -> list[str]:
    """What was computed, one line each."""
    lines = [f"{len(findings.cohort.patients)} patients in {findings.cohort.file}"]
    for kind, matrix in findings.matrices.items():
        lines.append(
            f"{kind}: {len(matrix.patients)} patients ({matrix.intake.samples.missing} missing), {len(matrix.names)} "
            f"rows, {findings.scales[kind]}"
        )
    if isinstance(summary := facts["deg_summary"], dict):
        lines.append(f"genes that differ: {summary['differing']} ({summary['up']} up, {summary['down']} down)")
    if isinstance(summary := facts["enrichment_summary"], dict):
        lines.append(f"gene sets with P and q < 0.05: {summary['p_and_q_below_0_05']} of {summary['tested']}")
    if findings.cells is not None:
        lines.append(f"cells: {len(findings.cells.names)} of {len(findings.cells.patients)} patients")
    for kind, chosen in findings.markers.items():
        lines.append(
            f"{kind}: {chosen.tests.below} of {len(chosen.tests.table)} with P < 0.05; {len(chosen.selected)} selected"
        )
    lines += [
        f"correlations with {one.kind}: {one.below} of {len(one.table)} with P < {one.level}, by chance "
        f"{one.expected:.0f}; {int((one.table['q'] < 0.05).sum())} with q < 0.05"
        for one in findings.correlations
    ]
    return [*lines, *findings.notes]

"""The whole analysis of the microenvironment on simulated cohorts: what was planted, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from daemon.cli.cohort import cohort as command
from pipeline.research.microenvironment.analysis import analyse
from pipeline.research.microenvironment.plan import Plan, Sources
from pipeline.research.reproduce import findings, released_tables
from tests.support.molecular_cohort import MolecularCohort, molecular_cohort

GENES = 1_500


@pytest.fixture(scope="module")
def planted() -> MolecularCohort:
    return molecular_cohort(patients=60, genes=GENES, markers=400, planted=60)


def run(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(
        command,
        ["microenvironment", "--features", str(folder / "features.csv"), "--trees", "100", "--permutations", "40",
         "--out", str(folder / "out"), *more],
        catch_exceptions=False,
    )  # fmt: skip


def everything(folder: Path) -> list[str]:
    files = {"--expression": "expression.tsv.gz", "--lncrna": "lncrna.csv", "--methylation": "methylation.parquet",
             "--gene-sets": "go.gmt", "--cell-signature": "signature.txt"}  # fmt: skip
    return ["--score", "score", "--label", "aln", *(x for o, f in files.items() for x in (o, str(folder / f)))]


@pytest.fixture(scope="module")
def answer(planted: MolecularCohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and what was printed."""
    folder = tmp_path_factory.mktemp("planted")
    planted.write(folder)
    result = run(folder, *everything(folder), "--json")
    assert result.exit_code == 0, result.output
    return folder / "out", json.loads(result.stdout)


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("shuffled")
    molecular_cohort(patients=60, genes=GENES, markers=400, planted=60, shuffled=True).write(folder)
    result = run(folder, *everything(folder), "--json")
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def test_the_planted_genes_differ_at_the_stated_rate_and_in_the_planted_direction(
    planted: MolecularCohort, answer: tuple[Path, dict[str, Any]]
) -> None:
    by_gene = {row["gene"]: row for row in answer[1]["deg"]}
    assert len(by_gene) == GENES
    chosen = {gene for gene, row in by_gene.items() if row["moderated_q"] < 0.05}
    truth = {*planted.up, *planted.down}
    assert len(chosen & truth) >= 0.9 * len(truth)
    assert len(chosen - truth) <= 0.15 * len(chosen), "a false discovery rate of 5 %"
    assert all(by_gene[gene]["log_fold_change"] > 0 for gene in set(planted.up) & chosen)
    assert all(by_gene[gene]["log_fold_change"] < 0 for gene in set(planted.down) & chosen)


def test_the_planted_gene_sets_are_over_represented_and_all_sets_are_tested(
    planted: MolecularCohort, answer: tuple[Path, dict[str, Any]]
) -> None:
    facts = answer[1]
    small = {row["term"] for row in facts["enrichment"] if row["p"] < 0.05 and row["q"] < 0.05}
    assert {"PLANTED_UP", "PLANTED_DOWN"} <= small
    assert len(small) <= 3
    assert facts["enrichment_summary"]["tested"] == len(planted.gene_sets) == len(facts["enrichment"])
    assert {"set", "term", "overlap", "p", "q"} <= set(facts["enrichment"][0])


def test_the_planted_fractions_come_out(planted: MolecularCohort, answer: tuple[Path, dict[str, Any]]) -> None:
    cells = pd.DataFrame(answer[1]["cells"]).T
    assert list(cells.index) == list(planted.features["patient_id"])
    assert np.abs(cells - planted.fractions.loc[cells.index, cells.columns]).to_numpy().mean() < 0.02
    assert cells.sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.parametrize("kind", ["lncrna", "methylation"])
def test_the_planted_markers_are_the_most_important_ones(
    planted: MolecularCohort, answer: tuple[Path, dict[str, Any]], kind: str
) -> None:
    truth = planted.lncrna_truth if kind == "lncrna" else planted.sites_truth
    ranked = [row["name"] for row in answer[1][kind]]
    assert len(set(ranked[:15]) & set(truth)) >= 13
    ginis = [row["gini"] for row in answer[1][kind]]
    assert ginis == sorted(ginis, reverse=True)


def test_the_planted_correlation_is_the_only_strong_one_with_cells(answer: tuple[Path, dict[str, Any]]) -> None:
    rows = [row for row in answer[1]["correlations"] if row["kind"] == "cells"]
    strongest = min(rows, key=lambda row: row["p"])
    assert (strongest["a"], strongest["b"]) == ("f0", "B cells")
    assert strongest["rho"] > 0.6
    assert {row["a"] for row in rows if row["q"] < 0.01} == {"f0"}
    chance = answer[1]["chance"]["cells"]
    assert chance["expected_by_chance"] == pytest.approx(0.05 * len(rows))
    assert chance["shuffled"]["range"][0] <= chance["expected_by_chance"] <= chance["shuffled"]["range"][1]


def test_nothing_comes_out_of_a_shuffled_cohort(shuffled: dict[str, Any]) -> None:
    assert shuffled["deg_summary"]["differing"] == 0
    assert not [row for row in shuffled["enrichment"] if row["q"] < 0.05]
    for kind in ("lncrna", "methylation"):
        summary = shuffled["markers_summary"][kind]
        assert summary["q_below_0_05"] == 0
        low, high = summary["shuffled"]["range"]
        assert low <= summary["p_below"] <= high
    assert not [row for row in shuffled["correlations"] if row["q"] < 0.05]


def test_the_page_needs_no_other_file_and_has_every_figure(answer: tuple[Path, dict[str, Any]]) -> None:
    page = (answer[0] / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    pictures = re.findall(r'<img alt="([^"]+)"', page)
    assert [name for name in pictures if name.startswith("Spearman")] == [
        f"Spearman correlation with {kind}" for kind in ("cells", "genes that differ", "lncRNAs", "methylated sites")
    ]
    assert {
        "Volcano plot of the genes",
        "Bar plot of over-represented gene sets",
        "Dot plot of over-represented gene sets",
        "Fractions of cells by patient",
        "Mean decrease in Gini of the selected markers",
    } <= set(pictures)


def test_files_agree_with_each_other_and_the_methods_have_the_figures(answer: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = answer
    assert json.loads((folder / "microenvironment.json").read_text()) == facts
    genes = pd.read_csv(folder / "genes.csv")
    assert list(genes["gene"]) == [row["gene"] for row in facts["deg"]]
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "microenvironment.json", "methods.md", "genes.csv", "gene_sets.csv", "cells.csv",
        "cells_by_group.csv", "lncrna.csv", "methylation.csv", "correlations.csv",
    }  # fmt: skip
    methods = (folder / "methods.md").read_text()
    for figure in (
        "60 patients",
        "background of 1500 genes",
        "all 202 sets",
        "random forest of 100 trees",
        "40 mixtures",
    ):
        assert figure in methods
    assert "Nothing was imputed" in methods


def test_with_a_score_alone_markers_are_selected_by_it(planted: MolecularCohort, tmp_path: Path) -> None:
    planted.write(tmp_path)
    result = run(tmp_path, "--score", "score", "--lncrna", str(tmp_path / "lncrna.csv"))
    assert result.exit_code == 0, result.output
    assert "lncrna: " in result.stdout
    assert json.loads((tmp_path / "out" / "microenvironment.json").read_text())["status"] is None


def test_a_table_of_cells_alone_is_enough(planted: MolecularCohort, tmp_path: Path) -> None:
    planted.write(tmp_path)
    planted.fractions.to_csv(tmp_path / "cells.csv")
    result = run(tmp_path, "--cells", str(tmp_path / "cells.csv"), "--feature", "f0", "--feature", "f1")
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "out" / "microenvironment.json").read_text())
    assert len(facts["correlations"]) == 12
    assert (facts["inputs"]["cells"]["patients"], facts["inputs"]["cells"]["names"]) == (60, 6)
    assert facts["deg"] == []


def test_mangled_names_constant_genes_and_absent_patients_are_listed_with_figures(
    planted: MolecularCohort, tmp_path: Path
) -> None:
    planted.write(tmp_path)
    expression = planted.expression.iloc[300:, 2:].copy()
    expression.index = pd.Index(["1-Mar", "2-Sep", *expression.index[2:]])
    expression.iloc[5] = 7.0
    expression.to_csv(tmp_path / "expression.csv")
    result = run(tmp_path, "--score", "score", "--expression", str(tmp_path / "expression.csv"), "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    figures = facts["inputs"]["expression"]
    assert (figures["mangled"], figures["missing"], figures["patients"]) == (["1-Mar", "2-Sep"], 2, 58)
    assert facts["deg_summary"]["constant"] == [expression.index[5]]
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"1 without spread ({expression.index[5]})" in page
    assert "expression: 2 names that a spreadsheet made into dates or numbers, left out: 1-Mar, 2-Sep" in page


def test_patients_without_a_score_count_in_no_group_and_their_molecules_stay(
    planted: MolecularCohort, tmp_path: Path
) -> None:
    planted.write(tmp_path)
    table = planted.features.copy()
    table.loc[[3, 4], "score"] = np.nan
    table.to_csv(tmp_path / "features.csv", index=False)
    source = Sources(tmp_path / "features.csv", tmp_path / "expression.tsv.gz")
    result = analyse(source, Plan(score="score", label="aln"))
    assert result.groups is not None
    assert len(result.groups.members) == 58
    assert len(result.matrices["expression"].patients) == 60


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "no matrix is given"),
        (("--cell-signature", "signature.txt", "--lncrna", "lncrna.csv"), "needs --expression"),
        (("--lncrna", "lncrna.csv", "--scale", "lncrna=decibel"), "one of counts, linear"),
        (("--lncrna", "lncrna.csv", "--feature", "f99"), "has no feature f99"),
        (("--cells", "signature.txt", "--cell-signature", "signature.txt"), "give one of them"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(
    planted: MolecularCohort, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    planted.write(tmp_path)
    asked = [str(tmp_path / word) if "." in word else word for word in more]
    result = CliRunner().invoke(
        command,
        ["microenvironment", "--features", str(tmp_path / "features.csv"), "--out", str(tmp_path / "o"), *asked],
    )
    assert result.exit_code != 0
    assert message in result.output + str(getattr(result.exception, "message", ""))


@pytest.mark.cases
def test_the_papers_figure_5_is_the_same_by_both_ways(cases: Path) -> None:
    folder = cases / "paper"
    reproduced = findings.correlations(released_tables.load(folder))
    names = {"cells": "immune_cells", "lncrna": "lncrna", "methylation": "methylation"}
    files = {kind: folder / f"fig5_{name}.csv" for kind, name in names.items()}
    result = analyse(Sources(folder / "fig5_features.csv", **files), Plan())
    assert {c.kind for c in result.correlations} == set(names)
    for one in result.correlations:
        published = reproduced[names[one.kind]]
        rho = one.square("rho").to_numpy()
        assert rho == pytest.approx(published.rho.to_numpy(), abs=1e-12), one.kind
        assert one.square("p").to_numpy() == pytest.approx(published.p.to_numpy(), abs=1e-12)
        assert one.patients == published.patients

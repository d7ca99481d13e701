"""`axrad cohort microenvironment` on cohorts of the size of the paper's: 90 patients, 20,000 genes.

Of each kind of marker 3,000; `script/test --long` takes 25,000, as many as a random forest is to rank in minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.molecular_cohort import MolecularCohort, molecular_cohort

MARKERS = int(os.environ.get("AXRAD_COHORT_MARKERS", "3000"))


def run(cohort: MolecularCohort, folder: Path) -> dict[str, Any]:
    """What `microenvironment.json` holds."""
    cohort.write(folder)
    done = subprocess.run(
        [Path(sys.executable).with_name("axrad"), "cohort", "microenvironment", "--features", "features.csv",
         "--score", "score", "--label", "aln", "--expression", "expression.tsv.gz", "--lncrna", "lncrna.csv",
         "--methylation", "methylation.parquet", "--gene-sets", "go.gmt", "--cell-signature", "signature.txt",
         "--permutations", "200", "--out", "out"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads((folder / "out" / "microenvironment.json").read_text())
    return facts


@pytest.mark.timeout(1200)
def test_what_was_planted_comes_out_of_a_cohort_of_the_papers_size(tmp_path: Path) -> None:
    cohort = molecular_cohort(markers=MARKERS)
    facts = run(cohort, tmp_path)
    chosen = {row["gene"] for row in facts["deg"] if row["moderated_q"] < 0.05}
    truth = {*cohort.up, *cohort.down}
    assert len(chosen & truth) >= 0.95 * len(truth)
    assert len(chosen - truth) <= 0.1 * len(chosen)
    assert {row["term"] for row in facts["enrichment"][:2]} == {"PLANTED_UP", "PLANTED_DOWN"}
    cells = pd.DataFrame(facts["cells"]).T
    assert np.abs(cells - cohort.fractions.loc[cells.index, cells.columns]).to_numpy().mean() < 0.01
    for kind, planted in (("lncrna", cohort.lncrna_truth), ("methylation", cohort.sites_truth)):
        assert len({row["name"] for row in facts[kind][:15]} & set(planted)) >= 13
    strongest = min((row for row in facts["correlations"] if row["kind"] == "cells"), key=lambda row: row["p"])
    assert (strongest["a"], strongest["b"]) == ("f0", "B cells")


@pytest.mark.timeout(1200)
def test_nothing_comes_out_when_the_patients_are_shuffled(tmp_path: Path) -> None:
    facts = run(molecular_cohort(markers=MARKERS, seed=2, shuffled=True), tmp_path)
    # By definition of q, one in twenty such cohorts has something; this one has nothing.
    assert facts["deg_summary"]["differing"] == 0
    assert not [row for row in facts["enrichment"] if row["q"] < 0.05]
    for kind in ("lncrna", "methylation"):
        low, high = facts["markers_summary"][kind]["shuffled"]["range"]
        assert low <= facts["markers_summary"][kind]["p_below"] <= high
        assert facts["markers_summary"][kind]["q_below_0_05"] <= 1
    assert not [row for row in facts["correlations"] if row["q"] < 0.05]

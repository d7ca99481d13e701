"""The paper's recipe and its traps, on tables made up here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from dcurves import dca

from daemon.cli.reproduce import reproduce as command
from pipeline.errors import InputRejected
from pipeline.research.metrics import auc
from pipeline.research.reproduce import recipe, released_tables

FEATURES = [f"{block}{n}" for block in ("TT1C", "TT2FS", "TADC", "LT1C", "LT2FS", "LADC") for n in (39, 40)]
CLINICAL = ["确诊年龄1", "临床T分期1", "临床N分期1", "手术病理Ki67分类4", "手术病理分子分型1.1"]


def cohort(seed: int, n: int, effect: float) -> pd.DataFrame:
    """ID, NR, features: R is higher by `effect` in every feature."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.45
    values = rng.standard_normal((n, len(FEATURES))) + effect * (positive[:, None] - 0.5)
    frame = pd.DataFrame(values, [f"P{seed}{k}" for k in range(n)], FEATURES)
    frame.insert(0, "NR", np.where(positive, "R", "N"))
    frame.index.name = "ID"
    return frame


def with_clinical(frame: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    stage = (frame["NR"] == "R").to_numpy() * 1 + (rng.random(len(frame)) < 0.3)
    out = frame.copy()
    for place, name in enumerate(CLINICAL):
        out.insert(1 + place, name, stage if "N分期" in name else rng.integers(1, 3, len(frame)).astype(float))
    out.loc[out.index[0], CLINICAL[-1]] = np.nan
    return out


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole set of tables in which the external cohort has the effect the other way round."""
    path = tmp_path_factory.mktemp("tables")
    effects = {"training": 0.8, "prospective_retrospective": 0.8, "external": -0.8}
    made = {name: cohort(k, 60, effect) for k, (name, effect) in enumerate(effects.items())}
    for name, frame in made.items():
        frame.to_csv(path / f"fig2b_{name}.csv")
        with_clinical(frame).to_csv(path / f"fig2c_{name}.csv", encoding="gb18030")
    training = made["training"]
    training[FEATURES].T.to_csv(path / "fig2a_features_by_patient.csv")
    training["NR"].rename("Subtype").to_csv(path / "fig2a_groups.csv")
    score = 1 / (1 + np.exp(-training[FEATURES].mean(axis=1)))
    positive = (training["NR"] == "R").astype(int)
    pd.DataFrame(
        {"NR": positive, "Radiomicnomogram": score, "Radiologistsdiagnosis": positive, "Radiomicsignature": score}
    ).iloc[1:].to_csv(path / "fig2d_decision_curve.csv")
    before = made["prospective_retrospective"][FEATURES]
    before.to_csv(path / "fig4a_before_neoadjuvant.csv")
    after = before + np.where(np.arange(len(FEATURES)) < 4, 1.0, 0.0) + 0.1 * cohort(9, 60, 0)[FEATURES].to_numpy()
    after.rename(columns={"TADC40": "TADC400"}).to_csv(path / "fig4b_after_neoadjuvant.csv")
    rng = np.random.default_rng(5)
    patients = [f"TCGA-AA-{n:04d}" for n in range(30)]
    features = pd.DataFrame(rng.standard_normal((30, 4)), patients, [f"T1C-{k}" for k in "abcd"])
    features.T.to_csv(path / "fig5_features.csv")
    for name in released_tables.MARKERS:
        markers = pd.DataFrame(rng.standard_normal((30, 3)), [p.replace("-", ".") for p in patients], list("xyz"))
        markers["x"] = features["T1C-a"].to_numpy() ** 3
        markers.to_csv(path / f"fig5_{name}.csv")
    return path


def run(folder: Path, out: Path) -> dict:
    result = CliRunner().invoke(command, [str(folder), "--out", str(out), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    written = json.loads((out / "reproduction.json").read_text())
    assert json.loads(result.stdout) == written
    return written


@pytest.fixture
def folder(made_up: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(made_up, tmp_path / "tables"))


@pytest.fixture(scope="module")
def out(made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command wrote for them."""
    path = tmp_path_factory.mktemp("out")
    run(made_up, path)
    return path


def facts_of(out: Path) -> dict:
    return json.loads((out / "reproduction.json").read_text())


def test_an_inverted_cohort_is_reported_as_it_is_and_as_the_published_script_would(out: Path) -> None:
    facts = facts_of(out)
    external = facts["fig2b"]["external"]
    assert external["one_positive_class"] < 0.2
    assert external["as_published"] == pytest.approx(1 - external["one_positive_class"])
    assert facts["fig2b"]["prospective_retrospective"]["one_positive_class"] > 0.8
    assert facts["fig2c"]["training"]["n"] == 59
    assert facts["fig2d"]["n"] == 59
    assert facts["fig4"]["up"] >= 4
    assert facts["fig5"]["immune_cells"]["strongest"] == {"feature": "T1C-a", "marker": "x", "rho": pytest.approx(1.0)}


def test_only_irregularities_that_are_there_are_listed(out: Path) -> None:
    codes = {one["code"] for one in facts_of(out)["irregularities"]}
    assert {"effects-reversed", "column-names", "complete-cases", "reading-is-clinical-n"} & codes == {
        "effects-reversed",
        "column-names",
        "complete-cases",
    }
    assert not codes & {"inverted", "validation-after-chemotherapy", "label-changes", "other-patients", "table-2"}


def test_the_appendix_has_every_signature_combined_calls_and_what_is_missing(out: Path) -> None:
    facts = json.loads((out / "reproduction.json").read_text())["appendix"]
    assert list(facts["signatures"]) == ["ALN", "tumour", "T1+C", "T2", "ADC", "ALN-tumour", "clinical", "multiomic"]
    assert [facts["signatures"][name]["columns"] for name in ("ALN", "T2", "ALN-tumour", "clinical", "multiomic")] == [
        6, 4, 12, 5, 17,
    ]  # fmt: skip
    assert facts["signatures"]["ALN"]["training"]["auc"] > 0.8
    assert facts["signatures"]["ALN"]["external"]["auc"] < 0.5, "one positive class"
    assert sum(facts["right"].values()) == facts["n"] == 59
    by_name = {call["name"]: call for call in facts["calls"]}
    assert by_name["ALN or tumour"]["sensitivity"] >= by_name["ALN"]["sensitivity"]
    assert by_name["radiologists"]["accuracy"] == 1
    page = (out / "report.html").read_text()
    assert "Not in the tables" in page
    assert "Sankey diagram" in page


def test_the_page_needs_no_other_file(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 12
    assert "<script" not in page
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: (p / "fig2b_external.csv").unlink(), "fig2b_external.csv is not in"),
        (lambda p: (p / "fig2b_external.csv").write_text("ID,NR,TT1C39\nA,X,1\n"), "holds X"),
        (lambda p: (p / "fig2b_external.csv").write_text("ID,NR,TT1C39\nA,R,1\n"), "other columns"),
        (lambda p: (p / "fig2b_external.csv").write_text("ID,NR,TT1C39\nA,R,1\nA,N,2\n"), "repeats the row A"),
        (lambda p: (p / "fig2b_external.csv").write_text("ID,NR,TT1C39\nA,R,high\n"), "no numbers in TT1C39"),
        (lambda p: (p / "fig2d_decision_curve.csv").write_text("ID,NR\nA,1\n"), "must have the columns"),
        (lambda p: (p / "fig2b_external.csv").write_text(""), "not a table"),
    ],
)
def test_a_table_that_is_not_the_papers_is_refused_by_name(folder: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    change(folder)
    with pytest.raises(InputRejected, match=message):
        released_tables.load(folder)


def test_columns_are_standardised_with_training_statistics_only() -> None:
    training, other = cohort(1, 80, 1.0), cohort(2, 40, 1.0)
    machine = recipe.fit(training[FEATURES], (training["NR"] == "R").to_numpy())
    one_by_one = [machine.scores(other[FEATURES].iloc[[k]])[0] for k in range(40)]
    assert np.allclose(one_by_one, machine.scores(other[FEATURES]))
    scaled = recipe.fit(training[FEATURES] * 7 + 3, (training["NR"] == "R").to_numpy())
    assert np.allclose(scaled.scores(other[FEATURES] * 7 + 3), machine.scores(other[FEATURES]))


def test_net_benefit_agrees_with_a_maintained_library() -> None:
    rng = np.random.default_rng(3)
    positive = rng.random(200) < 0.4
    scores = np.clip(0.3 * positive + 0.7 * rng.random(200), 0.001, 0.999)
    thresholds = np.arange(0.05, 0.9, 0.05)
    theirs = dca(
        pd.DataFrame({"y": positive.astype(int), "s": scores}), outcome="y", modelnames=["s"], thresholds=thresholds
    )
    theirs = theirs[theirs["model"] == "s"].sort_values("threshold")["net_benefit"].to_numpy()
    assert np.allclose(recipe.net_benefit(scores, positive, thresholds), theirs)


def test_youden_is_the_best_cutoff_there_is() -> None:
    rng = np.random.default_rng(4)
    positive = rng.random(100) < 0.5
    scores = rng.random(100) + 0.5 * positive

    def index(cutoff: float) -> float:
        called = scores >= cutoff
        return float(called[positive].mean() - called[~positive].mean())

    assert index(recipe.youden(scores, positive)) == pytest.approx(max(index(c) for c in scores))


@pytest.mark.cases
def test_the_papers_own_tables_give_what_the_paper_says_and_what_it_does_not(cases: Path, tmp_path: Path) -> None:
    facts = run(cases / "paper", tmp_path)
    for figure, training, validation in (("fig2b", 0.877, (0.127, 0.133)), ("fig2c", 0.899, (0.068, 0.094))):
        rows = facts[figure]
        assert rows["training"]["one_positive_class"] == pytest.approx(training, abs=5e-4)
        assert rows["training"]["one_positive_class"] == pytest.approx(rows["training"]["published"], abs=0.01)
        for name, value in zip(("prospective_retrospective", "external"), validation, strict=True):
            assert rows[name]["one_positive_class"] == pytest.approx(value, abs=5e-4)
            assert rows[name]["as_published"] == pytest.approx(rows[name]["published"], abs=0.01)
    plain = [facts["fig2b"][c]["not_standardised"] for c in released_tables.COHORTS]
    assert plain == pytest.approx([0.853, 0.329, 0.285], abs=5e-4)
    assert facts["fig2b"]["cross_validation_in_training"]["auc"] == pytest.approx(0.80, abs=0.01)
    assert [facts["fig2c"][c]["n"] for c in released_tables.COHORTS] == [381, 30, 81]
    for name, cutoff in (("aln_tumour", 0.386), ("multiomic", 0.334)):
        assert facts["fig2d"][name]["r_score"] >= 0.999
        assert facts["fig2d"][name]["cutoff"] == pytest.approx(cutoff, abs=6e-4)
    assert (facts["fig4"]["up"], facts["fig4"]["down"]) == (70, 68)
    found = {one["code"] for one in facts["irregularities"]}
    assert found >= {
        "inverted", "labels-not-swapped", "effects-reversed", "validation-after-chemotherapy", "table-2",
        "z-scored-alone", "column-names", "complete-cases", "two-level-codes", "surgical-pathology",
        "anonymous-columns", "cutoff-from-training", "before-almost-after", "label-changes", "one-sided-block",
    }  # fmt: skip


@pytest.mark.cases
def test_clinical_n_stage_points_the_right_way(cases: Path) -> None:
    read = released_tables.load(cases / "paper")
    for name, expected in (("training", 0.71), ("external", 0.82)):
        one = read.fig2c[name]
        column = next(c for c in one.clinical if "N分期" in c)
        assert auc(one.clinical[column].to_numpy(float), one.positive) == pytest.approx(expected, abs=0.005)


def test_subgroups_have_both_signatures_by_level_and_no_auc_of_a_few(made_up: Path, out: Path) -> None:
    rows = facts_of(out)["subgroups"]
    stage = [r for r in rows if "N分期" in r["column"] and r["cohort"] == "external"]
    table = pd.read_csv(made_up / "fig2c_external.csv", index_col=0, encoding="gb18030")
    sizes = table.groupby("临床N分期1")["NR"].agg(["size", lambda nr: (nr == "R").sum()])
    assert [[r["n"], r["positive"]] for r in stage] == sizes.to_numpy().tolist()
    smallest = [min(r["positive"], r["n"] - r["positive"]) for r in stage]
    assert min(smallest) < 5 <= max(r["n"] for r in rows)
    for row, few in zip(stage, smallest, strict=True):
        assert ("why_not" in row["aln_tumour"]) == (few < 5)
    ages = [r for r in rows if "年龄" in r["column"] and r["cohort"] == "external"]
    assert all(r["aln_tumour"]["value"] < 0.3 for r in ages), "one positive class"
    page = (out / "report.html").read_text()
    assert "Fig 3: none of the released tables is of it" in page

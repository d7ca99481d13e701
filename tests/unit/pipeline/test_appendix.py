"""The appendix's tables: characteristics and odds ratios against R, calls alone and combined, who is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.cohort import cohort as command
from pipeline.errors import InputRejected
from pipeline.research.appendix import by_nodes
from pipeline.research.appendix.calls import Call, combined, contests, judged, read_calls, right_by
from pipeline.research.appendix.characteristics import characteristics
from pipeline.research.appendix.patients_table import PatientsTable, read_patients
from pipeline.research.appendix.univariate import odds_ratios

# tests/support/appendix_golden.R made it.
GOLDEN = json.loads((Path(__file__).parent / "appendix_golden.json").read_text())


@pytest.fixture
def patients() -> pd.DataFrame:
    table = pd.DataFrame(GOLDEN["patients"]).assign(model=GOLDEN["model"], reader=GOLDEN["reader"])
    table.insert(0, "patient_id", [f"P{n}" for n in range(len(table))])
    return table


def table_of(frame: pd.DataFrame, folder: Path) -> PatientsTable:
    frame.to_csv(folder / "patients.csv", index=False)
    return read_patients(folder / "patients.csv", label="aln", positive="1")


def groups(frame: pd.DataFrame, names: str) -> dict[str, pd.DataFrame]:
    return {name: frame[frame["cohort"] == name].astype(str) for name in names}


# Table 1


def test_characteristics_have_the_p_of_rs_tests(patients: pd.DataFrame) -> None:
    two = {c.column: c for c in characteristics(groups(patients, "ab"), ["age", "er"])}
    three = {c.column: c for c in characteristics(groups(patients, "abc"), ["age", "stage"])}
    assert (two["age"].test, two["age"].p) == ("Welch's t", pytest.approx(GOLDEN["t_two"]))
    assert (three["age"].test, three["age"].p) == ("one-way ANOVA", pytest.approx(GOLDEN["anova_three"]))
    assert two["er"].p == pytest.approx(GOLDEN["chisq_er_two"]), "with Yates' correction"
    assert three["stage"].p == pytest.approx(GOLDEN["chisq_stage"])


def test_cells_are_means_or_counts_with_shares_of_those_that_have_a_value(patients: pd.DataFrame) -> None:
    parts = groups(patients, "ab")
    parts["a"].iloc[:10, parts["a"].columns.get_loc("stage")] = ""
    age, stage = characteristics(parts, ["age", "stage"])
    ages = patients.loc[patients["cohort"] == "a", "age"]
    assert age.cells[""][0] == pytest.approx((ages.mean(), ages.std()))
    assert stage.missing == (10, 0)
    assert sum(stage.cells[level][0][0] for level in stage.levels) == 40
    assert sum(stage.cells[level][0][1] for level in stage.levels) == pytest.approx(1)


def test_small_expected_counts_are_pointed_out_and_one_level_is_not_tested() -> None:
    parts = {
        "a": pd.DataFrame({"x": ["1"] * 9 + ["2"], "y": "1"}),
        "b": pd.DataFrame({"x": ["1"] * 8 + ["2"] * 2, "y": "1"}),
    }
    x, y = characteristics(parts, ["x", "y"])
    assert x.caution == "2 of 4 expected counts below 5"
    assert (y.p, y.caution) == (None, "")


# Univariate


def test_odds_ratios_are_those_of_rs_glm(patients: pd.DataFrame, tmp_path: Path) -> None:
    lines = odds_ratios(table_of(patients, tmp_path), ["age", "stage"])
    assert [(line.column, line.level, line.reference) for line in lines] == [
        ("age", "", ""), ("stage", "T2", "T1"), ("stage", "T3", "T1"),
    ]  # fmt: skip
    for column in ("age", "stage"):
        golden, own = GOLDEN[column], [line for line in lines if line.column == column]
        for key in ("ratio", "low", "high", "p"):
            assert [getattr(line, key) for line in own] == pytest.approx(np.ravel(golden[key]), rel=1e-5), key
        assert own[0].p_column == pytest.approx(golden["p_column"], rel=1e-6)


def test_a_level_that_tells_node_status_in_every_case_has_no_estimate(patients: pd.DataFrame, tmp_path: Path) -> None:
    told = patients.assign(same=patients["aln"].map({0: "no", 1: "yes"}), one="x")
    lines = odds_ratios(table_of(told, tmp_path), ["same", "one"])
    assert [line.ratio for line in lines] == [None, None]
    assert "no finite fit" in lines[0].why_not
    assert lines[1].why_not == "one value only"


# Calls


def calls_of(patients: pd.DataFrame, folder: Path) -> tuple[PatientsTable, list[Call]]:
    table, calls, _ = read_calls(table_of(patients, folder), ["model=model", "reader=reader"])
    return table, calls


def test_mcnemars_p_is_that_of_rs_binomial_test(patients: pd.DataFrame, tmp_path: Path) -> None:
    table, calls = calls_of(patients, tmp_path)
    tests = contests(calls, combined(calls), table.positive)
    first = tests[0]
    assert (first.a, first.b, first.measure) == ("model", "reader", "accuracy")
    assert [first.only_a, first.only_b] == GOLDEN["mcnemar"]["only"]
    assert first.p == pytest.approx(GOLDEN["mcnemar"]["p"])
    assert len(tests) == 15, "the pair, and both rules against each of its calls, by three measures"
    assert all(test.p_holm >= test.p for test in tests)


def test_net_benefit_is_true_positives_less_weighted_false_ones(patients: pd.DataFrame, tmp_path: Path) -> None:
    table, calls = calls_of(patients, tmp_path)
    row = judged(calls[0], table.positive, rule=False)
    true, false = (calls[0].high & table.positive).mean(), (calls[0].high & ~table.positive).mean()
    assert row.net_benefit[1] == pytest.approx(true - false * 0.2 / 0.8)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=4, max_size=60))
def test_or_is_never_less_sensitive_and_and_never_less_specific(rows: list[tuple[bool, bool, bool]]) -> None:
    a, b, positive = np.array([*rows, (True, False, True), (False, True, False)]).T
    either, both = combined([Call("a", a), Call("b", b)])
    values = {c.name: judged(c, positive, rule=True).accuracy for c in (Call("a", a), Call("b", b), either, both)}

    def value(name: str, measure: str) -> float:
        interval = values[name][measure]
        assert interval is not None
        return interval.value

    for one in "ab":
        assert value("a or b", "sensitivity") >= value(one, "sensitivity")
        assert value("a and b", "specificity") >= value(one, "specificity")


def test_everyone_is_right_by_both_by_one_or_by_neither() -> None:
    positive = np.array([True, True, True, False])
    groups_of = right_by(
        Call("A", np.array([True, True, False, True])), Call("B", np.array([True, False, True, True])), positive
    )
    assert list(groups_of) == ["both", "only A", "only B", "neither"]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["model"], "no NAME=COLUMN"),
        (["a=model"], "two calls"),
        (["a=model", "b=none"], "no column none"),
        (["a=model", "b=age"], "name a cutoff for scores: b=age@CUTOFF"),
        (["a=model", "b=stage@0.5"], "not all cells are numbers"),
    ],
)
def test_calls_that_are_none_are_refused(
    patients: pd.DataFrame, tmp_path: Path, specs: list[str], message: str
) -> None:
    with pytest.raises(InputRejected, match=message):
        read_calls(table_of(patients, tmp_path), specs)


def test_patients_without_every_call_are_left_out_and_those_with_several_rows_refused(
    patients: pd.DataFrame, tmp_path: Path
) -> None:
    gaps = patients.astype({"model": object})
    gaps.loc[[0, 5], "model"] = "NA"
    table, _, left_out = read_calls(table_of(gaps, tmp_path), ["model=model", "age=age@55"])
    assert (len(table), left_out) == (148, 2)
    with pytest.raises(InputRejected, match="patients with several rows: 1, 4"):
        table_of(patients.assign(patient_id=["P3", *patients["patient_id"][1:]]), tmp_path)


# Commands


def run(*words: str) -> Result:
    return CliRunner().invoke(command, list(words), catch_exceptions=False)


def test_the_command_writes_table_1_and_the_univariate_table(patients: pd.DataFrame, tmp_path: Path) -> None:
    for name in "ab":
        patients[patients["cohort"] == name].to_csv(tmp_path / f"{name}.csv", index=False)
    words = [x for name in "ab" for x in ("--table", f"{name}={tmp_path / name}.csv")]
    out = tmp_path / "out"
    result = run(
        "characteristics", *words, "--label", "aln", "--column", "age", "--column", "stage", "--out", str(out), "--json"
    )
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    assert list(facts["characteristics"]) == ["By cohort", "a, by node status", "b, by node status"]
    assert facts["characteristics"]["By cohort"][0]["p"] == pytest.approx(GOLDEN["t_two"])
    assert {p.name for p in out.iterdir()} == {
        "report.html",
        "characteristics.json",
        "characteristics.csv",
        "univariate.csv",
    }
    assert "P17" not in (out / "report.html").read_text() + (out / "characteristics.json").read_text()


def test_the_command_compares_calls_and_draws_who_is_right(patients: pd.DataFrame, tmp_path: Path) -> None:
    patients.to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "out"
    result = run(
        "calls", str(tmp_path / "t.csv"), "--label", "aln", "--call", "ALN=model", "--call", "tumour=reader",
        "--call", "age=age@55", "--column", "age", "--column", "stage", "--out", str(out), "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert [c["name"] for c in facts["calls"]][:5] == ["ALN", "tumour", "age", "ALN or tumour", "ALN and tumour"]
    assert sum(facts["right"].values()) == 150
    assert facts["calls"][2]["auc"] is not None
    assert [g["column"] for g in facts["groups"]] == ["age", "stage"]
    page = (out / "report.html").read_text()
    assert page.count("<img") == 2
    assert {p.name for p in out.iterdir()} == {"report.html", "calls.json", "calls.csv", "mcnemar.csv"}


# By the number of positive nodes


def nodes_table(folder: Path, counts: list[str]) -> PatientsTable:
    """Who has more nodes is called more often, and has the larger score."""
    numbers = [0 if text == "" else int(text) for text in counts]
    frame = pd.DataFrame(
        {"aln": [int(n > 0) for n in numbers], "nodes": counts, "model": [n / 10 for n in numbers],
         "reader": [int(n > 1) for n in numbers]}
    )  # fmt: skip
    return table_of(frame, folder)


def test_calls_are_told_by_the_number_of_positive_nodes_with_exact_tests(tmp_path: Path) -> None:
    table = nodes_table(tmp_path, ["0"] * 12 + ["1"] * 8 + ["2"] * 4 + ["3", "5", "4", "9", "12", "3"] + [""])
    patients, made, _ = read_calls(table, ["model=model@0.15", "reader=reader"])
    rows, tests = by_nodes.by_nodes(made, by_nodes.groups_of(patients, "nodes"))
    model = {row.nodes: row for row in rows if row.call == "model"}
    assert [(r.n, r.high) for r in model.values()] == [(12, 0), (8, 0), (4, 4), (6, 6)]
    assert model["2"].share is None
    assert model["2"].why_not == "fewer than 5 patients"
    assert model["1"].share.high == pytest.approx(0.3694, abs=1e-4), "Clopper and Pearson's of 0 in 8"
    assert model["≥ 3"].auc.value == 1
    assert [(t.call, t.a, t.b) for t in tests] == [("model", "1", "≥ 3"), ("reader", "1", "≥ 3")]
    assert tests[0].p == pytest.approx(1 / 3003)
    assert tests[0].p_holm == pytest.approx(2 / 3003)


@pytest.mark.parametrize(
    ("cell", "code"), [("1.5", "not-numbers"), ("-1", "not-numbers"), ("many", "not-numbers"), ("2", "contradiction")]
)
def test_what_is_no_count_or_contradicts_node_status_is_refused(tmp_path: Path, cell: str, code: str) -> None:
    table = nodes_table(tmp_path, ["0"] * 6 + ["1"] * 6)
    table.frame.loc[0, "nodes"] = cell
    with pytest.raises(InputRejected) as refused:
        by_nodes.groups_of(table, "nodes")
    assert refused.value.code == code


def test_the_page_of_calls_has_the_groups_by_nodes(tmp_path: Path) -> None:
    nodes_table(tmp_path, ["0"] * 12 + ["1"] * 8 + ["3"] * 6)
    arguments = ["calls", str(tmp_path / "patients.csv"), "--label", "aln", "--call", "model=model@0.15", "--call"]
    arguments += ["reader=reader", "--nodes", "nodes", "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert json.loads(done.stdout)["positive_nodes"]["least_patients"] == 5
    assert "By the number of positive nodes" in (tmp_path / "out" / "report.html").read_text()
    assert len(pd.read_csv(tmp_path / "out" / "positive_nodes.csv")) == 8

"""A family judged on cohorts: each member on the exams that have what it reads, all of them on the same exams."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from daemon.cli.signature import signature
from pipeline.errors import InputRejected
from pipeline.research import metrics
from pipeline.research.evaluation.evaluate import Questions, compare, evaluate
from pipeline.research.evaluation.scored_cohort import score
from pipeline.research.families import family_page
from pipeline.research.families.evaluate_family import FamilyEvaluation, evaluate_family
from pipeline.research.families.family_evaluation_page import write_family_evaluation
from pipeline.research.families.train_family import train_family
from pipeline.research.training.train import Identity
from pipeline.signature import container, family
from pipeline.signature.family import Family
from pipeline.signature.registry import Registry
from tests.support.signature_tables import FAST, MADE, clinical, feature, frame, table, trained

DATA = frame(cases=60, effect=2.5)
WHOLE = trained(DATA, name="aln")
T1_ONLY = trained(DATA, FAST.model_copy(update={"sequences": ("t1c",)}), name="aln.t1c")
ADC_ONLY = trained(DATA, FAST.model_copy(update={"sequences": ("adc",)}), name="aln.adc")
OTHERS = frame(cases=40, effect=2.5, seed=9, prefix="external")


def _family(*members: object) -> Family:
    return Family("aln", "1", tuple(members or (WHOLE, T1_ONLY)), {})  # type: ignore[arg-type]


def _lacking(data: pd.DataFrame, prefix: str, rows: slice) -> pd.DataFrame:
    copy = data.copy()
    copy.loc[rows, [c for c in copy.columns if c.startswith(prefix)]] = np.nan
    return copy


def _judged(data: pd.DataFrame, *members: object) -> FamilyEvaluation:
    return evaluate_family(_family(*members), {"b": table(data)}, Questions(repeats=1))


def _rows(found: FamilyEvaluation) -> list[dict]:
    return [row["cohorts"]["b"] for row in found.facts["members"]]


def test_each_member_is_judged_on_the_exams_that_have_what_it_reads_as_if_it_were_alone() -> None:
    data = _lacking(OTHERS, "adc.", slice(0, 9))
    found = _judged(data)
    assert [(row["n"], row["incomplete_cases_left_out"]) for row in _rows(found)] == [(30, 10), (40, 0)]
    for member, row in zip((WHOLE, T1_ONLY), _rows(found), strict=True):
        assert row == evaluate(member, {"b": table(data)}, Questions(repeats=1)).facts["cohorts"]["b"]


def test_members_are_compared_on_the_exams_that_all_of_them_read() -> None:
    data = _lacking(OTHERS, "adc.", slice(0, 9))
    compared = _judged(data).facts["comparison"]["b"]
    assert (compared["n"], compared["against"]) == (30, "aln@1")
    first, other = compared["members"]
    common = table(data.iloc[10:])
    scored = score(WHOLE, "b", common, complete_cases=False)
    alone = compare(WHOLE, T1_ONLY, scored, complete_cases=False)
    assert first["auc"] == evaluate(WHOLE, {"b": common}, Questions(repeats=1)).facts["cohorts"]["b"]["auc"]
    assert {key: other[key] for key in alone} == alone
    assert {"agreement", "kappa", "net_reclassification"} <= other.keys()
    assert other["without"] == ["adc.lymph_nodes", "adc.tumor", "t2.lymph_nodes", "t2.tumor"]


@pytest.mark.parametrize("empty", [True, False])
def test_a_member_that_no_exam_of_a_cohort_has_the_inputs_of_is_listed_with_the_reason(empty: bool) -> None:
    adc = [c for c in OTHERS.columns if c.startswith("adc.")]
    data = _lacking(OTHERS, "adc.", slice(None)) if empty else OTHERS.drop(columns=adc)
    found = _judged(data, WHOLE, T1_ONLY, ADC_ONLY)
    assert ["why_not" in row for row in _rows(found)] == [True, False, True]
    assert [one.signature.header.name for one in found.evaluations] == ["aln.t1c"]
    assert found.facts["comparison"]["b"]["why_not"] == "fewer than two members can be judged"


def test_a_family_that_no_cohort_can_judge_is_refused_with_the_reason() -> None:
    with pytest.raises(InputRejected, match=r"no member of aln@1 can be judged: .*missing columns"):
        _judged(OTHERS[["id", "nodes", feature(0, "t2.tumor")]])


def test_single_missing_values_and_patients_of_the_training_cohort_are_refused_as_for_one_signature() -> None:
    gap = OTHERS.copy()
    gap.loc[3, WHOLE.header.columns[0]] = np.nan
    with pytest.raises(InputRejected, match="missing values"):
        _judged(gap)
    with pytest.raises(InputRejected, match="shares 40 patients"):
        _judged(OTHERS.assign(id=DATA["id"][:40]))


def test_members_without_an_exam_in_common_are_not_compared() -> None:
    data = _lacking(_lacking(OTHERS, "adc.", slice(0, 19)), "t1c.", slice(20, None))
    compared = _judged(data, T1_ONLY, ADC_ONLY).facts["comparison"]["b"]
    assert (compared["n"], compared["why_not"]) == (0, "too few exams are complete for every member")


def _run(*arguments: object) -> Result:
    result = CliRunner().invoke(signature, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def _written(folder: Path, members: Sequence[object]) -> Path:
    listed = [
        {"file": f"{n}.axsig", "sha256": container.save(m, folder / f"{n}.axsig").sha256}  # type: ignore[arg-type]
        for n, m in enumerate(members)
    ]
    facts = {"schema": family.SCHEMA, "name": "aln", "version": "1", "members": listed}
    (folder / family.FILE).write_bytes(family.as_json(facts))
    return folder


def test_a_folder_is_judged_from_the_command_line_and_may_be_activated_by_what_was_found(tmp_path: Path) -> None:
    made, out, registry = _written(tmp_path / "aln", (WHOLE, T1_ONLY)), tmp_path / "judged", tmp_path / "registry"
    registry.mkdir()
    _lacking(OTHERS, "adc.", slice(0, 9)).to_csv(tmp_path / "b.csv", index=False)
    done = _run("evaluate", made, "--table", f"b={tmp_path / 'b.csv'}", "--out", out, "--registry", registry)
    assert f"report: {out / 'report.html'}" in done.output
    page, facts = (out / "report.html").read_text(), json.loads((out / "evaluation.json").read_text())
    assert facts["schema"] == "axrad.family-evaluation/1"
    assert "30 exams, 15 positive, that every member above reads" in page
    for name in ("aln", "aln.t1c"):
        assert (out / name / "report.html").exists()
        assert f"{name}@1" in page
    _run("activate", made, "--registry", registry)
    assert [s.header.title for s in Registry(registry).in_order()] == ["aln@1", "aln.t1c@1"]


def test_a_member_that_a_cohort_speaks_against_is_named_loudly_and_not_activated(tmp_path: Path) -> None:
    made, registry = _written(tmp_path / "aln", (WHOLE, T1_ONLY)), tmp_path / "registry"
    registry.mkdir()
    noise = frame(cases=40, effect=0.0, seed=11, prefix="external")
    mixed = OTHERS.assign(**{c: noise[c] for c in OTHERS.columns if c.startswith("t1c.")})
    mixed.to_csv(tmp_path / "b.csv", index=False)
    done = _run("evaluate", made, "--table", f"b={tmp_path / 'b.csv'}", "--out", tmp_path / "o", "--registry", registry)
    assert "aln.t1c@1: NO EVIDENCE on cohort b" in done.stderr
    assert "aln.t1c@1: NO EVIDENCE" in (tmp_path / "o" / "report.html").read_text()
    assert "aln.t1c@1 is left out" in _run("activate", made, "--registry", registry).stderr


@pytest.fixture(scope="module")
def with_clinical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family's folder, its first members with clinical columns."""
    folder = tmp_path_factory.mktemp("family") / "aln"
    recipe = FAST.model_copy(update={"sequences": ("t1c",), "clinical": ("ki67_percent", "clinical_n"), "folds": 3})
    made = train_family(table(clinical(DATA)), recipe, Identity("aln"), 1, only=("aln", "aln.radiomic", "aln.tumor"))
    family_page.write_family(made, folder)
    return folder


def test_one_table_has_every_member_and_the_clinical_variables_alone_on_the_same_exams(
    with_clinical: Path, tmp_path: Path
) -> None:
    read = family.read(with_clinical)
    assert read.clinical_alone is not None
    assert read.clinical_alone.inputs == {"ki67_percent", "clinical_n"}
    trained_on = pd.read_csv(with_clinical / "metrics.csv")
    names = ["aln@1", "aln.radiomic@1", "aln.tumor@1", "clinical variables alone"]
    assert trained_on["signature"].tolist() == names
    cohort = clinical(OTHERS, seed=4)
    judged = evaluate_family(read, {"b": table(cohort)}, Questions(repeats=1))
    write_family_evaluation(judged, tmp_path / "judged")
    rows = pd.read_csv(tmp_path / "judged" / "metrics_b.csv").set_index("signature")
    assert rows.index.tolist() == names
    assert rows["n"].nunique() == 1
    for name, one in zip(names, (*read.members, read.clinical_alone), strict=True):
        scored = score(one, "b", table(cohort), complete_cases=False)
        right = (scored.probabilities >= one.header.cutoff) == scored.positive
        assert rows.loc[name, "auc"] == pytest.approx(metrics.auc(scored.decisions, scored.positive))
        assert rows.loc[name, "accuracy"] == pytest.approx(right.mean())
        assert (rows.loc[name, ["auc_low", "npv_low"]] < rows.loc[name, ["auc", "npv"]].to_numpy()).all()
    page = (tmp_path / "judged" / "report.html").read_text(encoding="utf-8")
    assert "clinical variables alone" in page


def test_every_pair_is_compared_by_delong_on_a_cohort_and_by_the_corrected_t_in_training(with_clinical: Path) -> None:
    read = family.read(with_clinical)
    cohort = table(clinical(OTHERS, seed=4))
    compared = evaluate_family(read, {"b": cohort}, Questions(repeats=1)).facts["comparison"]["b"]["comparisons"]
    inside = json.loads((with_clinical / "family.json").read_text(encoding="utf-8"))["comparison"]["comparisons"]
    assert len(compared) == len(inside) == 4 * 3 / 2
    first, alone = (score(one, "b", cohort, complete_cases=False) for one in (read.members[0], read.clinical_alone))
    row = next(r for r in compared if (r["a"], r["b"]) == ("aln@1", "clinical variables alone"))
    difference, p = metrics.delong_difference(first.decisions, alone.decisions, first.positive)
    assert (row["difference"]["value"], row["p"]) == (pytest.approx(difference.value), pytest.approx(p))
    assert all(r["p_holm"] is None or r["p_holm"] >= r["p"] for r in (*compared, *inside))
    # The t that gives P is the one that gives the interval.
    for r in inside:
        if r["p"] is not None and abs(r["difference"]["ci"][0]) < 1:
            assert (r["p"] < 0.05) == (r["difference"]["ci"][0] > 0 or r["difference"]["ci"][1] < 0)


def test_the_clinical_variables_alone_are_no_member_and_never_become_active_with_the_family(
    with_clinical: Path, tmp_path: Path
) -> None:
    read = family.read(with_clinical)
    here = Registry(tmp_path / "registry")
    here.activate_family(read, MADE, unevaluated=True)
    assert read.clinical_alone.sha256 not in {s.sha256 for s in here.in_order()}
    shutil.copytree(with_clinical, tmp_path / "aln")
    (tmp_path / "aln" / "aln.clinical-alone.axsig").unlink()
    with pytest.raises(InputRejected, match="clinical-alone"):
        family.read(tmp_path / "aln")


def test_a_cohort_without_the_clinical_columns_has_the_table_without_them(with_clinical: Path) -> None:
    read = family.read(with_clinical)
    radiomic = Family("aln", "1", (*read.members[1:2], T1_ONLY), {}, read.clinical_alone)
    compared = evaluate_family(radiomic, {"b": table(OTHERS)}, Questions(repeats=1)).facts["comparison"]["b"]
    assert [row["name"] for row in compared["metrics"]] == ["aln.radiomic@1", "aln.t1c@1"]


def test_a_cohort_without_a_clinical_column_that_a_signature_reads_is_refused_by_its_name(with_clinical: Path) -> None:
    with pytest.raises(InputRejected, match=r"missing columns: .*ki67_percent"):
        score(family.read(with_clinical).members[0], "b", table(OTHERS), complete_cases=False)

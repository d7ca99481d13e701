"""Outcomes with more than two ordered levels: trained and judged as honestly as two classes, and never in use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import cohen_kappa_score

from config.schema import SignatureSettings
from daemon.cli.signature import signature
from pipeline.errors import InputRejected
from pipeline.research.levels import joint, levels_page
from pipeline.research.levels.train_levels import TrainedLevels, splits, train_levels
from pipeline.research.training.train import Identity
from pipeline.signature import container, family, registry
from pipeline.signature.registry import Registry
from tests.support.signature_tables import FAST, MADE, feature, frame, table

LEVELS = ("negative", "sentinel only", "beyond sentinel")
FEW = FAST.model_copy(update={"folds": 3, "trees": 10, "sequences": ("t1c",), "rois": ("tumor",)})


def exams(cases: int = 90, effect: float = 1.6, seed: int = 3, *, middle: bool = True) -> pd.DataFrame:
    """A third of each level; two features rise by `effect` standard deviations with each level.

    `middle`: and two are different in the middle level alone.
    """
    data = frame(cases, effect=0.0, seed=seed, groups=("t1c.tumor",)).drop(columns="nodes")
    level = np.arange(cases) % 3
    for number in (0, 1):
        data[feature(number)] += 3 * effect * level
        data[feature(number + 2)] += 3 * effect * (middle & (level == 1))
    return data.assign(node_status=np.array(LEVELS)[level])


def trained(data: pd.DataFrame, repeats: int = 1, **options: object) -> TrainedLevels:
    recipe = FEW.model_copy(update=options)

    def classes(split: object):
        return table(
            data, label="node_status", positive=split.positive_class, negative=split.negative_class, level_split=split
        )

    return train_levels(classes, LEVELS, recipe, Identity("nodes"), repeats)


@pytest.fixture(scope="module")
def strong() -> TrainedLevels:
    return trained(exams())


def test_three_levels_are_three_questions_and_the_outer_ones_serve_both_answers():
    assert {name: split.positive for name, split in splits(LEVELS).items()} == {
        "above-1": ("sentinel only", "beyond sentinel"),
        "above-2": ("beyond sentinel",),
        "only-2": ("sentinel only",),
    }


@pytest.mark.parametrize("levels", [("a", "b"), ("a", "b", "a")])
def test_two_levels_or_one_twice_are_refused(levels: tuple[str, ...]):
    with pytest.raises(InputRejected, match="three or more different levels"):
        splits(levels)


def test_planted_levels_are_told_apart_and_every_case_has_one_probability_per_level(strong: TrainedLevels):
    ordinal, rest = strong.joint
    assert ordinal.kappa.value > 0.75 > 0.5 < rest.kappa.value
    assert ordinal.kappa.low < ordinal.kappa.value < ordinal.kappa.high
    for answer in strong.joint:
        assert answer.probabilities.shape == (90, 3)
        assert (answer.probabilities >= 0).all()
        assert np.allclose(answer.probabilities.sum(axis=1), 1)
        assert answer.confusion.sum() == 90
    assert all(q.judged.auc.low > 0.6 for q in strong.questions if q.name != "only-2")


def test_a_middle_level_without_a_difference_of_its_own_is_left_out_with_the_reason_and_the_ordinal_answer_stands():
    made = trained(exams(middle=False))
    assert set(made.left_out) == {"only-2"}
    assert "no column passes" in made.left_out["only-2"]
    assert [answer.name for answer in made.joint] == ["ordinal"]
    assert "only-2 is left out" in levels_page.page(made, levels_page.facts(made))


def test_noise_gives_no_kappa_where_every_fold_selects_its_own_columns():
    noise = trained(exams(effect=0.0, seed=8), t_test_p=None, top=3, classifier="logistic")
    for answer in noise.joint:
        assert answer.kappa.low < 0.1
        assert abs(answer.kappa.value) < 0.3


def test_all_questions_are_judged_in_the_same_folds_and_each_fold_holds_every_level(strong: TrainedLevels):
    above, *_ = strong.questions
    parts = list(levels_folds(strong))
    assert len(parts) == 3
    assert all(set(strong.numbers[held_out]) == {0, 1, 2} for _, held_out in parts)
    assert above.judged.fold_aucs.shape == (1, 3)


def levels_folds(made: TrainedLevels):
    from pipeline.research.training import fitting

    return fitting.folds(made.numbers, 3, FEW.seed, made.questions[0].judged.patients)


def test_all_rows_of_a_patient_are_in_one_fold_with_levels_too(strong: TrainedLevels):
    from pipeline.research.training import fitting

    patients = np.arange(90) // 2
    for training, held_out in fitting.folds(strong.numbers, 3, 0, patients):
        assert not set(patients[training]) & set(patients[held_out])
        assert set(strong.numbers[held_out]) == {0, 1, 2}


def test_a_question_is_byte_for_byte_what_training_on_its_two_classes_alone_makes_but_for_the_mark(
    strong: TrainedLevels,
):
    from pipeline.research.training.train import train

    data = exams()
    two = data.assign(node_status=np.where(data["node_status"] == "beyond sentinel", "beyond sentinel", "rest"))
    alone = train(table(two, label="node_status", positive="beyond sentinel"), FEW, Identity("nodes.above-2"))
    marked = strong.questions[1].signature
    assert marked.header.level_split is not None
    named = {"level_split", "table_sha256", "negative_value"}
    assert marked.header.model_dump(exclude=named) == alone.header.model_dump(exclude=named)
    digests = {"case_digests", "row_digests"}
    assert all(np.array_equal(marked.arrays[name], alone.arrays[name]) for name in marked.arrays if name not in digests)


def test_quadratic_kappa_is_scikit_learns():
    rng = np.random.default_rng(0)
    truth, called = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    ours = joint.quadratic_kappa(joint.table_of(truth, called, 4))
    assert ours == pytest.approx(cohen_kappa_score(truth, called, weights="quadratic"), abs=1e-12)


def test_a_case_climbs_level_by_level_and_contradictions_are_counted(strong: TrainedLevels):
    one = strong.questions[0].judged
    answers = {"positive": np.array([False, True, True]), "patients": np.arange(3)}
    first = replace(one, probabilities=np.array([0.2, 0.6, 0.3]), called=np.array([False, True, False]), **answers)
    second = replace(one, probabilities=np.array([0.1, 0.5, 0.9]), called=np.array([False, True, True]), **answers)
    made = joint.ordinal([first, second], np.array([0, 2, 1]))
    assert made.called.tolist() == [0, 2, 0]
    assert made.contradictions == 1
    assert made.probabilities[2].tolist() == pytest.approx([0.7, 0.0, 0.3])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d.assign(node_status=d["node_status"].replace("sentinel only", "Sentinel")), "unknown-labels"),
        (lambda d: d.assign(node_status=d["node_status"].where(d.index != 4, "")), "missing-labels"),
        (lambda d: pd.concat([d[d["node_status"] != "sentinel only"], d[d["node_status"] == "sentinel only"][:2]]),
         "few-cases"),
    ],
)  # fmt: skip
def test_a_level_that_is_unknown_missing_or_of_too_few_patients_is_refused(change, code: str):
    with pytest.raises(InputRejected) as refused:
        trained(change(exams()))
    assert refused.value.code == code


def test_no_way_leads_into_use_not_active_not_shadow_not_configured_not_by_the_folder(
    strong: TrainedLevels, tmp_path: Path
):
    levels_page.write_levels(strong, tmp_path / "levels")
    path = tmp_path / "levels" / "nodes.above-2.axsig"
    one, here = container.load(path), Registry(tmp_path / "registry")
    with pytest.raises(InputRejected, match="cannot be activated: it is one question of several to an outcome"):
        here.activate(one, MADE, unevaluated=True)
    with pytest.raises(InputRejected, match="for research alone"):
        here.shadow(one)
    with pytest.raises(InputRejected, match="negative < sentinel only < beyond sentinel") as refused:
        registry.in_order(SignatureSettings(path=path))
    assert refused.value.code == "research-only"
    with pytest.raises(InputRejected, match="for research alone"):
        one.needs()
    with pytest.raises(InputRejected, match="more than two levels"):
        family.read(tmp_path / "levels")
    made = CliRunner().invoke(
        signature, ["activate", str(tmp_path / "levels"), "--registry", str(tmp_path / "registry"), "--unevaluated"]
    )
    assert isinstance(made.exception, InputRejected)


def test_the_command_writes_files_a_page_and_tables_and_another_hospital_judges_one_question(tmp_path: Path):
    exams(cases=60).to_csv(tmp_path / "t.csv", index=False)
    exams(cases=60, seed=5).assign(id=[f"b{i}" for i in range(60)]).to_csv(tmp_path / "b.csv", index=False)
    arguments = ["levels", str(tmp_path / "t.csv"), "--label", "node_status", "--id", "id", "--out"]
    arguments += [str(tmp_path / "out"), "--name", "n", "--repeats", "1", "--folds", "3", "--trees", "10", "--json"]
    arguments += [part for level in LEVELS for part in ("--level", level)]
    done = CliRunner().invoke(signature, arguments, catch_exceptions=False)
    content = json.loads(done.stdout)
    assert content["research_only"] is True
    assert content["levels"] == dict.fromkeys(LEVELS, 20)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "n.above-1.axsig", "n.above-2.axsig", "n.only-2.axsig", "levels.json", "report.html",
        "confusion_ordinal.csv", "confusion_one_against_the_rest.csv",
    }  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "FOR RESEARCH ALONE" in page
    assert "Quadratic weighted kappa" in page
    judged = CliRunner().invoke(
        signature,
        ["evaluate", str(tmp_path / "out" / "n.above-2.axsig"), "--table", f"b={tmp_path / 'b.csv'}", "--out",
         str(tmp_path / "judged"), "--json"],
        catch_exceptions=False,
    )  # fmt: skip
    facts = json.loads(judged.stdout)["cohorts"]["b"]
    assert (facts["positives"], facts["negatives"]) == (20, 40)
    shown = CliRunner().invoke(signature, ["show", str(tmp_path / "out" / "n.above-2.axsig")], catch_exceptions=False)
    assert "For research alone: it tells beyond sentinel from negative or sentinel only" in shown.stdout

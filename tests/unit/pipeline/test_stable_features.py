"""Only features that survive perturbation are candidates, by the training patients' perturbations alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from daemon.cli.signature import signature as command
from pipeline.errors import InputRejected
from pipeline.features.intraclass import one_way
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.research.tables import design
from pipeline.research.tables.feature_table import Table, read
from pipeline.research.training import fitting, nested, selection
from pipeline.research.training.selection_stability import stability
from pipeline.research.training.train import train
from pipeline.signature import methods, model_card
from pipeline.signature.container import to_bytes
from tests.support.signature_tables import FAST, frame, trained

GROUPS = ("t1c.tumor", "t2.tumor")
STABLE = FAST.model_copy(update={"stable_icc": 0.9, "t_test_p": None})
REPEATS = 5


def perturbed(data: pd.DataFrame, restless: tuple[str, ...]) -> pd.DataFrame:
    """Every row `REPEATS` times: the features of these names fall apart, the others hardly move."""
    rng, columns = np.random.default_rng(5), [c for c in data if "firstorder" in c]
    rows = []
    for number in range(REPEATS):
        noise = np.where([c.endswith(restless) for c in columns], 6.0, 0.1) * (number > 0)
        values = data[columns] + rng.normal(size=(len(data), len(columns))) * noise
        rows.append(values.assign(study_uid=data["study_uid"], side=data["side"], number=number, kind="contour"))
    return pd.concat(rows)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    data = frame(groups=GROUPS).rename(columns={"id": "study_uid"}).assign(side="L")
    data.to_csv(tmp_path / "t.csv", index=False)
    shuffled = perturbed(data, ("_Mean", "_Energy")).sample(frac=1, random_state=3)
    shuffled.to_parquet(tmp_path / "t.csv.perturbed.parquet", index=False)
    return tmp_path / "t.csv"


def table(path: Path) -> Table:
    return read(path, label="nodes", positive="R", id_column="study_uid")


def test_features_that_fall_apart_are_no_candidates(path: Path) -> None:
    signature = train(table(path), STABLE)
    assert not [c for c in signature.header.columns if c.endswith(("_Mean", "_Energy"))]
    assert {e.candidates for e in signature.header.groups.values()} == {6}
    assert [c for c in train(table(path), FAST).header.columns if c.endswith("_Mean")]
    assert b'"stable_icc": 0.9' in to_bytes(signature)
    assert b"stable_icc" not in to_bytes(trained())


def test_the_filter_is_the_icc_of_the_cases_that_it_is_given(path: Path) -> None:
    cases = design.for_training(table(path), STABLE)
    assert cases.repeats is not None
    some = np.arange(0, 40)
    chosen = selection.stable_columns(cases.repeats[some], cases.groups, 0.9)
    assert (chosen == (one_way(cases.repeats[some]).value >= 0.9)).all()
    np.testing.assert_array_equal(cases.repeats[:, 0], cases.values)


def test_held_out_patients_have_no_say(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, seen = design.for_training(table(path), STABLE), []
    real = selection.stable_columns

    def noted(repeats: np.ndarray, groups: tuple[str, ...], least: float) -> np.ndarray:
        seen.append({row.tobytes() for row in repeats[:, 0]})
        return real(repeats, groups, least)

    monkeypatch.setattr(selection, "stable_columns", noted)
    fitting.out_of_fold(
        cases.values, cases.positive, cases.columns, cases.groups, STABLE, None, cases.patients, cases.repeats
    )
    nested.nested_cv(cases, STABLE, 1, calibrate=False)
    parts = list(fitting.folds(cases.positive, STABLE.folds, STABLE.seed, cases.patients))
    assert seen == [{cases.values[i].tobytes() for i in training} for training, _ in (*parts, *parts)]


def test_perturbations_that_are_named_without_the_ending_of_the_table_count_where_there_are_no_others(
    path: Path,
) -> None:
    beside, short = Path(f"{path}.perturbed.parquet"), path.with_name("t.perturbed.parquet")
    beside.rename(short)
    assert table(path).perturbations == short
    shutil.copy(short, beside)
    assert table(path).perturbations == beside


def test_rows_left_out_are_left_out_of_the_perturbations_too(path: Path) -> None:
    cases = design.for_training(table(path), STABLE)
    some = np.arange(len(cases.ids)) % 3 > 0
    fewer = cases.on_rows(some)
    assert fewer.repeats is not None
    np.testing.assert_array_equal(fewer.repeats[:, 0], fewer.values)


def test_exams_without_perturbations_count_for_training_and_not_for_the_filter(path: Path) -> None:
    file = Path(f"{path}.perturbed.parquet")
    pd.read_parquet(file).query("study_uid < 'case3'").to_parquet(file, index=False)
    signature = train(table(path), STABLE)
    assert signature.header.positives + signature.header.negatives == 60
    assert not [c for c in signature.header.columns if c.endswith(("_Mean", "_Energy"))]


def test_too_few_cases_make_nothing_stable_and_clinical_columns_need_no_proof() -> None:
    repeats = np.arange(24.0).reshape(2, 4, 3)
    groups = ("t1c.tumor", "t1c.tumor", design.CLINICAL_GROUP)
    assert selection.stable_columns(repeats, groups, 0.1).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.unlink(), "there are no perturbations of its exams"),
        (lambda file: file.write_bytes(b"PAR1 no"), "is no table of perturbations"),
        (lambda file: _edit(file, lambda d: d.drop(columns="number")), "has no column number"),
        (lambda file: _edit(file, lambda d: d.assign(study_uid="other")), "has no exam of t.csv"),
        (lambda file: _edit(file, lambda d: d.assign(number="first")), "is no table of perturbations"),
        (lambda file: _edit(file, lambda d: d.assign(number=None)), "is no table of perturbations"),
        (lambda file: _edit(file, lambda d: d[d["number"] > 0]), "lacks the exams as they are"),
        (lambda file: _edit(file, lambda d: _of_other_settings(d, "t1c")), "other features than t.csv .*rows 3"),
        (lambda file: _edit(file, lambda d: _of_other_settings(d, "t2")), "other features than t.csv .*rows 3"),
    ],
)
def test_perturbations_that_are_not_those_of_the_table_are_refused(path: Path, spoil: object, words: str) -> None:
    spoil(Path(f"{path}.perturbed.parquet"))  # type: ignore[operator]
    with pytest.raises(InputRejected, match=words):
        design.for_training(table(path), STABLE)


def _of_other_settings(data: pd.DataFrame, sequence: str) -> pd.DataFrame:
    """As if one sequence of the third exam had been measured again since."""
    columns, rows = [c for c in data if c.startswith(f"{sequence}.")], data["study_uid"] == "case2"
    assert rows.sum() == REPEATS
    data.loc[rows, columns] = 1.5 * data.loc[rows, columns]
    return data


def test_a_table_with_rounded_cells_has_its_perturbations(path: Path) -> None:
    pd.read_csv(path).round(2).to_csv(path, index=False)
    assert design.for_training(table(path), STABLE).repeats is not None


def _edit(file: Path, change: object) -> None:
    change(pd.read_parquet(file)).to_parquet(file, index=False)  # type: ignore[operator]


def test_a_table_without_studies_cannot_be_matched(path: Path) -> None:
    nameless = replace(table(path), id_column=None)
    with pytest.raises(InputRejected, match="perturbations need the column study_uid"):
        design.for_training(nameless, STABLE)


def test_the_option_is_an_icc_and_its_least_value(path: Path, tmp_path: Path) -> None:
    asked = ["train", str(path), "--label", "nodes", "--positive", "R", "--id", "study_uid", "--trees", "20"]
    out = ["--out", str(tmp_path / "s.axsig"), "--stable"]
    for wrong in ("0.9", "icc>=2", "dice>=0.9", "icc>=many"):
        done = CliRunner().invoke(command, [*asked, *out, wrong])
        assert (done.exit_code, 'is written as in "icc>=0.9"' in done.output) == (2, True)


def test_selection_that_is_always_the_same_has_an_index_of_one_and_by_chance_of_nothing() -> None:
    same = np.tile(np.arange(20) < 5, (10, 1))
    always = stability(same)
    assert (always.nogueira, always.jaccard, always.frequency.tolist()) == (1.0, 1.0, [1.0] * 5 + [0.0] * 15)
    rng = np.random.default_rng(0)
    chance = stability(np.array([rng.permutation(200) < 40 for _ in range(60)]))
    assert abs(chance.nogueira) < 0.02
    assert chance.low < chance.nogueira < chance.high
    assert np.isnan(stability(np.ones((4, 6), dtype=bool)).nogueira)


def test_the_index_is_the_mean_correlation_of_selections_of_one_size() -> None:
    # of equal sizes, Nogueira's index is Kuncheva's: (r - k^2/d) / (k - k^2/d), mean over pairs
    rng, d, k = np.random.default_rng(1), 30, 8
    chosen = np.array([rng.permutation(d) < k for _ in range(6)])
    chosen[:, :3] = True
    chosen = np.array([row & (np.cumsum(row) <= k) for row in chosen])
    common = [int((a & b).sum()) for i, a in enumerate(chosen) for b in chosen[:i]]
    expected = np.mean([(r - k * k / d) / (k - k * k / d) for r in common])
    assert (chosen.sum(axis=1) == k).all()
    assert stability(chosen).nogueira == pytest.approx(expected)


def test_the_evaluation_and_the_card_tell_how_stable_selection_is(path: Path) -> None:
    trained_on = table(path)
    made = train(trained_on, STABLE)
    judged = evaluate(made, {"training": trained_on}, Questions(repeats=1))
    selection_facts = judged.facts["nested_cv"]["selection"]  # type: ignore[index, call-overload]
    assert selection_facts["fits"] == 5
    assert not [c for c in selection_facts["chosen_by_half"] if c.endswith(("_Mean", "_Energy"))]
    text = model_card.markdown(made, judged.facts)
    assert "Selection over 5 folds: Jaccard" in text
    assert "ICC(1,1) of at least 0.9" in text + methods.markdown(made)

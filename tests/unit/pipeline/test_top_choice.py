"""The number of features chosen inside the folds, and told with its curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from config.schema import Training
from daemon.cli.signature import signature as command
from pipeline.errors import InputRejected
from pipeline.research import metrics
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.research.evaluation.evaluation_page import page
from pipeline.research.tables import design
from pipeline.research.training import fitting
from pipeline.research.training.train import train
from pipeline.signature import methods, model_card
from pipeline.signature.container import from_bytes, to_bytes
from pipeline.signature.record import Signature
from tests.support.signature_tables import FAST, frame, table, trained

AUTO = FAST.model_copy(update={"top": "auto", "t_test_p": None, "trees": 10, "folds": 3})
DATA = frame(48, groups=("t1c.tumor",), effect=1.0)


@pytest.fixture(scope="module")
def chosen() -> Signature:
    return train(table(DATA), AUTO)


def test_the_number_is_the_one_with_the_largest_out_of_fold_auc(chosen: Signature) -> None:
    cases = design.for_training(table(DATA), AUTO)
    choice = chosen.header.top_choice
    assert choice is not None
    for top in (1, 3, 8):
        recipe = AUTO.model_copy(update={"top": top, "folds": fitting.INNER_FOLDS})
        decisions, _ = fitting.out_of_fold(
            cases.values, cases.positive, cases.columns, cases.groups, recipe, patients=cases.patients
        )
        assert choice.auc[str(top)] == pytest.approx(metrics.auc(decisions, cases.positive))
    best = max(choice.auc.values())
    assert choice.top == min(int(top) for top, auc in choice.auc.items() if auc == best)
    assert chosen.header.groups["t1c.tumor"].kept == min(choice.top, 8)


def test_every_fold_chooses_from_its_own_training_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    cases, seen = design.for_training(table(DATA), AUTO), []
    real = fitting.choose_top

    def noted(values: np.ndarray, *others: object) -> object:
        seen.append({row.tobytes() for row in values})
        return real(values, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(fitting, "choose_top", noted)
    fitting.out_of_fold(cases.values, cases.positive, cases.columns, cases.groups, AUTO, None, cases.patients)
    parts = fitting.folds(cases.positive, AUTO.folds, AUTO.seed, cases.patients)
    assert seen == [{cases.values[i].tobytes() for i in training} for training, _ in parts]


def test_the_curve_is_in_the_file_the_report_the_card_and_the_methods(chosen: Signature) -> None:
    assert from_bytes(to_bytes(chosen), "s").header.top_choice == chosen.header.top_choice
    assert b"top_choice" not in to_bytes(trained())
    held_out = frame(48, groups=("t1c.tumor",), seed=9, prefix="other")
    judged = evaluate(chosen, {"b": table(held_out, name="b.csv")}, Questions(repeats=1))
    assert "features per group" in page(judged)
    assert "Features per group: " in model_card.markdown(chosen)
    assert "the number with the largest out-of-fold AUC, chosen anew in every fold" in methods.markdown(chosen)


def test_too_few_cases_to_choose_are_refused() -> None:
    values, positive = np.random.default_rng(0).normal(size=(5, 3)), np.array([True, False, False, False, False])
    with pytest.raises(InputRejected, match="too few cases to choose the number of features"):
        fitting.fit(values, positive, ("a", "b", "c"), ("t1c.tumor",) * 3, AUTO)


def test_a_number_or_auto_may_be_asked_for(tmp_path: Path) -> None:
    assert (Training.model_validate({"top": "12"}).top, Training.model_validate({"top": "auto"}).top) == (12, "auto")
    DATA.to_csv(tmp_path / "t.csv", index=False)
    asked = ["train", str(tmp_path / "t.csv"), "--label", "nodes", "--positive", "R", "--id", "id", "--top", "some"]
    done = CliRunner().invoke(command, [*asked, "--out", str(tmp_path / "s.axsig")])
    assert done.exit_code == 2
    assert "--top" in done.output

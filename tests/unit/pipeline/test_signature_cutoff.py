"""The cutoff by Youden's index, by a sensitivity, or by net benefit: chosen out of fold and written down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.schema import Training
from daemon.cli.signature import signature as command
from pipeline.research.evaluation import evaluation_page
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.research.tables import design
from pipeline.research.training import calibration_fit
from pipeline.research.training.nested import nested_cv
from pipeline.signature import card, container, model_card
from tests.support.signature_tables import FAST, frame, table, trained

SCORED = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=40).filter(
    lambda cases: len({positive for _, positive in cases}) == 2
)


def _arrays(cases: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([(score + 1) / 22 for score, _ in cases]), np.array([positive for _, positive in cases])


def _with(rule: str) -> Training:
    return Training.model_validate({**FAST.model_dump(), "cutoff": rule})


@given(SCORED, st.sampled_from([0.5, 0.8, 0.9, 0.95, 1.0]))
def test_no_higher_cutoff_has_the_sensitivity(cases: list[tuple[int, bool]], least: float) -> None:
    p, positive = _arrays(cases)
    chosen = calibration_fit.cutoff(f"sensitivity={least}", p, positive)
    assert (p[positive] >= chosen).mean() >= least - 1e-9
    higher = [c for c in p if c > chosen and not np.array_equal(p >= c, p >= chosen)]
    assert all((p[positive] >= c).mean() < least for c in higher)


@given(SCORED, st.sampled_from([0.05, 0.2, 0.5, 0.9]))
def test_no_other_cutoff_has_more_net_benefit(cases: list[tuple[int, bool]], threshold: float) -> None:
    p, positive = _arrays(cases)

    def benefit(cutoff: float) -> float:
        called = p >= cutoff
        return float((called & positive).sum() - (called & ~positive).sum() * threshold / (1 - threshold))

    chosen = calibration_fit.cutoff(f"net-benefit={threshold}", p, positive)
    assert benefit(chosen) == pytest.approx(max(benefit(c) for c in (*p, 2.0)))
    assert 0 <= chosen <= 1


def test_calibrated_probabilities_are_cut_near_the_threshold() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    assert calibration_fit.cutoff("net-benefit=0.3", p, rng.random(20_000) < p) == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("rule", ["", "sensitivity", "sensitivity=0", "sensitivity=1.1", "net-benefit=1", "f1=0.3"])
def test_a_rule_that_nobody_knows_is_refused(rule: str) -> None:
    with pytest.raises(ValidationError, match="must be youden, sensitivity=S"):
        _with(rule)


def test_the_rule_is_in_the_file_and_on_the_card_and_the_default_leaves_the_file_as_it_was() -> None:
    data = frame(effect=0.4)
    plain, sensitive = trained(data), trained(data, _with("sensitivity=0.95"))
    assert b'"cutoff": "youden"' not in container.to_bytes(plain)
    # What a version without the setting wrote has no such key, and is read as it was meant.
    assert container.from_bytes(container.to_bytes(plain), "s.axsig").header.recipe.cutoff == "youden"
    read = container.from_bytes(container.to_bytes(sensitive), "s.axsig").header
    assert read.recipe.cutoff == "sensitivity=0.95"
    assert read.cutoff < plain.header.cutoff
    assert "the highest with sensitivity 0.95 out of fold" in model_card.markdown(sensitive)
    assert card.facts(sensitive)["recipe"]["cutoff"] == "sensitivity=0.95"


def test_the_demonstration_that_shipped_before_is_cut_by_youdens_index() -> None:
    assert container.load(container.demonstration_path()).header.cutoff_rule == "the largest Youden index out of fold"


def test_nested_figures_are_at_the_cutoff_that_each_fold_chose_without_its_held_out_cases() -> None:
    cases = design.for_training(table(frame(80, effect=0.6)), FAST)
    plain, sensitive = (nested_cv(cases, _with(rule), 1) for rule in ("youden", "sensitivity=0.95"))
    assert plain.probabilities.tolist() == sensitive.probabilities.tolist()
    assert len(set(sensitive.cutoffs)) == FAST.folds
    assert all(low <= high for low, high in zip(sensitive.cutoffs, plain.cutoffs, strict=True))
    positive = cases.positive
    assert sensitive.called[positive].mean() > plain.called[positive].mean()
    assert sensitive.called[~positive].mean() > plain.called[~positive].mean()


def test_the_command_takes_the_rule_and_the_report_says_it(tmp_path: Path) -> None:
    frame(80, effect=0.8).to_csv(tmp_path / "t.csv", index=False)
    arguments = ["train", str(tmp_path / "t.csv"), "--label", "nodes", "--positive", "R", "--trees", "20", "--id", "id"]
    out = ["--cutoff", "net-benefit=0.2", "--out", str(tmp_path / "s.axsig")]
    result = CliRunner().invoke(command, [*arguments, *out, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["recipe"]["cutoff"] == "net-benefit=0.2"
    wrong = CliRunner().invoke(command, [*arguments, "--cutoff", "0.3", "--out", str(tmp_path / "x.axsig")])
    assert wrong.exit_code == 2
    assert "--cutoff" in wrong.output
    signature = container.load(tmp_path / "s.axsig")
    external = {"x": table(frame(60, effect=0.8, seed=5, prefix="x"))}
    assert "the largest net benefit at threshold 0.2 out of fold" in evaluation_page.page(
        evaluate(signature, external, Questions(repeats=1))
    )

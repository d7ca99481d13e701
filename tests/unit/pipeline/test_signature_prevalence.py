"""Another prevalence: odds move by an offset, predictive values follow, and what the daemon says does not change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import expit, logit

from daemon.cli.signature import signature as command
from pipeline.research import metrics
from pipeline.research.evaluation import evaluation_page, prevalence, scored_cohort
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.signature import container
from tests.support.signature_tables import frame, table, trained

SIGNATURE = trained(frame(80, effect=0.8))
EXTERNAL = frame(60, effect=0.8, seed=5, prefix="x")
COHORT = scored_cohort.score(SIGNATURE, "x", table(EXTERNAL), complete_cases=False)


def _drawn(rng: np.random.Generator, positives: int, negatives: int) -> scored_cohort.Scored:
    """Cases whose probabilities are right at the training prevalence, one half."""
    positive = np.arange(positives + negatives) < positives
    # Normal scores one standard deviation apart: the log odds at equal prevalence are the score minus a half.
    p = expit(rng.normal(size=len(positive)) + positive - 0.5)
    labels = replace(COHORT.table, positive=positive)
    return replace(COHORT, table=labels, probabilities=p, decisions=logit(p), patients=np.arange(len(positive)))


def test_at_the_training_prevalence_nothing_moves() -> None:
    assert prevalence.offset(SIGNATURE, 0.5) == 0
    assert prevalence.probabilities(SIGNATURE, COHORT, 0.5) == pytest.approx(COHORT.probabilities)


def test_at_the_right_prevalence_probabilities_come_true_again() -> None:
    cohort = _drawn(np.random.default_rng(0), 2000, 8000)
    facts = prevalence.at_prevalence(SIGNATURE, cohort, 0.2)
    low, high = facts["calibration_in_the_large"]["ci"]
    assert low <= 0 <= high
    assert facts["calibration_slope"] == pytest.approx(1, abs=0.08)
    assert facts["mean_probability"] == pytest.approx(0.2, abs=0.01)
    before = prevalence.at_prevalence(SIGNATURE, cohort, 0.5)
    assert before["mean_probability"] > 0.3
    assert before["observed_is_compatible"] is False


def test_predictive_values_at_the_cohorts_own_prevalence_are_those_that_were_counted() -> None:
    cohort = _drawn(np.random.default_rng(1), 30, 90)
    facts = prevalence.at_prevalence(SIGNATURE, cohort, 0.25)
    counted = metrics.accuracy_table(cohort.probabilities >= SIGNATURE.header.cutoff, cohort.positive)
    for name in ("ppv", "npv"):
        expected = counted[name]
        assert expected is not None
        assert facts[name]["value"] == pytest.approx(expected.value)
        assert facts[name]["ci"][0] < expected.value < facts[name]["ci"][1]
    p = prevalence.probabilities(SIGNATURE, cohort, 0.25)
    assert ((p >= facts["cutoff"]) == (cohort.probabilities >= SIGNATURE.header.cutoff)).all()


def test_predictive_values_are_bayes_rule() -> None:
    cohort = _drawn(np.random.default_rng(1), 60, 60)
    called = cohort.probabilities >= SIGNATURE.header.cutoff
    se, sp = called[:60].mean(), (~called[60:]).mean()
    facts = prevalence.at_prevalence(SIGNATURE, cohort, 0.1)
    assert facts["ppv"]["value"] == pytest.approx(0.1 * se / (0.1 * se + 0.9 * (1 - sp)))
    assert facts["npv"]["value"] == pytest.approx(0.9 * sp / (0.9 * sp + 0.1 * (1 - se)))


def test_the_interval_of_a_predictive_value_holds_it() -> None:
    rng, held = np.random.default_rng(2), np.zeros(2)
    many = _drawn(rng, 100_000, 100_000)
    called = many.probabilities >= SIGNATURE.header.cutoff
    se, sp = called[:100_000].mean(), (~called[100_000:]).mean()
    truth = {"ppv": 0.3 * se / (0.3 * se + 0.7 * (1 - sp)), "npv": 0.7 * sp / (0.7 * sp + 0.3 * (1 - se))}
    for _ in range(300):
        facts = prevalence.at_prevalence(SIGNATURE, _drawn(rng, 25, 40), 0.3)
        held += [facts[n]["ci"][0] <= truth[n] <= facts[n]["ci"][1] for n in ("ppv", "npv")]
    assert min(held) / 300 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)


@pytest.mark.parametrize(("everyone", "name"), [(0.0, "ppv"), (1.0, "npv")])
def test_where_nobody_is_called_so_there_is_no_predictive_value(everyone: float, name: str) -> None:
    one_call = replace(COHORT, probabilities=np.full(60, everyone))
    facts = prevalence.at_prevalence(SIGNATURE, one_call, 0.3)
    assert facts[name] is None
    other = facts["npv" if name == "ppv" else "ppv"]
    assert 0 < other["ci"][0] < other["value"] < other["ci"][1] < 1


def test_the_report_says_it_and_nothing_else_changes(tmp_path: Path) -> None:
    cohorts = {"x": table(EXTERNAL)}
    plain, moved = (evaluate(SIGNATURE, cohorts, Questions(repeats=1, prevalence=p)) for p in (None, 0.3))
    row = dict(moved.facts["cohorts"]["x"])
    assert row.pop("at_prevalence")["prevalence"] == 0.3
    assert row == plain.facts["cohorts"]["x"]
    page = evaluation_page.page(moved)
    assert "At a prevalence of 0.300" in page
    assert "The daemon goes on with the probabilities of the signature file." in page
    assert "probability_at_prevalence" not in plain.tables["scores_x.csv"]
    scores = moved.tables["scores_x.csv"]
    difference = logit(scores["probability"]) - logit(scores["probability_at_prevalence"])
    assert difference.to_numpy() == pytest.approx(np.full(60, logit(0.7)))


def test_the_command_takes_a_prevalence(tmp_path: Path) -> None:
    container.save(SIGNATURE, tmp_path / "s.axsig")
    EXTERNAL.to_csv(tmp_path / "x.csv", index=False)
    arguments = ["evaluate", str(tmp_path / "s.axsig"), "--table", f"x={tmp_path / 'x.csv'}", "--json"]
    result = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "judged"), "--prevalence", "0.3"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["cohorts"]["x"]["at_prevalence"]["prevalence"] == 0.3
    wrong = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "judged"), "--prevalence", "1"])
    assert wrong.exit_code == 2

"""The gate: an interval that is never without width, an exact test, and no conclusion from too few."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from pipeline.errors import InputRejected
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.signature import card, gate
from pipeline.signature.record import Signature
from pipeline.signature.registry import Registry
from tests.support.signature_tables import MADE, frame, table, trained

SIGNATURE = trained(frame(cases=80))


def _scores(positives: int, negatives: int, effect: float = 0.4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    positive = np.arange(positives + negatives) < positives
    return np.random.default_rng(seed).normal(size=len(positive)) + effect * positive, positive


@pytest.mark.parametrize(("positives", "negatives"), [(2, 2), (5, 5), (10, 10), (34, 11), (50, 50)])
def test_the_test_is_scipys_exact_one_where_no_scores_are_equal(positives: int, negatives: int) -> None:
    scores, positive = _scores(positives, negatives)
    found = gate.mann_whitney(scores, positive)
    for p, side in zip(found, ("greater", "less"), strict=True):
        expected = stats.mannwhitneyu(scores[positive], scores[~positive], alternative=side, method="exact").pvalue
        assert p == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=9), st.data())
def test_with_equal_scores_it_is_the_share_of_all_ways_to_deal_out_the_labels(
    values: list[int], data: st.DataObject
) -> None:
    n1 = data.draw(st.integers(1, len(values) - 1))
    scores, positive = np.array(values, float), np.arange(len(values)) < n1
    ranks = stats.rankdata(scores)
    sums = np.array([ranks[list(chosen)].sum() for chosen in itertools.combinations(range(len(values)), n1)])
    above, below = gate.mann_whitney(scores, positive)
    assert above == pytest.approx(np.mean(sums >= ranks[positive].sum() - 1e-9))
    assert below == pytest.approx(np.mean(sums <= ranks[positive].sum() + 1e-9))


def test_many_cases_are_judged_by_the_normal_distribution_with_its_corrections() -> None:
    scores, positive = _scores(150, 250, effect=0.1)
    scores = np.round(scores * 2)
    above, _ = gate.mann_whitney(scores, positive)
    expected = stats.mannwhitneyu(scores[positive], scores[~positive], alternative="greater", method="asymptotic")
    assert above == pytest.approx(expected.pvalue)
    assert gate.mann_whitney(np.zeros(400), positive) == (1.0, 1.0)


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.data())
def test_the_area_is_scikit_learns(values: list[int], data: st.DataObject) -> None:
    n1 = data.draw(st.integers(1, len(values) - 1))
    positive = np.arange(len(values)) < n1
    assert gate.auc(np.array(values, float), positive) == pytest.approx(roc_auc_score(positive, values))


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 0.95, 1.0])
@pytest.mark.parametrize(("positives", "negatives"), [(2, 2), (10, 10), (5, 50), (34, 11)])
def test_the_limits_solve_newcombes_equation(value: float, positives: int, negatives: int) -> None:
    n = (positives + negatives) / 2 - 1
    low, high = gate.newcombe(value, positives, negatives)
    assert low <= value <= high
    assert low < high  # unlike DeLong's, at 0 and 1 as well
    for t in {low, high} - {0.0, 1.0}:
        spread = t * (1 - t) * (1 + n * (1 - t) / (2 - t) + n * t / (1 + t)) / (positives * negatives)
        assert (value - t) ** 2 == pytest.approx(1.959964**2 * spread, rel=1e-5)
    mirrored = gate.newcombe(1 - value, positives, negatives)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9) or positives != negatives


def _judged(positives: int, negatives: int, effect: float, minimum: int = gate.MINIMUM_PER_CLASS) -> str:
    return gate.verdict(gate.discrimination(*_scores(positives, negatives, effect)), minimum)


def test_perfect_separation_of_four_is_no_evidence() -> None:
    scores, positive = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True])
    found = gate.discrimination(scores, positive)
    assert found.auc == 1
    assert gate.verdict(found) == "too few"
    assert gate.verdict(found, minimum_per_class=2) == "no evidence"


@pytest.mark.parametrize(("effect", "word"), [(2.0, "as trained"), (0.0, "no evidence"), (-2.0, "inverted")])
def test_enough_cases_give_one_of_three_words(effect: float, word: str) -> None:
    assert _judged(20, 20, effect) == word
    assert _judged(20, 9, effect) == _judged(9, 20, effect) == "too few"


def _cohort(cases: int, effect: float, seed: int = 5) -> dict[str, object]:
    return {"external": table(frame(cases, effect=effect, seed=seed, prefix=f"external{seed}-"))}


def _recorded(folder: Path, cases: int, effect: float, seed: int = 5) -> tuple[Registry, Signature]:
    registry = Registry(folder)
    kept = registry.load(registry.add(SIGNATURE))
    registry.record(evaluate(kept, _cohort(cases, effect, seed), Questions(repeats=1)).facts)
    return registry, kept


def test_a_cohort_of_too_few_is_neither_evidence_nor_a_bar(tmp_path: Path) -> None:
    registry, kept = _recorded(tmp_path, cases=18, effect=3.0)
    with pytest.raises(InputRejected, match="at least 10 cases per class"):
        registry.activate(kept, MADE)
    _recorded(tmp_path, cases=60, effect=1.5, seed=6)
    registry.activate(kept, MADE)


def _rewrite(registry: Registry, sha256: str, **changes: object) -> None:
    """Stored evaluations as an earlier version or another rule left them; None takes a key out."""
    for path in (registry.folder / "evaluations" / sha256).glob("*.json"):
        facts = json.loads(path.read_text())
        for row in facts["cohorts"].values():
            row.update(changes)
            for key in [k for k, v in changes.items() if v is None]:
                del row[key]
        path.write_text(json.dumps(facts))


def test_what_is_stored_is_judged_again_by_todays_gate(tmp_path: Path) -> None:
    registry, kept = _recorded(tmp_path, cases=60, effect=0.0)
    _rewrite(registry, kept.sha256, orientation="as trained", ci=[0.9, 1.0])
    assert registry.entries()[0].orientations == ("no evidence",)
    with pytest.raises(InputRejected, match="NO EVIDENCE on cohort external"):
        registry.activate(kept, MADE)


def test_an_evaluation_without_scores_has_to_be_made_anew(tmp_path: Path) -> None:
    registry, kept = _recorded(tmp_path, cases=60, effect=1.5)
    _rewrite(registry, kept.sha256, scores=None)
    with pytest.raises(InputRejected, match=r"cohort external was judged before .* has to be judged anew"):
        registry.activate(kept, MADE)
    registry.record(evaluate(kept, _cohort(60, 1.5), Questions(repeats=1)).facts)
    registry.activate(kept, MADE)


@pytest.mark.parametrize(
    "scores",
    [
        {"decisions": [1, 2], "positive": [1, 1]},
        {"decisions": [1, 2, 3], "positive": [1, 0]},
        {"decisions": ["x", 1], "positive": [1, 0]},
        {"decisions": [float("nan"), 1], "positive": [1, 0]},
        {"positive": [1, 0]},
    ],
)
def test_a_stored_evaluation_that_is_damaged_is_named_and_nothing_is_concluded(tmp_path: Path, scores: object) -> None:
    registry, kept = _recorded(tmp_path, cases=60, effect=1.5)
    _rewrite(registry, kept.sha256, scores=scores)
    with pytest.raises(InputRejected, match=r"evaluations.*\.json cannot be used .*evaluate again") as refused:
        registry.activate(kept, MADE)
    assert refused.value.code == "evaluation-damaged"
    for path in (registry.folder / "evaluations").rglob("*.json"):
        path.write_text(path.read_text()[:-20])
    with pytest.raises(InputRejected, match="cannot be used"):
        registry.entries()


def test_repeated_cases_that_one_evaluation_saw_count_whatever_another_of_the_same_table_did_not_see(
    tmp_path: Path,
) -> None:
    registry, kept = _recorded(tmp_path, cases=60, effect=1.5)
    facts = evaluate(kept, _cohort(60, 1.5), Questions(repeats=1)).facts
    for nonce in range(4):
        facts["cohorts"]["external"]["rows_with_repeated_values"] = [3, nonce + 10]
        registry.record(facts)
    (row,) = registry.external_cohorts(kept.sha256).values()
    assert row["rows_with_repeated_values"] == [3, 10, 11, 12, 13]
    with pytest.raises(InputRejected, match="no evaluation on an independent cohort"):
        registry.activate(kept, MADE)


def test_the_card_says_that_there_were_too_few() -> None:
    found = evaluate(SIGNATURE, _cohort(18, 3.0), Questions(repeats=1))
    told = card.limits(SIGNATURE, found.facts)
    assert any(sentence.startswith("TOO FEW cases on cohort external (AUC ") for sentence in told)
    assert card.verdicts(found.facts) == []

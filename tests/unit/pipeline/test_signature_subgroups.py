"""Subgroups: nothing is found where nothing is, a planted difference is found, and few cases are no question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.discrete.discrete_model import Logit
from statsmodels.stats.multitest import multipletests

from pipeline.research import metrics
from pipeline.research.evaluation import by_site, evaluation_page, interactions, scored_cohort, subgroups
from pipeline.research.evaluation.evaluate import Questions, evaluate
from tests.support.signature_tables import FAST, clinical, frame, table, trained

SIGNATURE = trained(frame(80, effect=0.8))
COHORT = scored_cohort.score(SIGNATURE, "x", table(frame(60, effect=0.8, seed=5, prefix="x")), complete_cases=False)


def _drawn(rng: np.random.Generator, shifts: list[float], each: int, exams: int = 1) -> scored_cohort.Scored:
    """Levels of `each` patients, half positive, whose scores lie `shifts` apart; `exams` of one patient are alike."""
    level = np.repeat(np.arange(len(shifts)), each)
    positive = np.arange(len(level)) % 2 == 0
    score = rng.normal(size=len(level)) + np.array(shifts)[level] * positive
    rows = np.repeat(np.arange(len(level)), exams)
    noise = 0.5 * rng.normal(size=len(rows)) if exams > 1 else 0.0
    labels = replace(
        COHORT.table, positive=positive[rows], ids=tuple(map(str, range(len(rows)))), others={"level": level[rows]}
    )
    return replace(
        COHORT, table=labels, decisions=score[rows] + noise, probabilities=np.full(len(rows), 0.5), patients=rows
    )


def _tests(cohort: scored_cohort.Scored) -> dict[str, object]:
    return interactions.of_column(cohort, "level", subgroups.levels("level", cohort.table.others["level"]), 10)


def _passes(shifts: list[float], each: int, exams: int = 1, draws: int = 300, seed: int = 0) -> tuple[float, float]:
    """The share of draws in which slope and AUC are said to differ at P < 0.05."""
    rng, hits = np.random.default_rng(seed), np.zeros(2)
    for _ in range(draws):
        row = _tests(_drawn(rng, shifts, each, exams))
        hits += [row[name].get("p", 1.0) < 0.05 for name in ("slope", "auc")]
    return hits[0] / draws, hits[1] / draws


@pytest.mark.parametrize(("levels", "each", "exams"), [(2, 30, 1), (4, 24, 1), (3, 40, 2)])
def test_levels_that_are_alike_seldom_seem_different(levels: int, each: int, exams: int) -> None:
    # Five in a hundred, and three Monte Carlo errors of 300 draws.
    assert max(_passes([1.0] * levels, each, exams)) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_a_level_in_which_the_score_says_nothing_is_noticed() -> None:
    assert min(_passes([1.8, 0.0], 60, draws=60)) > 0.9


def test_the_slope_test_is_the_likelihood_ratio_of_statsmodels() -> None:
    cohort = _drawn(np.random.default_rng(4), [1.0, 0.3, 0.6], 40)
    found = _tests(cohort)["slope"]
    level = pd.get_dummies(pd.Series(cohort.table.others["level"].astype(int))).to_numpy(dtype=float)
    score = cohort.decisions[:, None]
    alike = Logit(cohort.positive.astype(float), np.hstack([level, score])).fit(disp=0)
    whole = Logit(cohort.positive.astype(float), np.hstack([level, level * score])).fit(disp=0)
    assert found["statistic"] == pytest.approx(2 * (whole.llf - alike.llf), abs=1e-6)
    assert found["df"] == 2
    assert found["p"] == pytest.approx(stats.chi2.sf(found["statistic"], 2))
    slopes = np.array(list(found["slopes"].values()))
    assert slopes == pytest.approx(whole.params[3:] * cohort.decisions.std(), abs=1e-5)


def test_the_auc_test_of_two_levels_is_that_of_two_independent_aucs_by_delong() -> None:
    cohort = _drawn(np.random.default_rng(4), [1.0, 0.3], 40)
    level = cohort.table.others["level"]
    logits, variances = [], []
    for one in (0, 1):
        auc = metrics.delong(cohort.decisions[level == one], cohort.positive[level == one], level=0.5)
        error = (auc.high - auc.low) / 2 / stats.norm.ppf(0.75)
        logits.append(np.log(auc.value / (1 - auc.value)))
        variances.append((error / (auc.value * (1 - auc.value))) ** 2)
    found = _tests(cohort)["auc"]
    assert found["statistic"] == pytest.approx((logits[0] - logits[1]) ** 2 / sum(variances))


def test_equal_copies_of_patients_change_neither_test_much() -> None:
    one = _drawn(np.random.default_rng(4), [1.0, 0.2], 40)
    rows = np.repeat(np.arange(80), 3)
    ids = tuple(map(str, range(240)))
    others = {"level": one.table.others["level"][rows]}
    labels = replace(one.table, positive=one.positive[rows], ids=ids, others=others)
    thrice = replace(one, table=labels, decisions=one.decisions[rows], patients=rows)
    a, b = _tests(one), _tests(thrice)
    assert b["auc"]["p"] == pytest.approx(a["auc"]["p"], rel=0.02)
    assert b["slope"]["test"] == "score test by patient"
    assert np.log(b["slope"]["p"]) == pytest.approx(np.log(a["slope"]["p"]), rel=0.35)


def test_levels_of_few_patients_are_named_and_not_compared() -> None:
    cohort = _drawn(np.random.default_rng(0), [1.0, 1.0], 30)
    cohort.table.others["level"][:25] = 2
    row = _tests(cohort)
    assert row["levels"] == ["1", "2"]
    assert row["left_out"] == ["0"]
    cohort.table.others["level"][:] = 1
    row = _tests(cohort)
    assert (row["slope"], row["auc"]) == (None, None)
    assert row["why_not"] == "fewer than two levels have 10 patients of either class"


def test_a_level_that_is_separated_wholly_has_no_test() -> None:
    cohort = _drawn(np.random.default_rng(0), [50.0, 1.0], 30)
    row = _tests(cohort)
    assert row["slope"] == {"why_not": "the regression has no finite fit"}
    assert row["auc"] == {"why_not": "a level is separated wholly: its AUC has no variance"}


def _facts(**columns: object) -> dict[str, object]:
    data = clinical(frame(120, effect=0.8, seed=5, prefix="x")).assign(**columns)
    return evaluate(SIGNATURE, {"x": table(data)}, Questions(repeats=1)).facts["cohorts"]["x"]


def test_p_values_are_adjusted_over_all_subgroups_and_over_all_tests_between() -> None:
    row = _facts(site=np.repeat(["A", "B", "C"], 40))
    levels = [r for r in row["subgroups"] if r["p_above_chance"] is not None]
    raw = [r["p_above_chance"] for r in levels]
    assert [r["p_adjusted"] for r in levels] == pytest.approx(multipletests(raw, method="holm")[1])
    assert row["subgroup_tests"]["tests"] == len(raw)
    between = [c[n] for c in row["interactions"]["columns"] for n in ("slope", "auc") if "p" in (c[n] or {})]
    assert len(between) == row["interactions"]["tests"] > 4
    raw = [test["p"] for test in between]
    assert [test["p_adjusted"] for test in between] == pytest.approx(multipletests(raw, method="holm")[1])


def test_fairness_has_every_level_with_its_difference_to_the_largest() -> None:
    row = _facts(menopausal_status=["pre"] * 50 + ["post"] * 70, breast_density="")
    assert row["fairness"]["columns"] == ["age_years", "menopausal_status", "breast_density"]
    assert "scanner" in row["fairness"]["columns_not_in_table"]
    post, pre = [r for r in row["subgroups"] if r["column"] == "menopausal_status"]
    assert (post["level"], post["reference"], post["minus_reference"]) == ("post", "post", None)
    for name in ("auc", "sensitivity", "specificity", "calibration_in_the_large"):
        difference = pre["minus_reference"][name]
        assert difference["value"] == pytest.approx(pre[name]["value"] - post[name]["value"])
        assert difference["ci"][0] < difference["value"] < difference["ci"][1]


def test_the_difference_of_aucs_is_held_by_its_interval() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        cohort = _drawn(rng, [1.0, 1.0], 30)
        level = cohort.table.others["level"]
        a, b = (metrics.newcombe(cohort.decisions[level == i], cohort.positive[level == i]) for i in (0, 1))
        difference = metrics.difference(a, b)
        assert difference is not None
        held += difference.low <= 0 <= difference.high
    assert held / 300 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)


def test_the_report_shows_tests_and_fairness_and_what_the_table_does_not_tell() -> None:
    data = clinical(frame(120, effect=0.8, seed=5, prefix="x")).assign(site=["A"] * 55 + ["B"] * 55 + ["C"] * 10)
    judged = evaluate(SIGNATURE, {"x": table(data)}, Questions(repeats=1))
    page = evaluation_page.page(judged)
    assert "adjusted by Holm" in page
    assert "Levels not compared, too few: " in page
    assert "site: C" in page
    assert "<h3>Fairness</h3>" in page
    assert "The table does not tell: menopausal_status, breast_density, manufacturer" in page
    assert set(judged.tables["fairness_x.csv"]["column"]) == {"age_years", "site"}


def test_a_site_that_is_not_told_is_no_site() -> None:
    data = frame(60).assign(site=["a", "b", "NA", "N/A", "a", "b"] * 10)
    of_sites = by_site.leave_one_site_out(table(data), FAST)
    assert [row["site"] for row in of_sites["sites"]] == ["a", "b"]
    assert [level for level, _ in subgroups.levels("site", data["site"].to_numpy(object))] == ["a", "b", "not told"]

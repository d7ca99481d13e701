"""ComBat between scanner groups: neuroCombat's numbers, learnt from training cases alone, never from the answer."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from neuroCombat import neuroCombat

from config.schema import ScannerGroup, SignatureSettings, Training
from daemon.cli.signature import signature as command
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.errors import AxradError, FeatureRejected, InputRejected
from pipeline.records import FeatureSet
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.research.evaluation.scored_cohort import score
from pipeline.research.tables import design
from pipeline.research.tables.feature_table import read
from pipeline.research.tables.scanners import Scanners, association
from pipeline.research.training import combat, fitting, nested
from pipeline.research.training.selection import constant_columns
from pipeline.research.training.train import Identity, train
from pipeline.result import Clinical
from pipeline.signature import container, methods, model_card, predict, scanner_groups
from pipeline.signature.record import Signature
from tests.support.signature_tables import FAST, clinical, features, frame, table, trained

COMBAT = FAST.model_copy(update={"harmonise": "combat", "batch": "manufacturer"})
VENDORS = ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips")
GROUPS = ("t1c.tumor", "t2.tumor")


def scanned(cases: int = 90, seed: int = 0, prefix: str = "case", effect: float = 1.5) -> pd.DataFrame:
    """A table of three vendors, classes alike in each; each vendor shifts and stretches every feature its own way."""
    data = frame(cases, groups=GROUPS, seed=seed, prefix=prefix, effect=effect)
    number = (np.arange(cases) // 2) % 3
    columns = [c for c in data if c.count(".") >= 2]
    rng = np.random.default_rng(99)
    offsets = rng.normal(size=(3, len(columns))) * 8
    stretch = rng.uniform(0.5, 2, size=(3, len(columns)))
    data[columns] = data[columns].to_numpy() * stretch[number] + offsets[number]
    return data.assign(manufacturer=np.array(VENDORS)[number])


DATA = scanned()
SIGNATURE = train(table(DATA), COMBAT, Identity("axilla"))


def theirs(values: np.ndarray, number: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    names = [f"c{j}" for j in range(covariates.shape[1])]
    table = pd.DataFrame({"batch": number, **dict(zip(names, covariates.T, strict=True))})
    with contextlib.redirect_stdout(io.StringIO()):
        answer = neuroCombat(dat=values.T.copy(), covars=table, batch_col="batch", continuous_cols=names)
    return np.asarray(answer["data"].T)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(0, 2), st.integers(3, 40))
def test_harmonised_features_are_neurocombats(seed: int, groups: int, covariates: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(groups), rng.integers(10, 25, groups))
    # neuroCombat reads covariates as float32: whole numbers are the same in both.
    known = rng.integers(20, 90, (len(number), covariates)).astype(float)
    values = rng.gamma(2, 3, (len(number), columns)) * 10.0 ** rng.integers(-3, 4, columns)
    values = values * (1 + 0.4 * number[:, None]) + 2 * number[:, None] + known.sum(axis=1)[:, None] * 0.1
    scanners = Scanners(tuple("abcd"[:groups]), number, known)
    estimates = combat.estimated(values, scanners, np.ones(columns, np.bool_))
    ours, reference = estimates.applied(values, number, known), theirs(values, number, known)
    assert np.abs(ours - reference).max() <= 1e-8 * np.abs(reference).max()
    np.testing.assert_allclose((ours - reference) / values.std(axis=0), 0, atol=1e-8)


def test_a_shift_and_a_stretch_of_a_vendor_are_taken_out() -> None:
    cases = design.for_training(table(DATA), COMBAT)
    assert cases.scanners is not None
    wanted = np.ones(len(cases.columns), np.bool_)
    after = combat.estimated(cases.values, cases.scanners, wanted).applied(
        cases.values, cases.scanners.number, cases.scanners.covariates
    )

    def between(values: np.ndarray) -> float:
        means = np.array([values[cases.scanners.number == i].mean(axis=0) for i in range(3)])
        return float((means.std(axis=0) / values.std(axis=0)).max())

    assert between(cases.values) > 0.7
    assert between(after) < 0.2


def test_a_column_that_only_tells_the_scanner_is_no_candidate() -> None:
    data = DATA.copy()
    name = next(c for c in data if c.startswith("t1c.tumor") and c.endswith("_Energy"))
    data[name] = data["manufacturer"].map({v: float(i) for i, v in enumerate(VENDORS)})
    assert name in train(table(data), COMBAT).header.constant_columns


def test_a_column_of_which_the_square_is_nothing_in_a_fold_is_no_candidate_there() -> None:
    cases = design.for_training(table(DATA), COMBAT)
    assert cases.scanners is not None
    for factor in (1e-90, 1e-310):
        assert constant_columns(cases.values * factor).all()
        assert not combat.varies_within(cases.values * factor, cases.scanners).any()


def test_held_out_cases_have_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    cases, seen = design.for_training(table(DATA), COMBAT), []
    real = combat.estimated

    def noted(values: np.ndarray, scanners: Scanners, wanted: np.ndarray) -> object:
        seen.append({row.tobytes() for row in values})
        return real(values, scanners, wanted)

    monkeypatch.setattr(combat, "estimated", noted)
    fitting.out_of_fold(
        cases.values, cases.positive, cases.columns, cases.groups, COMBAT, None, cases.patients, None, cases.scanners
    )
    nested.nested_cv(cases, COMBAT, 1, calibrate=False)
    parts = list(fitting.folds(cases.positive, COMBAT.folds, COMBAT.seed, cases.patients))
    assert seen == [{cases.values[i].tobytes() for i in training} for training, _ in (*parts, *parts)]


def test_a_group_that_a_fold_has_too_few_of_stays_as_it_is_there() -> None:
    cases = design.for_training(table(DATA), COMBAT)
    assert cases.scanners is not None
    few = np.flatnonzero((cases.scanners.number < 2) | (np.cumsum(cases.scanners.number == 2) <= 2))
    some = cases.scanners.of(few)
    estimates = combat.estimated(cases.values[few], some, np.ones(len(cases.columns), np.bool_))
    after = estimates.applied(cases.values[few], some.number, some.covariates)
    np.testing.assert_allclose(after[some.number == 2], cases.values[few][some.number == 2], rtol=1e-12)
    assert not np.allclose(after[some.number == 1], cases.values[few][some.number == 1])


def test_the_file_keeps_groups_and_estimates_and_old_files_have_none(tmp_path: Path) -> None:
    again = container.load(container.save(SIGNATURE, tmp_path / "s.axsig") and tmp_path / "s.axsig")
    facts = again.header.harmonisation
    assert facts is not None
    assert {g.name: g.cases for g in facts.groups} == {"ge": 30, "philips": 30, "siemens": 30}
    assert predict(again, features(DATA, 0), protocol={"manufacturer": "SIEMENS"}).probability > 0.5
    plain = container.to_bytes(trained())
    assert not any(word in plain for word in (b"harmonis", b"combat", b"covariates", b"batch"))


def test_a_file_whose_estimates_do_not_fit_is_refused() -> None:
    broken = Signature(SIGNATURE.header, {**SIGNATURE.arrays, "combat_spread": -SIGNATURE.array("combat_spread")})
    with pytest.raises(InputRejected, match="harmonisation"):
        container.from_bytes(container.to_bytes(broken), "s.axsig")
    lacking = {name: array for name, array in SIGNATURE.arrays.items() if name != "combat_shift"}
    with pytest.raises(InputRejected, match="combat_shift"):
        container.from_bytes(container.to_bytes(Signature(SIGNATURE.header, lacking)), "s.axsig")


@pytest.mark.parametrize("row", range(6))
def test_one_exam_has_the_probability_that_its_row_has_in_a_cohort(row: int) -> None:
    cohort = score(SIGNATURE, "x", table(DATA), complete_cases=False)
    exam = predict(SIGNATURE, features(DATA, row), protocol={"manufacturer": DATA["manufacturer"][row]})
    assert exam.probability == pytest.approx(cohort.probabilities[row], abs=1e-12)
    assert any("ComBat" in note for note in exam.notes)


def test_what_scanners_hid_is_selected_after_harmonisation() -> None:
    """Of the four features with a planted difference, at most two pass as they are, for the scanners' spread."""
    data = table(scanned(effect=0.6))
    passed = [sum(g.passed for g in train(data, recipe).header.groups.values()) for recipe in (FAST, COMBAT)]
    assert passed[0] <= 2 < passed[1]


def test_an_exam_of_another_scanner_abstains_and_says_which() -> None:
    for protocol in ({"manufacturer": "UIH"}, {}, {"field_strength_t": 3.0}):
        with pytest.raises(FeatureRejected, match=r"ge \| philips \| siemens") as refused:
            predict(SIGNATURE, features(DATA, 0), protocol=protocol)
        assert refused.value.code == "unknown-scanner"


def test_a_site_says_which_scanner_is_which_group() -> None:
    rule = ScannerGroup(group="GE", manufacturer="UIH", field_strength_t=3.0)
    allowed = SignatureSettings(scanner_groups=(rule,))
    exam = features(DATA, 2)  # of a GE
    as_ge = predict(SIGNATURE, exam, protocol={"manufacturer": "GE"}).probability
    here = {"manufacturer": "United Imaging", "field_strength_t": 2.98}
    assert predict(SIGNATURE, exam, protocol=here, settings=allowed).probability == as_ge
    with pytest.raises(FeatureRejected):
        predict(SIGNATURE, exam, protocol={**here, "field_strength_t": 1.5}, settings=allowed)


def asked(signatures: tuple[Signature, ...], settings: SignatureSettings, manufacturer: str) -> object:
    measured = FeatureSet(values=features(DATA, 2), missing={}, diagnostics={})
    groups = frozenset((s, r) for s in ("t1c", "t2") for r in ("tumor",))
    return Signatures(signatures, settings).predict(
        measured, groups, Clinical(), {"manufacturer": manufacturer}, {"tumor": "drawn"}, 20.0
    )


def test_an_unknown_scanner_goes_to_the_unharmonised_signature_where_the_settings_say_so(tmp_path: Path) -> None:
    plain = trained(DATA, name="plain")
    both = (SIGNATURE, plain)
    abstains = SignatureSettings(registry=tmp_path)
    goes_on = SignatureSettings(registry=tmp_path, unknown_scanner="unharmonised")
    for settings_ in (abstains, goes_on):
        assert asked(both, settings_, "GE").prediction.signature == "axilla@1"
    assert [code for code, _ in asked(both, abstains, "UIH").reasons] == ["unknown-scanner"]
    answer = asked(both, goes_on, "UIH").prediction
    assert answer.signature == "plain@1"
    assert "scanner group by manufacturer: ge | philips | siemens" in answer.fallback
    assert [code for code, _ in asked((SIGNATURE,), goes_on, "UIH").reasons] == ["no-signature-fits"]


def test_cases_of_other_scanners_are_left_out_of_a_cohort_and_counted() -> None:
    external = scanned(60, seed=7, prefix="x")
    external.loc[:9, "manufacturer"] = "UIH"
    external.loc[10:11, "manufacturer"] = None
    facts = evaluate(SIGNATURE, {"x": table(external)}, Questions(repeats=1)).facts["cohorts"]["x"]
    assert facts["n"] == 48
    assert facts["unknown_scanner_groups_left_out"] == {"not told": 2, "united imaging": 10}
    assert sum(facts["scanner_groups"].values()) == 48
    with pytest.raises(InputRejected, match="trained without --harmonise") as refused:
        score(SIGNATURE, "x", table(external.assign(manufacturer="UIH")), complete_cases=False)
    assert refused.value.code == "unknown-scanner"
    with pytest.raises(InputRejected, match="manufacturer"):
        score(SIGNATURE, "x", table(external.drop(columns="manufacturer")), complete_cases=False)


def test_with_and_without_harmonisation_are_compared_on_the_cases_that_both_score() -> None:
    external, plain = scanned(60, seed=7, prefix="x"), trained(DATA, name="plain")
    external.loc[:9, "manufacturer"] = "UIH"
    facts = evaluate(SIGNATURE, {"x": table(external)}, Questions(repeats=1), others=(plain,)).facts["cohorts"]["x"]
    assert (facts["n"], facts["comparisons"][0]["other"]) == (50, "plain@1")
    with pytest.raises(InputRejected, match=r"evaluate axilla@1 and compare plain@1 with it"):
        evaluate(plain, {"x": table(external)}, Questions(repeats=1), others=(SIGNATURE,))


def test_the_card_names_the_groups_and_what_was_done() -> None:
    text = model_card.markdown(SIGNATURE, None)
    assert "ComBat" in text
    assert "ge 30 (15 positive), philips 30 (15 positive), siemens 30 (15 positive)" in text
    assert "It answers exams of the scanner groups ge, philips, siemens alone" in text
    assert "ComBat" in methods.predictors(SIGNATURE)
    assert "ComBat" not in model_card.markdown(trained(), None)


def recipe(**steps: object) -> object:
    return COMBAT.model_copy(update=steps)


@pytest.mark.parametrize("column", ["nodes", "id", "positive_nodes", "her2", "ki67_percent", "laterality", "reading"])
def test_a_scanner_group_is_never_the_outcome_pathology_or_the_patient(column: str) -> None:
    data = DATA.assign(positive_nodes=1, her2="+", ki67_percent=20, laterality="L", reading=1)
    with pytest.raises(InputRejected, match=column) as refused:
        train(table(data), recipe(batch=column))
    assert refused.value.code == "not-for-harmonisation"


@pytest.mark.parametrize(
    "column", ["nodes", "molecular_subtype", "ki67_percent", "er_status", "positive_nodes", "breast_density", "site"]
)
def test_a_covariate_is_never_the_label_pathology_or_what_an_exam_does_not_have(column: str) -> None:
    with pytest.raises(InputRejected, match=column) as refused:
        train(table(clinical(DATA).assign(er_status="+", positive_nodes=1, breast_density="b", site=1)),
              recipe(covariates=(column,)))  # fmt: skip
    assert refused.value.code == "not-for-harmonisation"


def test_a_covariate_that_tells_the_label_is_refused_whatever_its_name() -> None:
    data = DATA.assign(age_years=np.where(DATA["nodes"] == "R", 40, 60) + np.arange(90) % 5)
    with pytest.raises(InputRejected, match="age_years tells the label"):
        train(table(data), recipe(covariates=("age_years",)))


def test_a_covariate_that_follows_from_the_scanner_is_refused() -> None:
    data = DATA.assign(field_strength_t=np.where(DATA["manufacturer"] == "Philips", 3.0, 1.5))
    with pytest.raises(InputRejected, match="cannot be told from the scanner groups"):
        train(table(data), recipe(covariates=("field_strength_t",)))


def test_groups_of_fewer_than_ten_patients_are_refused() -> None:
    data = DATA.copy()
    data.loc[data.index[data["manufacturer"] == "Philips"][9:], "manufacturer"] = "GE"
    with pytest.raises(InputRejected, match=r"philips \(9\)"):
        train(table(data), COMBAT)
    with pytest.raises(InputRejected, match="nothing to harmonise"):
        train(table(DATA.assign(manufacturer="GE")), COMBAT)


def test_groups_that_go_with_the_label_are_refused() -> None:
    data = DATA.copy()
    for share, refused in ((1.0, True), (0.8, True), (0.6, False)):
        same = np.random.default_rng(3).permutation(np.arange(90) < share * 90)
        data["manufacturer"] = np.where((data["nodes"] == "R") == same, "GE", "SIEMENS")
        if not refused:
            assert train(table(data), COMBAT).header.harmonisation.association < 0.5
            continue
        with pytest.raises(InputRejected) as error:
            train(table(data), COMBAT)
        assert error.value.code == "aliased-scanners"


def test_two_groups_that_go_with_the_label_are_refused_among_others_that_do_not() -> None:
    """As a whole the groups have a Cramer's V of 0.43."""
    data = scanned(140).assign(manufacturer="Philips")
    for label, here, there in (("R", "GE", "SIEMENS"), ("N", "SIEMENS", "GE")):
        rows = np.flatnonzero(data["nodes"] == label)
        data.loc[rows[:20], "manufacturer"] = np.where(np.arange(20) < 18, here, there)
    with pytest.raises(InputRejected, match="ge and siemens go with the label") as refused:
        train(table(data), COMBAT)
    assert refused.value.code == "aliased-scanners"


def test_many_small_groups_are_not_refused_for_what_chance_does() -> None:
    rng, data = np.random.default_rng(0), scanned(160)
    data["manufacturer"] = rng.permutation(np.repeat([f"vendor {i}" for i in range(10)], 16))
    assert train(table(data), COMBAT).header.harmonisation is not None


def test_association_is_cramers_v() -> None:
    number = np.array([0] * 40 + [1] * 40)
    positive = np.array([True] * 30 + [False] * 10 + [True] * 10 + [False] * 30)
    assert association(number, positive) == pytest.approx(0.5)


def test_a_row_without_scanner_is_refused_or_left_out() -> None:
    data = DATA.copy()
    data.loc[4, "manufacturer"] = None
    with pytest.raises(InputRejected, match="rows 5"):
        train(table(data), COMBAT)
    assert train(table(data), recipe(complete_cases=True)).header.incomplete_cases_left_out == 1


def test_covariates_keep_their_part_and_an_exam_must_have_them() -> None:
    age = np.random.default_rng(1).integers(30, 80, 90)
    signature = train(table(DATA.assign(age_years=age)), recipe(covariates=("age_years",)))
    assert signature.clinical == {"age_years"}
    assert "age_years" in signature.inputs
    here = {"manufacturer": "SIEMENS"}
    with pytest.raises(FeatureRejected, match="age_years"):
        predict(signature, features(DATA, 0), protocol=here)
    young, old = (
        predict(signature, features(DATA, 0), protocol=here, clinical={"age_years": a}).probability for a in (31, 79)
    )
    assert young != old


@pytest.mark.parametrize(
    ("columns", "facts", "group"),
    [
        (("manufacturer",), {"manufacturer": "Siemens Healthineers"}, "siemens"),
        (("manufacturer", "field_strength_t"), {"manufacturer": "GE MEDICAL", "field_strength_t": 1.4939}, "ge + 1.5"),
        (("protocol.model",), {"protocol.model": " Aera "}, "aera"),
        (("model",), {"protocol.model": "Aera"}, "aera"),
        (("site",), {"manufacturer": "GE"}, None),
        (("manufacturer",), {"manufacturer": "  "}, None),
    ],
)  # fmt: skip
def test_a_scanner_group_has_one_spelling(columns: tuple[str, ...], facts: dict[str, object], group: str) -> None:
    assert scanner_groups.group_of(columns, facts) == group


def test_the_command_line_trains_evaluates_and_shows(tmp_path: Path) -> None:
    DATA.to_csv(tmp_path / "t.csv", index=False)
    scanned(60, seed=7, prefix="x").to_csv(tmp_path / "x.csv", index=False)
    runner, file = CliRunner(), str(tmp_path / "s.axsig")
    options = ["--label", "nodes", "--positive", "R", "--id", "id", "--trees", "20", "--top", "5", "--out", file]
    command_ = ["train", str(tmp_path / "t.csv"), *options, "--harmonise", "combat"]
    assert runner.invoke(command, command_).exit_code == 2
    answer = runner.invoke(command, [*command_, "--batch", "manufacturer"])
    assert answer.exit_code == 0, answer.output
    assert "ge 30" in answer.output
    tables = ["--table", f"training={tmp_path / 't.csv'}", "--table", f"x={tmp_path / 'x.csv'}"]
    answer = runner.invoke(command, ["evaluate", file, *tables, "--out", str(tmp_path / "judged"), "--repeats", "1"])
    assert answer.exit_code == 0, answer.output
    assert "ComBat" in (tmp_path / "judged" / "report.html").read_text()
    assert "ComBat" in runner.invoke(command, ["show", file]).output


def test_what_varies_in_too_small_a_group_alone_is_left_as_it_is() -> None:
    number = np.repeat([0, 1, 2], [10, 10, 2])
    values = np.random.default_rng(0).normal(size=(22, 5))
    values[:20, 0] = 0.1
    here = Scanners(("a", "b", "c"), number, np.zeros((22, 0)))
    after = combat.estimated(values, here, np.ones(5, np.bool_)).applied(values, number, here.covariates)
    np.testing.assert_array_equal(after[:, 0], values[:, 0])


@pytest.mark.parametrize("constant", [0.1, 0.0, 1 / 3, 7e5])
@pytest.mark.parametrize("columns", [1, 2, 6])
def test_a_feature_that_is_constant_on_one_scanner_does_not_make_a_new_case_huge(constant: float, columns: int) -> None:
    number = np.repeat([0, 1], 10)
    values = constant + np.random.default_rng(0).normal(size=(20, columns))
    values[:10] = constant
    here = Scanners(("a", "b"), number, np.zeros((20, 0)))
    estimates = combat.estimated(values, here, np.ones(columns, np.bool_))
    new = estimates.applied(np.full((1, columns), constant + 1), np.array([0]), np.zeros((1, 0)))
    assert np.abs(new - constant).max() < 10


@pytest.mark.parametrize(
    ("spelling", "group"),
    [("西门子医疗", "siemens"), ("GE医疗", "ge"), ("ＧＥ", "ge"), ("上海联影", "united imaging"),
     ("SIEMENS  Healthineers ", "siemens"), ("PhilIPS Medical Systems", "philips"), ("Acme Imaging", "acme imaging")],
)  # fmt: skip
@pytest.mark.parametrize("column", ["manufacturer", "protocol.manufacturer"])
def test_a_vendor_is_known_in_chinese_and_under_a_protocols_name(column: str, spelling: str, group: str) -> None:
    assert scanner_groups.group_of((column,), {column: spelling}) == group


def test_a_field_strength_is_rounded_under_a_protocols_name() -> None:
    assert scanner_groups.group_of(("protocol.field_strength_t",), {"field_strength_t": 1.4939}) == "1.5"


def test_a_covariate_of_unequal_numbers_is_not_taken_for_the_label() -> None:
    age = np.random.default_rng(1).uniform(30, 80, 90)
    train(table(DATA.assign(age_years=age)), recipe(covariates=("age_years",)))
    apart = np.where(DATA["nodes"] == "R", age / 10, 50 + age / 10)
    with pytest.raises(InputRejected, match="age_years tells the label"):
        train(table(DATA.assign(age_years=apart)), recipe(covariates=("age_years",)))


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        ("age_years", 50, "cannot be told from"),
        ("age_years", "old", "age_years"),
        ("protocol.phase", "arterial", "protocol.phase"),
        ("protocol.nowhere", None, "protocol.nowhere"),
    ],
)
def test_a_covariate_that_is_constant_a_text_or_absent_is_refused(column: str, cells: object, message: str) -> None:
    data = DATA if cells is None else DATA.assign(**{column: cells})
    with pytest.raises(InputRejected, match=message):
        train(table(data), recipe(covariates=(column,)))


def test_a_row_without_a_covariate_is_refused_or_left_out_of_training_and_of_a_cohort() -> None:
    data = DATA.assign(age_years=np.random.default_rng(1).integers(30, 80, 90).astype(float))
    data.loc[4, "age_years"] = None
    wanted = recipe(covariates=("age_years",))
    with pytest.raises(InputRejected, match="rows 5"):
        train(table(data), wanted)
    signature = train(table(data), wanted.model_copy(update={"complete_cases": True}))
    assert signature.header.incomplete_cases_left_out == 1
    with pytest.raises(InputRejected, match=r"rows 5 lack a covariate .*--complete-cases"):
        score(signature, "x", table(data), complete_cases=False)
    cohort = score(signature, "x", table(data), complete_cases=True)
    assert (len(cohort.table), cohort.left_out) == (89, 1)


def test_a_group_of_the_patients_least_number_is_taken() -> None:
    data = DATA.copy()
    data.loc[data.index[data["manufacturer"] == "Philips"][10:], "manufacturer"] = "GE"
    facts = train(table(data), COMBAT).header.harmonisation
    assert {g.name: g.cases for g in facts.groups}["philips"] == 10


@pytest.mark.parametrize("share", [0.5, 0.65])
def test_noise_on_scanners_that_go_a_little_with_the_label_predicts_nothing(share: float) -> None:
    """Were estimates of all cases, or label kept as a covariate, the AUC of noise would rise above chance."""
    aucs = []
    for seed in range(6):
        data = frame(80, groups=GROUPS, seed=seed, effect=0.0)
        rng = np.random.default_rng(seed)
        data["manufacturer"] = np.where((data["nodes"] == "R") == (rng.random(80) < share), "GE", "SIEMENS")
        cases = design.for_training(table(data), recipe(t_test_p=0.5))
        aucs.append(nested.nested_cv(cases, recipe(t_test_p=0.5), 1, calibrate=False).fold_aucs.mean())
    assert np.mean(aucs) < 0.6


@pytest.mark.parametrize("name", ["centre", "scale", "effects", "shift", "spread"])
def test_estimates_that_are_no_numbers_of_another_shape_or_too_many_are_refused(name: str) -> None:
    array = SIGNATURE.array(f"combat_{name}")
    if array.size:
        unknown = np.full_like(array, np.nan)
        with pytest.raises(AxradError):
            container.from_bytes(container.to_bytes(Signature(SIGNATURE.header, changed(name, unknown))), "s.axsig")
    for other in (array[..., :-1], np.concatenate([array] * 3, axis=-1)):
        with pytest.raises(AxradError):
            container.from_bytes(container.to_bytes(Signature(SIGNATURE.header, changed(name, other))), "s.axsig")


def changed(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    return {**SIGNATURE.arrays, f"combat_{name}": array}


def harmonised(**facts: object) -> Signature:
    header = SIGNATURE.header
    return Signature(
        header.model_copy(update={"harmonisation": header.harmonisation.model_copy(update=facts)}),
        SIGNATURE.arrays | {"combat_effects": np.zeros((len(facts.get("covariates", ())), len(header.columns)))},
    )


GROUP = SIGNATURE.header.harmonisation.groups[0]


@pytest.mark.parametrize(
    ("forged", "words"),
    [
        (harmonised(groups=(GROUP, GROUP, GROUP)), "one name"),
        (harmonised(groups=(GROUP.model_copy(update={"cases": -3}),) * 3), "groups"),
        (harmonised(covariates=("ki67_percent",)), "ki67_percent"),
        (harmonised(covariates=("nonsense",)), "nonsense"),
        (harmonised(columns=(SIGNATURE.header.columns[0],)), "is a feature"),
        (harmonised(columns=("positive_nodes",)), "positive_nodes"),
        (Signature(SIGNATURE.header.model_copy(update={"harmonisation": None}), SIGNATURE.arrays), "does not tell of"),
    ],
)
def test_a_forged_harmonisation_is_refused_whatever_the_digest_says(forged: Signature, words: str) -> None:
    with pytest.raises(InputRejected, match=words):
        container.from_bytes(container.to_bytes(forged), "s.axsig")


def test_a_column_that_is_named_twice_counts_once() -> None:
    assert scanner_groups.columns_in("manufacturer + model+manufacturer+") == ("manufacturer", "model")


def test_stable_features_and_an_open_number_go_with_harmonisation(tmp_path: Path) -> None:
    data = DATA.rename(columns={"id": "study_uid"}).assign(side="L")
    data.to_csv(tmp_path / "t.csv", index=False)
    columns, rng = [c for c in data if c.count(".") >= 2], np.random.default_rng(0)
    rows = [data.assign(number=n, kind="noise") for n in range(4)]
    for row in rows[1:]:
        row[columns] = row[columns] + rng.normal(size=(len(row), len(columns))) * 0.1
    pd.concat(rows).drop(columns="nodes").to_parquet(tmp_path / "t.csv.perturbed.parquet", index=False)
    read_ = read(tmp_path / "t.csv", label="nodes", positive="R", id_column="study_uid")
    header = train(read_, recipe(stable_icc=0.9, top="auto", folds=3, trees=10)).header
    assert header.harmonisation is not None
    assert header.top_choice is not None


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1e200, r"values of more than 1e\+70, whose variance is no number: row .* {}"),
        (1e80, r"values of more than 1e\+70, whose variance is no number: row .* {}"),
        (1e-80, "values of {} are .* their variance cannot be computed"),
        (1e-200, "values of {} are .* their variance cannot be computed"),
        (1e-310, "values of {} are .* their variance cannot be computed"),
    ],
)
@pytest.mark.parametrize("recipe", [COMBAT, FAST])
def test_features_whose_variance_is_no_number_are_refused_by_name(factor: float, words: str, recipe: Training) -> None:
    data = scanned(30)
    column = next(c for c in data if c.count(".") >= 2)
    data[column] *= factor
    with pytest.raises(InputRejected, match=words.format(column)) as refused:
        train(table(data), recipe)
    assert refused.value.code == "extreme-values"


@pytest.mark.parametrize("factor", [1e60, 1e-60])
def test_very_large_and_very_small_features_give_a_signature_of_numbers(factor: float) -> None:
    data = scanned()
    columns = [c for c in data if c.count(".") >= 2]
    data[columns] *= factor
    signature = train(table(data), COMBAT)
    assert all(np.isfinite(array).all() for array in signature.arrays.values() if array.dtype.kind == "f")


def test_a_scanners_name_is_no_markup_on_the_card() -> None:
    data = DATA.assign(manufacturer=DATA["manufacturer"].replace("Philips", "<b>Philips</b>"))
    text = model_card.markdown(train(table(data), COMBAT))
    assert "&lt;b>Philips" in text
    assert "<b>" not in text

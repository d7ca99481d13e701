"""Checklists and methods section: each answer has its source, and nothing is claimed that was not done."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from config.schema import Settings, Training
from pipeline.csv_cells import unescaped
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.research.evaluation.evaluation_page import write_evaluation
from pipeline.research.reporting import files
from pipeline.research.reporting.answer import Answer, Material
from pipeline.research.reporting.checklist import AUTHORS, checklists, fill
from pipeline.research.reporting.topics import TOPICS
from pipeline.signature import demonstration_path, methods
from pipeline.signature.container import load
from pipeline.signature.methods import Making
from pipeline.signature.record import Signature
from tests.support.signature_tables import FAST, clinical, frame, table, trained

TRAINING = clinical(frame(cases=60, effect=0.8)).assign(site=["north", "south", "south"] * 20)
SIGNATURE = trained(TRAINING)
EXTERNAL = clinical(frame(60, effect=0.8, seed=5, prefix="external"))
JUDGED = evaluate(
    SIGNATURE,
    {"training": table(TRAINING), "hospital b": table(EXTERNAL, name="b.csv")},
    Questions(repeats=1),
)
NOTHING = {"schema": "axrad.evaluation/1", "nested_cv": None, "cohorts": {}}
KNOWN = Making(Settings(), {"axrad": "1", "pyradiomics": "3"})


def _answers(signature: Signature, facts: dict[str, object], making: Making = KNOWN) -> dict[tuple[str, str], Answer]:
    filled = fill(Material(signature, facts, making))  # type: ignore[arg-type]
    return {(one.checklist.name, item.number): answer for one in filled for item, answer in one.answers}


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_lists_have_the_numbers_of_their_sources() -> None:
    """TRIPOD+AI: 27 items, of which 13 have parts, 52 lines in all. CLEAR: 58 items."""
    tripod, clear = checklists()
    parts = {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3}
    expected = [
        f"{number}{letter}"
        for number in range(1, 28)
        for letter in ("abcdefg"[: parts[number]] if number in parts else [""])
    ]
    assert [item.number for item in tripod.item] == expected
    assert (len(expected), tripod.doi) == (52, "10.1136/bmj-2023-078378")
    assert [item.number for item in clear.item] == [str(number) for number in range(1, 59)]
    assert clear.doi == "10.1186/s13244-023-01415-8"
    assert [item.number for item in clear.item if not item.essential] == ["53", "58"]


def test_each_topic_has_an_answer_and_each_answer_an_item() -> None:
    assert {item.topic for one in checklists() for item in one.item} - {None} == set(TOPICS)


@pytest.mark.parametrize(
    ("signature", "facts", "making"),
    [
        (SIGNATURE, JUDGED.facts, KNOWN),
        (SIGNATURE, NOTHING, Making()),
        (load(demonstration_path()), NOTHING, KNOWN),
        (
            trained(frame(), FAST.model_copy(update={"recipe": "paper", "top": None, "t_test_p": None})),
            NOTHING,
            Making(),
        ),
    ],
)
def test_an_open_item_says_what_is_to_be_added_and_an_answered_one_where_it_stands(
    signature: Signature, facts: dict[str, object], making: Making
) -> None:
    for place, answer in _answers(signature, facts, making).items():
        assert bool(answer.missing) == (answer.status == "open"), place
        assert answer.status == "open" or answer.text, place
        assert answer.status != "answered" or answer.where, place
    filled = fill(Material(signature, facts, making))  # type: ignore[arg-type]
    assert {row["who"] for row in _rows(files.table(filled)) if row["status"] == "open"} == {AUTHORS, "the site"}
    assert {row["who"] for row in _rows(files.table(filled)) if row["status"] != "open"} == {""}


def test_figures_of_the_evaluation_answer_the_items_on_performance() -> None:
    answers = _answers(SIGNATURE, JUDGED.facts)
    auc = JUDGED.facts["cohorts"]["hospital b"]["auc"]  # type: ignore[index, call-overload]
    for place in (("TRIPOD+AI", "23a"), ("CLEAR", "47")):
        assert f"hospital b AUC {auc:.3f}" in answers[place].text
        assert "nested cross-validation AUC" in answers[place].text
    assert "by the others: north 0." in answers["TRIPOD+AI", "23b"].text
    assert "external cohorts" not in answers["TRIPOD+AI", "23b"].text
    assert "clinical N AUC" in answers["CLEAR", "48"].text
    assert "by age_years. No table names breast_density" in answers["TRIPOD+AI", "14"].text
    assert "60 cases, 30 positive" in answers["TRIPOD+AI", "21"].text


def test_what_was_not_done_is_not_answered() -> None:
    answers = _answers(SIGNATURE, NOTHING, Making())
    for number in ("12d", "12f", "16", "20c", "23b", "24"):
        assert answers["TRIPOD+AI", number].status == "not applicable", number
    assert {answers["TRIPOD+AI", "23a"].status, answers["CLEAR", "38"].status} == {"open"}
    assert answers["CLEAR", "23"].status == "open"
    assert _answers(SIGNATURE, NOTHING)["CLEAR", "23"].text == "Fixed bin width of 25."


def test_an_update_of_the_prevalence_is_told_and_an_analysis_that_failed_is_not() -> None:
    data = EXTERNAL.drop(columns="clinical_n").assign(ki67_percent="", site=["east", "west", "west"] * 20)
    cohorts = {"hospital b": table(data, name="b.csv")}
    facts = evaluate(SIGNATURE, cohorts, Questions(prevalence=0.2, minimum_per_class=50)).facts
    assert "to a prevalence of 0.2, PPV " in _answers(SIGNATURE, facts)["TRIPOD+AI", "12f"].text
    assert "of external cohorts: hospital b, east 0." in _answers(SIGNATURE, facts)["TRIPOD+AI", "23b"].text
    text = methods.markdown(SIGNATURE, facts)
    assert "moved to another prevalence" in text
    for absent in ("nested", "of  alone", "Each site", "McNemar", "Kaplan", "clinical N", "Subgroups were compared"):
        assert absent not in text, absent


def test_columns_of_other_programs_leave_what_is_on_images_open() -> None:
    foreign = SIGNATURE.header.model_copy(update={"foreign_columns": True})
    answers = _answers(Signature(foreign, SIGNATURE.arrays, SIGNATURE.sha256), JUDGED.facts)
    assert {answers["CLEAR", number].status for number in ("21", "22", "23", "24", "25", "26", "28")} == {"open"}
    assert answers["CLEAR", "58"].status == "not applicable"


def test_a_spreadsheet_runs_no_formula_of_the_table_and_a_browser_no_script(tmp_path: Path) -> None:
    name = "=HYPERLINK(1)<script>"
    header = SIGNATURE.header.model_copy(update={"intended_use": name})
    files.write(Signature(header, SIGNATURE.arrays, SIGNATURE.sha256), JUDGED.facts, KNOWN, tmp_path)
    rows = _rows((tmp_path / "checklists.csv").read_text())
    assert len(rows) == 110
    cells = [row["known"] for row in rows if name in row["known"]]
    assert [cell[0] for cell in cells] == ["'"]
    assert unescaped(cells[0]) == name
    for page in ("card.html", "checklists.html"):
        assert "<script" not in (tmp_path / page).read_text()


def test_the_pages_point_to_files_that_are_there(tmp_path: Path) -> None:
    write_evaluation(JUDGED, tmp_path, KNOWN)
    targets = {
        target
        for page in ("report.html", "checklists.html", "card.html")
        for target in re.findall(r'<a href="([^"]+)"', (tmp_path / page).read_text())
    }
    assert {"card.html", "checklists.html", "methods.md"} <= targets
    assert [t for t in targets if not t.startswith("https://doi.org/") and not (tmp_path / t).is_file()] == []
    assert "Methods section" in (tmp_path / "report.html").read_text()


def test_the_methods_section_tells_the_settings_that_were_used() -> None:
    other = Settings(features={"bin_width": 10}, bias={"iterations": [7], "sequences": ["t2"]})  # type: ignore[arg-type]
    text = methods.markdown(SIGNATURE, JUDGED.facts, Making(other, {"axrad": "1"}))
    for part in (
        "fixed bin width of 10,",
        "T2 were corrected for the bias field by N4 (shrink factor 4; 7 iterations",
        "random forest of 20 trees, of which the first 5",
        "(1 repeat of 5 folds, by patient, 60 cases)",
        "unchanged on hospital b, 60 cases, 30 positive",
        "AUCs of clinical N alone",
        "Each site (column `site`)",
        f"The cutoff is {SIGNATURE.header.cutoff:.3f}",
    ):
        assert part in text


def test_the_methods_section_says_who_made_the_regions_and_where_ki67_is_high() -> None:
    header = SIGNATURE.header.model_copy(update={"origins": ("drawn", "model")})
    text = methods.markdown(Signature(header, SIGNATURE.arrays), NOTHING)
    assert "Regions were drawn by [the authors: readers" in text
    assert "made by [the authors: model, version" in text
    assert "made by [" not in methods.markdown(SIGNATURE, NOTHING)
    read = SIGNATURE.header.recipe.model_copy(update={"clinical": ("molecular_subtype",)})
    header = header.model_copy(update={"recipe": read, "ki67_high_percent": 14.0})
    assert "(subtypes with Ki-67 high from 14 %)" in methods.markdown(Signature(header, SIGNATURE.arrays))
    assert "training drawn; hospital b drawn." in _answers(SIGNATURE, JUDGED.facts)["CLEAR", "19"].text


def test_the_methods_section_claims_nothing_that_was_not_done() -> None:
    plain = trained(frame(), Training(recipe="paper", t_test_p=None, top=None, z_score=False, classifier="logistic"))
    text = methods.markdown(plain, NOTHING)
    assert "[the authors: bias correction" in text
    assert "No cohort that the model had not seen was evaluated" in text
    assert "No selection was made" in text
    assert "logistic regression" in text
    assert "the cutoff from the training scores" in text
    for absent in ("nested", "N4", "Welch", "random forest", "Newcombe", "McNemar", "out-of-fold"):
        assert absent not in text, absent
    assert "Evaluation" not in methods.markdown(plain)

"""The model card: the field's sections, everything that is known in them, and by name what is not."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from daemon.cli.signature import signature as command
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.signature import card, demonstration_path, document, model_card
from pipeline.signature.container import load, save
from pipeline.signature.record import Header, Signature
from tests.support.signature_tables import clinical, frame, table, trained

SECTIONS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
]
TRAINING = frame(cases=60, effect=0.8)
SIGNATURE = trained(TRAINING)
EXTERNAL = clinical(frame(60, effect=0.8, seed=5, prefix="external"))
JUDGED = evaluate(
    SIGNATURE, {"training": table(TRAINING), "b": table(EXTERNAL, name="b.csv")}, Questions(repeats=1)
).facts


def test_the_card_has_the_sections_of_mitchell_and_others_2019_in_their_order() -> None:
    assert re.findall("^## (.*)$", model_card.markdown(SIGNATURE), re.MULTILINE) == [*SECTIONS, "Columns"]
    assert re.findall("<h2>(.*?)</h2>", model_card.page(SIGNATURE, JUDGED)) == [*SECTIONS, "Columns"]


def test_what_no_file_tells_is_named_as_unknown() -> None:
    parts = model_card.markdown(SIGNATURE, JUDGED).split("\n## ")
    unknown = {part.split("\n")[0] for part in parts if "\n> Unknown (the authors must say): " in part}
    assert unknown == set(SECTIONS) - {"Metrics", "Quantitative analyses", "Caveats and recommendations"}


def test_the_card_holds_nested_figures_verdict_cutoff_calibration_and_sample_size() -> None:
    text, nested, cohort = model_card.markdown(SIGNATURE, JUDGED), JUDGED["nested_cv"], JUDGED["cohorts"]["b"]  # type: ignore[index, call-overload]
    assert f"| nested cross-validation | 60 | {nested['auc']:.3f} |" in text  # type: ignore[index, call-overload]
    assert f"The gate's verdict on cohort b: {cohort['orientation']}." in text
    assert text.count(f"| sensitivity | {nested['at_cutoff']['sensitivity']['value']:.3f} (") == 1  # type: ignore[index, call-overload]
    assert f"| calibration slope | {cohort['calibration_slope']:.3f} (" in text
    assert f"The cutoff is {SIGNATURE.header.cutoff:.3f}" in text
    assert "| ki67_percent | >= 20 |" in text
    assert card.events_per_candidate(SIGNATURE) in text
    assert "Groups that no cohort's table names: breast_density" in text
    assert "(Riley 2020); there were 60." in text


def test_a_file_of_an_earlier_version_has_a_card_in_both_forms() -> None:
    demonstration = load(demonstration_path())
    assert "<b>" not in model_card.page(demonstration)
    assert "DEMONSTRATION" in model_card.page(demonstration)
    optional = [name for name, field in Header.model_fields.items() if not field.is_required() and name != "schema_"]
    stored = SIGNATURE.header.model_dump(by_alias=True, exclude={*optional})
    first = Signature(Header.model_validate(stored), SIGNATURE.arrays)
    for text in (model_card.markdown(first), model_card.page(first)):
        assert "The training table does not say how its exams were acquired." in text
        assert "Riley" not in text


def test_an_evaluation_of_an_earlier_version_has_its_place_on_the_card() -> None:
    kept_then = ("role", "auc", "ci", "n", "positives", "orientation", "table_sha256")
    row = {key: JUDGED["cohorts"]["b"][key] for key in kept_then}  # type: ignore[index, call-overload]
    text = model_card.markdown(SIGNATURE, {"nested_cv": None, "cohorts": {"b": row}})
    assert f"| b | 60 | | {row['positives']} |" in text


def test_show_writes_the_card_as_html_and_prints_the_methods(tmp_path: Path) -> None:
    saved = tmp_path / "s.axsig"
    save(SIGNATURE, saved)
    page = tmp_path / "card.html"
    for options, start in ((["--html", str(page)], f"card: {page}"), (["--methods"], "# Methods")):
        done = CliRunner().invoke(command, ["show", str(saved), *options], catch_exceptions=False)
        assert done.output.startswith(start)
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "bin width of 25," in CliRunner().invoke(command, ["show", "--methods"]).output


def test_what_others_wrote_is_no_markup_in_markdown() -> None:
    assert document.plain("a<b>SIEMENS</b> &lt; | x") == "a&lt;b>SIEMENS&lt;/b> &amp;lt; | x"
    assert document.plain("P < 0.05 & `a<b`") == "P &lt; 0.05 & `a<b`"
    blocks = (
        "<b>t</b>",
        document.Bullets(("<b>l</b>",)),
        document.Warned("<b>w</b>"),
        document.Unknown("<b>u</b>"),
        document.Grid(("<b>h</b>",), (("<b>c</b>",),)),
    )
    section = document.Section("<b>s</b>", blocks)
    text = document.markdown("<b>x</b>", [section])
    assert "<" not in text
    assert text.count("&lt;b>") == 8

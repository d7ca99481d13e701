"""`axrad signature` from the command line: what is written, printed and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from daemon.cli.signature import signature
from pipeline.errors import InputRejected
from pipeline.research.families import demonstration
from pipeline.signature import demonstration_path, family
from pipeline.signature.container import load
from tests.support.signature_tables import FAST, feature, frame


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame(cases=60).to_csv(tmp_path / "train.csv", index=False)
    outside = frame(cases=40, seed=4, prefix="external")
    outside.to_csv(tmp_path / "external.csv", index=False)
    turned = frame(cases=40, seed=5, prefix="turned")
    turned.assign(nodes=np.where(turned["nodes"] == "R", "N", "R")).to_csv(tmp_path / "turned.csv", index=False)
    return tmp_path


def _run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(signature, [str(a) for a in arguments], catch_exceptions=True)
    if code == 0 and result.exception is not None:
        raise result.exception
    assert code == result.exit_code
    return result


def _train(folder: Path, *more: object) -> Path:
    out = folder / "s.axsig"
    _run("train", folder / "train.csv", "--label", "nodes", "--positive", "R", "--trees", 20, "--out", out, *more)
    return out


def test_training_from_the_command_line_twice_gives_identical_files(folder: Path) -> None:
    first = _train(folder, "--id", "id").read_bytes()
    assert _train(folder, "--id", "id").read_bytes() == first


def test_training_prints_its_card_as_json(folder: Path) -> None:
    result = _run(
        "train", folder / "train.csv", "--label", "nodes", "--positive", "R", "--out", folder / "a.axsig", "--json"
    )
    told = json.loads(result.stdout)
    assert told["signature"]["sha256"] == load(folder / "a.axsig").sha256


def test_options_are_the_steps_of_the_recipe(folder: Path) -> None:
    header = load(_train(folder, "--sequences", "t1c,t2", "--rois", "tumor", "--recipe", "paper", "--name", "x")).header
    assert (header.recipe.sequences, header.recipe.rois) == (("t1c", "t2"), ("tumor",))
    assert (header.recipe.recipe, header.recipe.trees, header.name) == ("paper", 20, "x")


def test_a_step_that_does_not_exist_is_wrong_usage(folder: Path) -> None:
    result = _run(
        "train", folder / "train.csv", "--label", "nodes", "--positive", "R", "--out", "x", "--sequences", "t9", code=2
    )
    assert "sequences" in result.output


def test_evaluate_writes_report_and_json_and_activates_what_holds(folder: Path) -> None:
    made, registry = _train(folder), ("--registry", folder / "registry")
    both = ("--table", f"train={folder / 'train.csv'}", "--table", f"external={folder / 'external.csv'}")
    _run("evaluate", made, *both, "--out", folder / "out", "--repeats", 2, *registry)
    facts = json.loads((folder / "out" / "evaluation.json").read_text())
    assert facts["cohorts"]["external"]["orientation"] == "as trained"
    assert facts["nested_cv"]["auc"] > 0.8
    assert (folder / "out" / "report.html").exists()
    _run("activate", made, *registry)
    (row,) = json.loads(_run("list", *registry, "--json").stdout)["signatures"]
    assert row["active"]
    assert row["orientations"] == ["as trained"]
    shown = json.loads(_run("show", "s@1", *registry, "--json").stdout)
    assert shown["cohorts"]["external"]["n"] == 40


def test_readers_and_subgroups_are_asked_of_cohorts_and_not_of_the_training_table(folder: Path) -> None:
    made, outside = _train(folder), frame(cases=40, seed=4, prefix="external")
    outside.assign(ward=["x", "y"] * 20, reader=outside["nodes"]).to_csv(folder / "external.csv", index=False)
    both = ("--table", f"train={folder / 'train.csv'}", "--table", f"external={folder / 'external.csv'}")
    asked = ("--subgroup", "ward", "--reading", "reader", "--out", folder / "out", "--repeats", 1)
    _run("evaluate", made, *both, *asked)
    row = json.loads((folder / "out" / "evaluation.json").read_text())["cohorts"]["external"]
    assert {r["level"] for r in row["subgroups"]} == {"x", "y"}
    assert row["reading"]["reader"]["accuracy"]["value"] == 1
    with pytest.raises(InputRejected, match=r"turned\.csv: missing columns: ward, reader"):
        _run("evaluate", made, "--table", f"t={folder / 'turned.csv'}", *asked)


def test_a_cohort_with_cases_of_training_is_told_loudly_and_listed_as_such(folder: Path) -> None:
    made, registry = _train(folder), ("--registry", folder / "registry")
    again = frame(cases=60).assign(id=[f"new{i}" for i in range(60)])
    again.to_csv(folder / "again.csv", index=False, float_format="%.8g")
    told = _run("evaluate", made, "--table", f"a={folder / 'again.csv'}", "--out", folder / "out", *registry)
    assert "NOT INDEPENDENT" in told.stderr
    assert "as trained, not independent" in told.stdout
    assert "as trained, not independent" in (folder / "out" / "report.html").read_text()
    assert "as trained, not independent" in _run("list", *registry).stdout
    with pytest.raises(InputRejected, match="no evaluation on an independent cohort"):
        _run("activate", made, *registry)


def test_an_inverted_signature_is_told_loudly_and_not_activated(folder: Path) -> None:
    made, registry = _train(folder), ("--registry", folder / "registry")
    told = _run("evaluate", made, "--table", f"t={folder / 'turned.csv'}", "--out", folder / "out", *registry)
    assert "INVERTED on cohort t" in told.stderr
    with pytest.raises(InputRejected, match="INVERTED"):
        _run("activate", made, *registry)


def test_complete_cases_prints_the_count(folder: Path) -> None:
    data = frame(cases=60)
    data.loc[3, feature(0)] = np.nan
    data.to_csv(folder / "train.csv", index=False)
    with pytest.raises(InputRejected, match="rows 4"):
        _train(folder)
    result = _run(
        "train",
        folder / "train.csv",
        "--label",
        "nodes",
        "--positive",
        "R",
        "--out",
        folder / "s.axsig",
        "--complete-cases",
    )
    assert "1 of 60 cases are incomplete and were left out" in result.stderr


def test_a_familys_folder_is_activated_listed_and_taken_out_of_use_as_one(folder: Path) -> None:
    registry, made = ("--registry", folder / "registry"), folder / "family"
    (folder / "registry").mkdir()
    members = []
    for name, sequences in (("nodes.t1c", "t1c"), ("nodes", "t1c,t2,adc")):
        out = made / f"{name}.axsig"
        made.mkdir(exist_ok=True)
        _run(
            "train", folder / "train.csv", "--label", "nodes", "--positive", "R", "--trees", 20, "--out", out,
            "--name", name, "--sequences", sequences,
        )  # fmt: skip
        members.append({"file": out.name, "sha256": load(out).sha256})
    facts = {"schema": family.SCHEMA, "name": "nodes", "version": "1", "members": members}
    (made / family.FILE).write_bytes(family.as_json(facts))
    told = _run("activate", made, "--unevaluated", *registry).output
    assert "nodes@1 is active: 2 signatures, asked in this order\n  1. nodes.t1c@1 for" in told
    listed = json.loads(_run("list", *registry, "--json").stdout)
    assert listed["families"] == [{"name": "nodes", "version": "1", "members": ["nodes.t1c@1", "nodes@1"]}]
    assert [(s["place"], s["family"]) for s in listed["signatures"]] == [(1, "nodes@1"), (2, "nodes@1")]
    assert "family nodes@1, asked in this order: nodes.t1c@1, nodes@1" in _run("list", *registry).output
    _run("activate", made, "--off", *registry)
    assert json.loads(_run("list", *registry, "--json").stdout)["families"] == []


def test_a_family_is_trained_judged_and_activated_from_the_command_line(folder: Path) -> None:
    data, made = frame(cases=60, effect=2.5), folder / "aln"
    data.loc[:9, [c for c in data.columns if c.startswith("adc.")]] = np.nan
    data.to_csv(folder / "train.csv", index=False)
    result = _run(
        "family", folder / "train.csv", "--label", "nodes", "--positive", "R", "--id", "id", "--trees", 10, "--out",
        made, "--sequences", "t1c,adc", "--rois", "tumor", "--repeats", 1, "--folds", 3,
    )  # fmt: skip
    assert "aln@1: 3 signatures, in this order\n  1. aln@1 " in result.output
    assert "50 exams, 10 incomplete; nested AUC" in result.output
    facts = json.loads((made / "family.json").read_text())
    assert [m["name"] for m in facts["members"]] == ["aln@1", "aln.t1c@1", "aln.adc@1"]
    assert {p.name for p in made.iterdir()} == {
        "aln.axsig", "aln.t1c.axsig", "aln.adc.axsig", "family.json", "report.html", "metrics.csv", "comparisons.csv"
    }  # fmt: skip
    assert "| 2 | aln.t1c@1 | t1c.tumor | 60 | 0 |" in _run("show", made).output
    assert json.loads(_run("show", made, "--json").output) == facts
    registry = ("--registry", folder / "registry")
    (folder / "registry").mkdir()
    _run("activate", made, "--unevaluated", *registry)
    listed = _run("list", *registry).output
    assert "answers exams with t1c+adc (tumor); t1c (tumor); adc (tumor)\n" in listed
    assert "aln@1, aln.t1c@1, aln.adc@1" in listed
    assert (
        "## Family aln@1, asked in this order\n\n1. aln@1\n2. aln.t1c@1" in _run("show", "aln.adc@1", *registry).output
    )
    card = json.loads(_run("show", "aln.t1c@1", *registry, "--json").output)
    assert card["family"] == {"name": "aln@1", "members": ["aln@1", "aln.t1c@1", "aln.adc@1"]}


def test_names_that_no_extraction_makes_are_trained_on_for_research_alone(folder: Path) -> None:
    data = frame(cases=60).rename(
        columns=lambda c: c.replace("original_firstorder_Mean", "wavelet_LLL_firstorder_Mean")
    )
    data.to_csv(folder / "train.csv", index=False)
    for command, out in (("train", "s.axsig"), ("family", "f")):
        columns = ("--label", "nodes", "--positive", "R", "--id", "id", "--out", folder / out)
        with pytest.raises(InputRejected, match="does not make: t1c"):
            _run(command, folder / "train.csv", *columns)
    made = _train(folder, "--foreign-columns", "--id", "id")
    assert load(made).header.foreign_columns
    (folder / "registry").mkdir()
    for how in ("--unevaluated", "--shadow"):
        with pytest.raises(InputRejected, match="trained on foreign columns"):
            _run("activate", made, how, "--registry", folder / "registry")


def test_a_table_of_other_parameters_is_trained_with_their_settings(folder: Path) -> None:
    data = frame(cases=60, groups=("t1c.tumor",))
    names = {c: c.replace("original", "log-sigma-2-0-mm-3D") for c in data.columns}
    data.rename(columns=names).to_csv(folder / "train.csv", index=False)
    (folder / "p.yaml").write_text("imageType: {LoG: {sigma: [2.0]}}\n")
    (folder / "axrad.toml").write_text(f'[features]\nparams = "{folder / "p.yaml"}"\n')
    config = ("--config", folder / "axrad.toml")
    made = _train(folder, "--id", "id", *config)
    (folder / "registry").mkdir()
    activate = ("activate", made, "--unevaluated", "--registry", folder / "registry")
    with pytest.raises(InputRejected, match=r"set features\.params to the parameters it was trained with"):
        _run(*activate)
    assert "is active for t1c.tumor" in _run(*activate, *config).output


def test_training_leaves_out_exams_without_a_sequence_and_says_how_many(folder: Path) -> None:
    data = frame(cases=60)
    data.loc[:4, [c for c in data.columns if c.startswith("adc.tumor")]] = np.nan
    data.to_csv(folder / "train.csv", index=False)
    out = folder / "s.axsig"
    result = _run("train", folder / "train.csv", "--label", "nodes", "--positive", "R", "--trees", 10, "--out", out)
    assert "5 of 60 cases are incomplete and were left out (without adc.tumor: 5)" in result.stderr
    t1 = _run(
        "train", folder / "train.csv", "--label", "nodes", "--positive", "R", "--trees", 10, "--out", out,
        "--sequences", "t1c",
    )  # fmt: skip
    assert "left out" not in t1.stderr
    assert load(out).header.positives + load(out).header.negatives == 60


def test_a_registry_must_be_named(folder: Path) -> None:
    assert "no registry" in _run("list", code=2).output


def test_a_refused_table_is_exit_1_with_one_sentence(folder: Path) -> None:
    command = "import sys; sys.argv[0] = 'axrad'; from daemon.main import main; main()"
    train = (
        "signature",
        "train",
        folder / "train.csv",
        "--label",
        "none",
        "--ignore",
        "nodes",
        "--positive",
        "R",
        "--out",
        folder / "x.axsig",
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", command, *train], capture_output=True, text=True, check=False, env=environment
    )
    assert told.returncode == 1
    assert told.stderr == "axrad: train.csv: missing columns: none\n"


def test_the_demonstration_is_trained_by_the_same_recipe_and_says_what_it_is(folder: Path) -> None:
    data = frame(effect=2.5).rename(columns={"nodes": "aln_metastasis"})
    data["aln_metastasis"] = np.where(data["aln_metastasis"] == "R", 1, 0)
    data.to_csv(folder / "phantoms.csv", index=False)
    demonstration.train_demonstration(folder / "phantoms.csv", folder / "d", FAST, repeats=1)
    made = family.read(folder / "d")
    assert [m.header.name for m in made.members] == [
        "demonstration", "demonstration.t1c+t2", "demonstration.lymph_nodes", "demonstration.tumor",
        "demonstration.t1c", "demonstration.t1c+t2.lymph_nodes", "demonstration.t1c+t2.tumor",
        "demonstration.t1c.lymph_nodes", "demonstration.t1c.tumor",
    ]  # fmt: skip
    assert all(m.header.demonstration and m.header.positive_class == "ALN metastasis" for m in made.members)
    assert "DEMONSTRATION" in _run("show", folder / "d" / "demonstration.t1c.axsig").stdout
    assert "DEMONSTRATION" in (folder / "d" / "report.html").read_text()


def test_the_demonstrations_first_member_stays_the_file_that_was_shipped(folder: Path) -> None:
    data = frame(effect=2.5).rename(columns={"nodes": "aln_metastasis"})
    data["aln_metastasis"] = np.where(data["aln_metastasis"] == "R", 1, 0)
    data.to_csv(folder / "phantoms.csv", index=False)
    shipped = load(demonstration_path())
    made = demonstration.train_demonstration(
        folder / "phantoms.csv", folder / "d", FAST, repeats=1, shipped_first=shipped
    )
    assert made["members"][0]["sha256"] == shipped.sha256
    assert (folder / "d" / "demonstration.axsig").read_bytes() == demonstration_path().read_bytes()

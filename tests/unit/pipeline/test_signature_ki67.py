"""Where luminal A ends and B begins is a cutoff of Ki-67, which a signature keeps and holds against the site's."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from config.schema import Clinical as Sources
from config.schema import Settings, SignatureSettings
from daemon.cli.signature import signature
from daemon.health.signature_checks import examine
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.errors import FeatureRejected, InputRejected
from pipeline.records import FeatureSet
from pipeline.research.training.train import train
from pipeline.result import Clinical
from pipeline.signature import container, same_ki67_cutoff
from tests.support.signature_tables import FAST, GROUPS, clinical, features, frame, table

DATA = clinical(frame(60, groups=GROUPS[:2]))
MULTIOMIC = FAST.model_copy(update={"clinical": ("molecular_subtype",)})


def _settings(percent: float) -> Settings:
    return Settings(clinical=Sources(ki67_high_percent=percent))


OF_14 = train(table(DATA, settings=_settings(14)), MULTIOMIC)
UNTOLD = train(table(DATA), MULTIOMIC)


def test_a_signature_that_reads_the_subtype_keeps_the_cutoff_and_another_keeps_its_bytes() -> None:
    assert OF_14.header.ki67_high_percent == 14
    assert UNTOLD.header.ki67_high_percent is None
    radiomic = [container.to_bytes(train(table(DATA, settings=s), FAST)) for s in (None, _settings(20), _settings(14))]
    assert radiomic[0] == radiomic[1] == radiomic[2]
    assert b"ki67_high_percent" not in radiomic[0]


def test_a_file_without_the_cutoff_is_written_again_as_it_was() -> None:
    data = container.to_bytes(UNTOLD)
    assert b"ki67_high_percent" not in data
    assert container.to_bytes(container.from_bytes(data, "x")) == data
    told = container.to_bytes(OF_14)
    assert container.from_bytes(told, "x").header.ki67_high_percent == 14


@pytest.mark.parametrize(
    ("subtype", "ki67", "here", "answers"),
    [
        ("luminal A", None, 14.0, True),
        ("luminal A", None, 20.0, False),
        ("luminal B", None, 20.0, False),
        ("luminal B", 17.0, 20.0, False),
        ("luminal B", 14.0, 20.0, False),
        ("luminal B", 20.0, 20.0, True),
        ("luminal A", 13.9, 20.0, True),
        ("triple-negative", None, 20.0, True),
        ("HER2-positive", 17.0, 20.0, True),
    ],
)
def test_it_abstains_where_the_cutoffs_differ_and_could_decide(
    subtype: str, ki67: float | None, here: float, answers: bool
) -> None:
    facts = {"molecular_subtype": subtype, **({} if ki67 is None else {"ki67_percent": ki67})}
    same_ki67_cutoff(UNTOLD, facts, here)
    if answers:
        same_ki67_cutoff(OF_14, facts, here)
        return
    with pytest.raises(FeatureRejected, match=r"Ki-67 is high from 14 % on, here from 20 % on") as refused:
        same_ki67_cutoff(OF_14, facts, here)
    assert refused.value.code == "other-ki67-cutoff"


def test_an_exam_of_a_site_with_another_cutoff_is_not_evaluated_and_doctor_says_so(tmp_path: Path) -> None:
    container.save(OF_14, tmp_path / "s.axsig")
    in_use = SignatureSettings(path=tmp_path / "s.axsig", max_outside=1.0, max_distance=1e9)
    measured = FeatureSet(features(DATA, 1))
    known = Clinical(known={"molecular_subtype": "luminal A"})
    groups = frozenset({("t1c", "tumor"), ("t1c", "lymph_nodes")})
    for here, status in ((14.0, None), (20.0, "other-ki67-cutoff")):
        outcome = Signatures.from_settings(in_use).predict(measured, groups, known, {}, {}, here)  # type: ignore[arg-type]
        assert (outcome.prediction is None) == (status is not None)
        assert [code for code, _ in outcome.reasons] == ([status] if status else [])
        told = list(examine(_settings(here).model_copy(update={"signature": in_use})))
        assert [(f.code, f.level) for f in told] == ([("ki67", "warn")] if status else [])


def test_the_cutoff_of_a_table_is_said_where_it_is_trained_on(tmp_path: Path) -> None:
    DATA.to_csv(tmp_path / "t.csv", index=False)
    arguments = ["train", tmp_path / "t.csv", "--label", "nodes", "--positive", "R", "--id", "id", "--trees", "10",
                 "--clinical", "molecular_subtype", "--out", tmp_path / "s.axsig"]  # fmt: skip
    for more, percent in (([], 20.0), (["--ki67-high", "14"], 14.0)):
        done = CliRunner().invoke(signature, [*map(str, arguments), *more], catch_exceptions=False)
        assert done.exit_code == 0
        assert container.load(tmp_path / "s.axsig").header.ki67_high_percent == percent


def test_a_cohort_whose_luminal_subtypes_follow_another_cutoff_is_refused_with_its_rows(tmp_path: Path) -> None:
    other = clinical(frame(60, groups=GROUPS[:2], seed=5, prefix="other"), seed=3).assign(
        molecular_subtype=["luminal A", "luminal B", "triple-negative"] * 20,
        ki67_percent=["17", "<20", "17"] + ["30"] * 57,
    )
    container.save(OF_14, tmp_path / "s.axsig")
    other.to_csv(tmp_path / "other.csv", index=False)
    arguments = ["evaluate", str(tmp_path / "s.axsig"), "--table", f"other={tmp_path / 'other.csv'}", "--out",
                 str(tmp_path / "out")]  # fmt: skip
    refused = CliRunner().invoke(signature, arguments)
    assert isinstance(refused.exception, InputRejected)
    assert "from 20 % on in its subtypes, in those of training from 14 % on" in refused.exception.message
    assert "in rows 1, 2. Say the table's cutoff with --ki67-high" in refused.exception.message
    assert CliRunner().invoke(signature, [*arguments, "--ki67-high", "14"], catch_exceptions=False).exit_code == 0

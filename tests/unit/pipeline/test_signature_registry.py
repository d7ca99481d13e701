"""The registry: content-addressed, one active signature per set of inputs, and no activation without evidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from config.schema import Features, Settings, SignatureSettings
from daemon.health.signature_checks import examine
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.errors import InputRejected
from pipeline.needs import Available, answerable
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.research.training.train import train
from pipeline.signature import container
from pipeline.signature.record import Signature
from pipeline.signature.registry import Registry, in_order, needs_of
from tests.support.signature_tables import FAST, GROUPS, MADE, clinical, frame, table, trained

DATA = clinical(frame(cases=80))
RADIOMIC = trained(DATA, name="radiomic")
MULTIOMIC = trained(DATA, FAST.model_copy(update={"clinical": ("clinical_n", "ki67_percent")}), name="multiomic")
ALL = frozenset(GROUPS)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def _evaluated(registry: Registry, signature: Signature, *, turned: bool = False, effect: float = 1.5) -> Signature:
    kept = registry.load(registry.add(signature))
    data = clinical(frame(60, effect=effect, seed=5, prefix="external"))
    if turned:
        data = data.assign(nodes=np.where(data["nodes"] == "R", "N", "R"))
    registry.record(evaluate(kept, {"external": table(data)}, Questions(repeats=1)).facts)
    return kept


def test_a_signature_is_kept_under_the_digest_of_its_bytes(registry: Registry) -> None:
    sha256 = registry.add(RADIOMIC)
    assert registry.add(RADIOMIC) == sha256
    assert [p.name for p in registry.folder.iterdir()] == [f"{sha256}.axsig"]


def test_an_altered_file_is_refused(registry: Registry) -> None:
    sha256 = registry.add(RADIOMIC)
    container.save(MULTIOMIC, registry.folder / f"{sha256}.axsig")
    with pytest.raises(InputRejected, match="it was altered"):
        registry.entries()


def test_what_is_not_evaluated_is_not_activated_unless_said(registry: Registry) -> None:
    with pytest.raises(InputRejected, match="no evaluation on an independent cohort"):
        registry.activate(RADIOMIC, MADE)
    registry.activate(RADIOMIC, MADE, unevaluated=True)
    assert registry.entries()[0].active


def test_an_inverted_signature_is_not_activated(registry: Registry) -> None:
    kept = _evaluated(registry, RADIOMIC, turned=True)
    for unevaluated in (False, True):
        with pytest.raises(InputRejected, match="INVERTED on cohort external"):
            registry.activate(kept, MADE, unevaluated=unevaluated)


def test_a_signature_without_evidence_is_not_activated(registry: Registry) -> None:
    kept = _evaluated(registry, RADIOMIC, effect=0.0)
    with pytest.raises(InputRejected, match="NO EVIDENCE"):
        registry.activate(kept, MADE)


def test_one_bad_cohort_is_not_outvoted_by_a_good_one(registry: Registry) -> None:
    _evaluated(registry, RADIOMIC)
    kept = _evaluated(registry, RADIOMIC, turned=True)
    with pytest.raises(InputRejected, match="INVERTED"):
        registry.activate(kept, MADE)


def test_there_is_one_active_signature_per_set_of_inputs(registry: Registry) -> None:
    first = _evaluated(registry, RADIOMIC)
    second = _evaluated(registry, trained(DATA, name="second"))
    registry.activate(first, MADE)
    assert registry.activate(second, MADE) == first.sha256
    assert [e.signature.header.name for e in registry.entries() if e.active] == ["second"]


def test_without_its_clinical_data_the_multiomic_signature_gives_way_and_says_so(registry: Registry) -> None:
    registry.activate(_evaluated(registry, RADIOMIC), MADE)
    registry.activate(_evaluated(registry, MULTIOMIC), MADE)
    whole = registry.choose(ALL | {"clinical_n", "ki67_percent", "age_years"})
    assert whole.signature is not None
    assert (whole.signature.header.name, whole.notes) == ("multiomic", ())
    without = registry.choose(ALL | {"clinical_n"})
    assert without.signature is not None
    assert without.signature.header.name == "radiomic"
    assert without.notes == ("multiomic@1 needs ki67_percent, which is missing: radiomic@1 was used instead",)


def test_where_nothing_fits_it_is_said_what_is_missing(registry: Registry) -> None:
    assert registry.choose(ALL).notes == (f"no signature is active in {registry.folder}",)
    registry.activate(_evaluated(registry, RADIOMIC), MADE)
    found = registry.choose(ALL - {"adc.tumor"})
    assert found.signature is None
    assert found.notes == ("radiomic@1 needs adc.tumor, which is missing: no other signature fits",)


def test_a_shadow_is_computed_beside_the_active_one(registry: Registry) -> None:
    registry.activate(_evaluated(registry, RADIOMIC), MADE)
    registry.shadow(MULTIOMIC)
    assert [s.header.name for s in registry.choose(ALL | {"clinical_n", "ki67_percent"}).shadows] == ["multiomic"]
    assert registry.choose(ALL).shadows == ()
    registry.shadow(MULTIOMIC, on=False)
    assert registry.choose(ALL | {"clinical_n", "ki67_percent"}).shadows == ()


def test_a_signature_is_found_by_name_digest_and_file(registry: Registry, tmp_path: Path) -> None:
    sha256 = registry.add(RADIOMIC)
    file = container.save(RADIOMIC, tmp_path / "x.axsig")
    for reference in ("radiomic@1", sha256[:8], str(tmp_path / "x.axsig")):
        assert registry.find(reference).sha256 == file.sha256
    with pytest.raises(InputRejected, match="no signature in"):
        registry.find("other@1")


def test_a_damaged_state_is_refused(registry: Registry) -> None:
    registry.add(RADIOMIC)
    (registry.folder / "in-use.json").write_text("{")
    with pytest.raises(InputRejected, match="damaged"):
        registry.choose(ALL)


def test_a_signature_on_foreign_columns_is_never_activated(registry: Registry) -> None:
    data = frame().rename(columns=lambda c: c.replace("t1c.tumor.original_firstorder_", "TT1C"))
    foreign = trained_foreign(data)
    with pytest.raises(InputRejected, match="trained on foreign columns"):
        registry.activate(foreign, MADE, unevaluated=True)


def test_a_signature_on_foreign_columns_is_no_shadow_and_stops_the_daemon_that_is_configured_with_it(
    registry: Registry, tmp_path: Path
) -> None:
    data = frame().rename(columns=lambda c: c.replace("t1c.tumor.original_firstorder_", "TT1C"))
    foreign = container.save(trained_foreign(data), tmp_path / "f.axsig")
    with pytest.raises(InputRejected, match="trained on foreign columns"):
        registry.shadow(foreign)
    with pytest.raises(InputRejected, match="signature@1 cannot be used: it was trained on foreign columns"):
        Signatures.from_settings(SignatureSettings(path=tmp_path / "f.axsig"))


def trained_foreign(data: object) -> Signature:
    return train(table(data, foreign_columns=True), FAST)


MISSPELT = trained(
    frame().rename(columns=lambda c: c.replace("original_firstorder_Mean", "wavelet_LLL_firstorder_Mean"))
)


def test_a_signature_that_reads_what_the_extraction_does_not_make_is_not_activated(registry: Registry) -> None:
    with pytest.raises(InputRejected, match="does not make 6 of the 16 features") as refused:
        registry.activate(MISSPELT, MADE, unevaluated=True)
    near = "(did you mean adc.tumor.wavelet-LLL_firstorder_Mean?)"
    assert f"adc.tumor.wavelet_LLL_firstorder_Mean {near}" in refused.value.message
    assert registry.in_order() == ()


def test_doctor_tells_of_an_active_signature_whose_features_are_not_made(registry: Registry, tmp_path: Path) -> None:
    settings = Settings(signature=SignatureSettings(registry=registry.folder))
    registry.activate(RADIOMIC, MADE, unevaluated=True)
    assert list(examine(settings)) == []
    # As an earlier version, which did not look at names, left it active.
    registry.activate(MISSPELT, MADE | set(MISSPELT.features), unevaluated=True)
    (finding,) = examine(settings)
    assert finding.level == "fail"
    assert "signature@1 cannot answer: the configured extraction does not make 6 of the 16 features" in finding.text


def test_doctor_tells_where_other_parameters_of_extraction_leave_out_what_is_read(
    registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text("imageType: {Original: {}}\nfeatureClass: {glcm: }\n")
    registry.activate(RADIOMIC, MADE, unevaluated=True)
    features = Features(params=tmp_path / "p.yaml")
    (finding,) = examine(Settings(features=features, signature=SignatureSettings(registry=registry.folder)))
    assert "radiomic@1 cannot answer: the configured extraction does not make 16 of the 16" in finding.text
    # The demonstration says with which settings it was trained, and is extracted for with these.
    assert list(examine(Settings(features=features))) == []


def test_the_settings_say_which_signatures_are_in_use(registry: Registry, tmp_path: Path) -> None:
    container.save(RADIOMIC, tmp_path / "x.axsig")
    registry.activate(RADIOMIC, MADE, unevaluated=True)
    registry.activate(MULTIOMIC, MADE, unevaluated=True)
    for settings, titles in (
        (SignatureSettings(path=tmp_path / "x.axsig"), ["radiomic@1"]),
        (SignatureSettings(registry=registry.folder), ["multiomic@1", "radiomic@1"]),
    ):
        assert [s.header.title for s in in_order(settings)] == titles
    assert in_order(SignatureSettings())[0].header.title == "demonstration@1"


def test_activating_a_signature_again_mends_its_file(registry: Registry) -> None:
    signature = trained(frame())
    registry.activate(signature, MADE, unevaluated=True)
    (active,) = registry.in_order()
    path = registry.file_of(active.sha256)
    whole = path.read_bytes()
    for damaged in (whole[:-100], b""):
        path.write_bytes(damaged)
        with pytest.raises(InputRejected):
            registry.in_order()
        registry.activate(signature, MADE, unevaluated=True)
        assert path.read_bytes() == whole


def test_two_signatures_of_one_name_and_version_are_told_apart_by_what_they_read(registry: Registry) -> None:
    for groups in (("t1c.tumor", "t1c.lymph_nodes"), ("t1c.tumor",)):
        registry.activate(trained(frame(groups=groups), name="aln"), MADE, unevaluated=True)
    both, tumor = needs_of(registry.in_order())
    assert both.name != tumor.name
    assert both.name.startswith("aln@1#")
    available = Available.of(("t1c",), ("tumor",))
    assert answerable((both, tumor), available).signatures == (tumor,)

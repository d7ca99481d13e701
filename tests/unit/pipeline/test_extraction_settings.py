"""An exam is extracted as the signature in use was trained, and what signatures and tables say of that is proven."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.schema import Bias, Features, Sequences, Settings, SignatureSettings
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.catalog import exam_in
from pipeline.errors import FeatureRejected, InputRejected
from pipeline.extraction_settings import FIRST_DEFAULTS_HASH, applied, as_trained, form_of, settings_hash, text_of
from pipeline.features.feature_table import fill
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.result import StudyResult
from pipeline.run import analyse
from pipeline.signature import Signature, demonstration_path, load
from pipeline.signature.container import save, to_bytes
from tests.support.signature_tables import FAST, frame, table, trained

OTHERS = Settings(
    bias=Bias(sequences=("t1c", "t2"), fwhm=0.2), features=Features(bin_width=10), sequences=Sequences(phase="nth:2")
)


def columns_of(settings: Settings) -> dict[str, str]:
    text = text_of(settings)
    return {"extraction_hash": settings_hash(settings), **({} if text is None else {"extraction_settings": text})}


def made_with(settings: Settings, **identity: object) -> Signature:
    return trained(frame().assign(**columns_of(settings)), **identity)


def test_the_defaults_have_the_hash_that_they_always_had() -> None:
    assert settings_hash(Settings()) == FIRST_DEFAULTS_HASH
    assert FIRST_DEFAULTS_HASH.startswith("e843a1bb2e8b")


def test_a_table_of_the_defaults_gives_the_file_that_it_always_gave() -> None:
    assert text_of(Settings()) is None
    assert b"extraction_settings" not in to_bytes(made_with(Settings()))
    assert b'"extraction"' not in to_bytes(made_with(Settings()))


def test_files_without_stored_settings_keep_their_bytes() -> None:
    assert to_bytes(load(demonstration_path())) == demonstration_path().read_bytes()


def test_a_signature_keeps_the_settings_that_its_table_was_extracted_with(tmp_path: Path) -> None:
    signature = load(tmp_path / "s.axsig") if save(made_with(OTHERS), tmp_path / "s.axsig") else None
    assert signature is not None
    assert signature.header.extraction == form_of(OTHERS)
    assert form_of(signature.as_trained(Settings())) == form_of(OTHERS)
    assert signature.trained_phase == "nth:2"


def test_engine_set_and_limits_stay_the_sites_own() -> None:
    mine = Settings(features=Features(engine="plain", set="signature"))
    used = made_with(OTHERS).as_trained(mine)
    assert (used.features.engine, used.features.set, used.features.bin_width) == ("plain", "signature", 10)


def test_without_stored_settings_the_hash_of_the_defaults_means_the_defaults() -> None:
    assert settings_hash(made_with(Settings()).as_trained(OTHERS)) == FIRST_DEFAULTS_HASH
    assert made_with(Settings()).as_trained(OTHERS).bias.sequences == ("t1c", "t2", "adc")


@pytest.mark.parametrize("trained_hash", [None, "another"])
def test_without_stored_settings_any_other_hash_leaves_the_sites_own(trained_hash: str | None) -> None:
    assert as_trained(trained_hash, None, OTHERS, "s@1") == OTHERS


def test_a_parameter_file_is_named_by_its_content_and_has_to_be_at_the_site(tmp_path: Path) -> None:
    path, same = tmp_path / "a.toml", tmp_path / "b.toml"
    path.write_text("[setting]\nbinWidth = 5\n")
    same.write_bytes(path.read_bytes())
    form = form_of(Settings(features=Features(params=path)))
    assert form_of(applied(form, Settings(features=Features(params=same)), "s@1")) == form
    assert form_of(applied(form, Settings(), "s@1")) != form


def test_a_setting_of_a_later_version_is_refused_by_name() -> None:
    for form in ({"features": {"shine": 3}}, {"bias": {"sequences": ["t3"]}}):
        with pytest.raises(
            FeatureRejected, match="s@1 was trained with extraction settings that this version does not"
        ):
            applied(form, Settings(), "s@1")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["{", "[1]", json.dumps(form_of(Settings())), '{"bias": 3}'])
def test_settings_that_are_not_those_of_the_hash_beside_them_are_refused(text: str) -> None:
    data = frame().assign(extraction_hash=settings_hash(OTHERS), extraction_settings=text)
    with pytest.raises(InputRejected, match="extraction settings are damaged"):
        table(data)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_table_tells_its_settings_in_every_row(tmp_path: Path, name: str) -> None:
    from pipeline.catalog import Exam
    from pipeline.research.tables.reading import read_frame

    def analysed(exam: Exam) -> StudyResult:
        return StudyResult(
            study_uid=exam.study_uid, status="not_evaluated", features={"t1c.tumor.original_firstorder_Mean": 1.0}
        )

    fill(tmp_path / name, [Exam("1.2.1", ())], analysed, extraction=text_of(OTHERS))
    assert json.loads(read_frame(tmp_path / name)[0]["extraction_settings"][0]) == form_of(OTHERS)


def test_an_exam_is_extracted_as_the_first_signature_was_trained(tmp_path: Path) -> None:
    write_exam(tmp_path / "exam", PhantomSpec(seed=22, preset="small", laterality="L"))
    exam, quick = exam_in(tmp_path / "exam"), Settings(features=Features(set="signature"))
    other = OTHERS.model_copy(update={"sequences": Sequences(), "bias": Bias(sequences=())})
    real = [n for n in load(demonstration_path()).features if n.startswith("t1c.")][:6]
    data = frame(groups=("t1c.tumor",), per_group=6)
    data.columns = ["id", "nodes", *real]
    first = trained(data.assign(**columns_of(other)), FAST.model_copy(update={"t_test_p": None}), name="first")
    old = load(demonstration_path())
    rules = SignatureSettings(path=demonstration_path(), max_outside=1.0, max_distance=1e9)
    both = Signatures((first,), rules, (old,))
    result = analyse(exam, quick, both).result
    assert result.settings_hash == settings_hash(other)
    assert result.prediction is not None
    assert result.shadow == ()  # of other settings: it abstains
    assert both.at_odds(quick) == (old,)
    plain = analyse(
        exam, quick.model_copy(update={"features": Features(set="signature", bin_width=10)}), Signatures((old,), rules)
    )
    assert plain.result.settings_hash == FIRST_DEFAULTS_HASH
    assert plain.result.prediction is not None
    as_site = other.model_copy(update={"features": Features(set="signature", bin_width=10)})
    expected = analyse(exam, as_site, Signatures((first,), rules)).result
    assert {n: expected.features[n] for n in first.features} == {n: result.features[n] for n in first.features}
    assert any(result.features[n] != plain.result.features[n] for n in first.features)

"""What the daemon knows beside the images of an exam: clinical facts, and the patient's earlier exam.

Two phantom exams of one patient go through assembly, analysis and report, without sockets; a registry of signatures has
a radiomic and a multiomic one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from pydicom import dcmread

from config.schema import Assembly, Features, Settings, SignatureSettings, Spool, Training
from config.schema import Clinical as Sources
from daemon.clinical.exam import clinical_of, clinical_or_reasons, patient_of
from daemon.ledger import Ledger, open_ledger, studies
from daemon.ledger.instances import Arrival, record
from daemon.ledger.keyed_digests import bring_all
from daemon.ledger.site_key import key_for
from daemon.ledger.tables import deliveries, instances, revisions
from daemon.work import analyse, report
from daemon.work.context import Context
from daemon.work.sweep import assemble
from dicom_sr.checks.content import check_report
from pipeline.catalog import exam_in, read_facts
from pipeline.errors import InputRejected
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.research.tables.feature_table import from_frame
from pipeline.research.training.train import Identity, train
from pipeline.result import StudyResult
from pipeline.signature.registry import Registry
from tests.support.signature_tables import MADE

NOW = 1_800_000_000.0
FEATURES = tuple(
    f"{sequence}.{role}.original_{name}"
    for sequence in ("t1c", "t2", "adc")
    for role in ("tumor", "lymph_nodes")
    for name in ("firstorder_Mean", "firstorder_Entropy", "shape_MeshVolume")
)
WANTED = frozenset({"age_years", "clinical_t"})


@dataclass
class House:
    """The daemon's rooms without its processes."""

    context: Context
    exams: dict[str, PhantomExam]

    def arrive(self, name: str) -> None:
        for path in self.exams[name].paths:
            facts = read_facts(path)
            place = str(path.relative_to(self.context.settings.spool.path))
            with self.context.ledger.write() as connection:
                record(connection, Arrival(facts.ref.sop_instance_uid, "d", place, 1, NOW - 1000, facts=facts))

    def evaluate(self, name: str, **clinical: object) -> StudyResult:
        """Assemble, analyse and report an exam that has arrived; again where it was evaluated before."""
        settings = self.context.settings.model_copy(update={"clinical": Sources.model_validate(clinical)})
        context = replace(self.context, settings=settings)
        with context.ledger.write() as connection:
            row = studies.find(connection, self.exams[name].study_uid)
            connection.execute(
                studies.studies.update()
                .where(studies.studies.c.id == row.id)
                .values(dirty=True, redo=row.redo + 1, due_at=None)
            )
        assemble(context)
        revision = self.newest_revision(name)
        analyse.run(context, revision)
        report.run(context, revision)
        return StudyResult.from_json((context.result_folder(revision) / "result.json").read_bytes())

    def newest_revision(self, name: str) -> str:
        with self.context.ledger.read() as connection:
            row = studies.find(connection, self.exams[name].study_uid)
            found = sa.select(revisions.c.id).where(revisions.c.study_id == row.id).order_by(revisions.c.number.desc())
            return str(connection.execute(found.limit(1)).scalar_one())

    def report_of(self, name: str) -> bytes:
        return (self.context.result_folder(self.newest_revision(name)) / "sr.dcm").read_bytes()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house") / "spool"
    same = PhantomSpec(seed=11, preset="small", patient=5, laterality="L", spacing_jitter=0.0)
    specs = {
        "before": replace(same, study_date="20260115", tumor_diameter_mm=22.0),
        "after": replace(same, study_date="20260601", tumor_diameter_mm=16.0),
        "other patient": replace(same, patient=6, study_date="20251201"),
    }
    exams = {name: write_exam(root / "instances" / name.replace(" ", "-"), spec) for name, spec in specs.items()}
    settings = Settings(
        spool=Spool(path=root),
        assembly=Assembly(quiet_s=1),
        features=Features(set="signature"),
        signature=SignatureSettings(registry=_registry(root), alpha=None, max_outside=1.0, max_distance=1e9),
    )
    ledger: Ledger = open_ledger(settings)
    house = House(Context(settings, ledger, lambda: NOW, lambda task, name: True), exams)
    for name in exams:
        house.arrive(name)
    yield house
    ledger.close()


def _registry(root: Path) -> Path:
    """A radiomic and a multiomic signature, both active."""
    rng = np.random.default_rng(3)
    positive = np.arange(40) % 2 == 0
    columns = {name: rng.normal(100, 30, 40) + 40 * positive for name in FEATURES}
    frame = pd.DataFrame({"id": [f"c{i}" for i in range(40)], "nodes": np.where(positive, "R", "N"), **columns})
    # Not the label itself: a column that tells it in every case is refused.
    frame["clinical_t"] = np.where(positive, 3, 1)
    frame.loc[frame.index[0], "clinical_t"] = 2
    frame["age_years"] = rng.integers(30, 80, 40) + 10 * positive
    folder = root / "signatures"
    for name, clinical in (("radiomic", ()), ("multiomic", ("clinical_t", "age_years"))):
        recipe = Training(trees=10, top=3, clinical=clinical, t_test_p=None)
        table = from_frame(frame, name="t.csv", label="nodes", positive="R", id_column="id")
        Registry(folder).activate(train(table, recipe, Identity(name=name)), MADE, unevaluated=True)
    return folder


def registry_file(house: House, folder: Path, exam: str = "before", t: str = "2") -> Path:
    header = dcmread(house.exams[exam].paths[0], stop_before_pixels=True)
    path = folder / "registry.csv"
    path.write_text(f"patient_id,clinical_t\n{header.PatientID},{t}\n", encoding="utf-8")
    return path


def test_known_clinical_facts_reach_the_multiomic_signature(house: House, tmp_path: Path) -> None:
    found = house.evaluate("before", registry=registry_file(house, tmp_path))
    assert found.prediction is not None
    assert found.prediction.signature == "multiomic@1"
    assert found.prediction.fallback == ""
    assert found.clinical is not None
    assert found.clinical.sources == {"age_years": "DICOM", "clinical_t": "registry"}
    assert found.clinical.known["clinical_t"] == 2


def test_without_them_the_radiomic_signature_answers_and_result_and_report_say_why(house: House) -> None:
    found = house.evaluate("before")
    assert found.prediction is not None
    assert found.prediction.signature == "radiomic@1"
    assert found.clinical is not None
    why = found.clinical.missing["clinical_t"]
    assert why == "no clinical registry or FHIR server is set up"
    assert found.prediction.fallback == (
        f"multiomic@1 needs clinical_t, which is missing: radiomic@1 was used instead; clinical_t: {why}"
    )
    sr = house.report_of("before")
    assert found.prediction.fallback.encode() in sr
    assert check_report(sr, found) == []


def test_a_registry_that_cannot_be_used_is_a_reason_and_stops_no_exam(house: House, tmp_path: Path) -> None:
    broken = tmp_path / "registry.csv"
    broken.write_text("name\nnobody\n")
    found = house.evaluate("before", registry=broken)
    assert found.clinical is not None
    assert found.clinical.missing["clinical_t"].startswith("the clinical registry cannot be used")
    assert found.clinical.known.keys() == {"age_years"}
    assert found.prediction is not None


def test_a_person_who_names_a_broken_registry_is_told(house: House, tmp_path: Path) -> None:
    broken = tmp_path / "registry.csv"
    broken.write_text("name\nnobody\n")
    patient = patient_of(exam_in(house.exams["before"].folder))
    with pytest.raises(InputRejected, match="unknown columns"):
        clinical_of(patient, WANTED, Sources(registry=broken))


def test_nobody_is_asked_where_no_signature_reads_clinical_facts(house: House) -> None:
    unreachable = Sources(fhir_url="http://127.0.0.1:9/")
    assert clinical_or_reasons(patient_of(exam_in(house.exams["before"].folder)), frozenset(), unreachable) is None


def test_images_of_several_patients_have_no_clinical_facts(house: House) -> None:
    mixed = exam_in(house.exams["before"].folder)
    one, *rest = mixed.series
    wrong = replace(one, instances=tuple(replace(i, patient_key="another") for i in one.instances))
    assert patient_of(replace(mixed, series=(wrong, *rest))) is None
    found = clinical_or_reasons(None, WANTED, Sources())
    assert found is not None
    assert set(found.missing) == WANTED


def test_identifiers_do_not_show_when_a_patient_is_printed(house: House) -> None:
    patient = patient_of(exam_in(house.exams["before"].folder))
    assert patient is not None
    assert patient.identity.patient_id not in repr(patient)


@pytest.fixture(scope="module")
def pair(house: House) -> tuple[StudyResult, StudyResult]:
    house.evaluate("other patient")
    return house.evaluate("before"), house.evaluate("after")


def test_an_exam_is_compared_with_the_earlier_one_of_the_same_patient(
    house: House, pair: tuple[StudyResult, StudyResult]
) -> None:
    before, after = pair
    assert before.change is None, "the only earlier exam is of another patient"
    assert after.change is not None
    assert (after.change.study_uid, after.change.study_date) == (before.study_uid, "20260115")
    (part,) = after.change.parts.values()
    assert part.features_compared == len(before.features) > 0
    tumor = part.volumes["tumor"]
    assert (tumor.before, tumor.after) == (before.rois["tumor"].volume_mm3, after.rois["tumor"].volume_mm3)
    assert tumor.relative == pytest.approx((16 / 22) ** 3 - 1, abs=0.05)
    assert "t1c.tumor.original_shape_MeshVolume" in {c.name for c in part.largest}


def test_the_report_says_what_changed_and_names_the_earlier_objects(
    house: House, pair: tuple[StudyResult, StudyResult]
) -> None:
    sr = house.report_of("after")
    assert check_report(sr, pair[1]) == []
    report_path = house.context.result_folder(house.newest_revision("after")) / "sr.dcm"
    ds = dcmread(report_path)
    texts = [str(i.TextValue) for c in ds.ContentSequence for i in c.get("ContentSequence", ()) if "TextValue" in i]
    (told,) = [t for t in texts if t.startswith("Compared with the exam of 2026-01-15")]
    assert "tumor volume" in told
    (study,) = ds.PertinentOtherEvidenceSequence
    assert study.StudyInstanceUID == house.exams["before"].study_uid
    named = {i.ReferencedSOPInstanceUID for s in study.ReferencedSeriesSequence for i in s.ReferencedSOPSequence}
    assert named == {house.exams["before"].seg_uid}


def test_an_earlier_report_is_named_once_somebody_has_it(house: House) -> None:
    before = house.newest_revision("before")
    with house.context.ledger.write() as connection:
        connection.execute(
            deliveries.insert().values(
                id="d1", revision_id=before, destination="pacs", state="delivered", objects=["sr"],
                created_at=NOW, next_attempt_at=NOW,
            )
        )  # fmt: skip
    found = house.evaluate("after")
    with house.context.ledger.write() as connection:
        connection.execute(deliveries.delete().where(deliveries.c.id == "d1"))
    assert found.change is not None
    sr = dcmread(house.context.result_folder(before) / "sr.dcm")
    assert sr.SOPInstanceUID in {r.sop_instance_uid for r in found.change.references}


def test_exams_measured_with_other_settings_are_not_compared(house: House) -> None:
    house.evaluate("before")
    other = house.context.settings.features.model_copy(update={"bin_width": 20.0})
    changed = replace(house.context, settings=house.context.settings.model_copy(update={"features": other}))
    found = replace(house, context=changed).evaluate("after")
    assert found.change is not None
    assert "other settings" in found.change.why_not
    assert found.change.parts == {}
    assert b"Not compared with the exam of 2026-01-15" in house.report_of("after")


def test_an_exam_whose_images_name_different_patients_is_no_earlier_exam(house: House) -> None:
    house.evaluate("before")
    uid = house.exams["before"].study_uid
    one = sa.select(instances.c.id).where(instances.c.exam_uid == uid, instances.c.sop_class.like("%.1.4")).limit(1)
    with house.context.ledger.write() as connection:
        picked = connection.execute(one).scalar_one()
        key = connection.execute(sa.select(instances.c.patient_key).where(instances.c.id == picked)).scalar_one()
        connection.execute(instances.update().where(instances.c.id == picked).values(patient_key="another"))
    try:
        assert house.evaluate("after").change is None
    finally:
        with house.context.ledger.write() as connection:
            connection.execute(instances.update().where(instances.c.id == picked).values(patient_key=key))


def test_the_earlier_exam_is_the_same_patients_after_the_ledger_came_under_the_sites_key(
    house: House, pair: tuple[StudyResult, StudyResult]
) -> None:
    """The digests that the exams were recorded with are plain ones, as those of older versions are."""
    ledger, settings = house.context.ledger, house.context.settings
    with ledger.read() as connection:
        before = studies.find(connection, pair[0].study_uid).patient_key
    bring_all(ledger, key_for(settings, ledger, NOW))
    with ledger.read() as connection:
        assert studies.find(connection, pair[0].study_uid).patient_key != before
    again = house.evaluate("after")
    assert again.change is not None
    assert again.change.study_uid == pair[0].study_uid
    assert house.evaluate("before").change is None, "the only earlier exam is of another patient"

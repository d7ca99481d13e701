"""Whole exams as facts, and stories of how they arrive, for tests of assembly with a clock that stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from config.schema import Settings
from daemon.assembly import EVERYTHING, Answer, Arrived, InUse, Stored, Verdict, judge
from pipeline.catalog import InstanceFacts, SegmentFacts, patient_key
from tests.support import exams
from tests.support.facts import NODES, TUMOR
from tests.support.facts import seg as seg_of

STUDY = exams.STUDY
AGENT = {"ContrastBolusAgent": "Gadobutrol"}
# 2026-01-15 12:00 UTC, half an hour after the exam of these stories.
NOON = 1768478400.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True)
class BreastExam:
    """A breast MR exam of 24 images: T1 before and after contrast, T2, ADC."""

    pre: list[InstanceFacts]
    t1c: list[InstanceFacts]
    t2: list[InstanceFacts]
    adc: list[InstanceFacts]

    @property
    def images(self) -> list[InstanceFacts]:
        return [*self.pre, *self.t1c, *self.t2, *self.adc]

    def seg(
        self, uid: str = "900.1", segments: tuple[SegmentFacts, ...] = (TUMOR, NODES), **tags: object
    ) -> InstanceFacts:
        study = self.t1c[0].ref.study_uid
        return seg_of(self.t1c, f"{study}.{uid}", segments, **{"author_key": "a", "ContentDate": "20260115", **tags})


def breast_exam(study: str = STUDY, patient: str = "P1", **tags: object) -> BreastExam:
    tags = {"StudyDate": "20260115", **tags}
    parts = (
        exams.series(1, "t1_fl3d_pre", **exams.T1, **tags),
        exams.series(2, "t1_fl3d_post", start_s=300, **exams.T1, **AGENT, **tags),
        exams.series(3, "t2_tse_tra", **exams.T2, **tags),
        exams.series(4, "ep2d_diff_ADC", ImageType=["DERIVED", "PRIMARY", "ADC"], **exams.EPI, **tags),
    )
    return BreastExam(*([_of(i, study, patient) for i in part] for part in parts))


def knee_exam(study: str = "1.2.7", patient: str = "P7") -> list[InstanceFacts]:
    return [_of(i, study, patient) for i in exams.series(1, "pd_tse_fs_sag knee", StudyDate="20260115", **exams.T2)]


def _of(facts: InstanceFacts, study: str, patient: str) -> InstanceFacts:
    uids = {k: getattr(facts.ref, k).replace(STUDY, study, 1) for k in ("study_uid", "series_uid", "sop_instance_uid")}
    return replace(
        facts,
        ref=replace(facts.ref, **uids),
        patient_key=patient_key(patient, ""),
        frame_of_reference_uid=f"{study}.9",
    )


@dataclass
class Story:
    """What has arrived of one exam, and what assembly says at any time."""

    settings: Settings = field(default_factory=Settings)
    study: str = STUDY
    stored: list[Stored] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    in_use: InUse = EVERYTHING

    def arrive(self, at: float, *facts: InstanceFacts | Sequence[InstanceFacts], digest: str = "d") -> None:
        for item in (f for part in facts for f in ([part] if isinstance(part, InstanceFacts) else part)):
            self.stored.append(Stored(len(self.stored) + 1, item, digest, at))
            self.times.append(at)

    def clean(self, *facts: InstanceFacts) -> None:
        """The files of these are gone from the spool."""
        gone = {f.ref.sop_instance_uid for f in facts}
        self.stored = [replace(s, present=s.facts.ref.sop_instance_uid not in gone) for s in self.stored]

    def judged(
        self, at: float, *, accepted: Sequence[str] = (), answers: Sequence[Answer] = (), **more: object
    ) -> Verdict:
        exam = Arrived(
            self.study,
            tuple(self.stored),
            min(self.times),
            max(self.times),
            accepted=frozenset(accepted),
            answers=tuple(answers),
            **more,  # type: ignore[arg-type]
        )
        return judge(exam, at, self.settings, self.in_use)

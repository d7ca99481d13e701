"""Images that are missing are fetched from a real Orthanc, by each way that it offers, and put into the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from config.schema import Settings
from daemon.indexing.indexer import index_once
from daemon.indexing.reconcile import reconcile
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.fetches import open_priors
from daemon.ledger.tables import events, fetches, instances, studies
from daemon.spool import JournalWriter, Spool
from daemon.work import fetch
from daemon.work.context import Context
from daemon.work.failure import TaskFailed
from daemon.work.sweep import announce_due, assemble
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.spec import Protocol
from tests.support.listening import forget_sockets, listening
from tests.support.orthanc import Orthanc, orthanc
from tests.support.stories import DAY, HOUR

pytestmark = [
    pytest.mark.peer("orthanc"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
NOON = 1800000000.0
TINY = Protocol((24, 24, 8), (5, 5, 8), (24, 24, 6), (5, 5, 10), (24, 24, 6), (5, 5, 10))


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    return write_exam(tmp_path_factory.mktemp("exam"), PhantomSpec(seed=3, protocol=TINY))


@pytest.fixture(scope="module")
def archive(phantom: PhantomExam, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Settings]]:
    """An Orthanc that has the exam, and our listener that it sends to."""
    root = tmp_path_factory.mktemp("ours") / "spool"
    with listening(root) as ours, orthanc(our_port=ours.port) as pacs:
        for path in phantom.paths:
            pacs.upload(path)
        yield pacs, ours.settings
    forget_sockets()


@dataclass
class Ours:
    """Our side, without broker: spool, ledger, and a clock that the test moves."""

    settings: Settings
    ledger: Ledger
    now: float = NOON
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def context(self) -> Context:
        return Context(self.settings, self.ledger, lambda: self.now, lambda task, name: self.told.append((task, name)))

    def receive(self, *paths: Path) -> None:
        spool = Spool(self.settings.spool.path)
        journal = JournalWriter(spool.journal, "SENDER", "127.0.0.1")
        for path in paths:
            spool.ingest_file(path, journal)
        journal.close("released")
        self.index()

    def index(self) -> None:
        """What is in the journals came just now, whatever the real clock says."""
        before = self.count()
        index_once(self.ledger, Spool(self.settings.spool.path), self.now)
        if self.count() != before:
            with self.ledger.write() as connection:
                connection.execute(studies.update().values(last_arrival_at=self.now))

    def later(self, seconds: float) -> None:
        self.now += seconds
        assemble(self.context)

    def work(self) -> list[str]:
        """Do what the sweep announces; the codes of what failed."""
        failed = []
        self.told.clear()
        announce_due(self.context)
        for task, name in self.told:
            assert task == "axrad.fetch"
            try:
                fetch.run(self.context, name)
            except TaskFailed as error:
                failed.append(error.code)
        self.index()
        return failed

    def study(self, uid: str) -> Any:
        with self.ledger.read() as connection:
            return connection.execute(sa.select(studies).where(studies.c.study_uid == uid)).one()

    def count(self, state: str = "stored") -> int:
        with self.ledger.read() as connection:
            query = sa.select(sa.func.count()).select_from(instances).where(instances.c.state == state)
            return int(connection.execute(query).scalar_one())

    def kinds(self) -> list[str]:
        with self.ledger.read() as connection:
            return list(connection.execute(sa.select(events.c.kind).order_by(events.c.id)).scalars())

    def fetch_rows(self, kind: str = "images") -> list[Any]:
        with self.ledger.read() as connection:
            query = sa.select(fetches).where(fetches.c.kind == kind).order_by(fetches.c.created_at)
            return list(connection.execute(query).all())


def pacs_table(pacs: Orthanc, *can: str, web: bool = False, **more: Any) -> dict[str, Any]:
    table = {"name": "archive", "ae_title": pacs.ae_title, "host": "127.0.0.1", "port": pacs.dicom_port, "can": can}
    return table | ({"dicomweb_url": pacs.dicomweb_url} if web else {}) | more


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Any]:
    made: list[Ours] = []

    def make(archives: list[dict[str, Any]], spool: Path | None = None, **sections: Any) -> Ours:
        tables = {"spool": {"path": spool or tmp_path / "spool", "refuse_free_bytes": 0}, "pacs": archives, **sections}
        tables["ledger"] = {"url": f"sqlite:///{tmp_path / 'ledger.sqlite'}"}
        settings = Settings.model_validate(tables)
        made.append(Ours(settings, open_ledger(settings)))
        return made[-1]

    yield make
    for ours in made:
        ours.ledger.close()
    forget_sockets()


def seg_of(phantom: PhantomExam) -> Path:
    return next(p for p in phantom.paths if dcmread(p, specific_tags=["Modality"]).Modality == "SEG")


def images_of(phantom: PhantomExam) -> list[Path]:
    return [p for p in phantom.paths if p != seg_of(phantom)]


@pytest.mark.parametrize("can", [("find", "get"), ("get",)], ids=["find-and-get", "get-alone"])
def test_a_seg_alone_gets_its_exam_by_c_get(archive: Any, at: Any, phantom: PhantomExam, can: tuple[str, ...]) -> None:
    pacs, _ = archive
    ours = at([pacs_table(pacs, *can)])
    ours.receive(seg_of(phantom))
    ours.later(121)
    while ours.fetch_rows("ask") and ours.fetch_rows("ask")[0].state == "pending":
        assert ours.work() == []
        ours.later(1)
    study = ours.study(phantom.study_uid)
    assert study.state == "waiting"
    assert study.reason.endswith("fetching what is missing of the study from archive")
    assert ours.work() == []
    assert ours.count() == len(phantom.paths)
    ours.later(121)
    ours.work()
    ours.later(1)
    assert ours.study(phantom.study_uid).state == "ready"
    assert {"fetch", "fetched", "ready"} <= set(ours.kinds())


def test_c_move_to_our_own_listener(archive: Any, at: Any, phantom: PhantomExam) -> None:
    pacs, listener = archive
    ours = at([pacs_table(pacs, "move")], spool=listener.spool.path)
    ours.receive(seg_of(phantom))
    ours.later(121)
    assert ours.work() == []
    assert ours.count() == len(phantom.paths)
    ours.later(121)
    assert ours.study(phantom.study_uid).state == "ready"


def test_wado_rs_brings_the_files_as_they_are(archive: Any, at: Any, phantom: PhantomExam) -> None:
    pacs, _ = archive
    ours = at([pacs_table(pacs, web=True)])
    ours.receive(seg_of(phantom))
    ours.later(121)
    assert ours.work() == []
    assert ours.count() == len(phantom.paths)
    original = dcmread(images_of(phantom)[0])
    (came,) = Spool(ours.settings.spool.path).find(str(original.SOPInstanceUID))
    assert dcmread(came).PixelData == original.PixelData


@pytest.mark.parametrize("way", [{"can": ("get",)}, {"can": (), "web": True}], ids=["get", "wado"])
def test_only_what_is_missing_is_fetched(archive: Any, at: Any, phantom: PhantomExam, way: dict[str, Any]) -> None:
    pacs, _ = archive
    can = way.pop("can") if "can" in way else ()
    ours = at([pacs_table(pacs, *can, **way)])
    way["can"] = can
    ours.receive(*phantom.paths)
    ours.later(121)
    assert ours.study(phantom.study_uid).state == "ready"
    with ours.ledger.write() as connection:
        rows = connection.execute(sa.select(instances.c.id, instances.c.path).order_by(instances.c.id)).all()
        gone = [row for row in rows if row.id in chosen_ids(ours)][:3]
        connection.execute(instances.update().where(instances.c.id.in_([r.id for r in gone])).values(state="purged"))
        connection.execute(studies.update().values(state="assembling", redo=1, dirty=True))
    for row in gone:
        Spool(ours.settings.spool.path).remove(row.path)
    ours.later(1)
    assert (
        "3 images and ROIs that are no longer in the spool; fetching 3 images" in ours.study(phantom.study_uid).reason
    )
    assert ours.work() == []
    (row,) = ours.fetch_rows()
    assert len(row.wanted) == 3
    with ours.ledger.read() as connection:
        detail = connection.execute(sa.select(events.c.detail).where(events.c.kind == "fetched")).scalar_one()
    assert detail == "3 images came from archive"
    assert ours.count("purged") == 0 or ours.count() == len(phantom.paths)


def chosen_ids(ours: Ours) -> set[int]:
    from daemon.ledger.tables import revisions

    with ours.ledger.read() as connection:
        selected = connection.execute(sa.select(revisions.c.inputs)).scalars().first()["selected"]
        uids = [uid for uid, _ in selected]
        return set(connection.execute(sa.select(instances.c.id).where(instances.c.sop_uid.in_(uids))).scalars())


def test_the_next_way_is_tried_where_one_is_closed(archive: Any, at: Any, phantom: PhantomExam) -> None:
    """The archive does not know this name, so it cannot C-MOVE to it; C-GET works all the same."""
    pacs, _ = archive
    ours = at([pacs_table(pacs, "move", "get")], listen={"ae_title": "STRANGER"})
    ours.receive(seg_of(phantom))
    ours.later(121)
    assert ours.work() == []
    assert ours.count() == len(phantom.paths)


def test_an_archive_that_is_down_is_tried_again_later_and_less_and_less_often(
    at: Any, phantom: PhantomExam, archive: Any
) -> None:
    pacs, _ = archive
    nobody = pacs_table(pacs, "get", port=9) | {"port": 9}
    ours = at([nobody])
    ours.receive(seg_of(phantom))
    ours.later(121)
    assert ours.work() == ["peer-unreachable"]
    ours.later(1)
    reason = ours.study(phantom.study_uid).reason
    assert "fetching what is missing of the study from archive (attempt 1: archive does not answer" in reason
    assert ours.work() == []  # not due
    ours.now += 30
    assert ours.work() == ["peer-unreachable"]
    (row,) = ours.fetch_rows()
    assert row.next_attempt_at == ours.now + 60
    ours.settings = ours.settings.model_copy(update={"pacs": at([pacs_table(pacs, "get")]).settings.pacs})
    ours.now += 60
    assert ours.work() == []
    assert ours.count() == len(phantom.paths)


def test_an_archive_that_is_down_for_a_day_is_asked_every_hour_and_then_the_exam_is_fetched_without_an_operator(
    at: Any, phantom: PhantomExam, archive: Any
) -> None:
    pacs, _ = archive
    ours = at([pacs_table(pacs, "get") | {"port": 9}], fetch={"attempts": 3})
    ours.receive(seg_of(phantom))
    ours.later(121)
    tries = 0
    for _ in range(20):
        tries += len(ours.work())
        ours.later(HOUR)
    assert tries == 20
    assert [row.state for row in ours.fetch_rows()] == ["pending"]
    assert ours.study(phantom.study_uid).state == "waiting"
    ours.settings = ours.settings.model_copy(update={"pacs": at([pacs_table(pacs, "get")]).settings.pacs})
    assert ours.work() == []
    ours.later(121)
    assert ours.study(phantom.study_uid).state == "ready"


def test_an_exam_that_expires_is_not_asked_for_any_more(at: Any, phantom: PhantomExam, archive: Any) -> None:
    pacs, _ = archive
    ours = at([pacs_table(pacs, "get") | {"port": 9}], fetch={"attempts": 1})
    ours.receive(seg_of(phantom))
    ours.later(121)
    assert ours.work() == ["peer-unreachable"]
    ours.later(15 * DAY)
    assert ours.study(phantom.study_uid).state == "expired"
    assert ours.work() == []


def test_what_was_fetched_and_lost_again_is_fetched_again(archive: Any, at: Any, phantom: PhantomExam) -> None:
    pacs, _ = archive
    ours = at([pacs_table(pacs, "get")])
    spool = Spool(ours.settings.spool.path)
    ours.receive(seg_of(phantom))
    ours.later(121)
    came = []
    for _ in range(3):
        assert ours.work() == []
        came.append(ours.count())
        for path in images_of(phantom):
            for kept in spool.find(str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)):
                spool.remove(str(kept.relative_to(spool.root)))
        reconcile(ours.ledger, spool, ours.now)
        assert ours.count() == 1
        ours.later(HOUR)
        assert ours.study(phantom.study_uid).state == "waiting"
    # First the whole study, then what had been chosen of it, and that again.
    assert came[0] == len(phantom.paths)
    assert came[1] == came[2] == 21


def test_what_no_archive_has_is_given_up_with_the_reason_and_an_operator_can_ask_again(
    at: Any, phantom: PhantomExam, tmp_path: Path
) -> None:
    with orthanc() as empty:
        ours = at([pacs_table(empty, "find", "get")], fetch={"attempts": 2}, assembly={"ask_patience_s": 0})
        ours.receive(seg_of(phantom))
        ours.later(121)
        ours.work()
        assert ours.fetch_rows()[0].state == "pending"
        ours.now += HOUR
        assert ours.work() == ["not-in-archive"]
        ours.later(1)
        (row,) = ours.fetch_rows()
        assert row.state == "failed"
        assert "was given up after 2 attempts" in ours.study(phantom.study_uid).reason
        ours.later(HOUR)
        assert ours.work() == []


def test_the_archive_says_whose_the_exam_is_and_that_it_is_whole(archive: Any, at: Any, phantom: PhantomExam) -> None:
    pacs, _ = archive
    ours = at([pacs_table(pacs, "find")])
    ours.receive(*phantom.paths)
    ours.later(11)
    assert ours.study(phantom.study_uid).state == "assembling"
    assert ours.work() == []
    ours.later(0)
    assert ours.study(phantom.study_uid).state == "ready", "long before the quiet period is over"


def test_an_exam_under_another_patient_id_than_in_the_archive_is_held_and_accepted(
    archive: Any, at: Any, phantom: PhantomExam, tmp_path: Path
) -> None:
    from daemon.ledger.operator_requests import retry

    pacs, _ = archive
    changed = []
    for number, path in enumerate(phantom.paths):
        ds = dcmread(path)
        ds.PatientID = "SOMEBODY-ELSE"
        changed.append(tmp_path / f"{number}.dcm")
        ds.save_as(changed[-1])
    ours = at([pacs_table(pacs, "find")])
    ours.receive(*changed)
    ours.later(11)
    ours.work()
    ours.later(0)
    study = ours.study(phantom.study_uid)
    assert (study.state, study.reason_code) == ("held", "identity-differs-from-pacs")
    assert "SOMEBODY-ELSE" not in study.reason
    with ours.ledger.write() as connection:
        retry(connection, study, ours.now, new_revision=False, accept_identity=True)
    ours.later(0)
    assert ours.study(phantom.study_uid).state == "ready"


def test_priors_of_the_patient_are_fetched_on_request_and_not_reported(
    at: Any, phantom: PhantomExam, tmp_path: Path
) -> None:
    spec = PhantomSpec(seed=4, protocol=TINY, patient=3, study_date="20250110")
    prior = write_exam(tmp_path / "prior", spec)
    stranger = write_exam(tmp_path / "stranger", replace(spec, patient=9, seed=5))
    with orthanc() as pacs:
        for path in (*prior.paths, *stranger.paths):
            pacs.upload(path)
        ours = at([pacs_table(pacs, "find", "get")])
        ours.receive(*phantom.paths)
        with ours.ledger.write() as connection:
            assert open_priors(connection, ours.study(phantom.study_uid), ours.now, ours.settings)
        assert ours.work() == []
        ours.later(DAY)
    assert ours.study(prior.study_uid).role == "prior"
    assert ours.study(prior.study_uid).state == "expired"
    with ours.ledger.read() as connection:
        known = set(connection.execute(sa.select(studies.c.study_uid)).scalars())
    assert known == {phantom.study_uid, prior.study_uid}

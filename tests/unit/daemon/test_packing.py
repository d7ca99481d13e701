"""Exams that are packed in the ledger come back as they were, for whoever needs them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks._ledger_work import analysed, delivered, reported
from config.schema import Destination, Retention, Settings
from config.schema import Ledger as LedgerSection
from config.schema import Spool as SpoolSection
from daemon.feedback.feedback_records import is_same_patient
from daemon.ledger import Ledger, comparisons, open_ledger, operator_requests, tallies, verdicts, views
from daemon.ledger.arrival_batches import take_all
from daemon.ledger.arrival_steps import Step, take_one_by_one
from daemon.ledger.database_errors import LedgerDamaged
from daemon.ledger.dump import dump, load
from daemon.ledger.engine import bare_ledger
from daemon.ledger.instances import Arrival
from daemon.ledger.keyed_digests import bring_all, is_done
from daemon.ledger.migrations import HEAD, migrate
from daemon.ledger.packed_exams import content_for, packed_rows, put, to_pack, unpack_for, unpacked
from daemon.ledger.packing import pack, unpack
from daemon.ledger.rows import InstanceRow, StudyRow, row_where, rows_where
from daemon.ledger.site_key import SiteKey
from daemon.ledger.spools import add_copy, forget_copies
from daemon.ledger.study_merge import _images, join
from daemon.ledger.tables import (
    copies,
    events,
    instances,
    packed_exams,
    packed_series,
    revisions,
    roi_references,
    studies,
)
from daemon.retention import clean
from daemon.retention.packing import Packed, pack_old
from daemon.spool.instance_files import relative_path
from daemon.work import sweep
from daemon.work.context import Context
from daemon.work.dispatch import dispatch_revisions
from daemon.work.prior_exam import _date_of
from pipeline.catalog import InstanceFacts
from tests.support.facts import ours
from tests.support.stories import DAY, NOON, STUDY, breast_exam

NUMBERS = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
PLAIN = st.none() | st.booleans() | NUMBERS | WORDS
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4))
UIDS = st.from_regex(r"1\.2\.[0-9]{1,6}", fullmatch=True)


@st.composite
def exams(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
    """Rows of an exam as any history may leave them, and what its regions refer to."""
    ids = sorted(draw(st.sets(st.integers(1, 10**9), min_size=1, max_size=6)))
    rows = []
    for id_ in ids:
        uid, series = draw(UIDS), draw(st.sampled_from(["1.2.1", "1.2.2", ""]))
        digest = draw(st.just(hashlib.sha256(uid.encode()).hexdigest()) | WORDS)
        ref = ["1.2", series, "1.2.840", uid]
        facts = draw(st.just({}) | st.dictionaries(WORDS, JSON, max_size=4))
        if facts:
            facts["ref"] = ref
        row = {"id": id_, "sop_uid": uid, "digest": digest, "study_uid": "1.2", "series_uid": series, "facts": facts}
        row |= {"sop_class": "1.2.840", "path": draw(st.just(relative_path(uid, digest)) | WORDS)}
        row |= {
            "size": draw(st.integers(0, 2**40)),
            "received_at": draw(st.floats(0, 2e9)),
            "note": draw(WORDS),
        }
        rows.append(row)
    references = draw(st.sets(st.tuples(st.sampled_from(ids), UIDS), max_size=5))
    return rows, sorted(references)


@given(exams())
@hypothesis_settings(max_examples=150, deadline=None)
def test_what_is_packed_comes_back_equal_in_value_and_type(
    exam: tuple[list[dict[str, Any]], list[tuple[int, str]]],
) -> None:
    rows, references = exam
    back, referring = unpack(pack(rows, references))
    assert [json.dumps(row, sort_keys=True) for row in back] == [json.dumps(row, sort_keys=True) for row in rows]
    assert referring == references


@given(exam=exams())
@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_random_exam_is_the_same_rows_after_packing_and_unpacking(
    ledger: Ledger, exam: tuple[list[dict[str, Any]], list[tuple[int, str]]]
) -> None:
    rows, references = exam
    at = {"first_arrival_at": 1.0, "last_arrival_at": 1.0, "changed_at": 1.0}
    others = {
        "exam_uid": "1.2",
        "patient_key": "k",
        "state": "purged",
        "association": "a",
        "counts_as": "",
        "key_id": "",
    }
    with_image = [(roi, uid) for roi, uid in references if uid in {row["sop_uid"] for row in rows}]
    with ledger.write() as connection:
        for table in (roi_references, instances, studies, packed_exams, packed_series):
            connection.execute(table.delete())
        connection.execute(
            studies.insert().values(id="s", study_uid="1.2", state="delivered", patient_key="k", dirty=False, **at)
        )
        unique = {(row["sop_uid"], row["digest"]): row | others for row in rows}
        connection.execute(instances.insert(), list(unique.values()))
        ids = {row["id"] for row in unique.values()}
        for roi, uid in with_image:
            if roi in ids:
                connection.execute(roi_references.insert().values(roi_id=roi, sop_uid=uid))
        before = _all_rows(connection)
        (study,) = to_pack(connection, 2.0, (0.0, ""), 10)
        content = content_for(connection, study, 100)
        assert content is not None
        assert put(connection, study, *content, 3.0)
        assert _all_rows(connection) == ([], [])
        assert unpacked(connection, "1.2") == len(unique)
        assert _all_rows(connection) == before
        assert to_pack(connection, 2.0, (0.0, ""), 10) == [study]


def _all_rows(connection: sa.Connection) -> tuple[list[str], list[str]]:
    rows, referring = (connection.execute(sa.select(t).order_by(*t.primary_key)) for t in (instances, roi_references))
    return [json.dumps(list(row), sort_keys=True) for row in rows], [repr(tuple(row)) for row in referring]


def test_a_series_that_is_in_every_exam_unpacks_none(ledger: Ledger) -> None:
    at = {"first_arrival_at": 1.0, "last_arrival_at": 1.0, "changed_at": 1.0, "dirty": False, "patient_key": "k"}
    with ledger.write() as connection:
        for number in range(6):
            uid = f"1.2.{number}"
            connection.execute(studies.insert().values(id=uid, study_uid=uid, state="delivered", **at))
            texts = dict.fromkeys(("sop_uid", "digest", "study_uid", "exam_uid", "path", "sop_class"), uid)
            others = {"series_uid": "1.9", "patient_key": "k", "state": "purged", "size": 1, "received_at": 1.0}
            connection.execute(instances.insert().values(**texts, **others, facts={}))
        for study in to_pack(connection, 2.0, (0.0, ""), 10):
            content = content_for(connection, study, 10)
            assert content is not None
            assert put(connection, study, *content, 3.0)
        drawn = exam.seg()
        arrival = replace(drawn, ref=replace(drawn.ref, series_uid="1.9", study_uid="1.2.5"), references=())
        unpack_for(connection, [arrival])
        packed = connection.execute(sa.select(packed_exams.c.exam_uid).order_by(packed_exams.c.exam_uid)).scalars()
        assert list(packed) == [f"1.2.{number}" for number in range(5)]


def test_damaged_bytes_are_refused() -> None:
    whole = pack(
        [
            {
                "id": 1,
                "sop_uid": "1",
                "digest": "d",
                "series_uid": "",
                "path": "",
                "facts": {},
                "study_uid": "",
                "sop_class": "",
            }
        ],
        [],
    )
    for damaged in (b"", b"\x02" + whole[1:], whole[: len(whole) // 2], whole[:20] + b"\x00" * 9 + whole[29:]):
        with pytest.raises(LedgerDamaged):
            unpack(damaged)


exam = breast_exam()
SEVERAL = 25


@dataclass
class Site:
    """A ledger with one exam that was reported, delivered, and cleaned away two months ago."""

    ledger: Ledger
    settings: Settings
    now: float = NOON

    def __post_init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.context = Context(self.settings, self.ledger, lambda: self.now, self.announce)

    def announce(self, task: str, row_id: str) -> bool:
        self.messages.append((task, row_id))
        return True

    def arrive(self, *facts: InstanceFacts, digest: str = "d", singly: bool = False, **columns: Any) -> None:
        arrivals = [
            Arrival(uid, digest, f"here/{uid}/{digest}", 500, self.now, "a", "MR", facts=item, **columns)
            for item in facts
            for uid in [item.ref.sop_instance_uid]
        ]
        self.take([Step("a", self.now, arrival) for arrival in arrivals], singly=singly)

    def take(self, steps: list[Step], *, singly: bool = False) -> None:
        with self.ledger.write() as connection:
            (take_one_by_one if singly else take_all)(connection, steps)

    def work(self) -> None:
        """Until nothing more can be done for the exam."""
        self.now += 300
        sweep.assemble(self.context)
        self.messages.clear()
        dispatch_revisions(self.context)
        for revision_id in [row_id for task, row_id in self.messages if task == "axrad.analyse"]:
            analysed(self.context, revision_id)
            delivered(self.context, reported(self.context, revision_id))

    def compare(self) -> None:
        """As the process does that compares pixels: they are the same."""
        with self.ledger.write() as connection:
            for uid in comparisons.uids_to_compare(connection, 100):
                rows = comparisons.data_sets(connection, uid)
                shown = {row.id: comparisons.PixelDigest("same") for row in rows}
                comparisons.record_digests(connection, uid, shown, self.now)

    def grow_old(self) -> None:
        self.now += 60 * DAY
        while clean(self.ledger, self.settings, self.now).more:
            pass

    def pack(self) -> Packed:
        section = Retention(keep_days=30, pack_days=40)
        return pack_old(self.ledger, self.settings.model_copy(update={"retention": section}), self.now)

    def study(self) -> StudyRow:
        with self.ledger.read() as connection:
            row = row_where(connection, StudyRow, studies.c.study_uid == STUDY)
        assert row is not None
        return row

    def rows(self) -> list[InstanceRow]:
        with self.ledger.read() as connection:
            rows = rows_where(connection, InstanceRow, order_by=[instances.c.id])
            return sorted([*rows, *packed_rows(connection, STUDY)], key=lambda row: row.id)

    def everything(self) -> dict[str, object]:
        """All that there is of the exam, but for ids that are random."""
        with self.ledger.read() as connection:
            row = row_where(connection, StudyRow, studies.c.study_uid == STUDY)
            assert row is not None
            shown = json.loads(json.dumps(views.timeline(connection, row)))
            made = connection.execute(sa.select(revisions.c.number, revisions.c.inputs).order_by(revisions.c.number))
            happened = connection.execute(sa.select(events.c.at, events.c.kind).order_by(events.c.id)).all()
            counted = {t.state: (t.number, t.bytes) for t in tallies.tallied(connection, "instance")}
            packed = {t.state: t.number for t in tallies.tallied(connection, "packed")}
            shown["made"] = [[number, inputs] for number, inputs in made]
        for of_it in (shown, *shown["revisions"], *shown["events"]):
            of_it.pop("id", None)
            of_it.pop("revision_id", None)
        number = sum(n for n, _ in counted.values()) + packed.get("instances", 0)
        study = {name: getattr(row, name) for name in StudyRow.__dataclass_fields__ if name not in ("id", "packed")}
        return {"shown": shown, "study": study, "happened": [tuple(e) for e in happened], "instances": number}


def site_at(url: str, folder: Path, *, images: tuple[InstanceFacts, ...] = ()) -> Site:
    settings = Settings(
        ledger=LedgerSection(url=url),
        spool=SpoolSection(path=folder / "spool", warn_free_bytes=0, refuse_free_bytes=0),
        destination=(Destination(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=104),),
    )
    (folder / "spool" / "instances").mkdir(parents=True, exist_ok=True)
    site = Site(open_ledger(settings), settings)
    shown = [replace(i, tags={**i.tags, "content_digest": "same"}) for i in images or (*exam.images, exam.seg())]
    site.arrive(*shown)
    site.work()
    site.grow_old()
    return site


@pytest.fixture
def site(ledger_url: str, tmp_path: Path) -> Any:
    site = site_at(ledger_url, tmp_path)
    yield site
    site.ledger.close()


def resend_rewritten(site: Site) -> None:
    rewritten = [
        replace(i, tags={**i.tags, "content_digest": "same", "StudyDescription": "other"})
        for i in (*exam.images, exam.seg())
    ]
    site.arrive(*rewritten, digest="rewritten")


def resend_rewritten_uncompared(site: Site) -> None:
    site.arrive(*(replace(i, tags={**i.tags, "StudyDescription": "other"}) for i in exam.t1c), digest="rewritten")
    site.compare()


def resend_under_another_study(site: Site) -> None:
    moved = [replace(i, ref=replace(i.ref, study_uid="1.2.77")) for i in exam.t1c]
    site.arrive(*moved, digest="moved")


def resend_the_same(site: Site) -> None:
    site.arrive(*exam.images, exam.seg())


def resend_one_by_one(site: Site) -> None:
    site.arrive(*exam.images, exam.seg(), digest="rewritten", singly=True)


def late_regions(site: Site) -> None:
    site.arrive(exam.seg("900.2", ContentTime="2359"))


def late_regions_of_another_study(site: Site) -> None:
    drawn = exam.seg("900.3", ContentTime="2359")
    unnamed = tuple(replace(r, study_uid="") for r in drawn.references)
    site.arrive(replace(drawn, ref=replace(drawn.ref, study_uid="1.2.99", series_uid="1.2.99.1"), references=unnamed))


def new_revision(site: Site) -> None:
    with site.ledger.write() as connection:
        operator_requests.retry(connection, site.study(), site.now, new_revision=True, accept_identity=False)


def deliver_again(site: Site) -> None:
    with site.ledger.write() as connection:
        operator_requests.deliver(connection, site.study(), site.now, None)


def torn_and_then_whole(site: Site) -> None:
    uid = exam.t1c[0].ref.sop_instance_uid
    site.take([Step("b", site.now, Arrival(uid, "d", "here/torn", 500, site.now, "b", "MR", note="torn", torn=True))])
    site.arrive(exam.t1c[0])


def unreadable_and_a_new_revision(site: Site) -> None:
    uid = exam.t1c[0].ref.sop_instance_uid
    site.take([Step("b", site.now, Arrival(uid, "d", "here/bad", 500, site.now, "b", "MR"))])
    new_revision(site)


def a_result_that_comes_back(site: Site) -> None:
    back = ours(study=STUDY)
    site.arrive(back)


def nothing(site: Site) -> None:
    pass


LATER = [
    resend_rewritten, resend_rewritten_uncompared, resend_under_another_study, resend_the_same, resend_one_by_one,
    late_regions, late_regions_of_another_study, new_revision, deliver_again, a_result_that_comes_back, nothing,
]  # fmt: skip


@pytest.mark.parametrize("later", LATER)
def test_whatever_happens_to_a_packed_exam_comes_out_as_if_it_had_not_been_packed(
    site: Site, tmp_path: Path, later: Callable[[Site], None]
) -> None:
    other = site_at(f"sqlite:///{tmp_path / 'unpacked.sqlite'}", tmp_path / "other")
    assert site.everything() == other.everything()
    assert site.pack() == Packed(1, SEVERAL)
    assert site.everything() == other.everything()
    for one in (site, other):
        later(one)
        one.work()
        one.work()
    assert site.everything() == other.everything()
    assert [replace(row, path="") for row in site.rows()] == [replace(row, path="") for row in other.rows()]
    other.ledger.close()


def test_a_packed_exam_that_comes_again_rewritten_makes_no_revision(site: Site) -> None:
    site.pack()
    resend_rewritten(site)
    site.work()
    assert [r["number"] for r in site.everything()["shown"]["revisions"]] == [1]  # type: ignore[index]
    assert not site.study().packed


@pytest.mark.parametrize("later", [torn_and_then_whole, unreadable_and_a_new_revision])
def test_a_file_that_nobody_can_read_does_not_keep_its_exam_from_being_unpacked(
    site: Site, later: Callable[[Site], None]
) -> None:
    before = site.rows()
    site.pack()
    later(site)
    site.work()
    after = {row.sop_uid: row for row in site.rows()}
    assert [after[row.sop_uid].id for row in before] == [row.id for row in before]
    assert len(after) == SEVERAL
    state = "stored" if later is torn_and_then_whole else "unreadable"
    assert after[exam.t1c[0].ref.sop_instance_uid].state == state


def test_a_file_that_nobody_can_read_stays_in_the_spools_that_it_came_in(site: Site) -> None:
    uid = exam.t1c[0].ref.sop_instance_uid
    site.pack()
    for spool in ("north", "south"):
        unread = Arrival(uid, "d", "here/bad", 500, site.now, "b", "MR", spool=spool)
        site.take([Step("b", site.now, unread)], singly=True)
    new_revision(site)
    row = next(row for row in site.rows() if row.sop_uid == uid)
    assert (row.state, row.spool) == ("unreadable", "north")
    with site.ledger.read() as connection:
        assert [tuple(one) for one in connection.execute(sa.select(copies))] == [(row.id, "south")]


def test_counts_of_what_is_packed_are_what_counting_gives(site: Site) -> None:
    for change in (site.pack, lambda: new_revision(site)):
        change()
        with site.ledger.read() as connection:
            assert tallies.wrong(connection) == []
    site.pack()


def test_what_is_packed_takes_little_and_the_ledger_says_how_much(site: Site) -> None:
    site.pack()
    with site.ledger.read() as connection:
        counts = views.counts(connection, site.now)
        taken = connection.execute(sa.select(sa.func.length(packed_exams.c.content))).scalar_one()
        left = [connection.execute(sa.select(t)).first() for t in (instances, roi_references)]
    assert left == [None, None]
    assert counts["packed"]["exams"] == {"count": 1, "bytes": taken}
    assert counts["packed"]["instances"]["count"] == SEVERAL
    assert "purged" not in counts["instances"]
    assert taken < 100 * SEVERAL


def test_what_is_only_looked_at_is_read_where_it_is_packed(site: Site) -> None:
    patient = site.study().patient_key

    def seen() -> list[object]:
        with site.ledger.read() as connection:
            of_patient = SimpleNamespace(study_uid=STUDY, patient_key=patient)
            return [
                _date_of(connection, STUDY, patient),
                _date_of(connection, STUDY, "another"),
                sorted(i.ref.series_uid for i in _images(connection, STUDY)),
                [
                    is_same_patient(connection, of_patient, *keys)
                    for keys in ((patient, "k"), ("k", patient), ("k", "l"))
                ],
                [s.id for s in verdicts.stored_of(connection, STUDY)],
            ]

    before = seen()
    assert site.pack() == Packed(1, SEVERAL)
    assert seen() == before
    assert before[:2] == ["20260115", ""]
    assert site.study().packed


def test_two_studies_that_are_one_exam_are_joined_also_where_one_is_packed(site: Site) -> None:
    site.pack()
    second = replace(exam.t2[0], ref=replace(exam.t2[0].ref, study_uid="1.2.8", sop_instance_uid="1.2.8.1"))
    site.arrive(second)
    with site.ledger.write() as connection:
        (row,) = rows_where(connection, StudyRow, studies.c.study_uid == "1.2.8")
        stays = join(connection, row, ["study_date"], site.now)
    assert stays is None
    assert {row.exam_uid for row in site.rows()} == {STUDY}
    assert len(site.rows()) == SEVERAL + 1
    assert not site.study().packed


def test_nothing_is_packed_that_has_files_is_under_way_or_waits_for_images(ledger_url: str, tmp_path: Path) -> None:
    orphan = exam.seg()
    site = site_at(ledger_url, tmp_path, images=(orphan,))
    with site.ledger.write() as connection:
        connection.execute(studies.update().values(state="expired", dirty=False, due_at=None))
    site.grow_old()
    with site.ledger.read() as connection:
        assert {row.state for row in rows_where(connection, InstanceRow)} == {"purged"}
    assert site.pack() == Packed()
    site.arrive(*exam.images)
    for columns in ({"dirty": True}, {"dirty": False, "state": "held"}, {"state": "delivered"}):
        with site.ledger.write() as connection:
            connection.execute(studies.update().values(last_arrival_at=1.0, due_at=None, **columns))
        assert site.pack() == Packed()
    site.ledger.close()


def test_an_exam_of_which_a_further_spool_holds_a_copy_is_packed_once_that_is_gone(site: Site) -> None:
    first = site.rows()[0].id
    with site.ledger.write() as connection:
        add_copy(connection, first, "north")
    assert site.pack() == Packed()
    with site.ledger.write() as connection:
        forget_copies(connection, [first], "north")
    assert site.pack().exams == 1


def test_packing_is_off_unless_a_site_asks_for_it_and_waits_for_the_texts_of_before(site: Site) -> None:
    assert site.settings.retention.pack_days is None
    assert pack_old(site.ledger, site.settings, site.now) == Packed()
    with site.ledger.write() as connection:
        connection.exec_driver_sql("DELETE FROM chores")
    assert site.pack() == Packed()
    asked = site.settings.model_copy(update={"retention": Retention(pack_days=0)})
    clean(site.ledger, asked, site.now)
    assert site.study().packed


def test_digests_of_packed_exams_come_under_the_sites_key(site: Site) -> None:
    site.pack()
    key = SiteKey(b"k" * 32, "0123456789abcdef")
    bring_all(site.ledger, key)
    assert is_done(site.ledger, key)
    assert site.study().packed
    rows = site.rows()
    assert {row.key_id for row in rows} == {key.id}
    assert {row.patient_key for row in rows} == {row.facts["patient_key"] for row in rows} == {site.study().patient_key}


def test_a_packed_exam_is_in_backups_and_comes_back_with_its_numbers(site: Site, tmp_path: Path) -> None:
    site.pack()
    before = site.everything()
    with site.ledger.read() as connection:
        dump(connection, tmp_path / "dump.gz", HEAD)
    restored = bare_ledger(
        site.settings.model_copy(update={"ledger": LedgerSection(url=f"sqlite:///{tmp_path}/b.sqlite")})
    )
    with restored.write() as connection:
        migrate(connection, tmp_path / "backups", to=HEAD)
        load(connection, tmp_path / "dump.gz")
    copy = Site(restored, site.settings, site.now)
    assert copy.everything() == before
    for one in (site, copy):
        late_regions(one)
        one.work()
    assert copy.everything() == site.everything()
    assert copy.rows() == site.rows()
    assert max(row.id for row in copy.rows()) == SEVERAL + 1
    restored.close()


def test_of_two_that_unpack_at_once_one_does_it(site: Site) -> None:
    before = site.rows()
    for _ in range(5):
        assert site.pack() == Packed(1, SEVERAL)

        def unpack_it(_: int) -> int:
            with site.ledger.write() as connection:
                return unpacked(connection, STUDY)

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(unpack_it, range(2))) == [0, SEVERAL]
        assert site.rows() == before


def test_while_arrivals_are_recorded_nothing_is_packed(site: Site) -> None:
    if site.ledger.engine.dialect.name == "sqlite":
        return  # there is one that writes
    with site.ledger.write() as connection:
        unpack_for(connection, exam.t1c)
        assert site.pack() == Packed()
    assert site.pack() == Packed(1, SEVERAL)


def test_what_changed_since_it_was_read_is_not_packed(site: Site) -> None:
    study = site.study()
    with site.ledger.read() as connection:
        (candidate,) = to_pack(connection, site.now, (0.0, ""), 10)
        content = content_for(connection, candidate, 100)
    assert candidate == study
    assert content is not None
    late_regions(site)
    with site.ledger.write() as connection:
        assert not put(connection, study, *content, site.now)
    assert len(site.rows()) == SEVERAL + 1


@pytest.mark.parametrize("which", ["pack", "unpack"])
def test_killed_at_any_statement_the_exam_is_in_one_form_or_the_other(tmp_path: Path, which: str) -> None:
    site = site_at(f"sqlite:///{tmp_path / 'ledger.sqlite'}", tmp_path)
    if which == "unpack":
        site.pack()
    before, statement = site.rows(), 0
    while _killed(site, which, statement):
        statement += 1
        with site.ledger.read() as connection:
            forms = [connection.execute(sa.select(t)).first() is not None for t in (instances, packed_exams)]
            series = connection.execute(sa.select(packed_series)).first() is not None
        assert sorted(forms) == [False, True]
        assert forms[1] == series == site.study().packed
        assert site.rows() == before
    assert site.rows() == before
    assert site.study().packed == (which == "pack")
    assert statement > 5
    site.ledger.close()


def _killed(site: Site, which: str, statement: int) -> bool:
    """Whether a process got to this statement of its last transaction, and was killed there."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    ledger = bare_ledger(site.settings)
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == statement + 1:
            os._exit(9)

    sa.event.listen(ledger.engine, "before_cursor_execute", count)
    try:
        if which == "pack":
            replace(site, ledger=ledger).pack()
        else:
            with ledger.write() as connection:
                unpacked(connection, STUDY)
    finally:
        os._exit(0)

"""What is asked of archives: requests that name what is missing, answers read as they come, a queue in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from config.schema import Fetch, Pacs, Settings
from daemon.assembly import Answer, Verdict, Wanted
from daemon.export.multipart import parts
from daemon.fetch.plan import Batch, NotInArchive, Series, TooMuch, make_plan
from daemon.fetch.retrieve import retrieve_ways
from daemon.ledger import Ledger, archive_answers, fetches
from daemon.ledger.claims import claim
from daemon.ledger.tables import fetches as table
from daemon.ledger.tables import studies
from daemon.ledger.verdicts import evidence_of
from pipeline.errors import PeerUnreachable

NOW = 1_000_000.0
ARCHIVE = Pacs(name="archive", ae_title="PACS", host="127.0.0.1", port=104, can=("find", "get"))
SETTINGS = Settings(pacs=(ARCHIVE,))


@dataclass
class Catalogue:
    """What an archive says that it has: study → series → (modality, SOP Instance UIDs)."""

    studies: dict[str, dict[str, tuple[str, list[str]]]]
    asked: list[str] = field(default_factory=list)

    def series_of(self, study_uid: str) -> list[Series]:
        self.asked.append(study_uid)
        return [Series(uid, m, len(sops)) for uid, (m, sops) in self.studies.get(study_uid, {}).items()]

    def instances_of(self, study_uid: str, series_uid: str) -> list[str]:
        return self.studies[study_uid][series_uid][1]


HAS = Catalogue({"1": {"1.1": ("MR", ["a", "b"]), "1.2": ("MR", ["c"]), "1.3": ("SR", ["r"]), "1.4": ("SEG", ["s"])}})


def test_images_that_are_named_are_asked_for_by_series_without_a_look_at_the_archive() -> None:
    asked = Catalogue({})
    wanted = [Wanted("1", "1.1", "a"), Wanted("1", "1.2", "c"), Wanted("1", "1.1", "b")]
    assert make_plan(wanted, (), asked, 100) == (Batch("1", "1.1", ("a", "b")), Batch("1", "1.2", ("c",)))
    assert asked.asked == []


def test_of_a_whole_study_only_what_an_exam_needs_and_what_is_not_here_is_asked_for() -> None:
    assert make_plan([Wanted("1")], {"a", "s"}, HAS, 100) == (Batch("1", "1.1", ("b",)), Batch("1", "1.2"))


def test_images_whose_series_nobody_named_are_looked_up() -> None:
    assert make_plan([Wanted("1", "", "c"), Wanted("1", "", "b")], (), HAS, 100) == (
        Batch("1", "1.1", ("b",)),
        Batch("1", "1.2", ("c",)),
    )


def test_an_archive_that_cannot_be_asked_is_asked_for_the_study_whole() -> None:
    assert make_plan([Wanted("1", "", "c")], (), None, 100) == (Batch("1"),)
    assert make_plan([Wanted("1", "1.2")], (), None, 100) == (Batch("1", "1.2"),)


def test_what_the_archive_does_not_have_is_not_there() -> None:
    with pytest.raises(NotInArchive):
        make_plan([Wanted("2")], (), HAS, 100)


@pytest.mark.parametrize("wanted", [[Wanted("1")], [Wanted("1", "1.1", u) for u in "abc"]])
def test_more_than_the_limit_is_never_asked_for(wanted: list[Wanted]) -> None:
    with pytest.raises(TooMuch, match="max_instances"):
        make_plan(wanted, (), HAS, 2)


def test_ways_are_tried_in_the_order_of_the_setting_as_far_as_the_archive_offers_them() -> None:
    all_ways = ARCHIVE.model_copy(update={"can": ("get", "move"), "dicomweb_url": "http://127.0.0.1/"})
    assert retrieve_ways(all_ways, SETTINGS) == ("move", "get", "wado")
    assert retrieve_ways(all_ways, Settings(fetch=Fetch(how=("wado", "get")))) == ("wado", "get")
    assert retrieve_ways(ARCHIVE, SETTINGS) == ("get",)


def message(bodies: list[bytes], boundary: bytes = b"frontier") -> bytes:
    each = b"".join(b"--" + boundary + b"\r\nContent-Type: application/dicom\r\n\r\n" + b + b"\r\n" for b in bodies)
    return each + b"--" + boundary + b"--\r\n"


def in_pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


@given(
    st.lists(st.binary(max_size=200).filter(lambda b: b"--frontier" not in b), max_size=4),
    st.lists(st.integers(1, 60), max_size=30),
)
def test_a_multipart_answer_is_read_the_same_however_it_is_cut(bodies: list[bytes], sizes: list[int]) -> None:
    assert [part.read() for part in parts(in_pieces(message(bodies), sizes), b"frontier")] == bodies


@given(st.integers(0, 150))
def test_an_answer_that_breaks_off_is_an_error_and_never_a_short_file(length: int) -> None:
    whole = message([b"x" * 50, b"\r\n--fron" * 5])
    read = []
    with pytest.raises(PeerUnreachable):
        read.extend(part.read() for part in parts(iter([whole[: min(length, len(whole) - 6)]]), b"frontier"))
    assert read in ([], [b"x" * 50])


def test_an_endless_answer_without_boundary_is_given_up() -> None:
    with pytest.raises(PeerUnreachable):
        list(parts(iter([b"y" * 10000] * 10), b"frontier"))


@pytest.fixture
def study(ledger: Ledger) -> object:
    with ledger.write() as connection:
        connection.execute(
            studies.insert().values(
                id="s1",
                study_uid="1.2",
                state="waiting",
                patient_key="k",
                first_arrival_at=NOW,
                last_arrival_at=NOW,
                changed_at=NOW,
                dirty=False,
            )
        )
        return connection.execute(sa.select(studies)).one()


def ask_for(ledger: Ledger, study: object, *wanted: Wanted, now: float = NOW) -> str:
    with ledger.write() as connection:
        verdict = Verdict("waiting", wanted=tuple(wanted))
        return fetches.open_for(connection, study, verdict, now, SETTINGS)


def due(ledger: Ledger, now: float = NOW) -> list[str]:
    with ledger.read() as connection:
        return [row.id for row in fetches.due(connection, now)]


def test_the_same_images_are_asked_for_once(ledger: Ledger, study: object) -> None:
    assert ask_for(ledger, study, Wanted("1.2", "1.3", "a")) == "fetching 1 images from archive"
    assert ask_for(ledger, study, Wanted("1.2", "1.3", "a")) == ""
    assert len(due(ledger)) == 1


def test_when_less_is_missing_the_older_request_is_dropped(ledger: Ledger, study: object) -> None:
    ask_for(ledger, study, Wanted("1.2", "1.3", "a"), Wanted("1.2", "1.3", "b"))
    ask_for(ledger, study, Wanted("1.2", "1.3", "b"), now=NOW + 1)
    with ledger.read() as connection:
        rows = connection.execute(sa.select(table).order_by(table.c.created_at)).all()
    assert [(row.state, len(row.wanted)) for row in rows] == [("cancelled", 2), ("pending", 1)]


def test_nothing_is_asked_for_where_no_archive_can_be_fetched_from(ledger: Ledger, study: object) -> None:
    with ledger.write() as connection:
        verdict = Verdict("waiting", wanted=(Wanted("1.2"),))
        assert fetches.open_for(connection, study, verdict, NOW, Settings()) == ""
        assert (
            fetches.open_for(connection, study, verdict, NOW, Settings(pacs=(ARCHIVE,), fetch=Fetch(enabled=False)))
            == ""
        )


def test_not_more_than_two_run_at_a_time(ledger: Ledger, study: object) -> None:
    with ledger.write() as connection:
        for n in range(5):
            fetches._open_unless_tried(connection, study, "ask", str(n), (), NOW)
    first = due(ledger)
    assert len(first) == 2
    with ledger.write() as connection:
        claim(connection, "fetch", first[0], "w", NOW, 60, 9)
    assert len(due(ledger)) == 1


def test_what_was_given_up_is_tried_again_when_something_arrives_or_an_operator_asks(
    ledger: Ledger, study: object
) -> None:
    ask_for(ledger, study, Wanted("1.2"))
    with ledger.write() as connection:
        connection.execute(table.update().values(state="failed", finished_at=NOW + 10, attempts=8, reason="not there"))
        assert fetches.in_words(connection, "s1") == (
            "fetching what is missing of the study from archive was given up after 8 attempts: not there"
        )
    assert ask_for(ledger, study, Wanted("1.2"), now=NOW + 20) == ""
    with ledger.write() as connection:
        connection.execute(studies.update().values(last_arrival_at=NOW + 30))
        later = connection.execute(sa.select(studies)).one()
    assert ask_for(ledger, later, Wanted("1.2"), now=NOW + 40) != ""
    with ledger.write() as connection:
        connection.execute(table.update().values(state="failed", finished_at=NOW + 50))
        assert fetches.open_again(connection, later, NOW + 60) == 1
    assert len(due(ledger, NOW + 60)) == 1


def test_an_answer_takes_the_place_of_the_one_before(ledger: Ledger, study: object) -> None:
    answers = [
        Answer("archive", NOW, "k1", "k1", (("1.3", "MR", 4),)),
        Answer("archive", NOW + 9, "k2", "k3", (("1.3", "MR", None),)),
    ]
    with ledger.write() as connection:
        for answer in answers:
            archive_answers.record_answers(connection, "1.2", [answer])
        assert evidence_of(connection, study).answers == (answers[1],)

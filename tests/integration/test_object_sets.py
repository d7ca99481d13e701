"""What goes to a destination hangs together there: the class of its report, what goes along, what it took before."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from daemon.work import object_sets
from dicom_sr import render
from dicom_sr.report_classes import further_kinds
from dicom_sr.sop_classes import BASIC_TEXT, COMPREHENSIVE, ENCAPSULATED_PDF, ENHANCED, SECONDARY_CAPTURE
from tests.support.archives import Archive, archive
from tests.support.delivering import Desk
from tests.support.dicomweb import dicomweb
from tests.support.reports import case

# pynetdicom's requestor drops, unclosed, the socket of a connection that failed; that is not ours to fail for.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
ALL = (COMPREHENSIVE, ENHANCED, BASIC_TEXT, SECONDARY_CAPTURE, ENCAPSULATED_PDF)
SETTINGS = {"report": {"what": ("sr", "page", "pdf")}}
WAITS = {"connect_timeout_s": 60, "answer_timeout_s": 60}
WHAT = ["sr", "page", "pdf"]


def make(at: Desk, number: int = 1) -> str:
    """Revision `number` of a result, rendered for the destinations of the desk."""
    example = case("high")
    result = example.result.model_copy(update={"revision": number})
    groups, numbers = object_sets.sets_of(at.context, "s1", f"r1-{number}", number, example.source)
    first, *others = groups
    settings = at.context.settings
    source = example.source.after(first)
    made = render(result, source, (), settings, (), further_kinds(settings), tuple(others))
    return at.result(number, objects=made.objects, sets=numbers)


def to(name: str, port: int, what: list[str] | None = None) -> dict[str, Any]:
    """A destination that a busy machine may keep waiting."""
    return {"name": name, "port": port, "what": what or ["sr", "page"], **WAITS}


def read(data: bytes) -> Dataset:
    return read_dataset(BytesIO(data), is_implicit_VR=False, is_little_endian=True)


def received(there: Archive) -> dict[str, Dataset]:
    """The last of each class."""
    sets = [read(data) for _, data in there.received]
    return {str(ds.SOPClassUID): ds for ds in sets}


def predecessor(ds: Dataset) -> str | None:
    if "PredecessorDocumentsSequence" not in ds:
        return None
    (study,) = ds.PredecessorDocumentsSequence
    return str(study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def names(page: Dataset) -> str:
    return str(page.SourceInstanceSequence[0].ReferencedSOPInstanceUID)


def evidence(ds: Dataset) -> set[str]:
    items = [i for study in ds.CurrentRequestedProcedureEvidenceSequence for i in study.ReferencedSeriesSequence]
    return {str(sop.ReferencedSOPInstanceUID) for series in items for sop in series.ReferencedSOPSequence}


def hangs_together(report: Dataset, there: dict[str, Dataset]) -> bool:
    page, pdf = there[SECONDARY_CAPTURE], there[ENCAPSULATED_PDF]
    return names(page) == names(pdf) == report.SOPInstanceUID and {page.SOPInstanceUID, pdf.SOPInstanceUID} <= evidence(
        report
    )


def test_each_destination_gets_a_set_of_its_own_and_its_own_predecessor(make_desk: Any) -> None:
    poor = (BASIC_TEXT, SECONDARY_CAPTURE, ENCAPSULATED_PDF)
    with archive(classes=ALL) as rich, archive(classes=poor) as plain, archive(answer=lambda uid: 0xA700) as full:
        at = make_desk(
            to("rich", rich.port, WHAT),
            to("plain", plain.port, WHAT),
            to("full", full.port, WHAT),
            **SETTINGS,
        )
        taken: list[dict[str, dict[str, Dataset]]] = []
        for number in (1, 2):
            revision = make(at, number)
            assert [at.deliver(f"{revision}-{name}") for name in ("rich", "plain")] == ["", ""]
            taken.append({"rich": received(rich), "plain": received(plain)})
            if number == 1:
                assert at.deliver(f"{revision}-full") == "destination-congested"
        full.answer = lambda uid: 0
        assert at.row("r1-2-full").objects[0].startswith("sr")
    first, second = taken
    reports = {"rich": COMPREHENSIVE, "plain": BASIC_TEXT}
    for name, sop_class in reports.items():
        assert hangs_together(first[name][sop_class], first[name])
        assert predecessor(first[name][sop_class]) is None
        assert hangs_together(second[name][sop_class], second[name])
        assert predecessor(second[name][sop_class]) == first[name][sop_class].SOPInstanceUID
    uids = [uid for uid, _ in (*rich.received, *plain.received)]
    assert len(set(uids)) == len(uids) == 12


def test_a_destination_that_took_nothing_is_told_of_no_predecessor(make_desk: Any) -> None:
    with archive(classes=ALL) as one, archive(classes=ALL) as other:
        at = make_desk(to("one", one.port), to("other", other.port), **SETTINGS)
        assert at.deliver(f"{make(at)}-one") == ""
        revision = make(at, 2)
        assert [at.deliver(f"{revision}-{name}") for name in ("one", "other")] == ["", ""]
    first = read(one.received[0][1])
    assert predecessor(received(one)[COMPREHENSIVE]) == first.SOPInstanceUID
    assert predecessor(received(other)[COMPREHENSIVE]) is None
    assert names(received(other)[SECONDARY_CAPTURE]) == received(other)[COMPREHENSIVE].SOPInstanceUID


def test_nothing_names_an_object_that_does_not_go_to_its_destination(make_desk: Any) -> None:
    with archive(classes=ALL) as whole, archive(classes=ALL) as some, archive(classes=ALL) as picture:
        at = make_desk(
            to("whole", whole.port, WHAT), to("some", some.port), to("picture", picture.port, ["page"]), **SETTINGS
        )
        for number in (1, 2):
            revision = make(at, number)
            assert [at.deliver(f"{revision}-{name}") for name in ("whole", "some", "picture")] == ["", "", ""]
    ours = {uid for there in (whole, some, picture) for uid, _ in there.received}
    assert [len(there.received) for there in (whole, some, picture)] == [6, 4, 2]
    for there in (whole, some, picture):
        sets = [read(data) for _, data in there.received]
        assert {uid for ds in sets for uid in referred(ds)} & ours <= there.stored
    assert received(some)[SECONDARY_CAPTURE].SOPInstanceUID in evidence(received(some)[COMPREHENSIVE])


def referred(ds: Dataset) -> set[str]:
    return {str(e.value) for e in ds.iterall() if e.keyword == "ReferencedSOPInstanceUID"}


def test_a_result_that_is_made_again_has_the_sets_that_its_deliveries_are_of(make_desk: Any) -> None:
    with archive(classes=ALL) as one, archive(classes=ALL) as other:
        at = make_desk(to("other", other.port), to("one", one.port), **SETTINGS)
        assert at.deliver(f"{make(at)}-one") == ""
        make(at, 2)
        groups, numbers = object_sets.sets_of(at.context, "s1", "r1-2", 2, case("high").source)
    assert (numbers["other"], numbers["one"], numbers[""]) == (0, 1, 0)
    assert groups[0].report is None
    assert groups[1].report is not None


@pytest.mark.parametrize("reason", [0x0122, 0xA900, None], ids=["not supported", "not of the class", "bare conflict"])
def test_by_stow_a_class_that_is_refused_is_followed_by_the_next_one(make_desk: Any, reason: int | None) -> None:
    with dicomweb() as there:
        there.refuses = ((COMPREHENSIVE, ENHANCED), reason)
        at = make_desk(
            {"name": "web", "pacs": "web", "via": "stow", "what": WHAT, **WAITS}, pacs=[pacs(there.url)], **SETTINGS
        )
        revision = make(at)
        assert at.deliver(f"{revision}-web") == ""
        posts = there.posts()
        assert at.deliver(f"{make(at, 2)}-web") == ""
        assert (posts, there.posts() - posts) == (4, 1), "three reports one by one, then the rest; later all at once"
    assert at.row(f"{revision}-web").state == "delivered"
    assert at.row(f"{revision}-web").objects == ["sr_basic_text", "page~t0", "pdf~t0"]
    assert len(there.has) == 6, "nothing that was refused, and nothing twice"
    by_revision = [[dcmread(BytesIO(data)) for data in list(there.has.values())[i : i + 3]] for i in (0, 3)]
    reports = []
    for objects in by_revision:
        sets = {str(ds.SOPClassUID): ds for ds in objects}
        assert hangs_together(sets[BASIC_TEXT], sets)
        reports.append(sets[BASIC_TEXT])
    assert [predecessor(sr) for sr in reports] == [None, reports[0].SOPInstanceUID]


def test_by_stow_a_class_that_is_refused_later_is_refused_and_not_dead(make_desk: Any) -> None:
    with dicomweb() as there:
        there.refuses = ((), 0x0122)
        at = make_desk(
            {"name": "web", "pacs": "web", "via": "stow", "what": WHAT, **WAITS}, pacs=[pacs(there.url)], **SETTINGS
        )
        assert at.deliver(f"{make(at)}-web") == ""
        assert at.row("r1-1-web").objects == WHAT
        there.refuses = ((COMPREHENSIVE,), 0x0122)
        revision = make(at, 2)
        assert at.deliver(f"{revision}-web") == "object-not-taken"
        assert "does not take sr with status 0x0122" in at.row(f"{revision}-web").reason
        at.wait_until_due(f"{revision}-web")
        assert at.deliver(f"{revision}-web") == ""
    assert at.row(f"{revision}-web").objects == ["sr_enhanced", "page~e0", "pdf~e0"]


def test_by_stow_an_archive_that_takes_no_report_of_ours_is_told_as_refusing(make_desk: Any) -> None:
    with dicomweb() as there:
        there.refuses = ((COMPREHENSIVE, ENHANCED, BASIC_TEXT), 0x0122)
        at = make_desk(
            {"name": "web", "pacs": "web", "via": "stow", "what": WHAT, **WAITS}, pacs=[pacs(there.url)], **SETTINGS
        )
        revision = make(at)
        for _ in range(2):
            assert at.deliver(f"{revision}-web") == "object-not-taken"
            assert "does not take sr with status 0x0122" in at.row(f"{revision}-web").reason
            at.wait_until_due(f"{revision}-web")


def pacs(url: str) -> dict[str, object]:
    return {"name": "web", "ae_title": "A", "host": "127.0.0.1", "port": 104, "dicomweb_url": url}

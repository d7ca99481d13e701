"""Delivered is what a destination confirms by name; everything else that looks like success is not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from tests.support.archives import archive
from tests.support.delivering import Desk
from tests.support.dicomweb import DicomWeb, dicomweb, named
from tests.support.postgres import free_port
from tests.support.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

SR, PAGE = "1.2.1.1.1", "1.2.1.1.2"
XML = (
    '<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
    '<DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence">%s</DicomAttribute></NativeDicomModel>'
)


def xml(*uids: str) -> bytes:
    items = "".join(
        f'<Item number="{n}"><DicomAttribute tag="00081155" vr="UI">'
        f'<Value number="1">{uid}</Value></DicomAttribute></Item>'
        for n, uid in enumerate(uids, start=1)
    )
    return (XML % items).encode()


def coerced(ours: str, theirs: str) -> dict[str, Any]:
    modified = {"00080018": {"vr": "UI", "Value": [ours]}}
    original = {"04000550": {"vr": "SQ", "Value": [modified]}}
    return {
        "00081155": {"vr": "UI", "Value": [theirs]},
        "00081196": {"vr": "US", "Value": [0xB000]},
        "04000561": {"vr": "SQ", "Value": [original]},
    }


def stow_desk(make_desk: Any, url: str, **destination: Any) -> Desk:
    pacs = {"name": "main", "ae_title": "P", "host": "127.0.0.1", "port": 104, "dicomweb_url": url}
    made: Desk = make_desk({"name": "a", "pacs": "main", "via": "stow", **destination}, pacs=[pacs])
    return made


@pytest.fixture
def web() -> Iterator[DicomWeb]:
    with dicomweb() as server:
        yield server


WRONG: dict[str, tuple[Any, ...]] = {
    "an empty object": (200, {}),
    "an empty list": (200, []),
    "nothing": (200, b""),
    "no content": (204, b""),
    "created, and nothing": (201, b""),
    "accepted, and nothing": (202, b""),
    "a page": (200, b"<html>Welcome to nginx!</html>", "text/html"),
    "a page that claims to be DICOM JSON": (200, b"<!DOCTYPE html><html><p>log in<br></html>"),
    "a page that is well-formed XML": (200, b"<html><body>log in</body></html>", "application/dicom+xml"),
    "JSON that breaks off": (
        200,
        b'{"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.1.1.1',
    ),
    "other UIDs": (200, named("1.2.3", "4.5.6")),
    "one of two": (200, named(SR)),
    "one of two, with a warning": (202, named(SR, **{"00081196": {"vr": "US", "Value": [0xB000]}})),
    "our UIDs in another sequence": (200, {"00080016": {"vr": "UI", "Value": [SR, PAGE]}}),
    "what it lists under a study": (200, [{"0020000D": {"vr": "UI", "Value": ["1.2.1"]}}]),
    "values of another kind": (200, {"00081199": {"vr": "SQ", "Value": [SR, PAGE]}}),
    "an element that is null": (200, {"00081199": None}),
    "a sequence without values": (200, {"00081199": {"vr": "SQ"}}),
    "a number": (200, b"17"),
    "nested beyond reason": (200, b"[" * 100_000),
    "XML that names others": (200, xml("1.2.3"), "application/dicom+xml"),
    "XML that breaks off": (200, xml(SR, PAGE)[:-30], "application/dicom+xml"),
    "a conflict that names them as stored": (409, named(SR, PAGE)),
    "failed under a warning's code": (200, named(failed={SR: 0xB000, PAGE: 0})),
    "stored and failed at once": (200, named(SR, PAGE, failed={SR: 0xA900})),
    "stored with the reason of a failure": (202, named(SR, PAGE, **{"00081197": {"vr": "US", "Value": [0xA700]}})),
    "a warning that is a failure": (202, named(SR, PAGE, **{"00081196": {"vr": "US", "Value": [0xA700]}})),
    "another study, by its address": (
        200,
        {**named(SR, PAGE), "00081190": {"vr": "UR", "Value": ["http://h/dicom-web/studies/9.9"]}},
    ),
    "another study, by the address of each": (
        200,
        named(SR, PAGE, **{"00081190": {"vr": "UR", "Value": ["/studies/9.9/series/1.2/instances/1.3"]}}),
    ),
    "another study, by its UID": (200, named(SR, PAGE, **{"0020000D": {"vr": "UI", "Value": ["9.9"]}})),
    "a part that breaks off": (
        200,
        b"--b\r\nContent-Type: application/dicom+json\r\n\r\n" + json.dumps(named(SR, PAGE)).encode(),
        "multipart/related; boundary=b",
    ),
    "another class": (200, named(SR, PAGE, **{"00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.4"]}})),
}


@pytest.mark.parametrize("proof", ["status", "readback"])
@pytest.mark.parametrize("what", WRONG)
def test_an_answer_that_does_not_name_our_objects_delivers_nothing(
    make_desk: Any, web: DicomWeb, what: str, proof: str
) -> None:
    web.answers(*WRONG[what])
    at = stow_desk(make_desk, web.url, proof=proof)
    revision = at.result()
    assert at.deliver(f"{revision}-a") in ("not-confirmed", "object-refused")
    assert at.row(f"{revision}-a").state in ("pending", "failed")
    assert at.state_of() == "reported"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["/login", "http://other.invalid/studies?ticket=secret", "https://127.0.0.1/studies"])
def test_a_redirect_is_told_with_its_target_and_never_followed(
    make_desk: Any, web: DicomWeb, status: int, to: str
) -> None:
    web.answers(status, b"", "", Location=to)
    at = stow_desk(make_desk, web.url)
    revision = at.result()
    assert at.deliver(f"{revision}-a") == "redirected"
    reason = at.row(f"{revision}-a").reason
    assert (to.partition("?")[0] if "://" in to else f"{web.url}{to}") in reason
    assert "dicomweb_url" in reason
    assert "secret" not in reason
    assert web.asked == [("POST", "/studies")]
    assert at.row(f"{revision}-a").state == "pending"


@pytest.mark.parametrize("to", ["http://[::1", "https://["])
def test_a_redirect_to_an_address_that_is_none_is_told_as_a_redirect(make_desk: Any, web: DicomWeb, to: str) -> None:
    web.answers(302, b"", "", Location=to)
    at = stow_desk(make_desk, web.url)
    revision = at.result()
    assert at.deliver(f"{revision}-a") == "redirected"
    assert "an address that is none" in at.row(f"{revision}-a").reason


def test_a_token_that_http_cannot_carry_is_told_as_such(make_desk: Any, web: DicomWeb) -> None:
    pacs = {"name": "main", "ae_title": "P", "host": "127.0.0.1", "port": 104, "dicomweb_url": web.url}
    at = make_desk({"name": "a", "pacs": "main", "via": "stow"}, pacs=[pacs | {"dicomweb_token": "…"}])
    revision = at.result()
    assert at.deliver(f"{revision}-a") == "destination-refused"
    assert "HTTP does not carry" in at.row(f"{revision}-a").reason
    assert web.asked == []


@pytest.mark.parametrize("status", [300, 304, 305])
def test_a_redirect_to_nowhere_delivers_nothing(make_desk: Any, web: DicomWeb, status: int) -> None:
    web.answers(status, b"", "")
    at = stow_desk(make_desk, web.url)
    assert at.deliver(f"{at.result()}-a") == "destination-refused"


RIGHT: dict[str, tuple[Any, ...]] = {
    "DICOM JSON": (200, named(SR, PAGE), "application/dicom+json"),
    "a list of one": (200, [named(SR, PAGE)], "application/dicom+json"),
    "a list of two": (200, [named(SR), named(PAGE)], "application/dicom+json"),
    "JSON": (200, named(SR, PAGE), "application/json; charset=utf-8"),
    "JSON under another type": (200, named(SR, PAGE), "text/html"),
    "JSON under no type": (200, named(SR, PAGE), ""),
    "JSON with a mark before it": (200, b"\xef\xbb\xbf" + json.dumps(named(SR, PAGE)).encode()),
    "created": (201, named(SR, PAGE)),
    "DICOM XML": (200, xml(SR, PAGE), "application/dicom+xml"),
    "XML": (200, xml(SR, PAGE), "text/xml"),
    "XML under the type of JSON": (200, xml(SR, PAGE), "application/dicom+json"),
    "a multipart message": (
        200,
        b"--b\r\nContent-Type: application/dicom+json\r\n\r\n"
        + json.dumps(named(SR, PAGE)).encode()
        + b"\r\n--b--\r\n",
        "multipart/related; boundary=b",
    ),
    "addresses in our study": (
        200,
        {**named(SR, PAGE), "00081190": {"vr": "UR", "Value": ["http://h/studies/x/dicom-web/studies/1.2.1?a=b"]}},
    ),
    "an unknown warning": (202, named(SR, PAGE, **{"00081196": {"vr": "US", "Value": [0xB123]}})),
    "other UIDs with ours as their originals": (
        202,
        {"00081199": {"vr": "SQ", "Value": [coerced(SR, "9.1"), coerced(PAGE, "9.2")]}},
    ),
}


@pytest.mark.parametrize("what", RIGHT)
def test_what_the_body_names_is_stored_whatever_its_header_says(make_desk: Any, web: DicomWeb, what: str) -> None:
    web.answers(*RIGHT[what])
    at = stow_desk(make_desk, web.url)
    revision = at.result()
    assert at.deliver(f"{revision}-a") == ""
    assert at.row(f"{revision}-a").state == "delivered"
    if "originals" in what:
        assert at.objects(f"{revision}-a")["sr"].coerced_uid == "9.1"


def fill(at: Desk, revision: str, web: DicomWeb, change: Callable[[Dataset], None] = lambda ds: None) -> None:
    """The archive has the objects of a revision already, perhaps not quite as they are."""
    for kind in ("sr", "page"):
        ds = dcmread(at.file(revision, kind))
        change(ds)
        out = BytesIO()
        ds.save_as(out, enforce_file_format=True)
        web.has[str(ds.SOPInstanceUID)] = out.getvalue()


EXISTS = {
    "a failure of each": (409, named(failed={SR: 0x0111, PAGE: 0x0111})),
    "the code of a cloud archive": (409, named(failed={SR: 0xB00E, PAGE: 0xB00E})),
    "a bare conflict": (409, b""),
    "no answer of use": (200, b"<html>"),
}


@pytest.mark.parametrize("what", EXISTS)
def test_exists_already_after_a_lost_answer_is_settled_by_reading_it_back(
    make_desk: Any, web: DicomWeb, what: str
) -> None:
    web.answers(*EXISTS[what])
    at = stow_desk(make_desk, web.url)
    revision = at.result()
    fill(at, revision, web)
    assert at.deliver(f"{revision}-a") == ""
    row = at.row(f"{revision}-a")
    assert row.state == "delivered"
    assert "it was there already, with the same content" in row.reason


def rename(ds: Dataset) -> None:
    ds.PatientName = "Somebody^Else"


def coerce(ds: Dataset) -> None:
    before, item = Dataset(), Dataset()
    before.PatientName = ds.PatientName
    item.ModifiedAttributesSequence = [before]
    ds.OriginalAttributesSequence = [item]
    ds.PatientName, ds.InstanceAvailability = "Corrected^Name", "ONLINE"


def test_other_content_under_our_uid_is_a_conflict_with_its_own_code(make_desk: Any, web: DicomWeb) -> None:
    web.answers(*EXISTS["a failure of each"])
    at = stow_desk(make_desk, web.url, proof="readback")
    revision = at.result()
    fill(at, revision, web, rename)
    assert at.deliver(f"{revision}-a") == "uid-conflict"
    assert at.row(f"{revision}-a").state == "failed"
    assert at.state_of() == "reported"


def test_what_an_archive_says_it_coerced_is_the_same_content(make_desk: Any, web: DicomWeb) -> None:
    web.answers(*EXISTS["a failure of each"])
    at = stow_desk(make_desk, web.url)
    revision = at.result()
    fill(at, revision, web, coerce)
    assert at.deliver(f"{revision}-a") == ""


def test_an_object_that_is_said_to_exist_and_is_not_there_is_sent_again(make_desk: Any, web: DicomWeb) -> None:
    web.answers(*EXISTS["a failure of each"])
    at = stow_desk(make_desk, web.url)
    revision = at.result()
    assert at.deliver(f"{revision}-a") == "object-not-taken"
    assert at.row(f"{revision}-a").state == "pending"


@pytest.mark.parametrize(
    ("proof", "code", "state"), [("status", "content-unchecked", "failed"), ("readback", "", "delivered")]
)
def test_an_object_that_nobody_can_compare_counts_where_the_proof_says_so(
    make_desk: Any, web: DicomWeb, proof: str, code: str, state: str
) -> None:
    web.answers(*EXISTS["a failure of each"])
    web.wado = 501
    at = stow_desk(make_desk, web.url, proof=proof)
    revision = at.result()
    fill(at, revision, web)
    assert at.deliver(f"{revision}-a") == code
    row = at.row(f"{revision}-a")
    assert row.state == state
    assert "an object of this UID is there, content unchecked" in row.reason


# C-STORE


@pytest.mark.parametrize(
    ("proof", "code", "state"), [("status", "content-unchecked", "failed"), ("readback", "", "delivered")]
)
def test_a_duplicate_in_an_archive_that_cannot_be_read_is_told_and_the_proof_decides(
    make_desk: Any, proof: str, code: str, state: str
) -> None:
    with archive(answer=lambda uid: 0x0111) as there:
        at = make_desk({"name": "a", "port": there.port, "proof": proof})
        revision = at.result()
        there.received += [(SR, b""), (PAGE, b"")]
        assert at.deliver(f"{revision}-a") == code
    row = at.row(f"{revision}-a")
    assert row.state == state
    assert "an object of this UID is there, content unchecked" in row.reason


def test_a_duplicate_that_the_archive_does_not_list_is_not_delivered_by_readback(make_desk: Any) -> None:
    with archive(answer=lambda uid: 0x0111) as there:
        at = make_desk({"name": "a", "port": there.port, "proof": "readback"})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == "not-read-back"
    assert at.row(f"{revision}-a").state != "delivered"


@pytest.mark.parametrize("reading", ["get", "wado"])
@pytest.mark.parametrize(("same", "code"), [(True, ""), (False, "uid-conflict")])
def test_a_duplicate_is_compared_where_the_archive_can_be_read(
    make_desk: Any, web: DicomWeb, reading: str, same: bool, code: str
) -> None:
    with archive(answer=lambda uid: 0x0111) as there:
        pacs = {"name": "main", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": there.port}
        pacs |= {"can": ["get"]} if reading == "get" else {"dicomweb_url": web.url}
        at = make_desk({"name": "a", "pacs": "main"}, pacs=[pacs])
        revision = at.result()
        fill(at, revision, web, (lambda ds: None) if same else rename)
        there.files = dict(web.has)
        assert at.deliver(f"{revision}-a") == code
    assert at.row(f"{revision}-a").state == ("delivered" if same else "failed")


@pytest.mark.parametrize("status", [0x0001, 0x0107, 0x0116, 0xFF00, 0xFE00, 0xB001, 0xC000])
def test_a_status_that_is_no_success_of_storing_delivers_nothing(make_desk: Any, status: int) -> None:
    with archive(answer=lambda uid: status) as there:
        at = make_desk({"name": "a", "port": there.port})
        assert at.deliver(f"{at.result()}-a") != ""
    assert at.state_of() == "reported"


# Fronts as hospitals have them


@pytest.mark.cases
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/sso", "redirected"),
        ("/tohttps", "redirected"),
        ("/empty200", "not-confirmed"),
        ("/html200", "not-confirmed"),
        ("/nginx413", "object-refused"),
        ("/bad502", "peer-unreachable"),
        ("/e401", "destination-refused"),
    ],
)
def test_no_front_of_a_hospital_is_taken_for_an_archive(make_desk: Any, cases: Path, path: str, code: str) -> None:
    port = free_port()
    mock = cases / "faults2" / "stow" / "mock.py"
    process = subprocess.Popen([sys.executable, str(mock), str(port)], stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(answers, "the mock to listen")
        for proof in ("status", "readback"):
            at = stow_desk(make_desk, f"http://127.0.0.1:{port}{path}", proof=proof)
            revision = at.result()
            assert at.deliver(f"{revision}-a") == code
            assert at.row(f"{revision}-a").state != "delivered"
    finally:
        process.terminate()
        process.wait()

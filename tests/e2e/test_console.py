"""The console in Chromium: every page and every order, at the width of a desk and of a phone, in two languages.

Every exam has a Chinese name and `<script>` in its series' descriptions; some have a report, some proposed regions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pydicom
import pytest

from daemon.console.application import ADDRESSES
from daemon.console.orders import OF_EXAM
from daemon.console.rights import ROLES, may
from tests.support import viewer
from tests.support.console_site import HOSTILE, NAME, WIDTHS, Place, console_site, unvisited

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.peer("node"), pytest.mark.peer("redis-server")]
DESK, PHONE = WIDTHS
at_both_widths = pytest.mark.parametrize("width", WIDTHS)
SHOWN_NAME = "王 小美"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if not viewer.browses():
        pytest.skip("no axe-core (script/peers-viewer installs it)")
    with console_site(tmp_path_factory.mktemp("console")) as site:
        yield site


def every_page(place: Place) -> list[dict[str, Any]]:
    """A look at each page that an exam and the machinery have."""
    one, other = place.study(place.reported), place.study(place.measured)
    paths = {
        "today": "/", "exams": "/exams", "waiting": "/exams?state=waiting", "exam": f"/exams/{one}",
        "measured": f"/exams/{other}", "destinations": "/destinations", "signatures": "/signatures",
        "workers": "/workers", "absent": "/exams/nobody",
    }  # fmt: skip
    return [step for name, path in paths.items() for step in ({"visit": path}, {"look": name})]


@at_both_widths
def test_every_page_is_readable_and_says_who_the_patient_is(place: Place, width: int) -> None:
    steps = [*every_page(place), {"visit": f"/exams/{place.study(place.reported)}"}]
    steps += [{"open": "The page for readers"}, {"open": "The report as text"}, {"look": "report"}]
    looks = {look["name"]: look for look in place.browse("radiologist", steps, width=width, folder="en")}
    assert {name for name, look in looks.items() if look["status"] != 200} == {"absent"}
    for name in ("exam", "measured", "report"):
        assert SHOWN_NAME in looks[name]["text"]
        assert HOSTILE in looks[name]["text"]
    assert "王" not in looks["exams"]["text"] + looks["today"]["text"]
    assert "ALN metastasis probability" in looks["report"]["text"] or "not evaluated" in looks["report"]["text"].lower()
    assert "chosen as T1C" in looks["exam"]["text"]
    assert place.study(place.measured) in looks["waiting"]["text"]


@at_both_widths
def test_the_longest_name_and_id_wrap(place: Place, width: int) -> None:
    steps = [{"visit": f"/exams/{place.study(place.rejected)}"}, {"look": "long"}]
    (page,) = place.browse("radiologist", steps, width=width)
    assert "李" * 64 in page["text"]
    assert "9" * 64 in page["text"]


def test_an_order_is_given_by_the_keyboard_alone(place: Place) -> None:
    """From the first key on the page: past the navigation, to the field, to the button."""
    steps = [
        {"visit": f"/exams/{place.study(place.waiting)}/prioritise"}, {"keys": ["Tab"]}, {"look": "first"},
        {"keys": ["Enter", "Tab"]}, {"look": "field"}, {"type": "low"}, {"keys": ["Tab"]}, {"look": "button"},
    ]  # fmt: skip
    first, at_field, at_button = place.browse("operator", steps)
    assert first["focus"] == "Skip to content"
    assert "routine" in at_field["focus"]
    assert at_button["focus"] == "Change the priority"
    steps[-1:] = [{"keys": ["Enter"]}, {"await": f"/exams/{place.study(place.waiting)}"}, {"look": "given"}]
    assert "low" in place.browse("operator", steps)[-1]["text"]


def test_no_page_needs_a_script(place: Place) -> None:
    looks = place.browse("operator", every_page(place), scripts=False, axe=False, folder="no-scripts")
    assert {look["status"] for look in looks} == {200, 404}


@at_both_widths
def test_dark_and_in_chinese(place: Place, width: int) -> None:
    steps = [{"visit": "/"}, {"press": "中文"}, *every_page(place), {"press": "English"}]
    looks = place.browse("admin", steps, width=width, scheme="dark", folder="zh-dark")
    assert {look["lang"] for look in looks} == {"zh-CN"}
    assert any("今日" in look["text"] for look in looks)


@at_both_widths
def test_a_viewer_sees_neither_name_nor_picture_and_signs_out(place: Place, width: int) -> None:
    path = f"/exams/{place.study(place.reported)}"
    steps = [{"visit": path}, {"look": "exam"}, {"visit": "/log"}, {"look": "refused"}, {"press": "Sign out"}]
    steps += [{"look": "out"}, {"fill": {"user": "viewer", "password": "wrong", "code": "000000"}}]
    steps += [{"press": "Sign in"}, {"look": "wrong"}]
    exam, refused, out, wrong = place.browse("viewer", steps, width=width)
    place.signed_in.remove("viewer")
    assert "王" not in exam["text"]
    assert "PHANTOM" not in exam["text"].upper()
    assert (refused["status"], out["path"], wrong["status"]) == (403, "/sign-in", 401)
    assert "wrong" in wrong["text"]


@at_both_widths
def test_regions_are_looked_at_slice_by_slice(place: Place, width: int) -> None:
    steps = [
        {"visit": f"/exams/{place.study(place.measured)}"},
        {"press": "Look at them slice by slice"}, {"look": "proposed"},
        {"press": "→", "exact": False}, {"look": "next"},
        {"visit": f"/exams/{place.study(place.measured)}/series/1?slice=1"}, {"look": "other"},
    ]  # fmt: skip
    first, following, _ = place.browse("radiologist", steps, width=width, folder="slices")
    assert "proposed, dashed" in first["text"]
    assert "cm³" in first["text"]
    assert HOSTILE in first["text"]
    assert "Accept the regions" in first["text"]
    assert following["path"] != first["path"]


@at_both_widths
def test_every_order_is_asked_first(place: Place, width: int) -> None:
    exam = place.study(place.reported)
    for role in ROLES:
        steps = [s for name in OF_EXAM if may(role, name) for s in ({"visit": f"/exams/{exam}/{name}"}, {"look": name})]
        if role in ("operator", "radiologist"):
            looks = place.browse(role, steps, width=width, folder=f"ask-{role}")
            assert all(OF_EXAM[look["name"]].warning in look["text"] for look in looks)


@at_both_widths
def test_an_operator_has_a_destination_tested_and_a_report_sent_again(place: Place, width: int) -> None:
    exam = place.study(place.reported)
    before = len(place.orders("deliver", "prioritise"))
    place.daemon.wait_for(place.reported.study_uid, "delivered", "not_evaluated")
    level = {DESK: "urgent", PHONE: "routine"}[width]
    steps = [
        {"visit": "/destinations"}, {"press": "Test now", "exact": False}, {"look": "tested"},
        {"visit": f"/exams/{exam}"}, {"press": "Deliver again"}, {"look": "ask-deliver"}, {"press": "Deliver again"},
        {"look": "delivering"}, {"press": "Change the priority"}, {"look": "ask-priority"},
        {"fill": {"level": level}}, {"press": "Change the priority"}, {"look": "priority"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in place.browse("operator", steps, width=width)}
    assert "ok" in looks["tested"]["text"]
    assert "1 deliveries are queued" in looks["delivering"]["text"]
    assert level in looks["priority"]["text"]
    orders = place.orders("deliver", "prioritise")[before:]
    assert [m["ActiveParticipant"][0]["UserID"] for m in orders] == ["operator"] * 2


def test_an_operator_has_a_new_report_made_and_learns_where_there_is_none(place: Place) -> None:
    study = place.daemon.wait_for(place.reported.study_uid, "delivered", "not_evaluated")
    steps = [{"visit": f"/exams/{study['id']}"}, {"press": "Make a new report"}, {"look": "ask-redo"}]
    steps += [{"press": "Make a new report"}, {"look": "redone"}]
    _, redone = place.browse("operator", steps)
    assert "a new revision will be made" in redone["text"]
    steps[0] = {"visit": f"/exams/{place.study(place.waiting)}"}
    _, refused = place.browse("operator", steps, width=PHONE)
    assert "a new revision needs one that is finished" in refused["text"]
    place.daemon.wait_for(place.reported.study_uid, "delivered", "not_evaluated", revision=study["revision"] + 1)


def test_a_radiologist_chooses_a_series_and_an_operator_takes_that_back(place: Place) -> None:
    exam, uid = place.study(place.reported), place.reported.study_uid
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in place.reported.paths]
    series = {int(ds.SeriesNumber): str(ds.SeriesInstanceUID) for ds in headers}
    study = place.daemon.wait_for(uid, "delivered", "not_evaluated")
    choose = [{"press": "Choose a series"}, {"look": "ask"}]
    steps = [
        {"visit": f"/exams/{exam}"}, *choose, {"fill": {"sequence": "t2", "series": series[1]}},
        {"press": "Choose a series"}, {"look": "refused"},
        *choose, {"fill": {"sequence": "t1c", "series": series[402]}}, {"press": "Choose a series"}, {"look": "chosen"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in place.browse("radiologist", steps, folder="choose")}
    assert "which it cannot be" in looks["refused"]["text"]
    assert f"series {series[402]} is T1+C" in looks["chosen"]["text"]
    study = place.daemon.wait_for(uid, "delivered", "not_evaluated", revision=study["revision"] + 1)
    assert study["chosen_series"] == {"t1c": series[402]}
    choice = place.daemon.result(uid).sequences["t1c"]
    assert (choice.series_uid, choice.why.partition(";")[0]) == (series[402], "chosen by an operator")
    shown = place.daemon.axrad("show", exam).stdout
    assert "chosen by an operator" in shown
    steps = [{"visit": f"/exams/{exam}"}, *choose, {"fill": {"sequence": "t1c", "series": ""}}]
    steps += [{"press": "Choose a series"}, {"look": "cleared"}]
    looks = {look["name"]: look for look in place.browse("operator", steps, width=PHONE, folder="choose")}
    assert "by the rules again" in looks["cleared"]["text"]
    place.daemon.wait_for(uid, "delivered", "not_evaluated", revision=study["revision"] + 1)
    assert place.daemon.result(uid).sequences["t1c"].series_uid == series[401]
    users = [m["ActiveParticipant"][0]["UserID"] for m in place.orders("choose")]
    assert users == ["radiologist", "operator"]


@at_both_widths
def test_an_exam_is_found_by_accession_and_patients_id_which_are_in_no_address(place: Place, width: int) -> None:
    ds = pydicom.dcmread(place.reported.paths[0], stop_before_pixels=True)
    issuer = str(ds.get("IssuerOfPatientID", ""))
    steps = [
        {"visit": "/exams"}, {"fill": {"text": str(ds.PatientID), "issuer": issuer}}, {"press": "Find"},
        {"look": "by-patient"}, {"visit": "/exams"}, {"fill": {"text": str(ds.AccessionNumber)}}, {"press": "Find"},
        {"look": "by-accession"}, {"visit": "/exams"}, {"fill": {"text": "nobody's"}}, {"press": "Find"},
        {"look": "none"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in place.browse("operator", steps, width=width, folder="search")}
    for name in ("by-patient", "by-accession"):
        assert looks[name]["path"] == f"/exams/{place.study(place.reported)}"
        assert SHOWN_NAME in looks[name]["text"]
    assert "knows no such exam" in looks["none"]["text"]
    trail = place.daemon.settings.spool.path.with_name("audit.jsonl").read_text(encoding="utf-8")
    assert not [secret for secret in (str(ds.PatientID), str(ds.AccessionNumber), *NAME.split("=")) if secret in trail]


def test_an_operator_stops_an_exam_and_goes_on_with_it(place: Place) -> None:
    exam = place.study(place.waiting)
    for width in WIDTHS:
        steps = [
            {"visit": f"/exams/{exam}"}, {"press": "Stop this exam"}, {"press": "Stop this exam"}, {"look": "stopped"},
            {"press": "Try again"}, {"press": "Try again"}, {"look": "going-on"},
        ]  # fmt: skip
        stopped, going_on = place.browse("operator", steps, width=width, folder="stop")
        assert "cancelled" in stopped["text"]
        assert "cancelled" not in going_on["text"].partition("What happened")[0]
        place.daemon.wait_for(place.waiting.study_uid, "held")


@pytest.mark.parametrize(("width", "which"), [(DESK, "held"), (PHONE, "waiting")])
def test_an_operator_accepts_the_identities_of_an_exam_that_is_held(place: Place, width: int, which: str) -> None:
    exam = getattr(place, which)
    path = f"/exams/{place.study(exam)}"
    steps = [{"visit": path}, {"look": "held"}, {"press": "Accept the identities"}, {"press": "Accept the identities"}]
    held, accepted = place.browse("operator", [*steps, {"look": "accepted"}], width=width, folder="held")
    assert "held" in held["text"]
    assert "assembled with the identities it has" in accepted["text"]
    place.daemon.wait_for(exam.study_uid, "delivered", "not_evaluated", "waiting", deliveries=False)


@pytest.mark.parametrize(("width", "role", "label"), [(DESK, "tumor", "Tumor"), (PHONE, "lymph_nodes", "Lymph node")])
def test_a_radiologist_rejects_the_regions_of_each_kind(place: Place, width: int, role: str, label: str) -> None:
    exam = place.study(place.rejected)
    steps = [
        {"visit": f"/exams/{exam}"}, {"press": "Reject the regions"}, {"fill": {"role": role}},
        {"press": "Reject the regions"}, {"look": "rejected"},
    ]  # fmt: skip
    (rejected,) = place.browse("radiologist", steps, width=width, folder="reject")
    assert f"rejected: {label}" in rejected["text"]


@pytest.mark.parametrize(("width", "role", "label"), [(DESK, "tumor", "Tumor"), (PHONE, "lymph_nodes", "Lymph node")])
def test_a_radiologist_accepts_regions_and_the_exam_is_reported(
    place: Place, width: int, role: str, label: str
) -> None:
    exam = place.study(place.measured)
    steps = [
        {"visit": f"/exams/{exam}/accept"}, {"fill": {"role": role}}, {"look": "ask-accept"},
        {"press": "Accept the regions"}, {"look": "accepted"}, {"visit": f"/exams/{exam}/accept"},
        {"fill": {"role": role}}, {"press": "Accept the regions"}, {"look": "again"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in place.browse("radiologist", steps, width=width, folder="accept")}
    assert f"accepted: {label}" in looks["accepted"]["text"]
    assert "accepted already" in looks["again"]["text"]
    if role == "tumor":
        return
    study = place.daemon.wait_for(place.measured.study_uid, "delivered", "not_evaluated", "failed", revision=1)
    assert study["state"] == "delivered", study
    result = place.daemon.result(place.measured.study_uid)
    assert all("radiologist" in str(result.rois[name].confirmed_by) for name in ("tumor", "lymph_nodes"))


@at_both_widths
def test_an_admin_reads_the_log_of_what_people_did(place: Place, width: int) -> None:
    steps = [{"visit": "/log"}, {"look": "log"}, {"visit": "/log?all=1"}, {"look": "all"}]
    log, everything = place.browse("admin", steps, width=width, folder="log")
    assert "Login" in log["text"]
    assert "DICOM Instances" in everything["text"]


def test_every_page_and_order_was_visited_at_both_widths_with_such_exams(place: Place) -> None:
    """By the tests above; those of single signatures are in a file of their own."""
    mine = [one for one in ADDRESSES if not one.path.startswith("/signatures/")]
    assert unvisited(mine, place.browser.visited) == []

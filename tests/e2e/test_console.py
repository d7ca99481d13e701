"""The console in Chromium: every page and every order, at the width of a desk and of a phone, in two languages.

One exam has a Chinese name and a report; another has `<script>` in its series' descriptions, measurements, no region.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from config.places import console_users
from daemon.console import passwords
from daemon.console.orders import OF_EXAM
from daemon.console.rights import ROLES, Role, may
from daemon.console.user_file import UserFile
from daemon.machine.private_files import private_files
from daemon.processes.supervisor import axrad_command, wait_for_port
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.measurements import write_measurements
from tests.support import viewer
from tests.support.archives import COMPREHENSIVE_SR, SECONDARY_CAPTURE
from tests.support.archives import archive as running_archive
from tests.support.browsing import PASSWORD
from tests.support.daemon import Daemon, destination, running
from tests.support.postgres import free_port
from tests.support.waiting import wait_for, wait_for_end

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.peer("node"), pytest.mark.peer("redis-server")]

WIDTHS = (1280, 390)
NAME, HOSTILE = "Wang^XiaoMei=王^小美", "<script>alert('x')</script>"
SECTIONS = {
    "proposal": "enabled = true\nquiet_s = 1",
    "features": 'set = "signature"',
    "bias": "sequences = []",
    "signature": 'allow_origins = ["measured"]\nmax_outside = 1.0\nmax_distance = 1e9',
}


@dataclass
class Place:
    """A running daemon with a console, and who may use it."""

    daemon: Daemon
    base: str
    users: UserFile
    out: Path
    reported: PhantomExam
    measured: PhantomExam
    rejected: PhantomExam
    held: PhantomExam

    def study(self, exam: PhantomExam) -> str:
        found = self.daemon.study(exam.study_uid)
        assert found is not None
        return str(found["id"])

    def sign_in(self, role: str) -> list[dict[str, Any]]:
        """Steps by which a user of this role signs in. Codes open once, so that some may have to be waited for."""
        user = self.users.get(role)
        assert user is not None

        def next_step() -> int | None:
            current = self.users.get(role)
            assert current is not None
            step = max(int(time.time() // passwords.STEP_S), current.last_step + 1)
            return step if step <= int(time.time() // passwords.STEP_S) + 1 else None

        wait_for(lambda: next_step() is not None, "a code that was not used", moves=lambda: str(time.time()))
        step = next_step()
        assert step is not None
        fields = {"user": role, "password": PASSWORD, "code": passwords.code_at(user.totp, step)}
        return [{"visit": "/sign-in"}, {"fill": fields}, {"press": "Sign in"}]

    def browse(self, role: str, steps: Sequence[dict[str, Any]], **how: Any) -> list[dict[str, Any]]:
        """What somebody of this role sees."""
        folder = self.out / str(how.pop("folder", role))
        return viewer.browse(self.base, [*self.sign_in(role), *steps], folder, **how)


def changed(paths: Sequence[Path], **values: str) -> None:
    """Other values in these headers; `{}` stands for what was there."""
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in values.items():
            setattr(ds, keyword, value.format(str(ds.get(keyword, ""))))
        ds.save_as(path, enforce_file_format=True)


def proposed(daemon: Daemon, exam: PhantomExam) -> None:
    """Wait until regions were proposed for an exam."""
    wait_for(
        lambda: "waits for confirmation" in str((daemon.study(exam.study_uid) or {}).get("reason")),
        "a proposal", moves=lambda: str(daemon.study(exam.study_uid)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if not viewer.browses():
        pytest.skip("no axe-core (script/peers-viewer installs it)")
    folder = tmp_path_factory.mktemp("console")
    reported = write_exam(folder / "a", PhantomSpec(seed=31, preset="small", laterality="L"))
    changed(reported.paths, PatientName=NAME)
    measured = write_exam(folder / "b", PhantomSpec(seed=23, preset="small", laterality="L", with_seg=False))
    changed(measured.paths, SeriesDescription="{} " + HOSTILE)
    rejected = write_exam(folder / "c", PhantomSpec(seed=24, preset="small", laterality="L", with_seg=False))
    held = write_exam(folder / "d", PhantomSpec(seed=40, preset="small", laterality="L"))
    changed(held.paths[::2], PatientID="ANOTHER")
    measurements = [write_measurements(exam) for exam in (measured, rejected)]
    port = free_port()
    section = {"console": f"port = {port}", **SECTIONS}
    with running_archive(classes=(COMPREHENSIVE_SR, SECONDARY_CAPTURE)) as archive:
        table = destination(archive.port, ae_title="ARCHIVE", what=["sr", "page"], allow_demonstration=True)
        with running(folder / "axrad", [table], **section) as daemon, Console(daemon, port) as users:
            for path in (*(folder / name for name in "abcd"), *measurements):
                done = daemon.axrad("ingest", str(path))
                assert done.returncode == 0, done.stderr
            daemon.wait_for(reported.study_uid, "delivered", "not_evaluated")
            daemon.wait_for(held.study_uid, "held")
            for exam in (measured, rejected):
                proposed(daemon, exam)
            out = Path(os.environ.get("AXRAD_CONSOLE_PICTURES", folder / "pictures"))
            yield Place(daemon, f"http://127.0.0.1:{port}", users, out, reported, measured, rejected, held)


class Console:
    """`axrad console` as a process of its own."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        self._daemon, self._port = daemon, port

    def __enter__(self) -> UserFile:
        users = UserFile(console_users(self._daemon.settings))
        with private_files():
            for role in ROLES:
                users.add(role, role, PASSWORD)
        command = [*axrad_command(), "console", "--config", str(self._daemon.config)]
        self._process = subprocess.Popen(command)
        assert wait_for_port("127.0.0.1", self._port, 60)
        return users

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        wait_for_end(self._process)


def every_page(place: Place) -> list[dict[str, Any]]:
    """A look at each page that an exam and the machinery have."""
    one, other = place.study(place.reported), place.study(place.measured)
    paths = {
        "today": "/", "exams": "/exams", "waiting": "/exams?state=waiting", "exam": f"/exams/{one}",
        "measured": f"/exams/{other}", "destinations": "/destinations", "signatures": "/signatures",
        "workers": "/workers",
    }  # fmt: skip
    return [step for name, path in paths.items() for step in ({"visit": path}, {"look": name})]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_readable_and_says_who_the_patient_is(place: Place, width: int) -> None:
    steps = [*every_page(place), {"visit": f"/exams/{place.study(place.reported)}"}]
    steps += [{"open": "The page for readers"}, {"open": "The report as text"}, {"look": "report"}]
    looks = {look["name"]: look for look in place.browse("radiologist", steps, width=width, folder=f"en-{width}")}
    assert {look["status"] for look in looks.values()} == {200}
    assert "王 小美" in looks["exam"]["text"]
    assert HOSTILE in looks["measured"]["text"]
    assert "王" not in looks["exams"]["text"] + looks["today"]["text"]
    assert "ALN metastasis probability" in looks["report"]["text"] or "not evaluated" in looks["report"]["text"].lower()
    assert "chosen as T1C" in looks["exam"]["text"]
    assert place.study(place.measured) in looks["waiting"]["text"]


def test_no_page_needs_a_script(place: Place) -> None:
    looks = place.browse("operator", every_page(place), scripts=False, axe=False, folder="no-scripts")
    assert all(look["status"] == 200 for look in looks)


def test_dark_and_in_chinese(place: Place) -> None:
    steps = [{"press": "中文"}, *every_page(place)]
    looks = place.browse("admin", steps, width=390, scheme="dark", folder="zh-dark")
    assert {look["lang"] for look in looks} == {"zh-CN"}
    assert any("今日" in look["text"] for look in looks)


def test_a_viewer_sees_neither_name_nor_picture(place: Place) -> None:
    (look,) = place.browse("viewer", [{"visit": f"/exams/{place.study(place.reported)}"}, {"look": "exam"}])
    assert "王" not in look["text"]
    assert "PHANTOM" not in look["text"].upper()


@pytest.mark.parametrize("width", WIDTHS)
def test_regions_are_looked_at_slice_by_slice(place: Place, width: int) -> None:
    steps = [
        {"visit": f"/exams/{place.study(place.measured)}"},
        {"press": "Look at them slice by slice"}, {"look": "proposed"},
        {"press": "→", "exact": False}, {"look": "next"},
        {"visit": f"/exams/{place.study(place.measured)}/series/1?slice=1"}, {"look": "other"},
    ]  # fmt: skip
    first, following, _ = place.browse("radiologist", steps, width=width, folder=f"slices-{width}")
    assert "proposed, dashed" in first["text"]
    assert "cm³" in first["text"]
    assert "Accept the regions" in first["text"]
    assert following["path"] != first["path"]


def test_an_operator_has_a_destination_tested_and_a_report_sent_again(place: Place) -> None:
    exam = place.study(place.reported)
    steps = [
        {"visit": "/destinations"}, {"press": "Test now", "exact": False}, {"look": "tested"},
        {"visit": f"/exams/{exam}"}, {"press": "Deliver again"}, {"look": "ask-deliver"}, {"press": "Deliver again"},
        {"look": "delivering"}, {"press": "Change the priority"}, {"look": "ask-priority"},
        {"fill": {"level": "urgent"}}, {"press": "Change the priority"}, {"look": "urgent"},
        {"press": "Make a new report"}, {"look": "ask-redo"}, {"press": "Make a new report"}, {"look": "redone"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in place.browse("operator", steps)}
    assert "ok" in looks["tested"]["text"]
    assert "1 deliveries are queued" in looks["delivering"]["text"]
    assert "urgent" in looks["urgent"]["text"]
    assert "a new revision will be made" in looks["redone"]["text"]
    lines = place.daemon.settings.spool.path.with_name("audit.jsonl").read_text(encoding="utf-8").splitlines()
    orders = [
        m for m in map(json.loads, lines) if m.get("axrad", {}).get("action") in ("deliver", "prioritise", "retry")
    ]
    assert [m["ActiveParticipant"][0]["UserID"] for m in orders] == ["operator"] * 3
    assert all("through the console" in m["ActiveParticipant"][0]["AlternativeUserID"] for m in orders)


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
    looks = {look["name"]: look for look in place.browse("operator", steps, width=390, folder="choose-back")}
    assert "by the rules again" in looks["cleared"]["text"]
    place.daemon.wait_for(uid, "delivered", "not_evaluated", revision=study["revision"] + 1)
    assert place.daemon.result(uid).sequences["t1c"].series_uid == series[401]
    lines = place.daemon.settings.spool.path.with_name("audit.jsonl").read_text(encoding="utf-8").splitlines()
    orders = [m for m in map(json.loads, lines) if m.get("axrad", {}).get("action") == "choose"]
    assert [m["ActiveParticipant"][0]["UserID"] for m in orders if "through" in str(m)] == ["radiologist", "operator"]


def test_an_exam_is_found_by_its_patients_id_which_is_in_no_address(place: Place) -> None:
    ds = pydicom.dcmread(place.reported.paths[0], stop_before_pixels=True)
    issuer = str(ds.get("IssuerOfPatientID", ""))
    steps = [
        {"visit": "/exams"}, {"fill": {"text": str(ds.PatientID), "issuer": issuer}},
        {"press": "Find"}, {"look": "found"},
        {"visit": "/exams"}, {"fill": {"text": "nobody's"}}, {"press": "Find"}, {"look": "none"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in place.browse("operator", steps, folder="search")}
    assert looks["found"]["path"] == f"/exams/{place.study(place.reported)}"
    assert "knows no such exam" in looks["none"]["text"]
    trail = place.daemon.settings.spool.path.with_name("audit.jsonl").read_text(encoding="utf-8")
    assert str(ds.PatientID) not in trail


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("role", ["operator", "radiologist"])
def test_every_order_is_asked_first(place: Place, role: Role, width: int) -> None:
    exam = place.study(place.reported)
    steps: list[dict[str, Any]] = []
    for name in OF_EXAM:
        if may(role, name):
            steps += [{"visit": f"/exams/{exam}/{name}"}, {"look": name}]
    looks = place.browse(role, steps, width=width, folder=f"ask-{role}-{width}")
    assert all(OF_EXAM[look["name"]].warning in look["text"] for look in looks)
    assert len(looks) >= 3


def test_an_operator_stops_an_exam_goes_on_with_it_and_a_radiologist_rejects_its_regions(place: Place) -> None:
    exam = place.study(place.rejected)
    steps = [
        {"visit": f"/exams/{exam}"}, {"press": "Stop this exam"}, {"press": "Stop this exam"}, {"look": "stopped"},
        {"press": "Try again"}, {"press": "Try again"}, {"look": "going-on"},
    ]  # fmt: skip
    stopped, going_on = place.browse("operator", steps, width=390, folder="stop")
    assert "cancelled" in stopped["text"]
    assert "cancelled" not in going_on["text"].partition("What happened")[0]
    proposed(place.daemon, place.rejected)
    path = f"/exams/{exam}"
    steps = [{"visit": path}, {"press": "Reject the regions"}, {"press": "Reject the regions"}, {"look": "rejected"}]
    (rejected,) = place.browse("radiologist", steps, folder="reject")
    assert "rejected: Tumor" in rejected["text"]


def test_an_operator_accepts_the_identities_of_an_exam_that_is_held(place: Place) -> None:
    path = f"/exams/{place.study(place.held)}"
    steps = [{"visit": path}, {"look": "held"}, {"press": "Accept the identities"}, {"press": "Accept the identities"}]
    held, accepted = place.browse("operator", [*steps, {"look": "accepted"}], folder="held")
    assert "held" in held["text"]
    assert "assembled with the identities it has" in accepted["text"]
    place.daemon.wait_for(place.held.study_uid, "delivered", "not_evaluated", deliveries=False)


def test_a_radiologist_accepts_regions_and_the_exam_is_reported(place: Place) -> None:
    exam = place.study(place.measured)
    steps = [
        {"visit": f"/exams/{exam}/accept"}, {"look": "ask-accept"},
        {"press": "Accept the regions"}, {"look": "accepted"},
        {"visit": f"/exams/{exam}/accept"}, {"press": "Accept the regions"}, {"look": "again"},
    ]  # fmt: skip
    looks = {look["name"]: look for look in place.browse("radiologist", steps, folder="accept")}
    assert "accepted: Tumor" in looks["accepted"]["text"]
    assert "accepted already" in looks["again"]["text"]
    study = place.daemon.wait_for(place.measured.study_uid, "delivered", "not_evaluated", "failed", revision=1)
    assert study["state"] == "delivered", study
    result = place.daemon.result(place.measured.study_uid)
    assert "radiologist" in str(result.rois["tumor"].confirmed_by)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_admin_reads_the_log_of_what_people_did(place: Place, width: int) -> None:
    steps = [{"visit": "/log"}, {"look": "log"}, {"visit": "/log?all=1"}, {"look": "all"}]
    log, everything = place.browse("admin", steps, width=width, folder=f"log-{width}")
    assert "Login" in log["text"]
    assert "DICOM Instances" in everything["text"]

"""Flower during real exams: stages by name, exams by opaque id, retries and reasons to be seen, and nobody's name."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from tests.support.daemon import Daemon, running, storescu
from tests.support.postgres import free_port
from tests.support.waiting import PATIENCE, wait_for

# Marks that would be found in any page that shows anything of them.
NAME, PATIENT_ID, ACCESSION, BORN = "Zyxwvu^Qponml", "PAT-7713-XQ", "ACC-9931-ZZ", "19570313"
PASSWORD = "flowers-in-a-test"
PAGES = ("/", "/workers", "/tasks", "/broker", "/metrics", "/healthcheck")
APIS = ("/api/workers", "/api/tasks", "/api/task/types", "/api/queues/length")
CHROMIUM = [
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1500,900",
]

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.peer("chromium")]


@dataclass
class Garden:
    """A daemon with Flower, one exam that is reported and one that fails."""

    daemon: Daemon
    folder: Path
    good: dict[str, Any]
    bad: dict[str, Any]

    @property
    def base(self) -> str:
        return f"127.0.0.1:{self.daemon.settings.flower.port}"

    def get(self, path: str, password: str | None = PASSWORD) -> tuple[int, str]:
        request = urllib.request.Request(f"http://{self.base}{path}")
        if password is not None:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"axrad:{password}".encode()).decode())
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def workers(self) -> list[str]:
        """Names of those that answer when Flower asks."""
        status, text = self.get("/api/workers?refresh=1")
        return sorted(json.loads(text)) if status == 200 else []

    def tasks(self) -> list[dict[str, Any]]:
        status, text = self.get("/api/tasks")
        return list(json.loads(text).values()) if status == 200 else []

    def of(self, study: dict[str, Any]) -> list[tuple[str, str]]:
        """Stage and state of each of a study's tasks, the first first."""
        mine = [t for t in self.tasks() if study["id"] in t["args"]]
        return [(t["name"], t["state"]) for t in sorted(mine, key=lambda t: t["received"] or 0)]

    def seen(self, path: str) -> str:
        """The text of a page as Chromium shows it, scripts and all."""
        done = subprocess.run(
            [*CHROMIUM, f"--user-data-dir={self.folder / 'profile'}", "--virtual-time-budget=8000", "--dump-dom",
             f"http://axrad:{PASSWORD}@{self.base}{path}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", done.stdout, flags=re.DOTALL).split())


def marked_exam(folder: Path, seed: int) -> PhantomExam:
    """A small exam of a patient whose name, id and birth date cannot be there by chance."""
    exam = write_exam(folder, PhantomSpec(seed=seed, preset="small"))
    for path in exam.paths:
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID = NAME, PATIENT_ID
        dataset.AccessionNumber, dataset.PatientBirthDate = ACCESSION, BORN
        dataset.save_as(path)
    return exam


def lose_files(daemon: Daemon, study_uid: str) -> None:
    """Before the exam is complete, directories take the place of its files, as a repair of the file system may leave
    them. Something is there, so nothing is asked for again; nothing can be read: the analysis fails, and fails again.
    """
    for path in list((daemon.settings.spool.path / "instances").rglob("*.dcm")):
        if pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID == study_uid:
            path.unlink()
            path.mkdir()


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """What every process writes to stderr goes to a file, one line per stage included."""
    before = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
        os.environ["AXRAD_LOG__LEVEL"] = "info"
        try:
            yield
        finally:
            del os.environ["AXRAD_LOG__LEVEL"]
            os.dup2(before, 2)
            os.close(before)


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Garden]:
    folder = tmp_path_factory.mktemp("flower")
    good, bad = marked_exam(folder / "good", 3), marked_exam(folder / "bad", 4)
    log = folder / "log.jsonl"
    tables = [f'[flower]\nport = {free_port()}\npassword = "{PASSWORD}"\n']
    with (
        logged_to(log),
        running(folder / "daemon", tables, quiet_s=6, flower=True, work="attempts = 2") as daemon,
    ):
        found = Garden(daemon, folder, {}, {})
        wait_for(lambda: len(found.workers()) == 3, "Flower and the workers", moves=found.workers, ticks=2 * PATIENCE)
        storescu(daemon.port, *bad.paths)
        daemon.wait_for_instances(len(bad.paths))
        lose_files(daemon, bad.study_uid)
        storescu(daemon.port, *good.paths)
        found.good = daemon.wait_for(good.study_uid, "delivered", "reported", "not_evaluated")
        found.bad = daemon.wait_for(bad.study_uid, "failed")
        wait_for(lambda: len(found.of(found.bad)) >= 2, "Flower to hear of it")
        # The exam is delivered as soon as its report is kept; the event that the task has ended comes after that.
        wait_for(lambda: all(s == "SUCCESS" for _, s in found.of(found.good)), "Flower to hear how the tasks ended")
        yield found


def test_stages_of_an_exam_are_there_by_name_and_succeed(garden: Garden) -> None:
    # A message is a hint, and may come twice where a worker is slow to take it.
    assert list(dict.fromkeys(garden.of(garden.good))) == [("axrad.analyse", "SUCCESS"), ("axrad.report", "SUCCESS")]
    assert {t["name"] for t in garden.tasks()} <= {"axrad.analyse", "axrad.report", "axrad.deliver"}, (
        "no ticks of sweeps"
    )


def test_work_that_is_tried_again_is_a_retry_and_only_the_last_a_failure_with_its_reason(garden: Garden) -> None:
    assert garden.of(garden.bad) == [("axrad.analyse", "RETRY"), ("axrad.analyse", "FAILURE")]
    mine = [t for t in garden.tasks() if garden.bad["id"] in t["args"]]
    assert all("files-gone" in t["exception"] for t in mine)
    assert {t["args"].rpartition(", ")[2] for t in mine} == {"attempt 1", "attempt 2"}


def test_in_a_browser_tasks_are_seen_to_succeed_and_a_failing_one_with_its_reason(garden: Garden) -> None:
    text = garden.seen("/tasks")
    assert f"study {garden.good['id']}, revision 1, attempt 1" in text
    assert re.search(r"axrad\.report study [0-9a-f]+, revision 1, attempt 1 SUCCESS", text)
    assert re.search(
        rf"axrad\.analyse study {garden.bad['id']}, revision 1, attempt 2 FAILURE TaskFailed\(.files-gone", text
    )
    failed = next(t for t in garden.tasks() if t["state"] == "FAILURE")
    assert "files-gone" in garden.seen(f"/task/{failed['uuid']}")


def test_nothing_in_flower_or_the_logs_or_the_trail_tells_who_the_patient_is(garden: Garden) -> None:
    tasks = garden.tasks()
    paths = [*PAGES, *APIS, "/tasks/datatable?draw=1&start=0&length=100&search[value]=&order[0][column]=0"
             "&order[0][dir]=asc&columns[0][data]=name"]  # fmt: skip
    paths += [f"{base}/{t['uuid']}" for t in tasks for base in ("/task", "/api/task/info")]
    paths += [f"/worker/{name}" for name in garden.workers()]
    texts = {path: garden.get(path) for path in paths}
    assert {status for status, _ in texts.values()} == {200}, {p: s for p, (s, _) in texts.items()}
    root = garden.daemon.settings.spool.path.parent
    texts["the trail"] = 200, (root / "audit.jsonl").read_text()
    texts["the log"] = 200, (garden.folder / "log.jsonl").read_text()
    assert garden.good["id"] in texts["the log"][1]
    texts["the ledger"] = 200, "".join(str(row) for row in _events(garden.daemon))
    for path, (_, text) in texts.items():
        for secret in (NAME, *NAME.split("^"), PATIENT_ID, ACCESSION, BORN):
            assert secret not in text, path


def _events(daemon: Daemon) -> list[Any]:
    from daemon.ledger.tables import events

    with daemon.ledger.read() as connection:
        return list(connection.execute(events.select()).all())


def test_the_marks_are_really_in_the_files(garden: Garden) -> None:
    sample = next((garden.folder / "good").rglob("*.dcm")).read_bytes()
    assert all(secret.encode() in sample for secret in (NAME, PATIENT_ID, ACCESSION, BORN))


def test_one_study_is_followed_through_the_log_from_its_association_to_its_report(garden: Garden) -> None:
    lines = [json.loads(line) for line in (garden.folder / "log.jsonl").read_text().splitlines() if line[:1] == "{"]
    mine = [line for line in lines if line.get("study") == garden.good["id"]]
    assert [line["event"] for line in mine] == ["received", "assembly", "analysed", "reported"]
    ended = [line for line in lines if line["event"] == "association ended"]
    assert mine[0]["association"] in {line["association"] for line in ended}
    failed = [line for line in lines if line.get("study") == garden.bad["id"] and line.get("code") == "files-gone"]
    assert [(line["event"], line["level"]) for line in failed][-1] == ("revision-failed", "error")


def test_flower_asks_for_its_password(garden: Garden) -> None:
    for path in ("/", "/tasks", "/broker", *APIS):
        assert garden.get(path, None)[0] == 401, path
        assert garden.get(path, "guess")[0] == 401, path


def test_flower_shows_and_does_not_steer(garden: Garden) -> None:
    name = garden.workers()[0]
    request = urllib.request.Request(f"http://{garden.base}/api/worker/shutdown/{name}", method="POST", data=b"")
    request.add_header("Authorization", "Basic " + base64.b64encode(f"axrad:{PASSWORD}".encode()).decode())
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    with refused.value as error:
        assert error.code == 403


def test_flower_is_on_this_machine_only_by_default(garden: Garden) -> None:
    assert garden.daemon.settings.flower.host == "127.0.0.1"

"""docs/walkthrough.md is lived through: what compose starts, Orthanc, ten exams of which three are bad, and each
command of the page as it stands there, with the answer that stands there."""

from __future__ import annotations

import base64
import json
import re
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli.wording import WIDTH
from daemon.clock import system_clock
from daemon.health import standing_checks
from daemon.ledger import studies
from tests.support import docs
from tests.support.composed import PASSWORD, House, composed
from tests.support.dicomweb import DicomWeb, dicomweb
from tests.support.poison import DEADLY
from tests.support.waiting import PATIENCE, wait_for

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.peer("storescu"),
    pytest.mark.peer("orthanc"),
    pytest.mark.peer("redis-server"),
]
PAGE = docs.ROOT / "docs" / "walkthrough.md"
EXAMS = 10
IMAGES = 259
# Number of an exam that is bad or lacks something: the state it comes to, and its instances.
BAD = {3: ("not_evaluated", IMAGES), 8: ("waiting", IMAGES - 1), 9: ("held", IMAGES), 10: ("delivered", IMAGES - 45)}
# What doctor and status say of a broker that only reads, of a login page, and of a file that ends its readers.
TROUBLES = (
    "read-only replica (READONLY); point broker.url at the primary",
    "viewer redirects a POST with HTTP status 302",
    "processes (the indexer) died while they read it: SIGABRT",
)
# What stands in a timeline whatever the moments at which images came.
STEADY = (
    "study ",
    "Study Inst",
    "first instance",
    "complete",
    "analysis began",
    "evaluated by",
    "report made",
    "delivered",
    "to pacs",
    "→",
)


class Day:
    """The page, lived through on ports and with ids of its own. `login`: answers with a login page."""

    def __init__(self, house: House, login: DicomWeb) -> None:
        self.house = house
        self.login = login
        self.blocks = [block for block in docs.blocks(PAGE) if block.info.startswith("console walk")]
        text = "\n".join(block.text for block in self.blocks)
        pairs = re.findall(r"^study ([0-9a-f]{16}) (?:.*\n)(?:    .*\n)*Study Instance UID (\S+)", text, re.MULTILINE)
        self.uids = dict(pairs)
        listed = dict.fromkeys(re.findall(r"^exams/exam_\d+: \d+ files, study (\S+)$", text, re.MULTILINE))
        self.numbers = {uid: number for number, uid in enumerate(listed, 1)}
        self.said: dict[str, list[str]] = defaultdict(list)
        self.settled = 0

    def live(self) -> None:
        before = {"settled": self.settle, "restarted": self.restart, "troubled": self.wait_for_trouble}
        for block in self.blocks:
            for word in block.info.split():
                before.get(word, lambda: None)()
            for step in docs.steps_of(block):
                self.take(step)

    def restart(self) -> None:
        """Everything, so that it has the settings as they are now; what indexes has a reader that POISON aborts."""
        shim = self.house.folder / "shim"
        shim.mkdir(exist_ok=True)
        (shim / "sitecustomize.py").write_text(DEADLY, encoding="utf-8")
        self.house.restart(PYTHONPATH=str(shim))

    def wait_for_trouble(self) -> None:
        """Until a destination has refused a result and a file is set aside, of which it is known who sent it."""

        def found() -> dict[str, str]:
            with self.house.ledger.read() as connection:
                findings = list(standing_checks.of_ledger(connection, self.house.settings, system_clock()))
            return {finding.code: finding.text for finding in findings if not finding.ok}

        def there() -> bool:
            texts = found()
            return "destination" in texts and "ORTHANC" in texts.get("unreadable", "")

        wait_for(there, "trouble", moves=lambda: sorted(found()), ticks=2 * PATIENCE)

    def settle(self) -> None:
        """Until every exam is in the state that it comes to."""
        bad = BAD | ({8: ("delivered", IMAGES), 9: ("cancelled", IMAGES)} if self.settled else {})
        self.settled += 1
        wanted = {uid: bad.get(number, ("delivered", IMAGES)) for uid, number in self.numbers.items()}
        assert len(wanted) == EXAMS
        reached: dict[str, tuple[str, int]] = {}

        def there() -> bool:
            nonlocal reached
            reached = self.reached()
            return reached == wanted

        wait_for(there, "the exams to settle", moves=lambda: (reached, self.house.states()), ticks=3 * PATIENCE)

    def reached(self) -> dict[str, tuple[str, int]]:
        found = {uid: self.house.study(uid) for uid in self.numbers}
        done = {uid: s for uid, s in found.items() if s and all(d["state"] == "delivered" for d in s["deliveries"])}
        return {uid: (s["state"], s["instances"]) for uid, s in done.items()}

    def take(self, step: docs.Step) -> None:
        """Type it, and compare."""
        done = self.house.run(self.here(step.command))
        refused = any(line.startswith(("F: ", "axrad: ")) for line in step.shown)
        assert (done.returncode != 0) == refused, f"{PAGE.name}:{step.line}: {done.stdout}{done.stderr}"
        said = [plain(line) for line in self.there(done.stdout + done.stderr).splitlines()]
        for line in step.shown:
            beginning, cut, _ = plain(line).partition("…")
            if not told_by(step.command, line) or beginning in said:
                continue
            found = cut and any(candidate.startswith(beginning) for candidate in said)
            # Where a long line is broken depends on the ports and UIDs in it.
            found = found or (len(beginning) > 30 and beginning in " ".join(said))
            assert found, f"{PAGE.name}:{step.line}: does not say {line!r} but\n{done.stdout}{done.stderr}"
        if step.command.startswith("axrad"):
            assert all(len(line) <= WIDTH for line in self.there(done.stdout).splitlines()), done.stdout
        self.said[step.command].append(done.stdout)

    def here(self, command: str) -> str:
        """Ports and ids as they are here."""
        ports = self.house.ports
        here = {4242: ports.dicom, 11112: ports.listen, 11180: ports.metrics, 8042: ports.http}
        here |= {8043: self.login.server_address[1], 6379: self.house.environ["HERE_REDIS"].rpartition(":")[2]}
        for theirs, ours in here.items():
            command = re.sub(rf"(?<=127\.0\.0\.1[ :]){theirs}\b|(?<=-p ){theirs}\b", str(ours), command)
        return re.sub(r"\b[0-9a-f]{16}\b", lambda found: self.id_of(self.uids[found[0]]), command)

    def there(self, text: str) -> str:
        """Folders as they are in a container."""
        return text.replace(str(self.house.folder), "/var/lib/axrad")

    def id_of(self, study_uid: str) -> str:
        with self.house.ledger.read() as connection:
            return str(studies.find(connection, study_uid).id)


def plain(line: str) -> str:
    """Without ids, numbers, the units of time that go with them, and how long after the last event one was."""
    line = re.sub(r"\b[0-9a-f]{8,64}\b", "#", line.strip())
    line = re.sub(r"\d+(\.\d+)*", "0", line)
    line = re.sub(r"\b0 (s|min|h|d|KiB|MiB|GiB|TiB)\b", "0 x", line)
    return re.sub(r"\s+", " ", re.sub(r"\+0 x ", "", line))


def told_by(command: str, line: str) -> bool:
    """Whether the line is the same whenever the command is typed."""
    if line.strip() == "…":
        return False
    return not re.fullmatch(r"axrad show [0-9a-f.]+", command) or any(word in line for word in STEADY)


@pytest.fixture(scope="module")
def day(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    settings = {"AXRAD_ASSEMBLY__QUIET_S": "25", "AXRAD_FEATURES__SET": "signature"}
    with dicomweb() as login, composed(tmp_path_factory.mktemp("day"), postgres, **settings) as house:
        login.answers(302, b"", Location=f"{login.url}/login")
        lived = Day(house, login)
        lived.live()
        yield lived


def test_every_command_of_the_page_says_what_the_page_says(day: Day) -> None:
    assert len(day.said) > 12


def test_what_is_stuck_is_said_with_the_reason_and_what_to_type(day: Day) -> None:
    assert "All is well: nothing waits for you." in day.said["axrad status"][2]
    held = day.id_of(next(uid for uid, number in day.numbers.items() if number == 9))
    assert json.loads(day.house.run(f"axrad show {held} --json").stdout)["state"] == "cancelled"


def test_a_broker_that_only_reads_a_login_page_and_a_poison_file_are_told_apart(day: Day) -> None:
    """By doctor and status, each with what to do, and only as long as it is so."""
    for command in ("axrad doctor", "axrad status"):
        said = [" ".join(text.split()) for text in day.said[command]]
        told = [tuple(trouble in text for trouble in TROUBLES) for text in said]
        well = len(told) - 2
        assert told == [(False, False, False)] * well + [(True, True, True), (False, False, True)], said


def test_every_result_is_in_orthanc_and_nobody_elses(day: Day) -> None:
    asked = json.dumps({"Level": "Series", "Expand": True, "Query": {"Modality": "SR"}}).encode()
    found = day.house.pacs.post("/tools/find", asked)
    assert len({series["ParentStudy"] for series in found}) == EXAMS - 1


def test_the_pages_of_a_day_answer(day: Day) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{day.house.ports.metrics}/metrics") as answer:
        figures = answer.read().decode()
    assert 'axrad_studies{state="delivered"} 8.0' in figures
    assert 'axrad_associations_total{outcome="unknown-peer"} 1.0' in figures
    who = base64.b64encode(f"axrad:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(f"http://{day.house.base}/api/tasks", headers={"Authorization": f"Basic {who}"})
    with urllib.request.urlopen(request) as answer:
        tasks = json.loads(answer.read())
    assert {task["name"] for task in tasks.values()} >= {"axrad.analyse", "axrad.report", "axrad.deliver"}


def test_the_trail_has_what_was_received_used_made_sent_and_refused(day: Day) -> None:
    lines = [json.loads(line) for line in (day.house.folder / "audit.jsonl").read_text().splitlines()]
    events = [line["EventIdentification"] for line in lines]
    kinds = {(e["EventID"]["csd-code"], e["EventActionCode"], e["EventOutcomeIndicator"]) for e in events}
    used, made, received_or_sent, refused = (
        ("110103", "R", 0),
        ("110103", "C", 0),
        ("110104", "C", 0),
        ("110113", "E", 4),
    )
    assert {used, made, received_or_sent, refused} <= kinds
    # Source first: somebody else where we receive, we where we send.
    moved = [line for line, e in zip(lines, events, strict=True) if e["EventID"]["csd-code"] == "110104"]
    assert {line["ActiveParticipant"][0]["AlternativeUserID"] for line in moved} >= {
        "AETITLES=ORTHANC",
        "AETITLES=AXRAD",
    }


def test_the_pictures_of_the_page_are_there() -> None:
    shown = [target for target, image in docs.links(PAGE) if image]
    assert {Path(target).name for target in shown} >= {"walk-flower.png", "walk-orthanc.png", "walk-page.png"}

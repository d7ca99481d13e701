"""docs/walkthrough.md is lived through: what compose starts, Orthanc, ten exams of which three are bad, and each
command of the page as it stands there, with the answer that stands there."""

from __future__ import annotations

import base64
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli.wording import WIDTH
from daemon.ledger import studies
from tests.support import docs
from tests.support.composed import PASSWORD, House, composed
from tests.support.waiting import PATIENCE, wait_for

pytestmark = [
    pytest.mark.peer("storescu"),
    pytest.mark.peer("orthanc"),
    pytest.mark.peer("redis-server"),
]
PAGE = docs.ROOT / "docs" / "walkthrough.md"
EXAMS = 10
IMAGES = 259
# Number of an exam that is bad: the state it comes to, and its instances.
BAD = {3: ("not_evaluated", IMAGES), 8: ("waiting", IMAGES - 17), 9: ("held", IMAGES)}
# What stands in a timeline whatever the moments at which images came.
STEADY = (
    "study ",
    "Study Inst",
    "first instance",
    "complete",
    "analysis began",
    "report made",
    "delivered",
    "to pacs",
    "→",
)


class Day:
    """The page, lived through on ports and with ids of its own."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.blocks = [block for block in docs.blocks(PAGE) if block.info.startswith("console walk")]
        text = "\n".join(block.text for block in self.blocks)
        pairs = re.findall(r"^study ([0-9a-f]{16}) (?:.*\n)(?:    .*\n)*Study Instance UID (\S+)", text, re.MULTILINE)
        self.uids = dict(pairs)
        listed = dict.fromkeys(re.findall(r"^exams/exam_\d+: \d+ files, study (\S+)$", text, re.MULTILINE))
        self.numbers = {uid: number for number, uid in enumerate(listed, 1)}
        self.said: dict[str, str] = {}

    def live(self) -> None:
        again = False
        for block in self.blocks:
            if "settled" in block.info:
                self.settle(again)
                again = True
            for step in docs.steps_of(block):
                self.take(step)

    def settle(self, again: bool) -> None:
        """Until every exam is in the state that it comes to."""
        bad = BAD | ({8: ("delivered", IMAGES), 9: ("cancelled", IMAGES)} if again else {})
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
        refused = any(line.startswith("F: ") for line in step.shown)
        assert (done.returncode != 0) == refused, f"{PAGE.name}:{step.line}: {done.stdout}{done.stderr}"
        said = [plain(line) for line in self.there(done.stdout + done.stderr).splitlines()]
        for line in step.shown:
            beginning, cut, _ = plain(line).partition("…")
            if not told_by(step.command, line) or beginning in said:
                continue
            found = cut and any(candidate.startswith(beginning) for candidate in said)
            assert found, f"{PAGE.name}:{step.line}: does not say {line!r} but\n{done.stdout}{done.stderr}"
        if step.command.startswith("axrad"):
            assert all(len(line) <= WIDTH for line in self.there(done.stdout).splitlines()), done.stdout
        self.said[step.command] = done.stdout

    def here(self, command: str) -> str:
        """Ports and ids as they are here."""
        ports = self.house.ports
        for theirs, ours in ((4242, ports.dicom), (11112, ports.listen), (11180, ports.metrics), (8042, ports.http)):
            command = re.sub(rf"(?<=127\.0\.0\.1[ :]){theirs}\b", str(ours), command)
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
    settings = {"AXRAD_ASSEMBLY__QUIET_S": "10", "AXRAD_FEATURES__SET": "signature"}
    with composed(tmp_path_factory.mktemp("day"), postgres, **settings) as house:
        lived = Day(house)
        lived.live()
        yield lived


def test_every_command_of_the_page_says_what_the_page_says(day: Day) -> None:
    assert len(day.said) > 12


def test_what_is_stuck_is_said_with_the_reason_and_what_to_type(day: Day) -> None:
    said = day.house.run("axrad status").stdout
    assert "All is well: nothing waits for you." in said
    held = day.id_of(next(uid for uid, number in day.numbers.items() if number == 9))
    assert json.loads(day.house.run(f"axrad show {held} --json").stdout)["state"] == "cancelled"


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

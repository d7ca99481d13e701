"""The log of actions: read from the end of the audit trail, whatever else stands in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.schema import Audit, Settings
from daemon import audit
from daemon.console import console_audit, log_page
from daemon.console.console_audit import Person
from daemon.console.log_page import MOST_LINES, last_events

LI = Person("li.na", "radiologist", "10.1.0.5")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(audit=Audit(path=tmp_path / "audit.jsonl"))


def trail(settings: Settings) -> Path:
    return audit.trail_path(settings)


def test_the_newest_stands_first_with_user_role_and_address(settings: Settings) -> None:
    console_audit.signed_in(settings, LI)
    console_audit.viewed(settings, LI, "exam", audit.Study("1.2.3", {}, "0123456789abcdef"))
    exam, login = last_events(trail(settings), everything=False)
    assert (exam["what"], exam["study"], exam["user"], exam["as"], exam["from"]) == (
        "exam", "0123456789abcdef", "li.na", "ROLE=radiologist", "10.1.0.5",
    )  # fmt: skip
    assert (login["what"], login["ok"]) == ("Login", True)


def test_alike_events_in_a_row_are_one_line(settings: Settings) -> None:
    for page in ("pictures", "pictures", "pictures", "report page.png", "pictures"):
        console_audit.viewed(settings, LI, page)
    lines = [(event["what"], event["times"]) for event in last_events(trail(settings), everything=False)]
    assert lines == [("pictures", 1), ("report page.png", 1), ("pictures", 3)]


def test_orders_of_the_command_line_are_among_them_and_machines_only_if_asked_for(settings: Settings) -> None:
    audit.activity(settings, started=True)
    audit.operator_action(settings, "retry", audit.Study("1.2.3", {}, "abc"))
    assert [event["what"] for event in last_events(trail(settings), everything=False)] == ["retry"]


@pytest.mark.parametrize(
    "line", ["{", "[]", "null", "{}", '{"EventIdentification": 3, "ActiveParticipant": []}', "[" * 9999]
)
def test_a_line_that_is_no_event_is_passed_over(settings: Settings, line: str) -> None:
    console_audit.signed_in(settings, LI)
    with trail(settings).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    assert len(last_events(trail(settings), everything=True)) == 1


def test_of_a_long_trail_the_end_is_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    console_audit.signed_in(settings, LI)
    line = json.loads(trail(settings).read_text(encoding="utf-8"))
    with trail(settings).open("a", encoding="utf-8") as file:
        for number in range(2 * MOST_LINES):
            line["axrad"]["page"] = str(number)
            file.write(json.dumps(line) + "\n")
    events = last_events(trail(settings), everything=False)
    assert [event["what"] for event in events] == [str(n) for n in range(2 * MOST_LINES - 1, MOST_LINES - 1, -1)]
    monkeypatch.setattr(log_page, "LAST_BYTES", 3000)
    assert 0 < len(last_events(trail(settings), everything=False)) < 10


def test_without_a_trail_there_is_nothing(settings: Settings) -> None:
    assert last_events(trail(settings), everything=True) == []

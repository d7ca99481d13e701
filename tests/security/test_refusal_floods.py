"""Whoever is refused again and again fills no audit trail: a few lines, one alert, and how many more there were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.schema import Settings, Spool
from daemon import audit
from daemon.audit_trail import refusal_floods
from daemon.audit_trail.refusal_floods import ONE_BY_ONE, WINDOW_S, Floods


class Trail:
    """An audit trail in a process that has refused nobody yet, and the clock of its windows."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = Settings(spool=Spool(path=folder / "spool"))
        self.path, self.now = folder / "audit.jsonl", 1000.0
        monkeypatch.setattr(audit, "_floods", Floods())
        monkeypatch.setattr(audit.time, "monotonic", lambda: self.now)

    def refuse(self, times: int, address: str = "10.9.9.9", title: str = "EVIL") -> None:
        for _ in range(times):
            audit.refused_association(self.settings, title, address, "unknown-peer")

    def told(self) -> list[tuple[int, str]]:
        lines = [json.loads(line)["EventIdentification"] for line in self.path.read_text().splitlines()]
        return [(line["EventOutcomeIndicator"], line["EventOutcomeDescription"]) for line in lines]


@pytest.fixture
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trail:
    return Trail(tmp_path, monkeypatch)


def test_a_flood_is_some_lines_an_alert_and_a_count(trail: Trail) -> None:
    trail.refuse(500)
    told = trail.told()
    assert told[:ONE_BY_ONE] == [(4, "unknown-peer")] * ONE_BY_ONE
    assert told[ONE_BY_ONE:] == [(8, "refusals-flood: unknown-peer; further ones are counted")]
    trail.now += WINDOW_S
    trail.refuse(1)
    assert trail.told()[-1] == (4, f"unknown-peer ({500 - ONE_BY_ONE - 1} more before, not written one by one)")


def test_another_title_does_not_hide_a_flood_and_another_address_is_not_hidden_by_it(trail: Trail) -> None:
    for number in range(100):
        trail.refuse(1, title=f"EVIL{number}")
    assert len(trail.told()) == ONE_BY_ONE + 1
    trail.refuse(1, address="10.9.9.10")
    assert trail.told()[-1] == (4, "unknown-peer")


def test_rights_that_are_refused_by_the_thousand_raise_an_alert_too(trail: Trail) -> None:
    for _ in range(100):
        audit.refused_right(trail.settings, "WORKSTATION", "10.1.1.1", "store:MR")
    assert [text for outcome, text in trail.told() if outcome == 8] == [
        "refusals-flood: not authorised: store:MR; further ones are counted"
    ]


def test_what_is_remembered_of_floods_is_limited() -> None:
    floods = Floods()
    for number in range(3 * refusal_floods.MOST_KEYS):
        floods.answer((str(number),), 0.0)
    assert len(floods._windows) == refusal_floods.MOST_KEYS

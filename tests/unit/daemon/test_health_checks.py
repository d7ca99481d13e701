"""One list of checks: what is judged once is told in the same words by status, notices, metrics and the doctor."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.schema import Settings, Spool
from daemon import ledger_in_words
from daemon.cli.doctor import guarded
from daemon.finding import RANK, Finding, below, not_ok, worst
from daemon.health import standing_checks
from daemon.ledger import Ledger, heartbeats
from daemon.machine import disk_space
from daemon.machine.disk_space import Room
from daemon.notify.conditions import lasting
from daemon.observer.http_server import Pages
from daemon.observer.ledger_metrics import LedgerCollector
from daemon.observer.traffic_probes import PROBE_GRACE_S, Health, Probe
from pipeline.errors import TryLater
from tests.support.queued import queued

NOW = 1_800_000_000.0
SHORT = Room(1024**3, 10**12, 5, 10**6)


def settings_of(root: Path, **sections: Any) -> Settings:
    (root / "spool").mkdir(exist_ok=True)
    return Settings.model_validate({"spool": {"path": root / "spool"}, **sections})


def by_name(findings: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


# Disk


@given(st.integers(0, 10**13), st.integers(0, 10**13), st.integers(0, 10**13))
def test_the_less_is_left_the_worse_it_is(free: int, warn: int, refuse: int) -> None:
    level = below(free, warn, refuse)
    assert (level == "fail") is (free < refuse)
    assert RANK[below(free + 1, warn, refuse)] <= RANK[level]


@pytest.mark.parametrize(
    ("free_bytes", "free_inodes", "levels"),
    [
        (10**12, 10**6, ("ok", "ok")),
        (10**12, 50_000, ("ok", "warn")),
        (10**12, 9_999, ("ok", "fail")),
        (10**10, 10**6, ("warn", "ok")),
        (10**9, 0, ("fail", "fail")),
        (10**12, None, ("ok", "ok")),
    ],
)
def test_inodes_are_judged_like_bytes(free_bytes: int, free_inodes: int | None, levels: tuple[str, str]) -> None:
    assert disk_space.levels_of(Room(free_bytes, 10**13, free_inodes, 10**7), Spool()) == levels


def test_a_spool_that_is_not_there_is_told_and_a_copy_that_was_not_made_yet_is_none(tmp_path: Path) -> None:
    (gone,) = disk_space.findings(Spool(path=tmp_path / "gone"))
    assert (gone.code, gone.level) == ("disk", "fail")
    far = Spool(path=tmp_path / "gone", remote="https://intake:1", share_token="x" * 16)
    assert disk_space.findings(far)[0].ok


# Sweep, beat, workers


def test_sweep_and_beat_are_judged_in_one_place(ledger: Ledger, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    for swept, beaten, expected in (
        (None, None, ("fail", "fail")),
        (NOW - 59, None, ("ok", "ok")),
        (NOW - 61, None, ("fail", "fail")),
        (NOW - 61, NOW - 5, ("fail", "ok")),
    ):
        with ledger.write() as connection:
            for name, at in (("sweep", swept), ("beat", beaten)):
                if at is not None:
                    heartbeats.sign(connection, name, name, at)
            found = by_name(standing_checks.of_ledger(connection, settings, NOW))
        assert (found["sweep"].level, found["beat"].level) == expected


def test_each_queue_has_a_line_with_what_waits_and_who_takes_it(ledger: Ledger, tmp_path: Path) -> None:
    pacs = {"name": "p", "ae_title": "P", "host": "h", "port": 104}
    settings = settings_of(tmp_path, pacs=[pacs], destination=[{"name": "p", "pacs": "p"}])

    def found() -> dict[str, str]:
        with ledger.read() as connection:
            return {
                f.subject: f.level for f in standing_checks.of_ledger(connection, settings, NOW) if f.code == "workers"
            }

    assert found() == {"analyse": "warn", "deliver": "warn", "fetch": "warn", "sweep": "warn"}
    queued(ledger, "s1", NOW - 300)
    assert found()["analyse"] == "fail"
    with ledger.write() as connection:
        heartbeats.sign(connection, "w", "worker", NOW - 5, {"queues": ["analyse", "sweep"], "processes": 2})
    assert found() == {"analyse": "ok", "deliver": "warn", "fetch": "warn", "sweep": "ok"}


# The same record everywhere


def test_status_notices_metrics_tell_the_same_record(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "room", lambda path: SHORT)
    settings = settings_of(tmp_path)
    (of_bytes, of_inodes) = disk_space.findings(settings.spool)
    assert of_inodes.sentence == (
        "5 more files fit on the spool's file system (inodes): senders are refused. "
        "Make room, or lower retention.keep_days."
    )
    with ledger.read() as connection:
        found = ledger_in_words.gather(settings, connection, NOW)
        notices = {state.text for state in lasting(connection, settings, NOW)}
    assert {of_bytes.sentence, of_inodes.sentence} <= set(ledger_in_words.advice(found))
    assert {of_bytes.sentence, of_inodes.sentence} <= notices
    assert asdict(of_inodes) in found["checks"]
    families = {f.name: f for f in LedgerCollector(settings, ledger, lambda: NOW, dict).collect()}
    levels = {(s.labels["check"], s.labels["subject"]): s.value for s in families["axrad_check"].samples}
    assert levels[("disk", "")] == levels[("inodes", "")] == 2
    assert set(levels) == {(check["code"], check["subject"]) for check in found["checks"]}


def test_the_worst_comes_first_and_names_keep_their_case() -> None:
    one, two = Finding("a", "warn", "pacs is slow", "wait", "pacs"), Finding("b", "fail", "nothing moves")
    assert not_ok([Finding("c", "ok", "fine"), one, two]) == [two, one]
    assert [f.sentence for f in (two, one)] == ["Nothing moves.", "pacs is slow. Wait."]
    assert (worst([]), worst(["ok", "fail", "warn"])) == ("ok", "fail")


# Probes


def crash() -> Finding:
    raise ZeroDivisionError


def test_a_probe_that_fails_as_nobody_foresaw_is_ill_and_no_longer_what_it_was(tmp_path: Path) -> None:
    answers: list[Any] = [lambda: Finding("ledger", "ok", "fine"), crash]
    probe = Probe("ledger", lambda: answers.pop(0)(), lambda: NOW)
    for level in ("ok", "fail"):
        probe.start()
        assert probe.result(time.monotonic() + 30).finding.level == level
    assert probe.last is not None
    assert probe.last.finding.text == "the check failed in an unforeseen way (ZeroDivisionError)"


def test_a_probe_that_does_not_come_back_is_ill_and_asked_once() -> None:
    release, asked = threading.Event(), []

    def hang() -> Finding:
        asked.append(1)
        release.wait()
        return Finding("ledger", "ok", "fine")

    probe = Probe("ledger", hang, lambda: NOW)
    for _ in range(3):
        probe.start()
        assert "not come back" in probe.result(time.monotonic()).finding.text
    release.set()
    assert probe.result(time.monotonic() + 30).finding.ok
    assert asked == [1]


@pytest.fixture
def health(ledger: Ledger, tmp_path: Path) -> Health:
    def nowhere() -> str:
        raise TryLater("no broker")

    return Health(settings_of(tmp_path), ledger, nowhere, lambda: NOW)


@pytest.fixture
def pages(health: Health) -> Iterator[Pages]:
    with Pages(("127.0.0.1", 0), [], health) as server:
        yield server


def get(pages: Pages, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{pages.server_port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_ready_answers_whatever_happens_to_its_checks(
    health: Health, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.observer.traffic_probes.PROBE_GRACE_S", 0.1 - health._settings.metrics.health_timeout_s)
    release = threading.Event()
    health.probes = {
        "ledger": Probe("ledger", crash, lambda: NOW),
        "intake": Probe("intake", lambda: Finding("intake", "ok", str(release.wait())), lambda: NOW),
    }
    status, text = get(pages, "/health/ready")
    release.set()
    assert status == 503
    assert "unforeseen" in text
    assert "not come back" in text
    assert PROBE_GRACE_S > 0
    assert 'axrad_health{check="ledger"} 0.0' in get(pages, "/metrics")[1]


def test_a_page_that_fails_is_an_answer_too(health: Health, pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "checks", crash)
    status, text = get(pages, "/health/ready")
    assert (status, "ZeroDivisionError" in text) == (503, True)


def test_what_was_found_long_ago_is_not_told_as_if_it_held(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    health.probes = {"sweep": Probe("sweep", lambda: Finding("sweep", "ok", "fine"), lambda: NOW)}
    health.checks()
    (family,) = health.collect()
    assert [s.value for s in family.samples] == [1.0]
    now = time.monotonic()
    monkeypatch.setattr("daemon.observer.traffic_probes.time.monotonic", lambda: now + 3600)
    (family,) = health.collect()
    assert [s.value for s in family.samples] == [0.0]


def test_a_check_of_the_doctor_that_nobody_foresaw_is_a_red_line() -> None:
    found = guarded("ledger", lambda: str(1 // 0), "mend it")
    assert (found.level, found.text) == ("fail", "the check failed in an unforeseen way (ZeroDivisionError)")

"""`axrad doctor` on limits: how close each is, and from when on somebody should look."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from config.schema import Settings
from daemon.finding import DAY_S, Finding, words
from daemon.health.limits import examine, of_intake, of_ledger, of_listener, open_files
from daemon.health.standing_checks import indexing
from daemon.ledger import Ledger
from daemon.ledger.instances import Arrival, record
from daemon.ledger.tables import instances, studies
from daemon.listener.association_slots import Slots
from daemon.spool import JournalWriter, Spool
from tests.support.facts import image
from tests.support.queued import queued

NOW = 1_800_000_000.0


def settings_of(root: Path, **sections: Any) -> Settings:
    return Settings.model_validate({"spool": {"path": root}, **sections})


def by_name(limits: Any) -> dict[str, Finding]:
    return {limit.name: limit for limit in limits}


def exam(ledger: Ledger, uid: str, state: str, age_days: float, size: int = 1000) -> None:
    with ledger.write() as connection:
        for n in range(2):
            facts = image(f"{uid}.1", n, study=uid)
            path = f"instances/{uid}-{n}"
            arrival = Arrival(facts.ref.sop_instance_uid, f"d{n}", path, size, NOW - age_days * DAY_S, facts=facts)
            record(connection, arrival)
        connection.execute(studies.update().where(studies.c.study_uid == uid).values(state=state, dirty=False))


@pytest.mark.parametrize(
    ("associations", "busiest", "near"), [(0, 0, False), (51, 12, False), (52, 1, True), (13, 13, True)]
)
def test_associations_are_told_in_all_and_of_the_busiest_peer(
    tmp_path: Path, associations: int, busiest: int, near: bool
) -> None:
    said: dict[str, object] = {"associations": associations, "busiest_peer": busiest, "acceptors": [os.getpid()]}
    found = by_name(of_listener(settings_of(tmp_path), said))
    assert found["associations"].text == f"{associations} of 64 at once; {busiest} of 16 of one peer"
    assert found["associations"].ok is not near


def test_the_busiest_peer_is_counted_across_processes_and_who_has_said_nothing_is_none() -> None:
    slots = Slots.create(8, 8)
    for number, peer in enumerate(("A@1", "B@1", "A@1", "", "")):
        slot = slots.take(1 + number % 2)
        assert slot is not None
        if peer:
            assert slots.claim(slot, 1 + number % 2, peer)
    assert slots.of_busiest_peer() == 2
    slots.close()


def test_open_files_are_counted_against_what_the_process_may_have(tmp_path: Path) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as _one:
        found = open_files(os.getpid())
    assert found is not None
    assert found[0] >= 4
    assert found[1] == (soft if soft != resource.RLIM_INFINITY else 2**31)
    assert open_files(2**22 + 1) is None
    said: dict[str, object] = {"acceptors": [2**22 + 1]}
    assert "open-files" not in by_name(of_listener(settings_of(tmp_path), said))


def test_journals_that_the_ledger_does_not_take_are_a_matter_of_time(tmp_path: Path) -> None:
    settings, spool = settings_of(tmp_path), Spool(tmp_path)
    assert indexing(settings, NOW).text == "nothing waits for the ledger"
    journal = JournalWriter(spool.journal, "SCU", "10.0.0.1")
    journal.append("stored")
    journal.close("released")
    for age, near in ((30.0, False), (7200.0, True)):
        os.utime(journal.path, (NOW - age, NOW - age))
        found = indexing(settings, NOW)
        assert (found.text, found.ok) == (f"1 journals, the oldest untouched for {words(age)}", not near)
    (spool.commitment / "1.json").write_text("{}")
    assert by_name(of_intake(settings))["commitment"].text.startswith("1 reports")


def test_the_largest_instance_is_held_against_the_limit(ledger: Ledger, tmp_path: Path) -> None:
    exam(ledger, "1.1", "delivered", 1, size=700_000_000)
    for limit, near in ((10**9, False), (8 * 10**8, True)):
        found = by_name(of_ledger(settings_of(tmp_path, listen={"max_instance_bytes": limit}), ledger, NOW))
        assert found["instance-size"].ok is not near
        assert "0.7 GiB was the largest" in found["instance-size"].text


def test_the_age_of_the_spool_counts_from_the_oldest_exam_that_is_done_and_still_here(
    ledger: Ledger, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path)
    exam(ledger, "1.1", "waiting", 100)
    exam(ledger, "1.2", "delivered", 30.5)
    found = by_name(of_ledger(settings, ledger, NOW))
    assert found["spool"].text == "4 files, 0.0 MiB; the oldest exam that is done: 30.5 days; kept for 30 days"
    assert found["spool"].ok
    assert found["incomplete"].text.startswith("1, the oldest for 100 days")
    exam(ledger, "1.3", "delivered", 31.5)
    assert not by_name(of_ledger(settings, ledger, NOW))["spool"].ok
    off = settings_of(tmp_path, retention={"enabled": False})
    assert by_name(of_ledger(off, ledger, NOW))["spool"].ok
    with ledger.write() as connection:
        connection.execute(instances.update().where(instances.c.exam_uid == "1.3").values(state="purged"))
    assert by_name(of_ledger(settings, ledger, NOW))["spool"].ok


def test_queues_are_told_with_the_age_of_what_waits_longest(ledger: Ledger, tmp_path: Path) -> None:
    queued(ledger, "one", NOW - 600)
    queued(ledger, "two", NOW - 60)
    found = by_name(of_ledger(settings_of(tmp_path), ledger, NOW))
    assert found["waiting-analyse"].text == "2, the oldest for 10 min"
    assert found["waiting-fetch"].text == found["waiting-deliver"].text == "nothing waits"


def test_without_a_listener_and_a_ledger_the_rest_is_told(tmp_path: Path) -> None:
    assert set(by_name(examine(settings_of(tmp_path), None, None))) == {"commitment"}


def test_the_doctor_has_a_line_for_each_limit(tmp_path: Path, ledger: Ledger) -> None:
    parts = set(by_name(examine(settings_of(tmp_path), ledger, {"associations": 1, "acceptors": [os.getpid()]})))
    assert parts == {
        "associations", "open-files", "commitment", "instance-size", "spool", "incomplete", "packed",
        "waiting-analyse", "waiting-fetch", "waiting-deliver",
    }  # fmt: skip

"""Deliveries in the ledger, on both databases: places, breakers, reports, and the commands that show them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from config.schema import Destination, Settings
from daemon.ledger import Ledger
from daemon.ledger import deliveries as d
from daemon.ledger.claims import release, update
from daemon.ledger.tables import deliveries, revisions, studies
from daemon.main import cli
from pipeline.errors import InputRejected
from tests.support.delivering import START, Desk, desk

NOW = START
SETTINGS = Settings(destination=(Destination(name="a", ae_title="A", host="h", port=104, at_once=2),))
A = SETTINGS.destination[0]


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """Five deliveries to `a`, one to `gone`, which is not configured any more."""
    with ledger.write() as connection:
        times = {"first_arrival_at": NOW, "last_arrival_at": NOW, "changed_at": NOW}
        connection.execute(studies.insert().values(id="s", study_uid="1", state="reported", patient_key="k", **times))
        for n in range(6):
            connection.execute(
                revisions.insert().values(
                    id=f"r{n}",
                    study_id="s",
                    number=n,
                    input_digest="d",
                    inputs={"selected": []},
                    state="reported",
                    stage="done",
                    created_at=NOW,
                    next_attempt_at=NOW,
                )
            )
            connection.execute(
                deliveries.insert().values(
                    id=f"d{n}",
                    revision_id=f"r{n}",
                    destination="a" if n < 5 else "gone",
                    state="pending",
                    objects=["sr"],
                    created_at=NOW + n,
                    next_attempt_at=NOW,
                )
            )
    return ledger


def due(ledger: Ledger, now: float = NOW) -> list[str]:
    with ledger.read() as connection:
        return [row.id for row in d.due(connection, SETTINGS, now, 100)]


def take(ledger: Ledger, delivery_id: str, now: float = NOW) -> Any:
    with ledger.write() as connection:
        return d.take(connection, delivery_id, "me", now, SETTINGS)


def test_only_as_many_are_due_as_the_destination_has_room_for(filled: Ledger) -> None:
    assert due(filled) == ["d0", "d1", "d5"]
    held = take(filled, "d0")
    assert due(filled) == ["d1", "d5"]
    assert take(filled, "d1") is not None
    assert take(filled, "d2") is None
    with filled.write() as connection:
        update(connection, held, state="sending")
        release(connection, held, state="delivered")
    assert due(filled) == ["d2", "d5"]


def test_a_place_is_free_again_when_the_lease_of_a_dead_worker_is_over(filled: Ledger) -> None:
    take(filled, "d0")
    take(filled, "d1")
    assert due(filled, NOW + SETTINGS.work.lease_s + 1) == ["d0", "d1", "d5"]


def test_workers_that_come_together_do_not_take_more_than_there_is_room_for(filled: Ledger) -> None:
    taken: list[Any] = []
    together = threading.Barrier(5)

    def work(n: int) -> None:
        together.wait()
        taken.append(take(filled, f"d{n}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([held for held in taken if held is not None]) == 2


def fail(ledger: Ledger, times: int, now: float = NOW) -> Any:
    for _ in range(times):
        with ledger.write() as connection:
            d.destination_failed(connection, A, "it does not answer", now, 1.0)
    with ledger.read() as connection:
        return d.failing(connection)[0]


def test_the_breaker_opens_after_so_many_failures_and_its_pauses_grow_to_a_limit(filled: Ledger) -> None:
    assert fail(filled, 2)["open_until"] is None
    assert due(filled) == ["d0", "d5"], "one at a time once it has failed"
    assert fail(filled, 1)["open_until"] == NOW + 60
    assert due(filled) == ["d5"]
    assert due(filled, NOW + 60) == ["d0", "d5"]
    assert fail(filled, 2)["open_until"] == NOW + 240
    assert fail(filled, 20)["open_until"] == NOW + A.backoff_max_s


def test_an_operator_may_have_it_probed_at_once(filled: Ledger) -> None:
    fail(filled, 3)
    with filled.write() as connection:
        d.probe_now(connection, ["a"])
    assert due(filled) == ["d0", "d5"]


def test_an_answer_closes_the_breaker_and_wakes_what_waited(filled: Ledger) -> None:
    fail(filled, 9)
    with filled.write() as connection:
        connection.execute(deliveries.update().values(next_attempt_at=NOW + 3000))
        d.destination_answered(connection, "a", NOW)
    assert due(filled) == ["d0", "d1"]
    with filled.read() as connection:
        assert d.failing(connection) == []


def test_patience_ends_by_number_and_by_age(filled: Ledger) -> None:
    with filled.read() as connection:
        row = connection.execute(sa.select(deliveries).where(deliveries.c.id == "d0")).one()
    assert d.why_given_up(row, A, NOW + 7 * 86400) == ""
    assert d.why_given_up(row, A, NOW + 7 * 86400 + 1) == "given up after 7.0 days"
    assert d.why_given_up(row, A.model_copy(update={"give_up_attempts": 0}), NOW) == "given up after 0 attempts"


# Commands


@pytest.fixture
def at(tmp_path: Path) -> Any:
    """A desk whose configuration is in a file too."""
    (tmp_path / "axrad.toml").write_text(
        '[spool]\npath = "spool"\nwarn_free_bytes = 0\nrefuse_free_bytes = 0\n'
        '[[destination]]\nname = "a"\nae_title = "A"\nhost = "127.0.0.1"\nport = 104\n'
    )
    made = desk(tmp_path, {"name": "a", "port": 104})
    yield made
    made.ledger.close()


def axrad(at: Desk, *arguments: str) -> Any:
    config = at.context.settings.spool.path.parent / "axrad.toml"
    return CliRunner().invoke(cli, [*arguments, "--config", str(config)])


def set_aside(at: Desk) -> str:
    revision = at.result()
    with at.ledger.write() as connection:
        connection.execute(
            deliveries.update().values(state="failed", reason="given up after 3 attempts: no answer", finished_at=NOW)
        )
    return f"{revision}-a"


def test_status_lists_what_was_set_aside_and_says_what_to_do(at: Desk) -> None:
    set_aside(at)
    shown = axrad(at, "status").output
    assert "set aside for a: study s1: given up after 3 attempts: no answer" in shown
    assert "axrad deliver --all" in shown
    assert json.loads(axrad(at, "status", "--json").output)["dead_letters"][0]["study"] == "s1"


def test_deliver_all_queues_what_was_set_aside_with_fresh_patience(at: Desk) -> None:
    delivery = set_aside(at)
    assert axrad(at, "deliver", "--all", "--to", "b").exit_code == 1
    assert axrad(at, "deliver", "--all").output == "1 deliveries are queued\n"
    row = at.row(delivery)
    assert (row.state, row.attempts, row.reason) == ("pending", 0, "")


def test_deliver_wants_a_study_or_all(at: Desk) -> None:
    assert axrad(at, "deliver").exit_code == 2
    assert axrad(at, "deliver", "s1", "--all").exit_code == 2
    assert isinstance(axrad(at, "deliver", "nobody").exception, InputRejected)


def test_outcomes_are_imported_and_listed(at: Desk, tmp_path: Path) -> None:
    at.result()
    (tmp_path / "t.csv").write_text("study_uid,outcome\n1.2.1,positive\n7.7,negative\n")
    imported = axrad(at, "feedback", "import", str(tmp_path / "t.csv"))
    assert "1 outcomes are stored" in imported.output
    (one,) = json.loads(axrad(at, "studies", "--feedback", "--json").output)["feedback"]
    assert (one["study"], one["source"], one["verdict"]) == ("s1", "pathology", "positive")
    assert "positive" in axrad(at, "studies", "--feedback").output

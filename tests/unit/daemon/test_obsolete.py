"""What belongs to something that is in the settings no more is closed with that reason, and can go elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest

from config.schema import Settings
from daemon.health.standing_checks import dead_letters, destinations
from daemon.ledger import heartbeats, obsolete
from daemon.ledger.deliveries import destination_failed, failing
from daemon.ledger.studies import settle_if_delivered
from daemon.ledger.tables import deliveries, events, feedback, fetches, pacs_answers, studies
from daemon.listener import commitment
from daemon.listener.commitment import requests
from daemon.main import cli
from daemon.observer.ledger_metrics import LedgerCollector
from daemon.spool import Spool
from daemon.work.sweep import OBSOLETE_EVERY_S, announce_due, close_obsolete
from pipeline.errors import InputRejected
from pipeline.result import StudyResult
from pipeline.signature.registry import Registry
from tests.support.delivering import START, Desk, desk

OLD, NEW = {"name": "old", "port": 104}, {"name": "new", "port": 105}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    """A result that waits for `old`, before the settings are changed."""
    made = desk(tmp_path, OLD)
    revision = made.result()
    folder = made.context.result_folder(revision)
    (folder / "rendered").write_text("page sr")
    (folder / "result.json").write_text(StudyResult(study_uid="1.2.1", status="evaluated").to_json())
    yield made
    made.ledger.close()


def configure(at: Desk, *destinations: dict[str, Any], **sections: Any) -> Path:
    """The settings are changed: for the desk, and in a file for the commands."""
    folder = at.context.settings.spool.path.parent
    lines = [f'[spool]\npath = "{at.context.settings.spool.path}"\nwarn_free_bytes = 0\nrefuse_free_bytes = 0\n']
    lines += [
        f'[[destination]]\nname = "{d["name"]}"\nae_title = "A"\nhost = "127.0.0.1"\nport = {d["port"]}\n'
        for d in destinations
    ]
    (folder / "axrad.toml").write_text("".join(lines))
    where = {"ae_title": "A", "host": "127.0.0.1"}
    settings = Settings.model_validate(
        {
            "spool": {"path": at.context.settings.spool.path},
            "destination": [where | d for d in destinations],
            **sections,
        }
    )
    at.context = replace(at.context, settings=settings)
    return folder / "axrad.toml"


def axrad(config: Path, *arguments: str) -> Any:
    return CliRunner().invoke(cli, [*arguments, "--config", str(config)])


def figures(at: Desk) -> str:
    registry = CollectorRegistry()
    registry.register(LedgerCollector(at.context.settings, at.ledger, lambda: at.now, lambda: {}))
    return generate_latest(registry).decode()


def put(at: Desk, **values: Any) -> None:
    with at.ledger.write() as connection:
        connection.execute(deliveries.update().values(**values))


def reason_of_study(at: Desk) -> str:
    with at.ledger.read() as connection:
        return str(connection.execute(sa.select(studies.c.reason)).scalar_one())


@pytest.mark.parametrize("state", ["pending", "sending", "stored", "failed"])
def test_deliveries_to_a_destination_that_is_gone_are_closed_and_nothing_is_called_delivered(
    at: Desk, state: str
) -> None:
    put(at, state=state)
    configure(at, NEW)
    close_obsolete(at.context)
    row = at.row("r1-1-old")
    assert (row.state, row.reason) == ("cancelled", "no [[destination]] is named old any more")
    assert at.state_of() == "reported"
    assert "axrad deliver s1 --to NAME" in reason_of_study(at)
    assert "delivery-closed" in at.notes()


def test_alarms_and_metrics_of_a_destination_that_is_gone_end(at: Desk) -> None:
    with at.ledger.write() as connection:
        for _ in range(5):
            destination_failed(connection, at.context.settings.destination[0], "it does not answer", at.now, 1.0)
    put(at, state="failed")
    config = configure(at, NEW)
    close_obsolete(at.context)
    with at.ledger.read() as connection:
        assert failing(connection) == []
        assert list(destinations(connection, at.context.settings, at.now)) == []
        assert dead_letters(connection).level == "ok"
    assert 'destination="old"' not in figures(at)
    assert "to old:" not in axrad(config, "status").output


def test_a_worker_closes_it_too_and_does_not_count_it_as_a_failure(at: Desk) -> None:
    configure(at, NEW)
    assert at.deliver("r1-1-old") == ""
    assert at.row("r1-1-old").state == "cancelled"


def test_what_another_machine_still_knows_is_left_alone(at: Desk) -> None:
    known = obsolete.names_of(at.context.settings)
    configure(at, NEW)
    with at.ledger.write() as connection:
        heartbeats.sign(
            connection, "deliver@elsewhere", "worker", at.now, {"queues": ["deliver"], "processes": 1, **known}
        )
    close_obsolete(at.context)
    assert at.deliver("r1-1-old") == ""
    assert at.row("r1-1-old").state == "pending"
    at.now += heartbeats.WORKER_GONE_S + OBSOLETE_EVERY_S + 1
    close_obsolete(at.context)
    assert at.row("r1-1-old").state == "cancelled"


def test_a_delivery_to_a_destination_that_exists_is_not_touched(at: Desk) -> None:
    configure(at, OLD, NEW)
    close_obsolete(at.context)
    assert at.row("r1-1-old").state == "pending"
    announce_due(at.context)
    assert at.announced == [("axrad.deliver", "r1-1-old")]


def test_a_report_goes_to_a_new_destination_byte_for_byte(at: Desk) -> None:
    config = configure(at, NEW)
    close_obsolete(at.context)
    done = axrad(config, "deliver", "s1", "--to", "new")
    assert done.output == "1 deliveries are queued\n"
    with at.ledger.read() as connection:
        row = connection.execute(sa.select(deliveries).where(deliveries.c.destination == "new")).one()
    assert (row.state, row.revision_id, row.objects) == ("pending", "r1-1", ["sr", "page"])
    assert axrad(config, "deliver", "s1", "--to", "new").output == "1 deliveries are queued\n"
    with at.ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(deliveries)).scalar_one() == 2


def test_what_is_delivered_may_go_elsewhere_as_well(at: Desk) -> None:
    put(at, state="delivered")
    with at.ledger.write() as connection:
        connection.execute(studies.update().values(state="delivered"))
        connection.exec_driver_sql("UPDATE revisions SET state = 'delivered'")
    config = configure(at, OLD, NEW)
    assert axrad(config, "deliver", "s1", "--to", "new").output == "1 deliveries are queued\n"
    assert at.row("r1-1-old").state == "delivered"
    assert at.state_of() == "reported"


def test_a_destination_that_nobody_knows_is_refused_with_those_that_there_are(at: Desk) -> None:
    config = configure(at, NEW)
    error = axrad(config, "deliver", "s1", "--to", "attic").exception
    assert isinstance(error, InputRejected)
    assert "no [[destination]] is named attic; there are: new" in error.message


def test_a_demonstration_result_goes_nowhere_else_by_command_either(at: Desk) -> None:
    shown = StudyResult(study_uid="1.2.1", status="evaluated", demonstration=True)
    (at.context.result_folder("r1-1") / "result.json").write_text(shown.to_json())
    config = configure(at, NEW)
    config.write_text(config.read_text().replace("127.0.0.1", "192.0.2.1"))
    error = axrad(config, "deliver", "s1", "--to", "new").exception
    assert isinstance(error, InputRejected)
    assert "demonstration" in error.message


def test_deliver_says_which_destination_is_gone(at: Desk) -> None:
    config = configure(at, NEW)
    error = axrad(config, "deliver", "s1").exception
    assert isinstance(error, InputRejected)
    assert "named old any more" in error.message
    assert "--to NAME" in error.message


def test_deliver_all_queues_nothing_that_must_fail(at: Desk) -> None:
    put(at, state="failed", finished_at=START)
    config = configure(at, NEW)
    done = axrad(config, "deliver", "--all")
    assert "0 deliveries are queued" in done.output
    assert "axrad deliver --forget old" in done.output
    assert at.row("r1-1-old").state == "failed"
    config = configure(at, OLD)
    at.file("r1-1", "sr").unlink()
    done = axrad(config, "deliver", "--all")
    assert "the finished result is not kept any more" in done.output
    assert at.row("r1-1-old").state == "failed"


def test_forget_closes_what_waits_for_a_destination_that_is_gone(at: Desk) -> None:
    config = configure(at, NEW)
    assert axrad(config, "deliver", "--forget", "old").output == "1 deliveries to old are closed\n"
    assert (at.row("r1-1-old").state, at.row("r1-1-old").reason) == ("cancelled", "forgotten by an operator")
    assert axrad(config, "deliver", "--forget", "old").output == "0 deliveries to old are closed\n"
    assert at.state_of() == "reported"


@pytest.mark.parametrize(("state", "after"), [("failed", "cancelled"), ("pending", "pending")])
def test_forget_leaves_what_waits_for_a_destination_that_exists(at: Desk, state: str, after: str) -> None:
    put(at, state=state)
    axrad(configure(at, OLD), "deliver", "--forget", "old")
    assert at.row("r1-1-old").state == after


@pytest.mark.parametrize(
    "arguments", [("s1", "--forget", "old"), ("--all", "--forget", "old"), ("--forget", "old", "--to", "new")]
)
def test_forget_stands_alone(at: Desk, arguments: tuple[str, ...]) -> None:
    assert axrad(configure(at, NEW), "deliver", *arguments).exit_code == 2


# Archives


PACS = {"name": "vna", "ae_title": "V", "host": "127.0.0.1", "port": 104, "can": ["find", "move"]}


def wanting(at: Desk, state: str = "pending") -> None:
    with at.ledger.write() as connection:
        connection.execute(
            fetches.insert().values(
                id="f1", study_id="s1", kind="images", subject="x", wanted=[["1.2.1", "", ""]], state=state, pacs="vna",
                created_at=at.now, next_attempt_at=at.now,
            )
        )  # fmt: skip
        connection.execute(
            pacs_answers.insert().values(exam_uid="1.2.1", pacs="vna", asked_at=at.now, series=[["9", "MR", 5]])
        )
        connection.execute(studies.update().values(dirty=False))


def test_fetches_end_with_the_last_archive_and_what_it_said_counts_no_more(at: Desk) -> None:
    wanting(at)
    configure(at, OLD)
    close_obsolete(at.context)
    with at.ledger.read() as connection:
        row = connection.execute(sa.select(fetches)).one()
        assert (row.state, row.reason) == ("cancelled", "no [[pacs]] can be fetched from any more")
        assert connection.execute(sa.select(pacs_answers)).all() == []
        assert connection.execute(sa.select(studies.c.dirty)).scalar_one()
        assert "fetch-closed" in connection.execute(sa.select(events.c.kind)).scalars().all()


def test_a_fetch_names_the_archives_that_there_are(at: Desk) -> None:
    wanting(at)
    configure(at, OLD, pacs=[PACS | {"name": "other"}])
    close_obsolete(at.context)
    with at.ledger.read() as connection:
        row = connection.execute(sa.select(fetches)).one()
    assert (row.state, row.pacs) == ("pending", "other")


def test_what_an_archive_that_exists_said_stays(at: Desk) -> None:
    wanting(at)
    configure(at, OLD, pacs=[PACS])
    close_obsolete(at.context)
    with at.ledger.read() as connection:
        assert connection.execute(sa.select(fetches.c.state)).scalar_one() == "pending"
        assert len(connection.execute(sa.select(pacs_answers)).all()) == 1


# Peers


@pytest.mark.parametrize(("peers", "left"), [([{"ae_title": "SENDER"}], 1), ([{"ae_title": "OTHER"}], 0), ([], 1)])
def test_a_commitment_that_was_asked_by_a_peer_that_is_gone_is_closed(
    tmp_path: Path, peers: list[dict[str, str]], left: int
) -> None:
    spool = Spool(tmp_path / "spool")
    asked = commitment.Transaction("2.25.1", "SENDER", "127.0.0.1", START, (("1.2", "1.3"),))
    requests.write(requests.new_file(spool, asked), asked)
    settings = Settings.model_validate({"spool": {"path": spool.root}, "peer": peers})
    commitment.send_due_reports(settings, now=START, send=lambda *_: False)
    assert len(list(spool.commitment.glob("*.json"))) == left


# Signatures


def test_the_metric_of_feedback_ends_with_a_signature_that_is_no_longer_active(
    at: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at.ledger.write() as connection:
        for title in ("now@2", "once@1"):
            connection.execute(
                feedback.insert().values(
                    study_id="s1", source="reader", document=title, verdict="agree", said_at=at.now, signature=title
                )
            )
    configure(at, OLD, signature={"registry": tmp_path})
    monkeypatch.setattr("pipeline.signature.registry.Registry.titles_in_use", lambda self: frozenset({"now@2"}))
    shown = figures(at)
    assert 'signature="now@2"' in shown
    assert "once@1" not in shown


def test_signatures_in_use_are_the_active_ones_and_the_shadows(tmp_path: Path) -> None:
    assert Registry(tmp_path).titles_in_use() == frozenset()


@pytest.mark.parametrize("arguments", [["--forget", "odl"], ["--all", "--to", "odl"], ["--forget", ""]])
def test_a_name_that_no_destination_ever_had_is_a_slip_and_told_so(at: Desk, arguments: list[str]) -> None:
    error = axrad(configure(at, NEW), "deliver", *arguments).exception
    assert isinstance(error, InputRejected)
    assert "there are: new, old" in error.message


def test_a_study_without_a_destination_says_that_nothing_was_to_be_delivered(at: Desk) -> None:
    """Its work is done; nobody has the report, and nobody is told otherwise."""
    with at.ledger.write() as connection:
        connection.execute(deliveries.delete())
        settle_if_delivered(connection, "r1-1", at.now)
        study = connection.execute(sa.select(studies)).one()
    assert (study.state, study.reason_code) == ("delivered", "stays-here")
    assert "nothing was to be delivered" in study.reason
    assert at.notes() == ["stays-here"]
    assert "nothing was to be delivered" in " ".join(axrad(configure(at), "show", "s1").output.split())


def test_a_report_that_no_destination_may_have_says_so_and_is_not_reopened_in_vain(at: Desk) -> None:
    put(at, state="refused", reason="results of the demonstration signature go to this machine only")
    with at.ledger.write() as connection:
        settle_if_delivered(connection, "r1-1", at.now)
        assert "may have it" in connection.execute(sa.select(studies.c.reason)).scalar_one()
    error = axrad(configure(at, OLD), "deliver", "s1").exception
    assert isinstance(error, InputRejected)
    assert "demonstration" in error.message
    assert at.state_of() == "delivered"

"""What operators read: counts, what is stuck and why, what to do, in lines that fit; and what they may do about it."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from rich.console import Console

from config.schema import Settings
from daemon.cli import overview
from daemon.cli.wording import WIDTH
from daemon.finding import Finding
from daemon.ledger import Ledger, heartbeats, open_ledger, operator_requests, priority_and_cancel, studies, views
from daemon.ledger.claims import LeaseLost, claim, release
from daemon.ledger.engine import note
from daemon.ledger.tables import breakers, deliveries, fetches, instances, revisions
from daemon.ledger.tables import studies as studies_table
from daemon.ledger_in_words import age, brief, in_words
from daemon.main import cli
from daemon.work.analyse import in_short
from pipeline.errors import InputRejected
from tests.support import reports
from tests.support.queued import NOW, add_revision, add_study, queued

REASON = (
    "an ADC map or DWI series (or a DWI series with two b-values) [none was found], and " + "a very long sentence " * 20
)


def row(ledger: Ledger, name: str) -> Any:
    with ledger.read() as connection:
        return studies.find(connection, name)


def state(ledger: Ledger, name: str) -> str:
    return str(row(ledger, name).state)


def cancel(ledger: Ledger, name: str) -> str:
    with ledger.write() as connection:
        return priority_and_cancel.cancel(connection, studies.find(connection, name), NOW + 1)


def retry(ledger: Ledger, name: str) -> str:
    with ledger.write() as connection:
        found = studies.find(connection, name)
        return operator_requests.retry(connection, found, NOW + 2, new_revision=False, accept_identity=False)


def deliver(ledger: Ledger, revision: str, state: str, destination: str = "pacs") -> None:
    with ledger.write() as connection:
        connection.execute(
            deliveries.insert().values(
                id=f"d-{revision}-{destination}",
                revision_id=revision,
                destination=destination,
                state=state,
                objects=["sr"],
                created_at=NOW,
                next_attempt_at=NOW,
            )
        )


# Cancelling and its opposite


def test_a_study_that_waits_is_cancelled_and_resumed(ledger: Ledger) -> None:
    add_study(ledger, "s1", "waiting")
    assert "is cancelled" in cancel(ledger, "s1")
    assert state(ledger, "s1") == "cancelled"
    assert "assembled again" in retry(ledger, "s1")
    assert (state(ledger, "s1"), row(ledger, "s1").dirty) == ("assembling", True)


def test_a_cancelled_study_is_not_judged_again_when_more_of_it_arrives(ledger: Ledger) -> None:
    from daemon.ledger import verdicts

    add_study(ledger, "s1", "waiting")
    cancel(ledger, "s1")
    with ledger.write() as connection:
        connection.execute(studies_table.update().values(dirty=True))
    with ledger.read() as connection:
        assert verdicts.to_judge(connection, NOW + 100) == []


def test_what_a_worker_does_for_a_cancelled_study_is_void(ledger: Ledger) -> None:
    revision = queued(ledger, "s1")
    with ledger.write() as connection:
        held = claim(connection, "revision", revision, "w", NOW, 60, 3)
        studies.move_study(connection, "s1", "running", NOW)
        connection.execute(revisions.update().values(state="running"))
    assert held is not None
    assert "revision 1" in cancel(ledger, "s1")
    with pytest.raises(LeaseLost), ledger.write() as connection:
        release(connection, held, state="reported")
    assert "queued again" in retry(ledger, "s1")
    with ledger.write() as connection:
        assert claim(connection, "revision", revision, "w2", NOW + 3, 60, 3) is not None


def test_cancelling_stops_deliveries_and_fetches_and_keeps_what_was_delivered(ledger: Ledger) -> None:
    add_study(ledger, "s1", "reported")
    revision = add_revision(ledger, "s1", state="reported", stage="done")
    deliver(ledger, revision, "delivered", "one")
    deliver(ledger, revision, "pending", "two")
    with ledger.write() as connection:
        connection.execute(
            fetches.insert().values(
                id="f", study_id="s1", kind="images", subject="x", wanted=[], state="pending", created_at=NOW,
                next_attempt_at=NOW,
            )
        )  # fmt: skip
    assert "1 deliveries, 1 fetches" in cancel(ledger, "s1")
    with ledger.read() as connection:
        rows = connection.execute(sa.select(deliveries.c.destination, deliveries.c.state)).all()
        states = {r.destination: r.state for r in rows}
        assert states == {"one": "delivered", "two": "cancelled"}
        assert connection.execute(sa.select(fetches.c.state)).scalar_one() == "cancelled"


def test_what_is_over_cannot_be_cancelled(ledger: Ledger) -> None:
    add_study(ledger, "s1", "delivered")
    with pytest.raises(InputRejected, match="nothing left to cancel"):
        cancel(ledger, "s1")


def test_prioritising_says_the_place_in_line(ledger: Ledger) -> None:
    for number in range(3):
        queued(ledger, f"s{number}", NOW + number)
    with ledger.write() as connection:
        found = studies.find(connection, "s2")
        assert (
            priority_and_cancel.prioritise(connection, found, NOW + 5, "urgent", 3600)
            == "study s2 is urgent; it is next"
        )
        found = studies.find(connection, "s2")
        said = priority_and_cancel.prioritise(connection, found, NOW + 5, "low", 3600)
    assert said == "study s2 is low; 2 others are worked on before it"


def test_an_urgent_backfill_is_none_any_more(ledger: Ledger) -> None:
    queued(ledger, "s1", role="backfill")
    with ledger.write() as connection:
        priority_and_cancel.prioritise(connection, studies.find(connection, "s1"), NOW, "urgent", 3600)
    assert (row(ledger, "s1").role, row(ledger, "s1").priority) == ("current", 1)


# Reading


@pytest.fixture
def house(tmp_path: Path) -> tuple[Ledger, Path]:
    """A ledger in a file with some of everything, and its settings; nothing else runs."""
    config = tmp_path / "axrad.toml"
    config.write_text('[spool]\npath = "spool"\nwarn_free_bytes = 0\nrefuse_free_bytes = 0\n', encoding="utf-8")
    (tmp_path / "spool").mkdir()
    ledger = open_ledger(Settings.model_validate({"spool": {"path": tmp_path / "spool"}}))
    now = time.time()
    for name, where, reason in (
        ("aaaa000000000001", "failed", "set aside after 3 attempts"),
        ("aaaa000000000002", "waiting", REASON),
        ("aaaa000000000003", "held", "the images name 2 different patients"),
        ("aaaa000000000004", "delivered", ""),
    ):
        add_study(ledger, name, where, now - 300, reason=reason)
    revision = add_revision(ledger, "aaaa000000000004", now - 200, state="delivered", stage="done")
    deliver(ledger, revision, "delivered")
    queued(ledger, "aaaa000000000005", now - 400, priority=1)
    _timeline(ledger, "aaaa000000000004", now)
    return ledger, config


def _timeline(ledger: Ledger, name: str, now: float) -> None:
    uid = row(ledger, name).study_uid
    with ledger.write() as connection:
        for number in range(3):
            connection.execute(
                instances.insert().values(
                    sop_uid=f"{uid}.{number}", digest="d", study_uid=uid, series_uid=uid, sop_class="1.2", exam_uid=uid,
                    patient_key="k", path="p", size=100, received_at=now - 300 + number, association="assoc-1",
                    calling_ae="SCANNER", state="stored", facts={},
                )
            )  # fmt: skip
        for at, kind, detail in (
            (-300, "first-instance", ""),
            (-250, "revision", "revision 1"),
            (-240, "started", "attempt 1"),
            (-200, "analysed", "evaluated"),
            (-190, "reported", ""),
            (-180, "delivered-at-destination", "pacs: storage commitment"),
        ):
            note(connection, now + at, kind, detail, name)


def axrad(config: Path, *arguments: str) -> str:
    done = CliRunner().invoke(cli, [*arguments, "--config", str(config)])
    assert done.exception is None, done.output
    if "--json" not in arguments:
        assert all(len(line) <= WIDTH for line in done.stdout.splitlines()), done.stdout
    assert "\x1b" not in done.stdout, "colours are for terminals"
    return done.stdout


def test_status_says_what_is_stuck_why_and_what_to_do(house: tuple[Ledger, Path]) -> None:
    said = axrad(house[1], "status")
    assert "axrad retry aaaa000000000001" in said
    assert "waiting, missing: an ADC map or DWI series (or a DWI series with two" in " ".join(said.split())
    assert "axrad cancel aaaa000000000002" in said
    assert "the images name 2 different patients" in said


def test_status_says_what_does_not_run(house: tuple[Ledger, Path]) -> None:
    said = " ".join(axrad(house[1], "status").split())
    assert "Nothing is received on this machine" in said
    assert "no sweep yet" in said
    assert "1 exams are queued and no worker takes them" in said


def test_status_is_content_where_all_is_well(house: tuple[Ledger, Path]) -> None:
    ledger, config = house
    now = time.time()
    with ledger.write() as connection:
        heartbeats.sign(connection, "w", "worker", now, {"queues": ["analyse"], "processes": 2})
        heartbeats.sign(connection, "sweep", "sweep", now)
    found = json.loads(axrad(config, "status", "--json"))
    assert [s for s in found["advice"] if "listener" not in s] == []
    assert found["workers"][0]["processes"] == 2


def test_status_says_how_full_the_disk_is(house: tuple[Ledger, Path]) -> None:
    (line,) = [line for line in axrad(house[1], "status").splitlines() if line.startswith("disk of the spool")]
    assert re.fullmatch(r"disk of the spool: 0 KiB of images and regions, [0-9.]+ [GT]iB free", line)


def test_where_nothing_waits_for_anybody_that_is_said() -> None:
    found: dict[str, Any] = {
        "studies": {"delivered": {"count": 2, "oldest_s": 60.0}}, "deliveries": {"pacs": {"delivered": 2}},
        "instances": {"stored": {"count": 9, "bytes": 3 * 1024**3}, "purged": {"count": 9, "bytes": 1024**4}},
        "packed": {}, "stuck": [], "running": 0, "announced": 0, "sweep_s": 2.0,
        "workers": [{"queues": ["analyse"], "processes": 1}],
        "destinations_down": [], "dead_letters": [], "set_aside": [], "journals": 0, "disk_free_bytes": 50 * 1024**3,
        "listener": {"host": "127.0.0.1", "port": 104, "associations": 0},
        "checks": [asdict(Finding("sweep", "ok", "x"))],
    }  # fmt: skip
    said = printed(found)
    assert "disk of the spool: 3.0 GiB of images and regions, 50.0 GiB free" in said
    assert said.endswith("All is well: nothing waits for you.\n")
    packed = {"exams": {"count": 7, "bytes": 2048}, "instances": {"count": 35, "bytes": 0}}
    assert "free; 7 old exams are packed in the ledger (2 KiB)" in " ".join(printed(found | {"packed": packed}).split())
    late = asdict(Finding("sweep", "fail", "no exam advances", "start it"))
    said = printed(found | {"checks": [late]})
    assert "All is well" not in said
    assert "No exam advances. Start it." in said


def printed(found: dict[str, Any]) -> str:
    out = Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False)
    overview.print_status(out, found)
    return str(out.file.getvalue())  # type: ignore[attr-defined]


def test_status_is_shown_again_until_somebody_has_seen_enough(
    house: tuple[Ledger, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            add_study(house[0], "aaaa000000000009", "failed", time.time(), reason="the second time")
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("daemon.cli.ledger.time.sleep", pause)
    done = CliRunner().invoke(cli, ["status", "--watch", "--config", str(house[1])])
    assert pauses == [2, 2]
    first, _, second = done.stdout.rpartition("studies  ")
    assert "aaaa000000000009" in second
    assert "aaaa000000000009" not in first


def test_a_narrow_terminal_is_not_exceeded(house: tuple[Ledger, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    said = axrad(house[1], "status").splitlines()
    assert max(len(line) for line in said if "→" not in line) <= 72, "what is to be typed is not broken"


def test_a_destination_that_is_down_is_said_with_what_waits_for_it(house: tuple[Ledger, Path]) -> None:
    ledger, config = house
    revision = add_revision(ledger, "aaaa000000000001")
    deliver(ledger, revision, "pending")
    with ledger.write() as connection:
        connection.execute(
            breakers.insert().values(
                destination="pacs", failures=3, failing_since=time.time() - 600, reason="no answer"
            )
        )
    assert "pacs has not taken results for 10 min (no answer); 1 wait" in " ".join(axrad(config, "status").split())


def test_studies_are_one_line_each(house: tuple[Ledger, Path]) -> None:
    lines = axrad(house[1], "studies").splitlines()
    assert len(lines) == 6
    assert any("aaaa000000000005" in line and "(urgent)" in line for line in lines)
    assert all(line.startswith(("study", "aaaa")) for line in lines)


def test_only_studies_in_one_state_are_shown_where_asked(house: tuple[Ledger, Path]) -> None:
    assert len(axrad(house[1], "studies", "--state", "held").splitlines()) == 2


def test_show_tells_a_study_from_its_first_instance_to_its_proof(house: tuple[Ledger, Path]) -> None:
    said = axrad(house[1], "show", "aaaa000000000004")
    words = [
        "first instance",
        "3 instances from SCANNER, association assoc-1",
        "complete",
        "analysis began",
        "analysed",
    ]
    words += ["report made", "pacs: storage commitment"]
    places = [said.index(word) for word in words]
    assert places == sorted(places)


def test_what_a_sender_sent_by_many_associations_is_one_line(house: tuple[Ledger, Path]) -> None:
    ledger, config = house
    uid = row(ledger, "aaaa000000000004").study_uid
    with ledger.write() as connection:
        connection.execute(
            instances.insert().values(
                sop_uid=f"{uid}.9", digest="d", study_uid=uid, series_uid=uid, sop_class="1.2", exam_uid=uid,
                patient_key="k", path="p", size=100, received_at=time.time() - 290, association="assoc-2",
                calling_ae="SCANNER", state="stored", facts={},
            )
        )  # fmt: skip
    said = axrad(config, "show", "aaaa000000000004")
    assert "4 instances from SCANNER, 2 associations, the last assoc-2" in said
    assert said.count("received") == 1
    assert len(json.loads(axrad(config, "show", "aaaa000000000004", "--json"))["arrivals"]) == 2


def test_an_exam_that_came_again_rewritten_is_one_line_and_each_instance_is_in_the_json(
    house: tuple[Ledger, Path],
) -> None:
    ledger, config = house
    with ledger.write() as connection:
        for n in range(3):
            note(connection, time.time(), "resent-changed", f"1.2.{n} came again", "aaaa000000000004")
    said = axrad(config, "show", "aaaa000000000004")
    assert "3 instances came again, rewritten" in said
    assert said.count("sent again") == 1
    told = json.loads(axrad(config, "show", "aaaa000000000004", "--json"))["events"]
    assert sum(e["kind"] == "resent-changed" for e in told) == 3


def test_a_study_without_a_report_says_why(house: tuple[Ledger, Path]) -> None:
    done = CliRunner().invoke(cli, ["show", "aaaa000000000003", "--report", "--config", str(house[1])])
    assert isinstance(done.exception, InputRejected)
    assert "has no report on this machine: the images name 2 different patients" in str(done.exception)


def test_commands_that_steer_say_what_they_did(house: tuple[Ledger, Path]) -> None:
    assert "is urgent" in axrad(house[1], "prioritise", "aaaa000000000005")
    assert "is cancelled" in axrad(house[1], "cancel", "aaaa000000000005")
    assert "queued again" in axrad(house[1], "retry", "aaaa000000000005")


def test_a_study_that_is_unknown_is_said_to_be(house: tuple[Ledger, Path]) -> None:
    done = CliRunner().invoke(cli, ["show", "nothing", "--config", str(house[1])])
    assert isinstance(done.exception, InputRejected)


def test_flower_is_told_study_revision_and_attempt(ledger: Ledger) -> None:
    revision = queued(ledger, "s1")
    deliver(ledger, revision, "pending")
    with ledger.read() as connection:
        assert views.caption(connection, "revision", revision) == "study s1, revision 1, attempt 1"
        said = views.caption(connection, "delivery", f"d-{revision}-pacs")
        assert said == "study s1, revision 1, to pacs, attempt 1"
        assert views.caption(connection, "revision", "unknown") == "unknown"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (120, "2 min"), (7200, "2 h"), (90000, "1 d")]
)
def test_ages_are_said_as_people_do(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_a_reason_in_a_list_names_uids_by_their_end() -> None:
    assert in_words("waiting", "a T2 series; the tumour ROI") == "waiting, missing: a T2 series; the tumour ROI"
    assert brief("segment 1 of 2.25.265775054073664757591: 5 of 9 lie outside series 1.2.840.113619.2.55") == (
        "segment 1 of …757591: 5 of 9 lie outside series …9.2.55"
    )
    assert brief("probability 0.25 of 2.25 at 127.0.0.1") == "probability 0.25 of 2.25 at 127.0.0.1"


def test_the_timeline_names_what_an_exam_lacked_and_who_answered_so() -> None:
    whole = reports.case("high").result
    assert in_short(whole) == "evaluated"
    without = whole.model_copy(update={"absent": {"adc": "the exam has no series that could be ADC"}})
    title = whole.prediction.signature if whole.prediction else ""
    assert in_short(without) == f"evaluated by {title}; absent: adc: the exam has no series that could be ADC"

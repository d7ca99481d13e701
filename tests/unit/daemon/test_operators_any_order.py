"""Operators, arrivals, verdicts, workers and archives in any order: every step of a state is in the tables."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Settings, Spool
from daemon.assembly import EVERYTHING
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.claims import claim, release, update
from daemon.ledger.deliveries import send_again
from daemon.ledger.instances import Arrival, mark_lost, record
from daemon.ledger.moves import add
from daemon.ledger.obsolete import close_deliveries
from daemon.ledger.operator_requests import deliver, retry
from daemon.ledger.priority_and_cancel import cancel, prioritise
from daemon.ledger.rows import StudyRow, rows_where
from daemon.ledger.series_choice import choose, clear
from daemon.ledger.states import DEAD_LETTER, NOT_DELIVERED
from daemon.ledger.studies import move_study, settle_if_delivered
from daemon.ledger.tables import deliveries, instances, revisions
from daemon.work.context import Context
from daemon.work.sweep import assemble
from pipeline.errors import InputRejected
from pipeline.records import SEQUENCES
from tests.support.facts import of_patient
from tests.support.stories import DAY, NOON, breast_exam

EXAM = breast_exam()
STEPS = (
    "images", "regions", "stranger", "a minute", "three weeks", "lost", "back",
    "claim", "reported", "not evaluated", "analysis fails",
    "sent", "stored", "proven", "delivery fails", "closed", "again",
    "cancel", "retry", "new revision", "accept identity", "deliver", "urgent", "choose", "choose back",
)  # fmt: skip


class Study:
    """One study in a ledger of its own; every step is what the daemon or an operator does."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger, self.now = ledger, NOON
        self.context = Context(Settings(spool=Spool(path=folder)), ledger, lambda: self.now, lambda task, row_id: True)

    def arrive(self, connection: sa.Connection, facts: tuple[object, ...], digest: str = "d") -> None:
        for item in facts:
            uid = item.ref.sop_instance_uid  # type: ignore[attr-defined]
            record(connection, Arrival(uid, digest, f"instances/{uid}-{digest}.dcm", 10, self.now, "", facts=item))  # type: ignore[arg-type]

    def step(self, name: str) -> None:
        self.now += 1
        if name in ("a minute", "three weeks"):
            self.now += {"a minute": 150, "three weeks": 21 * DAY}[name]
            assemble(self.context)
            return
        with suppress(InputRejected), self.ledger.write() as connection:
            self._step(connection, name)

    def _step(self, connection: sa.Connection, name: str) -> None:
        study = next(iter(rows_where(connection, StudyRow)), None)
        match name:
            case "images" | "back":
                self.arrive(connection, tuple(EXAM.images))
            case "regions":
                self.arrive(connection, (EXAM.seg(),))
            case "stranger":
                self.arrive(connection, (of_patient(EXAM.images[0], "OTHER"),), "e")
            case "lost":
                mark_lost(connection, connection.execute(sa.select(instances.c.id)).scalars().all(), self.now)
            case _ if study is None:
                return
            case "cancel":
                cancel(connection, study, self.now)
            case "retry" | "new revision" | "accept identity":
                how = {"new_revision": name == "new revision", "accept_identity": name == "accept identity"}
                retry(connection, study, self.now, **how)
            case "deliver":
                deliver(connection, study, self.now, None)
            case "choose":
                t1c = EXAM.t1c[0].ref.series_uid
                choose(connection, study, self.now, self.context.settings, EVERYTHING, "t2", t1c)
            case "choose back":
                clear(connection, study, self.now, SEQUENCES)
            case "urgent":
                prioritise(connection, study, self.now, "urgent", 60)
            case "claim" | "reported" | "not evaluated" | "analysis fails":
                self._analysis(connection, study, name)
            case _:
                self._delivery(connection, name)

    def _analysis(self, connection: sa.Connection, study: StudyRow, name: str) -> None:
        for revision_id in connection.execute(sa.select(revisions.c.id)).scalars().all():
            held = claim(connection, "revision", revision_id, "w", self.now, 0.5, 9)
            if held is None:
                continue
            update(connection, held, state="running")
            move_study(connection, study.id, "running", self.now)
            if name == "analysis fails":
                release(connection, held, {"finished_at": self.now}, state="failed")
                move_study(connection, study.id, "failed", self.now)
            elif name != "claim":
                state = name.replace(" ", "_")
                release(connection, held, state=state, stage="done")
                move_study(connection, study.id, state, self.now)
                row = {"id": f"d{revision_id}", "revision_id": revision_id, "destination": "archive", "objects": ["sr"]}
                if not connection.execute(sa.select(deliveries.c.id).where(deliveries.c.id == row["id"])).all():
                    add(connection, "delivery", "pending", row | {"created_at": self.now, "next_attempt_at": self.now})
                settle_if_delivered(connection, revision_id, self.now)

    def _delivery(self, connection: sa.Connection, name: str) -> None:
        if name == "closed":
            close_deliveries(connection, "archive", "gone", self.now, NOT_DELIVERED)
            return
        for row in connection.execute(sa.select(deliveries)).all():
            if name == "again" and row.state in DEAD_LETTER:
                send_again(connection, row.id, self.now)
            held = claim(connection, "delivery", row.id, "w", self.now, 0.5, 9) if name != "again" else None
            if held is None:
                continue
            if row.state != "stored":
                update(connection, held, state="sending")
            outcome = {"sent": "delivered", "stored": "stored", "proven": "delivered", "delivery fails": "failed"}[name]
            release(connection, held, {"next_attempt_at": self.now}, state=outcome)
            settle_if_delivered(connection, row.revision_id, self.now)


def run(steps: list[str], ends: str | None = None) -> None:
    with TemporaryDirectory() as folder:
        ledger = open_ledger(Settings.model_validate({"spool": {"path": f"{folder}/spool"}}))
        try:
            study = Study(ledger, Path(folder) / "spool")
            for step in ["images", "regions", *steps]:
                study.step(step)
            with ledger.read() as connection:
                (study_row,) = rows_where(connection, StudyRow)
                assert ends in (None, study_row.state)
        finally:
            ledger.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(STEPS), min_size=4, max_size=14))
def test_whatever_the_order_every_step_is_in_the_tables(steps: list[str]) -> None:
    run(steps)


@pytest.mark.parametrize("after", ["deliver", "sent"])
def test_a_reported_study_that_is_done_again_and_expires_still_shows_its_deliveries(after: str) -> None:
    """Its inputs are gone, so that no new revision comes; the report there was is sent, or proven, all the same."""
    sent = ["sent"] if after == "deliver" else []
    redone = ["a minute", "reported", *sent, "new revision", "lost", "three weeks"]
    run(redone, ends="expired")
    run([*redone, after], ends="reported" if after == "deliver" else "delivered")


def test_a_cancelled_study_whose_report_is_sent_all_the_same_is_reported_again() -> None:
    run(["a minute", "reported", "cancel", "deliver"], ends="reported")

"""Orders in two steps: a page that says what will happen, and the order itself, whose answer the next page shows."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from daemon.console import console_audit
from daemon.console.exam_content import content_of, study_named
from daemon.console.exam_page import about
from daemon.console.orders import OF_EXAM, carry_out
from daemon.console.visit import Visit
from daemon.ledger.rows import StudyRow
from daemon.ledger.work_order import PRIORITIES, priority_in_words
from pipeline.errors import InputRejected
from pipeline.needs import SEQUENCE_TITLES


def ask(visit: Visit, name: str) -> Response:
    """What an order does, and a button to confirm it."""
    study = study_named(visit.state.ledger, visit.named["study"])
    series = content_of(visit.settings, visit.state.ledger, study).series if name == "choose" else ()
    visit.viewed(f"ask {name}", about(study))
    return visit.render(
        "order.html", section="exams", study=study, name=name, order=OF_EXAM[name], priorities=list(PRIORITIES),
        priority=priority_in_words(study.priority), destinations=[d.name for d in visit.settings.destination],
        series=series, sequences=SEQUENCE_TITLES,
    )  # fmt: skip


def give(visit: Visit, name: str) -> Response:
    """Carry an order out by the command of `axrad`; back to the exam, which says what came of it."""
    study = study_named(visit.state.ledger, visit.named["study"])
    if name == "deliver" and visit.form.get("destination", "") not in {
        "",
        *(d.name for d in visit.settings.destination),
    }:
        raise InputRejected("there is no such destination", code="no-such-destination")
    return carried_out(visit, name, OF_EXAM[name].words(study.id, visit.form), f"/exams/{study.id}", study)


def carried_out(visit: Visit, name: str, words: Sequence[str], back: str, study: StudyRow | None = None) -> Response:
    done, answer = carry_out(words, visit.session.user, visit.state.config_path)
    if not done:
        console_audit.order_failed(visit.settings, visit.person, name, None if study is None else about(study))
    return visit.back_to(back, done, answer)

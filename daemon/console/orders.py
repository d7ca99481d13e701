"""Orders: what a form asks for becomes a command of `axrad`, run in a process of its own on behalf of the user."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from daemon.audit_trail.operating_user import CONSOLE_USER
from daemon.ledger.states import DELIVERY_OFFERED, MAY_BE_CANCELLED, NEW_REVISION_OFFERED, RETRY_OFFERED
from daemon.ledger.work_order import PRIORITIES
from daemon.machine.parent_watch import following
from daemon.processes.supervisor import axrad_command
from pipeline.errors import InputRejected, TryLater
from pipeline.records import SEQUENCES

LIMIT_S = 300.0
# Commands at once; each loads a Python of its own.
AT_ONCE = 2
MOST_ANSWER = 2000
UID = re.compile(r"[0-9.]{1,64}")
_turns = threading.BoundedSemaphore(AT_ONCE)


class OrdersBusy(TryLater):
    """Other orders are being carried out."""

    code = "orders-busy"


@dataclass(frozen=True, slots=True)
class Order:
    """`title`: on the button. `warning`: what it does, before it is confirmed. `words`: the command.

    `states`: of exams that it is offered for; empty: for all.
    """

    title: str
    warning: str
    words: Callable[[str, Mapping[str, str]], Sequence[str]]
    states: frozenset[str] = frozenset()


def _level(study: str, form: Mapping[str, str]) -> list[str]:
    level = form.get("level", "")
    if level not in PRIORITIES:
        raise InputRejected("choose a priority", code="no-such-priority")
    return ["prioritise", study, f"--level={level}"]


def _regions(word: str, study: str, form: Mapping[str, str]) -> list[str]:
    role = form.get("role", "")
    return [word, study, *([f"--roi={role}"] if role in ("tumor", "lymph_nodes") else [])]


def _choice(study: str, form: Mapping[str, str]) -> list[str]:
    name, uid = form.get("sequence", ""), form.get("series", "")
    if name not in SEQUENCES:
        raise InputRejected("choose a sequence", code="no-such-sequence")
    if uid and not UID.fullmatch(uid):
        raise InputRejected("choose a series of this exam", code="no-such-series")
    return ["choose", study, f"--sequence={name}", f"--series={uid}" if uid else "--clear"]


def _destination(study: str, form: Mapping[str, str]) -> list[str]:
    name = form.get("destination", "")
    return ["deliver", study, *([f"--to={name}"] if name else [])]


# Of an exam, by the row of `rights.ACTIONS` that allows it.
OF_EXAM: Final[Mapping[str, Order]] = {
    "retry": Order(
        "Try again", "The exam is worked on again.", lambda study, _: ["retry", study],
        frozenset(RETRY_OFFERED),
    ),
    "redo": Order(
        "Make a new report", "A new revision is made of the same images, and its report is delivered.",
        lambda study, _: ["retry", study, "--new-revision"],
        frozenset(NEW_REVISION_OFFERED),
    ),
    "accept-identity": Order(
        "Accept the identities", "You have made sure that all objects of this exam are of one patient.",
        lambda study, _: ["retry", study, "--accept-identity"],
    ),
    "prioritise": Order("Change the priority", "The exam goes before or after others.", _level),
    "choose": Order(
        "Choose a series",
        "The series is used for this sequence, whatever the rules say. A new report follows if it reads other images.",
        _choice,
    ),
    "deliver": Order(
        "Deliver again", "The report is sent again, byte for byte.", _destination,
        frozenset(DELIVERY_OFFERED),
    ),
    "cancel": Order(
        "Stop this exam", "Nothing of it is analysed or sent any more. Trying again takes that back.",
        lambda study, _: ["cancel", study],
        frozenset(MAY_BE_CANCELLED),
    ),
    "accept": Order(
        "Accept the regions",
        "You have looked at the proposed regions on every slice. They count as if you had drawn them.",
        partial(_regions, "accept"),
    ),
    "reject": Order(
        "Reject the regions", "Nothing is proposed again from the same measurements.",
        partial(_regions, "reject"),
    ),
}  # fmt: skip


def carry_out(words: Sequence[str], user: str, config_path: Path | None) -> tuple[bool, str]:
    """Run a command; whether it did what it was asked for, and what it said.

    Raises OrdersBusy where others are being carried out.
    """
    if not _turns.acquire(timeout=LIMIT_S / 10):
        raise OrdersBusy("other orders are being carried out; try again in a moment")
    try:
        config = ["--config", str(config_path)] if config_path is not None else []
        done = subprocess.run(
            [*axrad_command(), *words, *config],
            env={**os.environ, **following(), CONSOLE_USER: user, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, f"the command has not ended within {LIMIT_S:g} s and was stopped"
    finally:
        _turns.release()
    answer = done.stdout.strip() or done.stderr.strip().removeprefix("axrad: ")
    return done.returncode == 0, answer[:MOST_ANSWER]

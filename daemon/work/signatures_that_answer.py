"""The signatures in use as assembly needs to know them; and what happens when others are activated."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import structlog

from config.schema import SignatureSettings
from daemon import audit
from daemon.assembly import InUse, RecordedAnswer, side_answer
from daemon.assembly.answers import SideAnswer
from daemon.ledger import heartbeats, verdicts
from daemon.network.file_state import file_state
from daemon.work.context import Context
from pipeline.errors import AxradError
from pipeline.result import StudyResult
from pipeline.signature.registry import IN_USE, SUFFIX, in_order, needs_of

log = structlog.get_logger("axrad.sweep")
# The sign of life that tells which signatures the sweep goes by.
SIGN = "signatures"


def signatures_in_use(settings: SignatureSettings) -> InUse:
    """What the active signatures read, in their written order; why there are none, where they cannot be read.

    Files are read again when they have changed.
    """
    return _read(settings, _file_times(settings))


def answer_given(expected: RecordedAnswer | None, result: StudyResult, in_use: InUse) -> RecordedAnswer | None:
    """The answer of a revision with the signature that answered for each side; of a side without one, as expected."""
    if expected is None:
        return None
    by_digest = {needs.sha256: needs for needs in in_use.signatures}
    sides: dict[str, SideAnswer] = {}
    for side, part in result.parts():
        needs = by_digest.get(str(part.signature.get("sha256"))) if part.prediction is not None else None
        sides[side or ""] = expected["expected"] if needs is None else side_answer(needs)
    return {**expected, "sides": sides or expected["sides"]}


def judge_again_if_changed(context: Context) -> None:
    """Have waiting exams judged again once other signatures are in use; never those that are reported."""
    in_use = signatures_in_use(context.settings.signature)
    known = hashlib.sha256(repr(in_use.signatures).encode()).hexdigest()
    with context.ledger.read() as connection:
        before = heartbeats.last_sign(connection, SIGN)
    if before is not None and (before.detail.get("known"), before.detail.get("trouble")) == (known, in_use.trouble):
        return
    detail = {"known": known, "trouble": in_use.trouble, "names": [needs.name for needs in in_use.signatures]}
    with context.ledger.write() as connection:
        heartbeats.sign(connection, SIGN, SIGN, context.clock(), detail)
        again = verdicts.judge_waiting_again(connection) if before is not None else 0
    if in_use.trouble:
        log.error("signatures-unreadable", why=in_use.trouble)
        if in_use.code == "signature-not-trusted":
            audit.alert(context.settings, f"{in_use.code}: {in_use.trouble}")
    else:
        log.info("signatures-in-use", signatures=detail["names"], judged_again=again)


def _file_times(settings: SignatureSettings) -> tuple[tuple[int, int, int] | None, ...]:
    """When the files that say which signatures are in use, the signatures, and who signed them, were written, and
    their sizes.
    """
    path = settings.path if settings.path is not None else settings.registry and settings.registry / IN_USE
    files = [] if path is None else [path]
    if settings.path is None and settings.registry is not None:
        files += sorted(settings.registry.glob(f"*{SUFFIX}"))
    if settings.require_author and path is not None:
        from pipeline.signature import authors

        files += [*sorted(path.parent.glob(f"*{authors.SUFFIX}")), authors.trusted_path(settings) or path]
    return tuple(map(file_state, files))


@lru_cache(maxsize=4)
def _read(settings: SignatureSettings, _written: tuple[tuple[int, int, int] | None, ...]) -> InUse:
    registry = settings.registry
    try:
        active = in_order(settings)
        if registry is not None and settings.path is None and not registry.is_dir():
            return InUse((), f"there is no registry of signatures at {registry}")
        if not active:
            return InUse((), f"no signature is active in {registry}")
        return InUse(needs_of(active), phase=active[0].trained_phase)
    except AxradError as error:
        return InUse((), error.message, error.code)
    except OSError as error:
        return InUse((), f"the signatures cannot be read: {error.strerror}")

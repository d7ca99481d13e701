"""Storage commitment (PS3.4 annex J), as provider for those who send to us, and the reports on what we asked of others.

A request is written to `<spool>/commitment/` before it is accepted, so it outlives every process. Work on it is: each
instance's file and folders synced, its data set's digest compared with its name, then N-EVENT-REPORT, on the same
association while that stands, else on a new one to where the configuration says the AE listens; again later, with
growing pauses, for a week.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from config.schema import Settings
from daemon.listener import admission
from daemon.listener.contexts import COMMITMENT, COMMITMENT_INSTANCE, EXPLICIT_LE, IMPLICIT_LE
from daemon.spool import JournalWriter, Spool, is_uid, read_meta
from daemon.spool.sync import sync_file, sync_folder
from pipeline.errors import NotDicom

log = structlog.get_logger("axrad.listener")

REQUEST_ACTION, ALL_SAFE, SOME_FAILED = 1, 1, 2
NO_SUCH_INSTANCE, CLASS_CONFLICT, PROCESSING_FAILURE = 0x0112, 0x0119, 0x0110
SUCCESS, NO_SUCH_ACTION, INVALID_ARGUMENT, RESOURCE_LIMITATION = 0x0000, 0x0123, 0x0115, 0x0213
MAX_ITEMS = 50_000
UIDS_PER_LINE = 500
GIVE_UP_S = 7 * 86400.0
LONGEST_PAUSE_S = 3600.0
# A sender that releases right after its request gets its report on a new association, not in the middle of a release.
GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Transaction:
    """One request: what was asked, by whom, and how often an answer was tried. Times are seconds since 1970."""

    transaction_uid: str
    calling_ae: str
    address: str
    received: float
    items: tuple[tuple[str, str], ...]
    attempts: int = 0
    next_attempt: float = 0.0

    @classmethod
    def read(cls, raw: bytes) -> Transaction:
        values = json.loads(raw)
        values["items"] = tuple((str(c), str(u)) for c, u in values["items"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Worked:
    """What one round over the open transactions did."""

    reported: int = 0
    waiting: int = 0
    given_up: int = 0


# Requests that come in


def accept(spool: Spool, event: Any, calling_ae: str, address: str) -> int:
    """Answer an N-ACTION: the request is on the disk when this returns success."""
    if event.action_type != REQUEST_ACTION:
        return NO_SUCH_ACTION
    try:
        uid, items = _read_request(event.action_information)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError, NotImplementedError, OSError):
        return INVALID_ARGUMENT
    transaction = Transaction(uid, calling_ae, address, time.time(), items)
    try:
        if not _is_repeated(spool, transaction):
            _write(_new_file(spool, transaction), transaction)
    except OSError as error:
        log.error("the spool cannot be written", errno=error.errno)
        return RESOURCE_LIMITATION
    log.info("commitment requested", calling_ae=calling_ae, transaction_uid=uid, instances=len(items))
    return SUCCESS


def _read_request(data_set: Dataset) -> tuple[str, tuple[tuple[str, str], ...]]:
    uid = str(data_set.TransactionUID)
    named = ((str(i.ReferencedSOPClassUID), str(i.ReferencedSOPInstanceUID)) for i in data_set.ReferencedSOPSequence)
    items = tuple(dict.fromkeys(named))
    if not is_uid(uid) or not 0 < len(items) <= MAX_ITEMS or not all(is_uid(c) and is_uid(u) for c, u in items):
        raise ValueError("no request for commitment")
    return uid, items


def _key(transaction: Transaction) -> str:
    return hashlib.sha256(f"{transaction.calling_ae}\0{transaction.transaction_uid}".encode()).hexdigest()[:16]


def _new_file(spool: Spool, transaction: Transaction) -> Path:
    name = f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(6)}-{_key(transaction)}.json"
    return spool.commitment / name


def _is_repeated(spool: Spool, transaction: Transaction) -> bool:
    """Whether the same was asked before and is not reported yet: one report answers both."""
    for path in spool.commitment.glob(f"*-{_key(transaction)}.json"):
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            if Transaction.read(path.read_bytes()).items == transaction.items:
                return True
    return False


def _write(path: Path, transaction: Transaction) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(json.dumps(asdict(transaction)).encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


# What is safe


def check(spool: Spool, sop_class_uid: str, sop_instance_uid: str) -> int:
    """0 where the instance is on the disk, whole and synced; else a failure reason (PS3.3 C.14.1.1)."""
    files = spool.find(sop_instance_uid)
    if not files:
        return NO_SUCH_INSTANCE
    try:
        for path in files:
            with path.open("rb") as file:
                if read_meta(file).sop_class_uid != sop_class_uid:
                    return CLASS_CONFLICT
            sync_file(path)
            if not spool.verify(str(path.relative_to(spool.root))):
                return PROCESSING_FAILURE
        for folder in (files[0].parent, files[0].parent.parent, files[0].parent.parent.parent):
            sync_folder(folder)
    except FileNotFoundError:
        return NO_SUCH_INSTANCE
    except (OSError, NotDicom):
        return PROCESSING_FAILURE
    return 0


def report(spool: Spool, transaction: Transaction) -> tuple[int, Dataset]:
    """Event type and event information of the N-EVENT-REPORT (PS3.4 J.3.3)."""
    safe: list[Dataset] = []
    failed: list[Dataset] = []
    for sop_class_uid, sop_instance_uid in transaction.items:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        reason = check(spool, sop_class_uid, sop_instance_uid)
        if reason:
            item.FailureReason = reason
        (failed if reason else safe).append(item)
    information = Dataset()
    information.TransactionUID = transaction.transaction_uid
    if safe:
        information.ReferencedSOPSequence = safe
    if failed:
        information.FailedSOPSequence = failed
    return (SOME_FAILED if failed else ALL_SAFE), information


# Reports that go out

Sender = Callable[[Transaction, int, Dataset], bool]


def answer_soon(settings: Settings, association: Any) -> None:
    """After a moment, report on what this AE asked: on `association` while it stands, else on a new one."""

    def work() -> None:
        time.sleep(GRACE_S)

        def send(transaction: Transaction, event_type: int, information: Dataset) -> bool:
            if association.is_established and transaction.calling_ae == association.calling_ae:
                try:
                    if _send_on(association, event_type, information):
                        return True
                except (RuntimeError, ValueError):
                    log.info("association ended before its report", calling_ae=transaction.calling_ae)
            return send_on_new(settings, transaction, event_type, information)

        work_off(settings, send=send, only=association.calling_ae)

    threading.Thread(target=work, name="commitment", daemon=True).start()


def work_off(settings: Settings, *, now: float | None = None, send: Sender | None = None, only: str = "") -> Worked:
    """One round over the open transactions whose time has come. Several processes may do this at once.

    Args:
        now: seconds since 1970.
        send: how a report is delivered; default: on a new association to the address in the configuration.
        only: look at requests of this AE alone.
    """
    spool = Spool(settings.spool.path)
    deliver: Sender = send or (lambda *report_: send_on_new(settings, *report_))
    now = time.time() if now is None else now
    reported = waiting = given_up = 0
    for path in sorted(spool.commitment.glob("*.json")):
        with _claimed(path) as transaction:
            if transaction is None or (only and transaction.calling_ae != only):
                continue
            if _is_gone(settings, transaction):
                path.unlink()
                given_up += 1
                log.warning(
                    "commitment closed: its requester is no [[peer]] or [[pacs]] any more",
                    calling_ae=transaction.calling_ae,
                    transaction_uid=transaction.transaction_uid,
                )
            elif now < transaction.next_attempt <= now + LONGEST_PAUSE_S:  # later than that: the clock was put back
                waiting += 1
            elif deliver(transaction, *report(spool, transaction)):
                path.unlink()
                reported += 1
                log.info("commitment reported", transaction_uid=transaction.transaction_uid)
            elif now - transaction.received > GIVE_UP_S:
                path.unlink()
                given_up += 1
                log.error("commitment report given up", transaction_uid=transaction.transaction_uid)
            else:
                pause = min(60.0 * 2**transaction.attempts, LONGEST_PAUSE_S)
                _write(path, replace(transaction, attempts=transaction.attempts + 1, next_attempt=now + pause))
                waiting += 1
    return Worked(reported, waiting, given_up)


@contextmanager
def _claimed(path: Path) -> Iterator[Transaction | None]:
    """The transaction, if nobody else is at it. Its lock goes with the process that holds it."""
    try:
        file = path.with_suffix(".lock").open("w")
    except OSError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            transaction = Transaction.read(path.read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            transaction = None
        try:
            yield transaction
        finally:
            if not path.exists():
                path.with_suffix(".lock").unlink(missing_ok=True)


def _send_on(association: Any, event_type: int, information: Dataset) -> bool:
    status, _ = association.send_n_event_report(information, event_type, COMMITMENT, COMMITMENT_INSTANCE)
    return bool(getattr(status, "Status", None) == SUCCESS)


def send_on_new(settings: Settings, transaction: Transaction, event_type: int, information: Dataset) -> bool:
    """Open an association to the AE that asked, as SCP of commitment, and report. False: not now."""
    address = _address_of(settings, transaction)
    if address is None:
        return False
    host, port, tls = address
    ae = AE(ae_title=settings.listen.ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.connection_timeout = settings.listen.acse_timeout_s
    ae.add_requested_context(COMMITMENT, [EXPLICIT_LE, IMPLICIT_LE])
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = COMMITMENT
    role.scu_role = False
    role.scp_role = True
    tls_args = (admission.client_tls_context(settings.listen), host) if tls else None
    association = ae.associate(host, port, ae_title=transaction.calling_ae, ext_neg=[role], tls_args=tls_args)
    if not association.is_established:
        return False
    try:
        return _send_on(association, event_type, information)
    except (RuntimeError, ValueError):
        return False
    finally:
        if association.is_established:
            association.release()


def _address_of(settings: Settings, transaction: Transaction) -> tuple[str, int, bool] | None:
    """Where the AE listens: a `[[pacs]]` of that AE title, or the port of its `[[peer]]`."""
    for pacs in settings.pacs:
        if pacs.ae_title == transaction.calling_ae:
            return pacs.host, pacs.port, pacs.tls
    for peer in settings.peer:
        if peer.ae_title == transaction.calling_ae and peer.port is not None:
            return peer.host or transaction.address, peer.port, False
    return None


def _is_gone(settings: Settings, transaction: Transaction) -> bool:
    """Whether who asked is in the settings no more. Without listed peers anybody on this machine may ask."""
    named = {p.ae_title.strip() for p in settings.peer} | {p.ae_title.strip() for p in settings.pacs}
    return bool(settings.peer) and transaction.calling_ae.strip() not in named


# Reports that come in, on what we asked of others


def note_report(event: Any, journal: JournalWriter) -> int:
    """Write a peer's N-EVENT-REPORT into the journal, for the exporter. It is on the disk when this returns success."""
    try:
        information = event.event_information
        uid = str(information.TransactionUID)
        lists = {
            "committed": [str(i.ReferencedSOPInstanceUID) for i in information.get("ReferencedSOPSequence") or ()],
            "failed": [str(i.ReferencedSOPInstanceUID) for i in information.get("FailedSOPSequence") or ()],
        }
        if not all(is_uid(text) for text in (uid, *lists["committed"], *lists["failed"])):
            return INVALID_ARGUMENT
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError, NotImplementedError, OSError):
        return INVALID_ARGUMENT
    try:
        for key, uids in lists.items():
            for start in range(0, len(uids), UIDS_PER_LINE):
                journal.append("commitment", transaction_uid=uid, **{key: uids[start : start + UIDS_PER_LINE]})
        journal.sync()
    except OSError:
        return PROCESSING_FAILURE
    return SUCCESS

"""Reports that go out: N-EVENT-REPORT to the AEs that asked for storage commitment."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any  # Any: pynetdicom's objects, whose types mypy does not follow

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from config.schema import Settings
from daemon.listener.commitment.check import report_of
from daemon.listener.commitment.requests import SUCCESS, Transaction, locked, write
from daemon.listener.contexts import COMMITMENT, COMMITMENT_INSTANCE, EXPLICIT_LE, IMPLICIT_LE
from daemon.network import server_tls
from daemon.spool import Spool

log = structlog.get_logger("axrad.listener")

DAY_S = 86400.0
CONNECT_S = 5.0
LONGEST_REPORT_PAUSE_S = 3600.0
# A sender that releases right after its request gets its report on a new association, not in the middle of a release.
REPORT_DELAY_S = 1.0


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """What one round over the open transactions did."""

    reported: int = 0
    waiting: int = 0
    given_up: int = 0


Sender = Callable[[Transaction, int, Dataset], bool]
Reach = Callable[[Transaction], bool]


def report_soon(settings: Settings, association: Any) -> None:
    """After a moment, report on this AE's requests: on `association` while it is open, else on a new one."""

    def wait_and_report() -> None:
        time.sleep(REPORT_DELAY_S)

        def send(transaction: Transaction, event_type: int, information: Dataset) -> bool:
            if association.is_established and transaction.calling_ae == association.calling_ae:
                try:
                    if _send_on_association(association, event_type, information):
                        return True
                except (RuntimeError, ValueError):
                    log.info("association ended before its report", calling_ae=transaction.calling_ae)
            return send_on_new_association(settings, transaction, event_type, information)

        def reaches(transaction: Transaction) -> bool:
            same = bool(association.is_established) and transaction.calling_ae == association.calling_ae
            return same or can_be_reached(settings, transaction)

        send_due_reports(settings, send=send, reaches=reaches, only=association.calling_ae)

    threading.Thread(target=wait_and_report, name="commitment", daemon=True).start()


def send_due_reports(
    settings: Settings,
    *,
    now: float | None = None,
    send: Sender | None = None,
    reaches: Reach | None = None,
    only: str = "",
) -> RoundOutcome:
    """One round over the open transactions that are due. Several processes may do this at once.

    Nothing is hashed for a report that cannot be delivered.

    Args:
        now: seconds since 1970.
        send: how a report is delivered; default: on a new association to the address in the configuration.
        reaches: whether anybody is there for a report; default: who `can_be_reached`, or, with `send`, anybody.
        only: look at requests of this AE alone.
    """
    spool = Spool(settings.spool.path)
    deliver: Sender = send or (lambda *report_: send_on_new_association(settings, *report_))
    reaches = reaches or ((lambda _: True) if send else _reaching_once(settings))
    now = time.time() if now is None else now
    reported = waiting = given_up = 0
    for path in sorted(spool.commitment.glob("*.json")):
        with locked(path) as transaction:
            if transaction is None or (only and transaction.calling_ae != only):
                continue
            if _requester_is_unknown(settings, transaction):
                path.unlink()
                given_up += 1
                log.warning(
                    "commitment closed: its requester is no [[peer]] or [[pacs]] any more",
                    calling_ae=transaction.calling_ae,
                    transaction_uid=transaction.transaction_uid,
                )
            elif (
                now < transaction.next_attempt <= now + LONGEST_REPORT_PAUSE_S
            ):  # further ahead: the clock was put back
                waiting += 1
            elif reaches(transaction) and deliver(transaction, *report_of(spool, transaction)):
                path.unlink()
                reported += 1
                log.info("commitment reported", transaction_uid=transaction.transaction_uid)
            elif now - transaction.received > settings.listen.commitment_days * DAY_S:
                path.unlink()
                given_up += 1
                log.error("commitment report given up", transaction_uid=transaction.transaction_uid)
            else:
                pause = min(60.0 * 2**transaction.attempts, LONGEST_REPORT_PAUSE_S)
                write(path, replace(transaction, attempts=transaction.attempts + 1, next_attempt=now + pause))
                waiting += 1
    return RoundOutcome(reported, waiting, given_up)


def can_be_reached(settings: Settings, transaction: Transaction) -> bool:
    """Whether the requesting AE has an address in the settings that resolves, and, after a first attempt, connects."""
    address = _address_of(settings, transaction)
    if address is None:
        return False
    host, port, _ = address
    try:
        if transaction.attempts:
            socket.create_connection((host, port), timeout=CONNECT_S).close()
        else:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return True


def _reaching_once(settings: Settings) -> Reach:
    """As `can_be_reached`; an address that does not answer is asked once a round, however many reports wait for it."""
    silent: set[tuple[str, int, bool] | None] = set()

    def reaches(transaction: Transaction) -> bool:
        address = _address_of(settings, transaction)
        if address in silent or can_be_reached(settings, transaction):
            return address not in silent
        silent.add(address)
        return False

    return reaches


def _send_on_association(association: Any, event_type: int, information: Dataset) -> bool:
    status, _ = association.send_n_event_report(information, event_type, COMMITMENT, COMMITMENT_INSTANCE)
    return bool(getattr(status, "Status", None) == SUCCESS)


def send_on_new_association(
    settings: Settings, transaction: Transaction, event_type: int, information: Dataset
) -> bool:
    """Open an association to the requesting AE, as SCP of commitment, and report. False: try again later."""
    address = _address_of(settings, transaction)
    if address is None:
        return False
    host, port, over_tls = address
    ae = AE(ae_title=settings.listen.ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.connection_timeout = settings.listen.acse_timeout_s
    ae.add_requested_context(COMMITMENT, [EXPLICIT_LE, IMPLICIT_LE])
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = COMMITMENT
    role.scu_role = False
    role.scp_role = True
    tls_args = (server_tls.client_context(settings.listen), host) if over_tls else None
    association = ae.associate(host, port, ae_title=transaction.calling_ae, ext_neg=[role], tls_args=tls_args)
    if not association.is_established:
        return False
    try:
        return _send_on_association(association, event_type, information)
    except (RuntimeError, ValueError):
        return False
    finally:
        if association.is_established:
            association.release()


def _address_of(settings: Settings, transaction: Transaction) -> tuple[str, int, bool] | None:
    """Host, port and TLS of the requesting AE: a `[[pacs]]` of that AE title, or the port of its `[[peer]]`."""
    for pacs in settings.pacs:
        if pacs.ae_title == transaction.calling_ae:
            return pacs.host, pacs.port, pacs.tls
    for peer in settings.peer:
        if peer.ae_title == transaction.calling_ae and peer.port is not None:
            return peer.host or transaction.address, peer.port, False
    return None


def _requester_is_unknown(settings: Settings, transaction: Transaction) -> bool:
    """Whether the requesting AE was removed from the settings. Without peers anybody on this machine may ask."""
    requested = {p.ae_title.strip() for p in settings.peer} | {p.ae_title.strip() for p in settings.pacs}
    return bool(settings.peer) and transaction.calling_ae.strip() not in requested

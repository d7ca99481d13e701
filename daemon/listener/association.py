"""One connection, from accept to close: pynetdicom's association with our receiver, our admission and our services."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any  # Any: pynetdicom's events, whose types mypy does not follow; a socket's address

import structlog
from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.fsm import InvalidEventError
from pynetdicom.transport import AddressInformation, AssociationSocket

from config.schema import Settings
from daemon import audit
from daemon.listener import admission, commitment, contexts, statuses
from daemon.listener.association_slots import Slots
from daemon.listener.association_wakeup import RoundGate, WakingQueue
from daemon.listener.receive_loop import PROTOCOL_ERRORS, ReceivingUpperLayer
from daemon.listener.statuses import Rejection
from daemon.listener.storing import AssociationStore
from daemon.metrics import counters
from daemon.network.peer_rights import COMMIT, ECHO, REPORT_COMMITMENT, Rights
from daemon.network.server_tls import NO_CERTIFICATE, TLS_HANDSHAKE, CurrentTls, handshake_failure, shown_by
from daemon.spool import JournalWriter, Spool, Syncer

log = structlog.get_logger("axrad.listener")
# Somebody began a handshake, or said nothing, until its time was over.
STALLED = "timed out"


@dataclass(frozen=True, slots=True)
class AcceptorResources:
    """What all associations of one acceptor process share."""

    settings: Settings
    spool: Spool
    ae: AE
    slots: Slots
    acceptor: int
    disk: admission.DiskGauge
    syncer: Syncer
    tls: CurrentTls


class AcceptedAssociation(Association):  # type: ignore[misc]
    """An association that somebody opened to us; a thread, started once the connection was accepted."""

    def __init__(
        self, resources: AcceptorResources, connection: socket.socket, address: tuple[Any, ...], slot: int
    ) -> None:
        super().__init__(resources.ae, MODE_ACCEPTOR)
        self.daemon = True
        self._resources = resources
        self._connection = connection
        self._slot: int | None = slot
        self._slot_lock = threading.Lock()
        self._connected_at = time.monotonic()
        self.peer_address = str(address[0])
        self._certificate = NO_CERTIFICATE
        self._rights = Rights(frozenset())
        self._audited_rights: set[str] = set()
        self.name = f"association-{slot}"
        listen = resources.settings.listen
        gate = RoundGate()
        self._reactor_checkpoint = gate
        self.dul = ReceivingUpperLayer(self, gate, self._open_store, self._on_release, listen)
        self.dimse.msg_queue = WakingQueue(gate)
        # The setters hand the times on to the upper layer, which is another one now.
        self.acse_timeout = listen.acse_timeout_s
        self.network_timeout = listen.network_timeout_s
        self.dimse_timeout = listen.acse_timeout_s
        self.acceptor.maximum_length = listen.max_pdu
        self.acceptor.ae_title = listen.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(connection.getsockname())
        self.acceptor.implementation_class_uid = resources.ae.implementation_class_uid
        self.acceptor.implementation_version_name = resources.ae.implementation_version_name
        self.acceptor.supported_contexts = list(contexts.supported())
        self.requestor.address_info = AddressInformation.from_tuple(address)
        self.bind(evt.EVT_REQUESTED, self._on_request)
        self.bind(evt.EVT_C_ECHO, self._on_echo)
        self.bind(evt.EVT_N_ACTION, self._on_action)
        self.bind(evt.EVT_N_EVENT_REPORT, self._on_event_report)

    @property
    def calling_ae(self) -> str:
        primitive = self.requestor.primitive
        return str(primitive.calling_ae_title or "").strip() if primitive is not None else ""

    @property
    def busy(self) -> bool:
        return self.dul.store is not None and not self.is_released

    def run(self) -> None:
        try:
            self._connection.settimeout(self._resources.settings.listen.acse_timeout_s)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._secure()
            self.set_socket(AssociationSocket(self, client_socket=self._connection))
            self.run_reactor()
        except ssl.SSLError as error:
            self._audit_handshake(error)
        except OSError as error:
            log.warning("connection failed", address=self.peer_address, error=type(error).__name__)
        except InvalidEventError:
            PROTOCOL_ERRORS.note("unexpected-pdu", address=self.peer_address)
        except Exception as error:  # noqa: BLE001 - outermost loop of this thread
            log.error("association failed", association=self.name, error=type(error).__name__)
        finally:
            self._end()

    def _secure(self) -> None:
        """The TLS handshake, where we listen so. Raises ssl.SSLError, OSError."""
        context = self._resources.tls.context()
        if context is not None:
            try:
                self._connection = secured = context.wrap_socket(self._connection, server_side=True)
            except TimeoutError as error:
                raise ssl.SSLError(STALLED) from error
            self._certificate = shown_by(secured)

    def _audit_handshake(self, error: ssl.SSLError) -> None:
        """Who connects and leaves again, as probes of load balancers do, has not failed to show who it is."""
        if isinstance(error, ssl.SSLEOFError):
            log.warning("connection failed", address=self.peer_address, error=type(error).__name__)
            return
        reason = STALLED if error.args == (STALLED,) else handshake_failure(error)
        log.warning("association refused", address=self.peer_address, reason=TLS_HANDSHAKE, why=reason)
        counters.association_refused(TLS_HANDSHAKE)
        audit.refused_association(self._resources.settings, "", self.peer_address, f"{TLS_HANDSHAKE}: {reason}")

    def _end(self) -> None:
        if self.dul.is_alive():
            self.dul.kill_dul()
            self.dul.join(timeout=self._resources.settings.listen.network_timeout_s)
        if self.dul.store is not None:
            self.dul.store.close("released" if self.is_released else "aborted")
        self._connection.close()
        self._free_slot()

    def _free_slot(self) -> None:
        slot = self._detach_slot()
        if slot is not None:
            self._resources.slots.free(slot)

    def _detach_slot(self) -> int | None:
        """Once: the association's end is noticed by more than one thread."""
        with self._slot_lock:
            slot, self._slot = self._slot, None
            return slot

    @property
    def silent_s(self) -> float:
        """How long the peer has been connected without having asked for an association; 0 once it has."""
        return (
            0.0 if self.requestor.primitive is not None or self._slot is None else time.monotonic() - self._connected_at
        )

    def surrender_slot(self) -> int | None:
        """End a connection that said nothing yet; its place is now the caller's."""
        slot = self._detach_slot()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        return slot

    def _on_release(self) -> None:
        """What the association's end promises holds, and its place is free, before its end is confirmed."""
        if self.dul.store is not None:
            self.dul.store.close("released")
        self._free_slot()

    def stop(self) -> None:
        """Abort, because this process ends."""
        if self.dul.store is not None:
            self.dul.store.how = "stopped"
        self.abort(block=False)

    def _open_store(self) -> AssociationStore:
        resources = self._resources
        return AssociationStore(
            resources.spool,
            resources.settings,
            resources.disk.refuses,
            resources.syncer,
            self.calling_ae,
            self.peer_address,
            self._rights,
        )

    # Who may

    def _on_request(self, event: Any) -> None:
        rejection = self._rejection()
        if rejection is None:
            return
        log.warning(
            "association refused", address=self.peer_address, calling_ae=self.calling_ae, reason=rejection.reason
        )
        counters.association_refused(rejection.reason)
        audit.refused_association(self._resources.settings, self.calling_ae, self.peer_address, rejection.reason)
        self._free_slot()
        self.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
        self.kill()

    def _rejection(self) -> Rejection | None:
        resources = self._resources
        called_ae = str(self.requestor.primitive.called_ae_title or "").strip()
        caller = admission.Caller(self.peer_address, self.calling_ae, called_ae, self._certificate)
        admitted = admission.admit(caller, resources.settings.peer)
        if isinstance(admitted, Rejection):
            return admitted
        self._rights = admitted
        if resources.disk.refuses():
            return statuses.CONGESTED
        if self._slot is None or not resources.slots.claim(
            self._slot, resources.acceptor, f"{self.calling_ae}@{self.peer_address}"
        ):
            return statuses.TOO_MANY_OF_PEER
        return None

    def _lacks(self, right: str) -> bool:
        """Whether the peer may not do this; then it is logged, and audited once an association."""
        if self._rights.allow(right):
            return False
        log.warning("service refused", address=self.peer_address, calling_ae=self.calling_ae, right=right)
        if right not in self._audited_rights:
            self._audited_rights.add(right)
            audit.refused_right(self._resources.settings, self.calling_ae, self.peer_address, right)
        return True

    def _on_echo(self, event: Any) -> int:
        return statuses.ECHO_REFUSED if self._lacks(ECHO) else statuses.SUCCESS

    # Storage commitment

    def _on_action(self, event: Any) -> tuple[int, None]:
        if self._lacks(COMMIT):
            return statuses.ACTION_REFUSED, None
        listen = self._resources.settings.listen
        limits = commitment.Limits(listen.max_commitments_per_peer, listen.max_commitment_instances_per_peer)
        status = commitment.accept_request(self._resources.spool, event, self.calling_ae, self.peer_address, limits)
        if status == statuses.SUCCESS:
            commitment.report_soon(self._resources.settings, self)
        return status, None

    def _on_event_report(self, event: Any) -> tuple[int, None]:
        if self._lacks(REPORT_COMMITMENT):
            return statuses.REPORT_REFUSED, None
        journal = JournalWriter(self._resources.spool.journal, self.calling_ae, self.peer_address)
        try:
            return commitment.record_report(event, journal), None
        finally:
            journal.close("released")

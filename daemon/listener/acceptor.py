"""One acceptor process: takes connections from the shared listening socket, one thread pair per association.

Started by the supervisor, which hands over the socket and the association table as descriptors and the settings on
stdin; when stdin ends, because the supervisor says so or because it is gone, this process stops.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import select
import socket
import sys
import threading
import time
import warnings

import structlog
from pynetdicom import AE, _config

from config.schema import Settings
from daemon import audit
from daemon.listener import admission, contexts, statuses
from daemon.listener.association import AcceptedAssociation, AcceptorResources
from daemon.listener.association_slots import Slots
from daemon.listener.statuses import Rejection
from daemon.logs import Recurring, guard_last_words, set_up
from daemon.metrics import counters
from daemon.network.accept_backoff import REST_S, SHORT
from daemon.network.server_tls import TLS_HANDSHAKE, CurrentTls, listener_files
from daemon.spool import Spool, Syncer
from daemon.spool.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

log = structlog.get_logger("axrad.listener")

# Leave a connection to a less busy process this long before taking it.
YIELD_TO_IDLER_S = 0.005
STOP_GRACE_S = 5.0
# Connections that have said nothing for so long give way when all places are taken.
SILENT_CONNECTION_S = 1.0
MAX_REFUSALS_AT_ONCE = 32


class Acceptor:
    """`run` takes connections until `stop` is set."""

    def __init__(self, settings: Settings, listening: socket.socket, slots: Slots, number: int) -> None:
        self._listening = listening
        self._number = number
        self._settings = settings
        spool = Spool(settings.spool.path)
        ae = AE(ae_title=settings.listen.ae_title)
        ae.maximum_associations = 1_000_000  # the shared table counts
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        self._resources = AcceptorResources(
            settings=settings,
            spool=spool,
            ae=ae,
            slots=slots,
            acceptor=number,
            disk=admission.DiskGauge(settings.spool),
            syncer=Syncer(spool.root),
            tls=CurrentTls(listener_files(settings.listen)),
        )
        self._refusals = threading.BoundedSemaphore(MAX_REFUSALS_AT_ONCE)
        self._out_of_descriptors = Recurring(log, "no connection is taken")

    def run(self, stop: threading.Event) -> None:
        refused = [refusal.status for refusal in statuses.ALL]
        counters.begin_intake(refused, [*(r.reason for r in statuses.ALL_REJECTIONS), TLS_HANDSHAKE])
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        while not stop.is_set():
            if not poll.poll(200):
                continue
            if self._another_acceptor_is_idler():
                time.sleep(YIELD_TO_IDLER_S)
            try:
                connection, address = self._listening.accept()
            except OSError as error:
                self._pause_when_descriptors_run_out(error, stop)
                continue
            self._admit(connection, address)
        self._end_associations()

    def _pause_when_descriptors_run_out(self, error: OSError, stop: threading.Event) -> None:
        """Another process took the connection, or it is gone. Or descriptors are short: then it stays in the queue, and
        without a pause it would be tried again without end."""
        if error.errno in SHORT:
            self._out_of_descriptors.note(errno.errorcode[error.errno])
            stop.wait(REST_S)

    def _another_acceptor_is_idler(self) -> bool:
        load = self._resources.slots.per_acceptor()
        mine = load[self._number]
        return any(load[other] < mine for other in range(1, self._settings.listen.acceptors + 1))

    def _admit(self, connection: socket.socket, address: tuple[object, ...]) -> None:
        if not admission.may_connect(str(address[0]), self._settings.peer):
            self._refuse(connection, str(address[0]), statuses.UNKNOWN_PEER)
            return
        slot = self._resources.slots.take(self._number)
        if slot is None:
            slot = self._slot_of_silent_connection()
        if slot is None:
            self._refuse(connection, str(address[0]), statuses.TOO_MANY)
            return
        try:
            AcceptedAssociation(self._resources, connection, address, slot).start()
        except (OSError, RuntimeError) as error:
            name = errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
            log.error("connection dropped", address=str(address[0]), error=name)
            connection.close()
            self._resources.slots.free(slot)

    def _slot_of_silent_connection(self) -> int | None:
        """The place of whoever has been connected longest without a word: DICOM's requestors speak at once."""
        silent = max(self._associations(), key=lambda a: a.silent_s, default=None)
        if silent is None or silent.silent_s < SILENT_CONNECTION_S:
            return None
        log.warning("connection gave way", address=silent.peer_address)
        return silent.surrender_slot()

    def _refuse(self, connection: socket.socket, address: str, rejection: Rejection) -> None:
        """Say no without reading more than a little, and never wait for it here."""
        log.warning("association refused", address=address, reason=rejection.reason)
        counters.association_refused(rejection.reason)
        audit.refused_association(self._settings, "", address, rejection.reason)
        if not self._refusals.acquire(blocking=False):
            connection.close()
            return

        def send_rejection() -> None:
            try:
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(1.0)
                    if not self._resources.tls.enabled:
                        connection.sendall(rejection.pdu)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(65536)
            finally:
                self._refusals.release()

        threading.Thread(target=send_rejection, daemon=True).start()

    def _end_associations(self) -> None:
        """Let associations that are storing come to their end, for a while; then abort."""
        deadline = time.monotonic() + STOP_GRACE_S
        while (running := self._associations()) and time.monotonic() < deadline:
            for association in running:
                if not association.busy:
                    association.stop()
            time.sleep(0.05)
        for association in running:
            association.stop()
        for association in running:
            association.join(timeout=STOP_GRACE_S)

    @staticmethod
    def _associations() -> list[AcceptedAssociation]:
        return [thread for thread in threading.enumerate() if isinstance(thread, AcceptedAssociation)]


def quiet_foreign_logs() -> None:
    """pynetdicom and pydicom quote what they receive; nothing of that may be built, let alone logged."""
    _config.LOG_HANDLER_LEVEL = "none"
    for name in ("pynetdicom", "pydicom"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")


def main(listening_fd: int, slots_fd: int, number: int) -> None:
    """Entry of the process."""
    settings = admission.with_health_probe(Settings.model_validate_json(sys.stdin.buffer.readline()))
    set_up(settings.log, "accept")
    guard_last_words()
    quiet_foreign_logs()
    listen = settings.listen
    listening = socket.socket(fileno=listening_fd)
    listening.setblocking(False)
    contexts.supported()
    slots = Slots(slots_fd, listen.max_associations, listen.max_associations_per_peer)
    stop = threading.Event()

    def stop_at_end_of_input() -> None:
        sys.stdin.buffer.read()
        stop.set()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    gc.collect()
    gc.freeze()
    Acceptor(settings, listening, slots, number).run(stop)
    logging.shutdown()
    os._exit(0)  # threads that wait for a peer must not hold the process

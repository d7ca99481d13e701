"""The receive loop: pynetdicom's upper layer, except that the P-DATA of C-STORE goes straight to the spool.

pynetdicom negotiates the association, keeps the state machine, and serves everything that is not C-STORE. While the
association transfers data (Sta6 of PS3.8 9.2), this loop reads the socket: fragments of a C-STORE go straight to the
`Store` and its answer straight back; a fragment of any other message, and any other PDU, is handed to pynetdicom.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any  # Any: pynetdicom's objects, whose types mypy does not follow

import structlog
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu_primitives import P_DATA

from config.schema import Listen
from daemon.listener.association_wakeup import RoundGate, WakingQueue
from daemon.listener.command import C_STORE_RQ, BadCommand, StoreRequest, command_field, p_data, read_elements
from daemon.listener.command import store_response as encode_response
from daemon.listener.fragments import Fragment, OtherPdu, ProtocolViolation, Stream, check_header
from daemon.listener.socket_reader import SocketReader
from daemon.listener.storing import AssociationStore, NegotiatedContext
from daemon.logs import Recurring

log = structlog.get_logger("axrad.listener")
PROTOCOL_ERRORS = Recurring(log, "protocol broken")

MAX_COMMAND_BYTES = 64 * 1024
MAX_OTHER_MESSAGE_BYTES = 16 * 1024 * 1024
TRANSFER, CLOSING = "Sta6", "Sta13"
RELEASE_RQ = 5


class ReceivingUpperLayer(DULServiceProvider):  # type: ignore[misc]
    """The upper layer of one association that we accepted.

    `open_store` is called with the first C-STORE; by then the association is negotiated. `on_release` is called when
    the peer asks to release, before that is confirmed.
    """

    def __init__(
        self,
        assoc: Any,
        gate: RoundGate,
        open_store: Callable[[], AssociationStore],
        on_release: Callable[[], None],
        listen: Listen,
    ) -> None:
        super().__init__(assoc)
        self.daemon = True
        self._gate = gate
        self._open_store = open_store
        self._on_release = on_release
        self._max_pdu = listen.max_pdu
        self._timeout_s = listen.network_timeout_s
        self._request_deadline = time.monotonic() + listen.acse_timeout_s
        self._reader = SocketReader(listen.network_timeout_s)
        self._stream = Stream(listen.max_pdu)
        self._received_since_check = False
        self._partial_since: float | None = None
        self._violated = False
        self._command = bytearray()
        self._store_context: int | None = None
        self._request: StoreRequest | None = None
        self._other_message_bytes = 0
        self._other_message_context: int | None = None
        self._contexts: dict[int, NegotiatedContext] = {}
        self.to_user_queue = WakingQueue(gate)
        self.store: AssociationStore | None = None

    # What pynetdicom calls

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except InvalidEventError:
            # The peer sent a PDU that does not fit the association's state (PS3.8 9.2): one log line for many of them.
            PROTOCOL_ERRORS.note("unexpected-pdu", address=self.assoc.peer_address)
        except Exception as error:  # noqa: BLE001 - outermost loop of this thread
            log.error("association failed", error=type(error).__name__)
        finally:
            self._kill_thread = True
            # Nothing more will come: releases whoever still waits for an association request.
            self.to_user_queue.put(None)

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self._reader.wake()

    def kill_dul(self) -> None:
        super().kill_dul()
        self._reader.wake()

    def _is_transport_event(self) -> bool:
        """Whether something came in; pynetdicom's loop asks when it has nothing to send."""
        if self.socket is None or self.socket.socket is None or not self.event_queue.empty():
            return False
        state = self.state_machine.current_state
        if state == TRANSFER:
            return self._transfer()
        if state == CLOSING and self._violated:
            self.socket.close()
            return True
        if state == CLOSING:
            return bool(super()._is_transport_event())
        if self._reader.is_readable(self.socket.socket):
            self._read_pdu_data()
            return True
        return False

    def _read_pdu_data(self) -> None:
        """One PDU outside data transfer: pynetdicom's reading with limits on its length and on its time."""
        deadline = self._request_deadline if self.state_machine.current_state == "Sta2" else None
        deadline = deadline or time.monotonic() + self._timeout_s
        try:
            head = self._reader.read_exactly(self.socket.socket, 6, deadline)
            length = int.from_bytes(head[2:6], "big")
            check_header(head[0], length, self._max_pdu)
            body = self._reader.read_exactly(self.socket.socket, length, deadline)
            self._queue_pdu(bytes(head + body))
        except ProtocolViolation as violation:
            self._abort_for(violation)
        except (OSError, EOFError):
            self.event_queue.put("Evt17")

    def _queue_pdu(self, raw: bytes) -> None:
        try:
            pdu, event = self._decode_pdu(bytearray(raw))
        except Exception as error:  # pynetdicom lets through whatever its parsers raise
            raise ProtocolViolation(f"a PDU of type {raw[0]:#04x} cannot be decoded") from error
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)

    # Data transfer

    def _transfer(self) -> bool:
        """Receive until the state machine has to act or pynetdicom has something to send."""
        try:
            # the deques themselves: `empty` would take a lock, thousands of times per second
            while not (self.to_provider_queue.queue or self.event_queue.queue or self._kill_thread):
                item = self._stream.next()
                if isinstance(item, Fragment):
                    self._handle_fragment(item)
                elif item is not None:
                    self._handle_pdu(item)
                elif not self._receive():
                    return not self.event_queue.empty()
        except ProtocolViolation as violation:
            self._abort_for(violation)
        return True

    def _receive(self) -> bool:
        """Feed the stream with what the socket has; False when nothing came for MAX_ROUND_S, or the stream ended."""
        self._check_timeouts()
        received = self._reader.read_available(self.socket.socket)
        if received is None:
            if self.idle_timer_expired():
                self._gate.wake()
            return False
        if not received.nbytes:
            self.event_queue.put("Evt17")
            return False
        self._stream.feed(received)
        self._received_since_check = True
        return True

    def _check_timeouts(self) -> None:
        """Restart the idle timer at whole PDUs only. Raises ProtocolViolation for a PDU that takes too long."""
        if self._stream.between_pdus:
            self._partial_since = None
            if self._received_since_check:
                self._received_since_check = False
                self._idle_timer.restart()
        elif self._partial_since is None:
            self._partial_since = time.monotonic()
        elif time.monotonic() - self._partial_since > self._timeout_s:
            raise ProtocolViolation("a PDU did not come whole in time")

    def _handle_pdu(self, pdu: OtherPdu) -> None:
        if pdu.kind == RELEASE_RQ:
            self._on_release()
        self._queue_pdu(pdu.raw)

    def _handle_fragment(self, fragment: Fragment) -> None:
        if self._request is not None:
            self._handle_data(fragment)
        elif self._other_message_context is not None:
            self._forward_fragment(fragment.context_id, fragment.control, fragment)
        elif fragment.is_command:
            self._handle_command(fragment)
        else:
            raise ProtocolViolation("a data set without a command")

    def _handle_command(self, fragment: Fragment) -> None:
        self._command += fragment.piece
        if len(self._command) > MAX_COMMAND_BYTES:
            raise ProtocolViolation("a command set is longer than any can be")
        if not fragment.is_last:
            return
        command, self._command = bytes(self._command), bytearray()
        try:
            elements = read_elements(command)
            if command_field(elements) != C_STORE_RQ:
                self._other_message_bytes = 0
                self._forward_to_pynetdicom(fragment.context_id, b"\x03" + command)
                return
            request = StoreRequest.read(elements)
        except BadCommand as error:
            raise ProtocolViolation(str(error)) from error
        context = self._context(fragment.context_id)
        if self.store is None:
            self.store = self._open_store()
        self._store_context = fragment.context_id
        self.store.begin(request, context)
        if request.has_data_set:
            self._request = request
        else:
            self._answer(request)

    def _context(self, context_id: int) -> NegotiatedContext:
        context = self._contexts.get(context_id)
        if context is None:
            accepted = self.assoc._accepted_cx.get(context_id)
            if accepted is None:
                raise ProtocolViolation("a message on a presentation context that was not accepted")
            syntax = str(accepted.transfer_syntax[0])
            context = NegotiatedContext(str(accepted.abstract_syntax), syntax, bool(accepted.as_scp))
            self._contexts[context_id] = context
        return context

    def _handle_data(self, fragment: Fragment) -> None:
        if fragment.is_command or fragment.context_id != self._store_context:
            raise ProtocolViolation("another message before the data set was complete")
        assert self.store is not None
        self.store.data(fragment.piece)
        if fragment.is_last:
            request, self._request = self._request, None
            assert request is not None
            self._answer(request)

    def _answer(self, request: StoreRequest) -> None:
        assert self.store is not None
        assert self._store_context is not None
        status, comment = self.store.end()
        try:
            self.socket.socket.sendall(p_data(self._store_context, encode_response(request, status, comment)))
        except OSError:
            self.event_queue.put("Evt17")
        self.store.discard_incoming()

    # Messages that pynetdicom serves

    def _forward_fragment(self, context_id: int, control: int, fragment: Fragment) -> None:
        self._other_message_bytes += fragment.piece.nbytes
        if self._other_message_bytes > MAX_OTHER_MESSAGE_BYTES:
            raise ProtocolViolation("a message is longer than this receiver takes")
        header = control if fragment.ends else control & ~2
        self._forward_to_pynetdicom(context_id, bytes((header,)) + fragment.piece)

    def _forward_to_pynetdicom(self, context_id: int, value: bytes) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, value))
        dimse = self.assoc.dimse
        try:
            dimse.receive_primitive(primitive)
        except Exception as error:  # pynetdicom lets through whatever its parsers raise
            raise ProtocolViolation("a message cannot be decoded") from error
        self._other_message_context = None if dimse.message is None else context_id

    def _abort_for(self, violation: ProtocolViolation) -> None:
        """A-ABORT, then close without reading on: the rest of the stream cannot be interpreted."""
        log.warning("protocol violation", association=self.assoc.name, what=str(violation))
        self._violated = True
        self.event_queue.put("Evt19")

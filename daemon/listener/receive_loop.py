"""The receive loop: pynetdicom's upper layer, with a way of our own for the P-DATA of C-STORE.

pynetdicom negotiates the association, keeps the state machine, and serves everything that is not C-STORE. While the
association transfers data (Sta6 of PS3.8 9.2), this loop reads the socket: fragments of a C-STORE go straight to the
`Store` and its answer straight back; a fragment of any other message, and any other PDU, is handed to pynetdicom.
"""

from __future__ import annotations

import os
import select
import ssl
import time
from collections.abc import Callable
from typing import Any

import structlog
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu_primitives import P_DATA

from config.schema import Listen
from daemon.listener.association_wakeup import PATIENCE_S, Gate, RingingQueue
from daemon.listener.command import C_STORE_RQ, BadCommand, StoreRequest, command_field, p_data, read_elements
from daemon.listener.command import store_response as encode_response
from daemon.listener.fragments import Fragment, OtherPdu, ProtocolViolation, Stream, check_header
from daemon.listener.storing import Context, Store
from daemon.logs import Recurring

log = structlog.get_logger("axrad.listener")
UNEXPECTED = Recurring(log, "protocol broken")

BUFFER_BYTES = 256 * 1024
MAX_COMMAND_BYTES = 64 * 1024
MAX_OTHER_MESSAGE_BYTES = 16 * 1024 * 1024
TRANSFER, CLOSING = "Sta6", "Sta13"
RELEASE_RQ = 5


class Bell:
    """Wakes a thread out of its poll. The descriptor lives as long as anyone could still ring."""

    fd = -1  # where the system has no descriptor left

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        os.eventfd_write(self.fd, 1)

    def hush(self) -> None:
        os.eventfd_read(self.fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class Receiver(DULServiceProvider):  # type: ignore[misc]
    """The upper layer of one association that we accepted.

    `open_store` is called with the first C-STORE; by then the association is negotiated. `on_release` is called when
    the peer asks to release, before that is confirmed.
    """

    def __init__(
        self, assoc: Any, gate: Gate, open_store: Callable[[], Store], on_release: Callable[[], None], listen: Listen
    ) -> None:
        super().__init__(assoc)
        self.daemon = True
        self._gate = gate
        self._open_store = open_store
        self._on_release = on_release
        self._max_pdu = listen.max_pdu
        self._timeout_s = listen.network_timeout_s
        self._request_deadline = time.monotonic() + listen.acse_timeout_s
        self._bell = Bell()
        self._poll = select.poll()
        self._poll.register(self._bell.fd, select.POLLIN)
        self._polled_socket = -1
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._stream = Stream(listen.max_pdu)
        self._fed = False
        self._partial_since: float | None = None
        self._violated = False
        self._command = bytearray()
        self._store_context: int | None = None
        self._request: StoreRequest | None = None
        self._others_bytes = 0
        self._others_context: int | None = None
        self._contexts: dict[int, Context] = {}
        self.to_user_queue = RingingQueue(gate)
        self.store: Store | None = None

    # What pynetdicom calls

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except InvalidEventError:
            # A PDU that does not fit the association's state (PS3.8 9.2): the peer's doing, not worth a line each.
            UNEXPECTED.note("unexpected-pdu", address=self.assoc.peer_address)
        except Exception as error:  # noqa: BLE001 - outermost loop of this thread
            log.error("association failed", error=type(error).__name__)
        finally:
            self._kill_thread = True
            # Nothing more will come: who still waits for a request (the peer only knocked) need not.
            self.to_user_queue.put(None)

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self._bell.ring()

    def kill_dul(self) -> None:
        super().kill_dul()
        self._bell.ring()

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
        if self._readable():
            self._read_pdu_data()
            return True
        return False

    def _read_pdu_data(self) -> None:
        """One PDU outside data transfer: pynetdicom's reading with limits on its length and on its time."""
        deadline = self._request_deadline if self.state_machine.current_state == "Sta2" else None
        deadline = deadline or time.monotonic() + self._timeout_s
        try:
            head = self._read_exactly(6, deadline)
            length = int.from_bytes(head[2:6], "big")
            check_header(head[0], length, self._max_pdu)
            self._take_other(bytes(head + self._read_exactly(length, deadline)))
        except ProtocolViolation as violation:
            self._violate(violation)
        except (OSError, EOFError):
            self.event_queue.put("Evt17")

    def _take_other(self, raw: bytes) -> None:
        try:
            pdu, event = self._decode_pdu(bytearray(raw))
        except Exception as error:  # pynetdicom raises what it meets
            raise ProtocolViolation(f"a PDU of type {raw[0]:#04x} cannot be decoded") from error
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)

    def _read_exactly(self, wanted: int, deadline: float) -> bytearray:
        sock = self.socket.socket
        raw = bytearray()
        while len(raw) < wanted:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            piece = sock.recv(min(wanted - len(raw), 65536))
            if not piece:
                raise EOFError
            raw += piece
        sock.settimeout(self._timeout_s)
        return raw

    # Data transfer

    def _readable(self) -> bool:
        """Wait until the socket has bytes, someone rings, or PATIENCE_S is over."""
        sock = self.socket.socket
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        if sock.fileno() != self._polled_socket:
            self._polled_socket = sock.fileno()
            self._poll.register(sock, select.POLLIN)
        ready = False
        for descriptor, _ in self._poll.poll(PATIENCE_S * 1000):
            if descriptor == self._bell.fd:
                self._bell.hush()
            else:
                ready = True
        return ready

    def _transfer(self) -> bool:
        """Receive until the state machine has to act, or pynetdicom has something to send."""
        try:
            # the deques themselves: `empty` would take a lock, thousands of times per second
            while not (self.to_provider_queue.queue or self.event_queue.queue or self._kill_thread):
                item = self._stream.next()
                if isinstance(item, Fragment):
                    self._take_fragment(item)
                elif item is not None:
                    self._take_pdu(item)
                elif not self._receive():
                    return not self.event_queue.empty()
        except ProtocolViolation as violation:
            self._violate(violation)
        return True

    def _receive(self) -> bool:
        """Feed the stream with what the socket has. False when there was nothing for a while."""
        self._watch_the_clock()
        received = self._read_some()
        if received is None:
            if self.idle_timer_expired():
                self._gate.ring()
            return False
        if received == 0:
            self.event_queue.put("Evt17")
            return False
        self._stream.feed(self._buffer[:received])
        self._fed = True
        return True

    def _read_some(self) -> int | None:
        """Bytes read into the buffer; 0 at the end of the stream, None when nothing came for a while.

        Reading is tried before waiting: while images flow, the next bytes are there already.
        """
        sock = self.socket.socket
        try:
            if not isinstance(sock, ssl.SSLSocket):
                try:
                    return os.readv(sock.fileno(), (self._buffer,))
                except BlockingIOError:
                    return os.readv(sock.fileno(), (self._buffer,)) if self._readable() else None
            return sock.recv_into(self._buffer) if self._readable() else None
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            return 0

    def _watch_the_clock(self) -> None:
        """Only whole PDUs keep an association alive, and one that has begun must come whole in time."""
        if self._stream.between_pdus:
            self._partial_since = None
            if self._fed:
                self._fed = False
                self._idle_timer.restart()
        elif self._partial_since is None:
            self._partial_since = time.monotonic()
        elif time.monotonic() - self._partial_since > self._timeout_s:
            raise ProtocolViolation("a PDU did not come whole in time")

    def _take_pdu(self, pdu: OtherPdu) -> None:
        if pdu.kind == RELEASE_RQ:
            self._on_release()
        self._take_other(pdu.raw)

    def _take_fragment(self, fragment: Fragment) -> None:
        if self._request is not None:
            self._take_data(fragment)
        elif self._others_context is not None:
            self._pass_on(fragment.context_id, fragment.control, fragment)
        elif fragment.is_command:
            self._take_command(fragment)
        else:
            raise ProtocolViolation("a data set without a command")

    def _take_command(self, fragment: Fragment) -> None:
        self._command += fragment.piece
        if len(self._command) > MAX_COMMAND_BYTES:
            raise ProtocolViolation("a command set is longer than any can be")
        if not fragment.is_last:
            return
        command, self._command = bytes(self._command), bytearray()
        try:
            elements = read_elements(command)
            if command_field(elements) != C_STORE_RQ:
                self._others_bytes = 0
                self._hand_over(fragment.context_id, b"\x03" + command)
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

    def _context(self, context_id: int) -> Context:
        context = self._contexts.get(context_id)
        if context is None:
            accepted = self.assoc._accepted_cx.get(context_id)
            if accepted is None:
                raise ProtocolViolation("a message on a presentation context that was not accepted")
            syntax = str(accepted.transfer_syntax[0])
            context = Context(str(accepted.abstract_syntax), syntax, bool(accepted.as_scp))
            self._contexts[context_id] = context
        return context

    def _take_data(self, fragment: Fragment) -> None:
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
        self.store.tidy()

    # Messages that pynetdicom serves

    def _pass_on(self, context_id: int, control: int, fragment: Fragment) -> None:
        self._others_bytes += fragment.piece.nbytes
        if self._others_bytes > MAX_OTHER_MESSAGE_BYTES:
            raise ProtocolViolation("a message is longer than this receiver takes")
        header = control if fragment.ends else control & ~2
        self._hand_over(context_id, bytes((header,)) + fragment.piece)

    def _hand_over(self, context_id: int, value: bytes) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, value))
        dimse = self.assoc.dimse
        try:
            dimse.receive_primitive(primitive)
        except Exception as error:  # pynetdicom raises what it meets
            raise ProtocolViolation("a message cannot be decoded") from error
        self._others_context = None if dimse.message is None else context_id

    def _violate(self, violation: ProtocolViolation) -> None:
        """A-ABORT, then close without reading on: what follows in the stream means nothing any more."""
        log.warning("protocol violation", association=self.assoc.name, what=str(violation))
        self._violated = True
        self.event_queue.put("Evt19")

"""A raw connection to a listener: whatever bytes a test wants to send, and what comes back."""

from __future__ import annotations

import select
import socket
import struct
from typing import Protocol

from pynetdicom import AE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from daemon.listener.command import read_elements
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE
from tests.support.listening import VERIFICATION
from tests.support.waiting import TICK_S, wait_for

RELEASE_RQ = struct.pack(">BBII", 5, 0, 4, 0)


class HasPort(Protocol):
    @property
    def port(self) -> int: ...


def associate_rq() -> bytes:
    """The bytes of an A-ASSOCIATE-RQ with one context (1) for MR images and one (3) for echoes."""
    ae = AE(ae_title="HOSTILE")
    ae.add_requested_context(MR_IMAGE, EXPLICIT_LE)
    ae.add_requested_context(VERIFICATION, EXPLICIT_LE)
    for number, context in enumerate(ae.requested_contexts):
        context.context_id = 2 * number + 1
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "HOSTILE", "AXRAD"
    primitive.presentation_context_definition_list = ae.requested_contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "1.2.3"
    primitive.user_information = [length, implementation]
    return A_ASSOCIATE_RQ(primitive).encode()


RQ = associate_rq()


class Line:
    """A raw connection."""

    def __init__(self, listener: HasPort) -> None:
        self.socket = socket.create_connection(("127.0.0.1", listener.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def pdu(self) -> bytes:
        """The next PDU, or nothing when the listener has closed."""
        head = self._exactly(6)
        return head + self._exactly(struct.unpack(">I", head[2:])[0]) if head else b""

    def _exactly(self, count: int) -> bytes:
        raw = b""
        while len(raw) < count:
            wait_for(lambda: select.select([self.socket], [], [], TICK_S)[0], "a byte from the listener", pause_s=0)
            try:
                piece = self.socket.recv(count - len(raw))
            except ConnectionResetError:
                return b""
            if not piece:
                return b""
            raw += piece
        return raw

    def is_closed_in_the_end(self) -> bool:
        """Read on until the listener closes; one that does neither send nor close is an error."""
        while self.pdu():
            pass
        return True

    def associated(self) -> Line:
        self.send(RQ)
        assert self.pdu()[0] == 2
        return self

    def status(self) -> int:
        return int(struct.unpack("<H", self.answer()[0x0900])[0])

    def answer(self) -> dict[int, bytes]:
        """The command set that comes next."""
        return read_elements(self.pdu()[12:])


def rq_for(sop_class: str, syntax: str, *, ae_title: bytes = b"HOSTILE", roles: tuple[int, int] | None = None) -> bytes:
    """An association request for one context (1). `roles`: SCU and SCP role, as role selection proposes them."""

    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(value)) + value

    context = b"\x01\0\0\0" + item(0x30, sop_class.encode()) + item(0x40, syntax.encode())
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3")
    if roles is not None:
        user += item(0x54, struct.pack(">H", len(sop_class)) + sop_class.encode() + bytes(roles))
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, user)
    body = b"\0\1\0\0" + b"AXRAD".ljust(16) + ae_title.ljust(16) + b"\0" * 32 + items
    return struct.pack(">BBI", 1, 0, len(body)) + body

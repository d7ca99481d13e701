"""What a peer may send on an association that we opened: bytes and seconds of a PDU, bytes of a message.

pynetdicom reads a PDU of any declared length into memory, and collects a message until the peer says that it is over.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any  # Any: pynetdicom's events and sockets, which have no types

from pynetdicom import evt

# We announce 16 KiB; an answer to our proposal is not bounded by that.
MAX_PDU_BYTES = 1 << 20
# Answers to queries and to requests to store: a few attributes each.
MAX_MESSAGE_BYTES = 4 << 20
# All answers on one association, where they are not instances: what is read of them is kept until the last has come.
MAX_TOTAL_BYTES = 64 << 20
CHUNK_BYTES = 1 << 16


@dataclass(slots=True)
class MessageLimits:
    """Handlers for one association; `exceeded` once the peer sent more than it may."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_pdu_s: float = 60.0
    max_total_bytes: float = MAX_TOTAL_BYTES
    exceeded: bool = False
    _count: int = 0
    _total: int = 0

    def handlers(self) -> list[tuple[Any, Any]]:
        return [
            (evt.EVT_CONN_OPEN, self._bound_reading),
            (evt.EVT_DATA_RECV, self._count_bytes),
            (evt.EVT_DIMSE_RECV, self._message_ended),
        ]

    def _bound_reading(self, event: Any) -> None:
        connection = event.assoc.dul.socket
        if connection is not None:
            connection.recv = lambda count: self._read(connection.socket, count)

    def _read(self, connection: socket.socket, count: int) -> bytearray:
        """`count` bytes, or fewer at the end. Raises OSError for a PDU too large or too slow, which closes it."""
        if count > MAX_PDU_BYTES:
            self.exceeded = True
            raise OSError("the peer declares a PDU of more bytes than any has")
        data, deadline = bytearray(), time.monotonic() + self.max_pdu_s
        try:
            while len(data) < count:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                piece = connection.recv(min(count - len(data), CHUNK_BYTES))
                if not piece:
                    break
                data += piece
        except TimeoutError:
            self.exceeded = True
            raise
        finally:
            connection.settimeout(None)
        return data

    def _count_bytes(self, event: Any) -> None:
        self._count += len(event.data)
        self._total += len(event.data)
        beyond = self._count > self.max_message_bytes or self._total > self.max_total_bytes
        if beyond and not self.exceeded:
            self.exceeded = True
            event.assoc.abort(block=False)
            # Ends the wait for the next message, which will not come.
            event.assoc.dimse.msg_queue.put((None, None))

    def _message_ended(self, _: Any) -> None:
        self._count = 0

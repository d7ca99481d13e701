"""Multipart messages (RFC 2046) of WADO-RS, read as they come in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO

from pipeline.errors import PeerUnreachable

CHUNK_BYTES = 1 << 20
IN_MEMORY_BYTES = 16 << 20
MAX_HEADER_BYTES = 16 << 10


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type names."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    return None if found is None else found[1].encode()


def parts(chunks: Iterator[bytes], boundary: bytes) -> Iterator[BinaryIO]:
    """The bodies of a multipart message (RFC 2046), each as a file at its start, read as it comes in.

    Raises PeerUnreachable where the message ends before its last boundary.
    """
    delimiter = b"\r\n--" + boundary
    # As if a line end came before the first boundary, so that all of them look alike.
    buffer = bytearray(b"\r\n")
    body: Any = None
    for chunk in chunks:
        buffer += chunk
        while True:
            if body is None:
                started = _after_header(buffer, delimiter)
                if started is None:
                    break
                if started < 0:
                    # To the very end, so that the connection can be used again.
                    for _ in chunks:
                        continue
                    return
                del buffer[:started]
                body = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - closed when its reader is done
            end = buffer.find(delimiter)
            if end < 0:
                safe = max(0, len(buffer) - len(delimiter))
                body.write(buffer[:safe])
                del buffer[:safe]
                break
            body.write(buffer[:end])
            del buffer[:end]
            body.seek(0)
            with body:
                yield body
            body = None
    if body is not None:
        body.close()
    raise PeerUnreachable("the archive broke off in the middle of an answer")


def _after_header(buffer: bytearray, delimiter: bytes) -> int | None:
    """Where the body of the next part begins; -1 after the last part; None where more has to come in."""
    start = buffer.find(delimiter)
    after = start + len(delimiter)
    if start < 0 or len(buffer) < after + 2:
        if len(buffer) > MAX_HEADER_BYTES:
            raise PeerUnreachable("the archive's answer is no multipart message")
        return None
    if buffer[after : after + 2] == b"--":
        return -1
    end = buffer.find(b"\r\n\r\n", after)
    if end < 0 and len(buffer) - after > MAX_HEADER_BYTES:
        raise PeerUnreachable("the archive's answer is no multipart message")
    return None if end < 0 else end + 4

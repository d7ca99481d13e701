"""Multipart messages (RFC 2046) of DICOMweb, read as they come in and within limits."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipeline.errors import PeerUnreachable

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

CHUNK_BYTES = 1 << 20
IN_MEMORY_BYTES = 16 << 20
MAX_HEADER_BYTES = 16 << 10
# What is parsed at once: it bounds how many small parts wait for their reader.
SLICE_BYTES = 1 << 16
# The parser's own log lines quote what it reads.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)


class PartsBeyondLimits(PeerUnreachable):
    """A multipart answer has more parts, or a larger one, than it may."""

    code = "too-many-parts"


@dataclass(frozen=True, slots=True)
class PartLimits:
    """How many parts a message may have, and bytes per part."""

    max_parts: int = 100_000
    max_part_bytes: int = 4 << 30


NO_MULTIPART = "the archive's answer is no multipart message"


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type names."""
    _, options = parse_options_header(content_type)
    boundary: bytes | None = options.get(b"boundary")
    return boundary or None


def parts(chunks: Iterator[bytes], boundary: bytes, limits: PartLimits = PartLimits()) -> Iterator[BinaryIO]:
    """The bodies of a multipart message, each as a file at its start, read as it comes in.

    Raises PeerUnreachable where the message ends before its last boundary or is no multipart message,
    PartsBeyondLimits.
    """
    chunks = iter(chunks)
    collector = _Collector(limits)
    try:
        parser = MultipartParser(boundary, collector.callbacks(), max_header_size=MAX_HEADER_BYTES)
        for data in _without_preamble(chunks, b"--" + boundary):
            for start in range(0, len(data), SLICE_BYTES):
                parser.write(data[start : start + SLICE_BYTES])
                yield from collector.complete_bodies()
            if collector.ended:
                # To the very end, so that the connection can be used again.
                for _ in chunks:
                    continue
                return
    except FormParserError as error:
        raise PeerUnreachable(NO_MULTIPART) from error
    finally:
        collector.close()
    raise PeerUnreachable("the archive broke off in the middle of an answer")


def first_part(body: bytes, boundary: bytes) -> bytes | None:
    """The first part of a message that is here already; None where it has none."""
    try:
        for part in parts(iter([body]), boundary):
            return part.read()
    except PeerUnreachable:
        pass
    return None


def _without_preamble(chunks: Iterator[bytes], delimiter: bytes) -> Iterator[bytes]:
    """The chunks from the first boundary on. What stands before it has no meaning (RFC 2046 5.1.1)."""
    head = b"\r\n"
    for chunk in chunks:
        head += chunk
        start = head.find(b"\r\n" + delimiter)
        if start >= 0:
            yield head[start + 2 :]
            yield from chunks
            return
        if len(head) > MAX_HEADER_BYTES:
            raise PeerUnreachable(NO_MULTIPART)


class _Collector:
    """Takes what the parser calls back with, and keeps bodies until they are read."""

    def __init__(self, limits: PartLimits) -> None:
        self._limits = limits
        self._count = 0
        self._size = 0
        self._body: SpooledTemporaryFile[bytes] | None = None
        self._complete: deque[SpooledTemporaryFile[bytes]] = deque()
        self.ended = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._end_of_message,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > self._limits.max_parts:
            raise PartsBeyondLimits(f"an answer has more than {self._limits.max_parts} parts")
        self._size = 0
        self._body = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - closed when its reader is done

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._body is not None
        self._size += end - start
        if self._size > self._limits.max_part_bytes:
            raise PartsBeyondLimits(f"a part of an answer has more than {self._limits.max_part_bytes} bytes")
        self._body.write(memoryview(data)[start:end])

    def _end(self) -> None:
        assert self._body is not None
        self._body.seek(0)
        self._complete.append(self._body)
        self._body = None

    def _end_of_message(self) -> None:
        self.ended = True

    def complete_bodies(self) -> Iterator[BinaryIO]:
        """Bodies that are complete; each is closed when the next one is asked for."""
        while self._complete:
            with self._complete.popleft() as body:
                yield cast(BinaryIO, body)

    def close(self) -> None:
        for body in (*self._complete, *filter(None, (self._body,))):
            body.close()

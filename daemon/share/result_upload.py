"""A result as it comes over the network: written piece by piece beside its place, and put there whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex

from anyio import to_thread

from daemon.share.digests import Incomplete
from daemon.spool.sync import sync_folder
from pipeline.whole_file import replacing

# Pieces are gathered to this size before they are written.
PIECE_BYTES = 1024 * 1024


async def receive_file(pieces: AsyncIterator[bytes], path: Path, length: int, digest: bytes | None) -> None:
    """Keep `length` bytes at `path`; on the disk when this returns. Raises Incomplete, OSError."""
    await to_thread.run_sync(lambda: path.parent.mkdir(parents=True, exist_ok=True))
    unfinished = path.with_name(f".{path.name}.{token_hex(8)}")
    hashed, size, gathered = hashlib.sha256(), 0, bytearray()
    with ExitStack() as stack:
        file = stack.enter_context(replacing(path, temporary=unfinished))
        async for piece in pieces:
            size += len(piece)
            if size > length:
                raise Incomplete
            gathered += piece
            if len(gathered) >= PIECE_BYTES:
                full, gathered = bytes(gathered), bytearray()
                hashed.update(full)
                await to_thread.run_sync(file.write, full)
        hashed.update(gathered)
        await to_thread.run_sync(file.write, bytes(gathered))
        if size != length or (digest is not None and hashed.digest() != digest):
            raise Incomplete
        # Its bytes and its name, in a thread: the disk may take its time.
        await to_thread.run_sync(stack.pop_all().close)
    await to_thread.run_sync(sync_folder, path.parent)

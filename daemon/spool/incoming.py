"""One instance on its way into the spool: written and hashed piece by piece, then kept or discarded."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass

from daemon.spool import part10
from daemon.spool.instance_files import InstanceFiles
from daemon.spool.sync import sync_file, sync_folder


@dataclass(frozen=True, slots=True)
class Stored:
    """`path` relative to the root; `size` and `digest` of the data set; `new` is False where it was here already."""

    path: str
    digest: str
    size: int
    new: bool


@dataclass(frozen=True, slots=True)
class Description:
    """What the sender says an instance is; all of it checked before it gets here."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source_ae_title: str = ""


class Incoming:
    """`write` pieces of the data set, then `keep` the instance; always `discard` at the end."""

    __slots__ = ("_digest", "_fd", "_files", "_folder", "_head", "_kept", "_temporary", "description", "size")

    def __init__(self, files: InstanceFiles, description: Description) -> None:
        self._files = files
        self.description = description
        self.size = 0
        self._kept = False
        self._digest = hashlib.sha256()
        self._temporary = files.temporary_name()
        # Made early, while the sender is still sending, and not between its last byte and our answer.
        self._folder = files.make_folder(description.sop_instance_uid)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        self._fd = os.open(self._temporary, flags, 0o600)
        d = description
        self._head = part10.header(d.sop_class_uid, d.sop_instance_uid, d.transfer_syntax_uid, d.source_ae_title)

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Append a piece of the data set. Raises OSError as the file system does (ENOSPC)."""
        self._digest.update(piece)
        self._write(piece)
        self.size += memoryview(piece).nbytes

    def _write(self, piece: bytes | bytearray | memoryview) -> None:
        """The file's header goes along with the first piece."""
        head, self._head = self._head, b""
        view = memoryview(piece)
        if head:
            written = os.writev(self._fd, (head, view))
            if written < len(head):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            view = view[written - len(head) :]
        while view.nbytes:
            view = view[os.write(self._fd, view) :]

    def keep(self, *, synced: bool = False) -> Stored:
        """Give the file its name. With `synced`, file and folders are on the disk when this returns.

        `discard` is still to be called; it takes the temporary name away, which can wait until the sender is answered.
        """
        digest = self._digest.hexdigest()
        relative = f"{self._folder}/{digest}.dcm"
        if self._head:
            self._write(b"")
        if synced:
            os.fsync(self._fd)
        new = self._files.link(self._temporary, relative)
        if not new and not self._files.verify(relative):
            # The older file was torn by a power cut or changed by the disk; this one is whole.
            os.replace(self._temporary, f"{self._files.root}/{relative}")
            new = True
        self._kept = True
        if synced:
            # Also a file that was here already: its writer may not have synced it yet.
            if not new:
                sync_file(self._files.root / relative)
            for folder in self._files.folders_of(relative):
                sync_folder(folder)
        return Stored(relative, digest, self.size, new)

    def discard(self) -> None:
        """Close and remove the temporary file; harmless when done already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with suppress(OSError):  # a later start clears it
                os.unlink(self._temporary)
            if not self._kept:
                # A refused instance leaves no empty folder; where another data set lies in it, it stays.
                with suppress(OSError):
                    os.rmdir(f"{self._files.root}/{self._folder}")

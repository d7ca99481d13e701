"""Where instances lie: one file per SOP instance and data set, written once, exclusively, and never changed.

    <root>/instances/<2 hex>/<uid-hash>/<data-set-digest>.dcm
    <root>/incoming/      files that are being written
    <root>/journal/       one append-only file per association (daemon.spool.journal)
    <root>/commitment/    storage commitment that was asked of us (daemon.listener.commitment)

uid-hash is the first 32 hex digits of SHA-256 of the SOP Instance UID; the digest is SHA-256 of the encoded data set
as it was sent. So a name tells neither a patient nor a path that a sender chose, two data sets under one UID lie
side by side, and whether the same was here already is answered by the file system (`link`, EEXIST).
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.spool import part10
from daemon.spool.journal import JournalWriter
from daemon.spool.sync import sync_file, sync_folder
from daemon.spool.uids import is_uid
from pipeline.errors import NotDicom

FOLDERS = ("instances", "incoming", "journal", "commitment")
CHUNK_BYTES = 1024 * 1024


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


def uid_hash(sop_instance_uid: str) -> str:
    return hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32]


def relative_path(sop_instance_uid: str, digest: str) -> str:
    """Where a data set lies, relative to the root."""
    hashed = uid_hash(sop_instance_uid)
    return f"instances/{hashed[:2]}/{hashed}/{digest}.dcm"


def data_set_digest(path: Path) -> str:
    """SHA-256 of the data set in a file, without its file meta information. Raises OSError, NotDicom."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        part10.read_meta(file)
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _listed(folder: Path) -> list[str]:
    """Names in a folder; none if it was removed meanwhile, with the last file in it."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


class Incoming:
    """One instance on its way in: written and hashed piece by piece, then kept or discarded."""

    __slots__ = ("_digest", "_fd", "_folder", "_head", "_kept", "_spool", "_temporary", "description", "size")

    def __init__(self, spool: Spool, description: Description) -> None:
        self._spool = spool
        self.description = description
        self.size = 0
        self._kept = False
        self._digest = hashlib.sha256()
        self._temporary = spool.temporary_name()
        # Made early, while the sender is still sending, and not between its last byte and our answer.
        self._folder = spool.make_folder(description.sop_instance_uid)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        self._fd = os.open(self._temporary, flags, 0o640)
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
        new = self._spool._link(self._temporary, relative)
        if not new and not self._spool.verify(relative):
            # Torn by a power cut, or changed by the disk: what is here now is whole.
            os.replace(self._temporary, f"{self._spool.root}/{relative}")
            new = True
        self._kept = True
        if synced:
            # Also for a file that was here already: who wrote it may not have synced it yet.
            if not new:
                sync_file(self._spool.root / relative)
            for folder in self._spool.folders_of(relative):
                sync_folder(folder)
        return Stored(relative, digest, self.size, new)

    def discard(self) -> None:
        """Close and remove the temporary file; harmless when done already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with suppress(OSError):  # what cannot be removed now is cleared at a later start
                os.unlink(self._temporary)
            if not self._kept:
                # A refused instance leaves no empty folder; where another data set lies in it, it stays.
                with suppress(OSError):
                    os.rmdir(f"{self._spool.root}/{self._folder}")


class Spool:
    """The store of instances under `root`, which is created where it is missing."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._root = str(root)
        for name in FOLDERS:
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o750)
        if not (self.root / "instances" / "ff").exists():
            for number in range(256):
                (self.root / "instances" / f"{number:02x}").mkdir(exist_ok=True, mode=0o750)
        self.incoming = str(self.root / "incoming")
        self._names = itertools.count()
        self._process = ""
        self.journal = self.root / "journal"
        self.commitment = self.root / "commitment"

    def temporary_name(self) -> str:
        """A path in `incoming` that no other process, thread or earlier life of this process uses."""
        if not self._process.startswith(f"{os.getpid()}-"):
            self._process = f"{os.getpid()}-{secrets.token_hex(8)}"
        return f"{self.incoming}/{self._process}-{next(self._names)}"

    def begin(self, description: Description) -> Incoming:
        """Start to receive an instance. Raises OSError (no space, no permission)."""
        return Incoming(self, description)

    def put(
        self,
        description: Description,
        data_set: bytes | bytearray | memoryview,
        journal: JournalWriter | None = None,
        *,
        synced: bool = False,
    ) -> Stored:
        """Keep one encoded data set whole, and write its journal line.

        Raises OSError as the file system does.
        """
        incoming = self.begin(description)
        try:
            incoming.write(data_set)
        except OSError:
            incoming.discard()
            raise
        return self._keep(incoming, journal, synced=synced)

    def _keep(
        self,
        incoming: Incoming,
        journal: JournalWriter | None,
        *,
        synced: bool = False,
        more: Mapping[str, object] | None = None,
    ) -> Stored:
        try:
            stored = incoming.keep(synced=synced)
        finally:
            incoming.discard()
        if journal is not None:
            self.note(journal, incoming.description, stored, **(more or {}))
            if synced:
                journal.sync()
        return stored

    @staticmethod
    def note(journal: JournalWriter, description: Description, stored: Stored, **more: object) -> None:
        """The journal line of an instance that was kept, or was here already."""
        journal.append(
            "stored" if stored.new else "duplicate",
            path=stored.path,
            sop_class_uid=description.sop_class_uid,
            sop_instance_uid=description.sop_instance_uid,
            transfer_syntax_uid=description.transfer_syntax_uid,
            size=stored.size,
            digest=stored.digest,
            **more,
        )

    def ingest_file(self, path: Path, journal: JournalWriter | None = None, **more: object) -> Stored:
        """Take a local DICOM file in, as if it had just been received.

        Raises:
            NotDicom: no DICOM file, or UIDs in it that are none.
        """
        with path.open("rb") as file:
            meta = part10.read_meta(file)
            if not (is_uid(meta.sop_class_uid) and is_uid(meta.sop_instance_uid) and is_uid(meta.transfer_syntax_uid)):
                raise NotDicom("A UID in the file meta information is not a UID.")
            description = Description(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid, "INGEST")
            incoming = self.begin(description)
            try:
                while piece := file.read(CHUNK_BYTES):
                    incoming.write(piece)
            except OSError:
                incoming.discard()
                raise
        return self._keep(incoming, journal, more=more)

    def ingest(
        self, paths: Iterable[Path], journal: JournalWriter, **more: object
    ) -> Iterator[tuple[Path, Stored | NotDicom]]:
        """Take files in under one journal, with `more` in each entry; what is no DICOM comes back with the reason."""
        for path in paths:
            try:
                yield path, self.ingest_file(path, journal, **more)
            except NotDicom as error:
                yield path, error

    def make_folder(self, sop_instance_uid: str) -> str:
        """Have the folder of an instance, and give it relative to the root."""
        hashed = uid_hash(sop_instance_uid)
        relative = f"instances/{hashed[:2]}/{hashed}"
        try:
            os.mkdir(f"{self._root}/{relative}", 0o750)
        except FileExistsError:
            pass
        except FileNotFoundError:
            os.makedirs(f"{self._root}/{relative}", 0o750, exist_ok=True)
        return relative

    def _link(self, temporary: str, relative: str) -> bool:
        """Whether the file is new. Its folder may vanish under us while retention cleans."""
        target = f"{self._root}/{relative}"
        for _ in range(8):
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), 0o750, exist_ok=True)
                continue
            return True
        raise OSError(f"the folder of {relative} is removed as fast as it is made")

    def folders_of(self, relative: str) -> tuple[Path, Path, Path]:
        """The folders whose entries lead to a file, innermost first."""
        file = self.root / relative
        return file.parent, file.parent.parent, file.parent.parent.parent

    def find(self, sop_instance_uid: str) -> tuple[Path, ...]:
        """Every data set kept under a UID (absolute paths), oldest first."""
        hashed = uid_hash(sop_instance_uid)
        folder = self.root / "instances" / hashed[:2] / hashed
        return tuple(sorted(folder.glob("*.dcm"), key=lambda p: (p.stat().st_mtime_ns, p.name)))

    def walk(self) -> Iterator[str]:
        """Every instance file there is, relative to the root, for reconciliation with the ledger."""
        top = self.root / "instances"
        for first in _listed(top):
            for hashed in _listed(top / first):
                for name in _listed(top / first / hashed):
                    if name.endswith(".dcm"):
                        yield f"instances/{first}/{hashed}/{name}"

    def verify(self, relative: str) -> bool:
        """Whether the file is here and its data set still has the digest in its name.

        False after a power cut that took bytes which were not yet synced, or when the disk has changed them.
        """
        try:
            return data_set_digest(self.root / relative) == Path(relative).stem
        except (FileNotFoundError, NotDicom):
            return False

    def remove(self, relative: str) -> None:
        """Delete one instance file, and its folder when that is empty."""
        file = self.root / relative
        file.unlink(missing_ok=True)
        try:
            file.parent.rmdir()
        except OSError:
            return  # another data set of the same instance lies there

    def clear_incoming(self, older_than_s: float = 86400.0) -> int:
        """Remove what killed processes left half received; it was never answered with success."""
        removed = 0
        for entry in os.scandir(self.incoming):
            try:
                if time.time() - entry.stat().st_mtime >= older_than_s:
                    os.unlink(entry.path)
                    removed += 1
            except FileNotFoundError:
                continue
        return removed

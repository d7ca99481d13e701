"""The spool: instance files and, beside them, what says how they came.

<root>/instances/     one file per SOP instance and data set (daemon.spool.instance_files)
<root>/incoming/      files that are being written
<root>/journal/       one append-only file per association (daemon.spool.journal)
<root>/commitment/    requests for storage commitment that were sent to us (daemon.listener.commitment)
<root>/spool.id       which spool this folder is (daemon.spool.identity)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from config.schema.values import MAIN_SPOOL
from daemon.spool import part10
from daemon.spool.incoming import Description, Incoming, Stored
from daemon.spool.instance_files import CHUNK_BYTES, InstanceFiles
from daemon.spool.journal import JournalWriter
from daemon.spool.uids import is_uid
from pipeline.errors import NotDicom


class Spool(InstanceFiles):
    """The store of instances under `root`, which is created where it is missing. `spool_id`: its name in the ledger."""

    def __init__(self, root: Path, spool_id: str = MAIN_SPOOL) -> None:
        super().__init__(root)
        self.id = spool_id
        self.journal = self.root / "journal"
        self.commitment = self.root / "commitment"
        for folder in (self.journal, self.commitment):
            folder.mkdir(exist_ok=True, mode=0o700)

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
            NotDicom: no DICOM file, or a UID in it is not a UID.
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
        """Take files in under one journal, with `more` in each entry; for a file that is not DICOM, the error."""
        for path in paths:
            try:
                yield path, self.ingest_file(path, journal, **more)
            except NotDicom as error:
                yield path, error

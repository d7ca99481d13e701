"""Instance files by name: folders, exclusive links, looking for files and removing them.

    <root>/instances/<2 hex>/<uid-hash>/<data-set-digest>.dcm
    <root>/incoming/      files that are being written

uid-hash is the first 32 hex digits of SHA-256 of the SOP Instance UID; the digest is SHA-256 of the encoded data set
as it was sent. So a name reveals neither a patient nor a path that a sender chose, two data sets under one UID lie side
by side, and the file system answers whether the same data set is here already (`link`, EEXIST).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from daemon.spool import part10
from pipeline.errors import NotDicom

CHUNK_BYTES = 1024 * 1024


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


class InstanceFiles:
    """The instance files under `root`; the folders for them are created where they are missing."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._root = str(root)
        for name in ("instances", "incoming"):
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (self.root / "instances" / "ff").exists():
            for number in range(256):
                (self.root / "instances" / f"{number:02x}").mkdir(exist_ok=True, mode=0o700)
        self.incoming = str(self.root / "incoming")
        self._names = itertools.count()
        self._process = ""

    def temporary_name(self) -> str:
        """A path in `incoming` that no other process, thread or earlier life of this process uses."""
        if not self._process.startswith(f"{os.getpid()}-"):
            self._process = f"{os.getpid()}-{secrets.token_hex(8)}"
        return f"{self.incoming}/{self._process}-{next(self._names)}"

    def make_folder(self, sop_instance_uid: str) -> str:
        """Have the folder of an instance, and give it relative to the root."""
        hashed = uid_hash(sop_instance_uid)
        relative = f"instances/{hashed[:2]}/{hashed}"
        try:
            os.mkdir(f"{self._root}/{relative}", 0o700)
        except FileExistsError:
            pass
        except FileNotFoundError:
            os.makedirs(f"{self._root}/{relative}", 0o700, exist_ok=True)
        return relative

    def link(self, temporary: str, relative: str) -> bool:
        """Whether the file is new. Its folder may vanish under us while retention cleans."""
        target = f"{self._root}/{relative}"
        for _ in range(8):
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
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

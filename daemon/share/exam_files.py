"""Where the files of exams and results are: on this machine, or on the intake host."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from config.schema import Settings
from daemon.share.client import ShareClient
from daemon.share.tokens import CurrentTokens
from daemon.spool.instance_files import data_set_digest, relative_path
from daemon.spool.whole_files import write_synced
from pipeline.errors import NotDicom, TryLater


class CopyDamaged(TryLater):
    """An instance came over with other bytes than were received."""

    code = "copy-damaged"


class CacheFull(TryLater):
    """The copies that are in use take more room than they may."""

    code = "cache-full"


class StoredFile(Protocol):
    """What of an instance names its file: a row of the ledger's `instances` has it."""

    @property
    def path(self) -> str: ...
    @property
    def sop_uid(self) -> str: ...
    @property
    def digest(self) -> str: ...


class Files(Protocol):
    """Files by what they are, not by where they lie. A path stays good while its piece of work runs."""

    def instance(self, row: StoredFile) -> Path | None:
        """The file of an instance; None where it is gone. Raises TryLater."""

    def get(self, revision_id: str, name: str) -> Path | None:
        """A file of a result as it is now; None where there is none. Raises TryLater."""

    def put(self, revision_id: str, name: str, data: bytes) -> None:
        """Keep a file of a result: on the disk when this returns, whole or not at all. Raises TryLater."""


class LocalFiles:
    """The spool is on this machine, or mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def instance(self, row: StoredFile) -> Path | None:
        return _existing(self._root / row.path)

    def get(self, revision_id: str, name: str) -> Path | None:
        return _existing(self._root / "results" / revision_id / name)

    def put(self, revision_id: str, name: str, data: bytes) -> None:
        write_synced(self._root / "results" / revision_id / name, data)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


class RemoteFiles:
    """Copies in `cache`, at most `cache_bytes` of them; what was used within `in_use_s` is never taken away.

    An instance never changes and is copied once. A result may be written anew and is asked for every time.
    """

    def __init__(self, client: ShareClient, cache: Path, cache_bytes: int, in_use_s: float) -> None:
        self._client, self._cache = client, cache
        self._cache_bytes, self._in_use_s = cache_bytes, in_use_s
        # Measured at the first copy, then whenever a sixteenth of the room was added: other processes add as well.
        self._bytes_until_eviction = 0

    def instance(self, row: StoredFile) -> Path | None:
        relative = relative_path(row.sop_uid, row.digest)
        copy = self._cache / relative
        try:
            os.utime(copy)
        except FileNotFoundError:
            return self._copy(f"/instances/{row.sop_uid}/{row.digest}", copy, row.digest)
        return copy

    def get(self, revision_id: str, name: str) -> Path | None:
        return self._copy(f"/results/{revision_id}/{name}", self._cache / "results" / revision_id / name)

    def put(self, revision_id: str, name: str, data: bytes) -> None:
        self._client.put(f"/results/{revision_id}/{name}", data)

    def _copy(self, url_path: str, copy: Path, digest: str | None = None) -> Path | None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        temporary = copy.with_name(f".{copy.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            size = self._client.fetch(url_path, temporary)
            if size is None:
                return None
            if digest is not None:
                _require_same(temporary, digest)
            self._make_room(size)
            temporary.replace(copy)
        finally:
            temporary.unlink(missing_ok=True)
        return copy

    def _make_room(self, size: int) -> None:
        self._bytes_until_eviction -= size
        if self._bytes_until_eviction > 0:
            return
        self._evict()
        self._bytes_until_eviction = self._cache_bytes // 16

    def _evict(self) -> None:
        """Take away what was used longest ago, until there is room for a sixteenth more. Raises CacheFull."""
        copies = sorted(_files(self._cache))
        total = sum(size for _, size, _ in copies)
        old = time.time() - self._in_use_s
        for used_at, size, path in copies:
            if total <= self._cache_bytes - self._cache_bytes // 16:
                return
            if used_at >= old:
                break
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()
            total -= size
        if total > self._cache_bytes:
            raise CacheFull("the exams in work take more room than spool.cache_bytes allows; raise it")


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """When it was used last, size and path of every file; one that vanishes meanwhile is left out."""
    copies = []
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            with suppress(FileNotFoundError):
                state = path.stat()
                copies.append((state.st_mtime, state.st_size, path))
    return copies


def _require_same(path: Path, digest: str) -> None:
    """As Spool.verify does: the data set's own digest."""
    try:
        same = data_set_digest(path) == digest
    except NotDicom:
        same = False
    if not same:
        raise CopyDamaged("an instance came from the intake host with other bytes than were received")


def files_of(settings: Settings) -> Files:
    """What the settings say: the spool here, or the intake host's."""
    spool = settings.spool
    if not spool.remote:
        return LocalFiles(spool.path)
    ours = spool.remote_certificate, spool.remote_key
    certificate = (ours[0], ours[1]) if ours[0] is not None and ours[1] is not None else None
    client = ShareClient(spool.remote, CurrentTokens(spool).first, spool.remote_ca, certificate=certificate)
    # An exam may not take longer than its limit; twice that, and its copies are nobody's.
    return RemoteFiles(client, spool.path / "copies", spool.cache_bytes, 2 * settings.work.time_limit_s)

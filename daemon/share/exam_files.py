"""Where the files of exams and results are: on this machine, or on the intake host."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from config.schema import Settings
from daemon.share.client import ShareClient
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
    def spool(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def sop_uid(self) -> str: ...
    @property
    def digest(self) -> str: ...


class Files(Protocol):
    """Files by what they are, not by where they lie. A path stays good while its piece of work runs."""

    def place(self, row: StoredFile) -> Path | None:
        """Where the file of an instance is once it was brought; None where it is known to be gone."""

    def bring(self, rows: Iterable[StoredFile]) -> list[StoredFile]:
        """Have these files in their places; those that are gone are returned. Raises TryLater."""

    def get(self, revision_id: str, name: str) -> Path | None:
        """A file of a result as it is now; None where there is none. Raises TryLater."""

    def put(self, revision_id: str, name: str, data: bytes) -> None:
        """Keep a file of a result: on the disk when this returns, whole or not at all. Raises TryLater."""


class LocalFiles:
    """The spool is on this machine, or mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def place(self, row: StoredFile) -> Path | None:
        return _existing(self._root / row.path)

    def bring(self, rows: Iterable[StoredFile]) -> list[StoredFile]:
        """Nothing is to be done: `place` has looked."""
        return []

    def get(self, revision_id: str, name: str) -> Path | None:
        return _existing(self._root / "results" / revision_id / name)

    def put(self, revision_id: str, name: str, data: bytes) -> None:
        write_synced(self._root / "results" / revision_id / name, data)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


class RemoteFiles:
    """Copies in `cache`, at most `cache_bytes` of them; what was used within `in_use_s` is never taken away.

    An instance never changes and is copied once. A result may be written anew and is asked for every time. `client`:
    for results; `lanes`: for instances, side by side, so that the line carries one while others are made ready.
    """

    def __init__(
        self,
        client: ShareClient,
        cache: Path,
        cache_bytes: int,
        in_use_s: float,
        lanes: Sequence[ShareClient] = (),
    ) -> None:
        self._client, self._cache, self._lanes = client, cache, tuple(lanes) or (client,)
        self._cache_bytes, self._in_use_s = cache_bytes, in_use_s
        self._lock = threading.Lock()
        # Measured at the first copy, then whenever a sixteenth of the room was added: other processes add as well.
        self._bytes_until_eviction = 0

    def place(self, row: StoredFile) -> Path:
        return self._cache / relative_path(row.sop_uid, row.digest)

    def bring(self, rows: Iterable[StoredFile]) -> list[StoredFile]:
        missing = iter([row for row in rows if not _touched(self.place(row))])
        taking = threading.Lock()

        def carry(lane: ShareClient) -> list[StoredFile]:
            gone: list[StoredFile] = []
            while True:
                with taking:
                    row = next(missing, None)
                if row is None:
                    return gone
                url_path = f"/instances/{row.sop_uid}/{row.digest}"
                if self._copy(lane, url_path, self.place(row), row.digest) is None:
                    gone.append(row)

        if len(self._lanes) == 1:
            return carry(self._lanes[0])
        with ThreadPoolExecutor(len(self._lanes)) as pool:
            return [row for gone in pool.map(carry, self._lanes) for row in gone]

    def get(self, revision_id: str, name: str) -> Path | None:
        copy = self._cache / "results" / revision_id / name
        return self._copy(self._client, f"/results/{revision_id}/{name}", copy)

    def put(self, revision_id: str, name: str, data: bytes) -> None:
        self._client.put(f"/results/{revision_id}/{name}", data)

    def _copy(self, client: ShareClient, url_path: str, copy: Path, digest: str | None = None) -> Path | None:
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = copy.with_name(f".{copy.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            size = client.fetch(url_path, temporary)
            if size is None:
                return None
            if digest is not None:
                _require_same(temporary, digest)
            with self._lock:
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
            _remove(path)
            total -= size
        if total > self._cache_bytes:
            raise CacheFull("the exams in work take more room than spool.cache_bytes allows; raise it")


def _touched(copy: Path) -> bool:
    """Whether it is there; if so, it was used just now."""
    try:
        os.utime(copy)
    except FileNotFoundError:
        return False
    return True


def forget_old_copies(settings: Settings, now: float) -> int:
    """Remove the copies that nobody used for as long as the spool keeps exams, and how many those were.

    Called by a worker's main process now and then: also one that has nothing to do keeps no images for longer.
    """
    spool = settings.spool
    if not (spool.remote or spool.others) or not settings.retention.enabled:
        return 0
    unused_s = max(86_400 * settings.retention.keep_days, 2 * settings.work.time_limit_s)
    old = [path for used_at, _, path in _files(cache_of(settings)) if used_at < now - unused_s]
    for path in old:
        _remove(path)
    return len(old)


def _remove(copy: Path) -> None:
    copy.unlink(missing_ok=True)
    with suppress(OSError):
        copy.parent.rmdir()


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


def cache_of(settings: Settings) -> Path:
    """Where a machine keeps its copies."""
    return settings.spool.path / "copies"

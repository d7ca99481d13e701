"""Where files are, by what the settings say: in this machine's spool, at its intake host, or in other spools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from config.schema import Settings
from daemon.share.client import PAUSES_S, IntakeHostAway, ShareClient
from daemon.share.exam_files import LocalFiles, RemoteFiles, StoredFile, cache_of
from daemon.share.tokens import CurrentTokens
from daemon.spool.instance_files import relative_path

# Instances of one exam that are fetched at once.
LANES = 3
# In which spool the results of a revision, or the files of a proposal, lie; None: the ledger does not know it.
HomeOf = Callable[[str], str | None]


class SpoolOutOfReach(IntakeHostAway):
    """Files lie in a spool that this machine does not read."""

    code = "spool-out-of-reach"


class SpoolFiles:
    """Files of every spool that this machine reads: its own, here or at an intake host, and those of `others`."""

    def __init__(
        self,
        own_id: str,
        own: LocalFiles | RemoteFiles,
        others: Mapping[str, RemoteFiles],
        home_of: HomeOf,
        cache: Path,
    ) -> None:
        self._own_id, self._home_of, self._cache = own_id, home_of, cache
        self.own = own
        self._by_id: dict[str, LocalFiles | RemoteFiles] = {own_id: own, **others}

    def place(self, row: StoredFile) -> Path | None:
        """In this machine's spool where it lies there, whichever is its own; else among the copies."""
        here = self.own.place(row)
        if here is not None:
            return here
        if self._by_id.keys() == {row.spool}:
            return None
        # Copies of all spools lie together. That one cannot be brought is told when it is wanted.
        return self._cache / relative_path(row.sop_uid, row.digest)

    def bring(self, rows: Iterable[StoredFile]) -> list[StoredFile]:
        by_spool: dict[str, list[StoredFile]] = {}
        for row in rows:
            if isinstance(self.own, RemoteFiles) or self.own.place(row) is None:
                by_spool.setdefault(row.spool, []).append(row)
        return [row for spool_id, some in by_spool.items() for row in self._bring(spool_id, some)]

    def _bring(self, spool_id: str, rows: list[StoredFile]) -> list[StoredFile]:
        """From their spool; where that does not have them or does not answer, from any other that has copies."""
        failure = None
        try:
            files = self._in(spool_id, "images")
            # What lies here was left out before.
            left = files.bring(rows) if isinstance(files, RemoteFiles) else rows
        except IntakeHostAway as error:
            left, failure = rows, error
        for other_id, files in self._by_id.items():
            if left and other_id != spool_id and isinstance(files, RemoteFiles):
                with suppress(IntakeHostAway):
                    left = files.bring(left)
        if left and failure is not None:
            raise failure
        return left

    def get(self, revision_id: str, name: str) -> Path | None:
        return self._in(self._home_of(revision_id) or self._own_id, "results").get(revision_id, name)

    def put(self, revision_id: str, name: str, data: bytes) -> None:
        self._in(self._home_of(revision_id) or self._own_id, "results").put(revision_id, name, data)

    def _in(self, spool_id: str, what: str) -> LocalFiles | RemoteFiles:
        files = self._by_id.get(spool_id)
        if files is None:
            raise SpoolOutOfReach(
                f"{what} lie in the spool {spool_id}, which this machine does not read: name its intake host in "
                "spool.others; a machine that reads it goes on with the exam"
            )
        return files


def files_of(settings: Settings, home_of: HomeOf = lambda _: None, *, patient: bool = True) -> SpoolFiles:
    """What the settings say: the spool here, or the intake host's, and those of other intake hosts.

    `patient`: an intake host that does not answer is waited for a while.
    """
    spool = settings.spool
    pauses_s = PAUSES_S if patient else ()
    ours = spool.remote_certificate, spool.remote_key
    certificate = (ours[0], ours[1]) if ours[0] is not None and ours[1] is not None else None
    tokens = CurrentTokens(spool) if spool.remote or spool.others else None
    # An exam may not take longer than its limit; twice that, and its copies are nobody's.
    in_use_s = 2 * settings.work.time_limit_s

    def at(url: str) -> RemoteFiles:
        def client() -> ShareClient:
            assert tokens is not None
            packed = spool.remote_packed
            return ShareClient(url, tokens.first, spool.remote_ca, pauses_s, certificate=certificate, packed=packed)

        lanes = [client() for _ in range(LANES)]
        return RemoteFiles(client(), cache_of(settings), spool.cache_bytes, in_use_s, lanes)

    own = at(spool.remote) if spool.remote else LocalFiles(spool.path)
    return SpoolFiles(
        spool.id, own, {other: at(url) for other, url in spool.others.items()}, home_of, cache_of(settings)
    )

"""What one association stores: from a C-STORE request and its bytes to a file, a journal line and a status.

No sockets, no pynetdicom: called with requests and pieces of data sets, it answers with statuses.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from config.schema import Settings
from daemon.listener import data_set_uids, modalities, own_probe, requested, statuses
from daemon.listener.command import StoreRequest
from daemon.listener.contexts import COMMITMENT, VERIFICATION
from daemon.listener.statuses import SUCCESS, Refusal
from daemon.logs import place_of
from daemon.metrics import counters
from daemon.network.health_title import HEALTH_AE_TITLE
from daemon.network.peer_rights import EVERYTHING, RETRIEVE, Rights
from daemon.spool import Description, Incoming, JournalWriter, Spool, Syncer, is_uid
from daemon.spool.requested_moves import RequestedMoves

# What may wait in memory for the disk before a round of syncing starts on its own.
SYNC_EVERY_BYTES = 64 * 1024 * 1024
MAX_AE_TITLE = 16
# What is accepted and is no class of instances.
SERVICES = (VERIFICATION, COMMITMENT)

log = structlog.get_logger("axrad.listener")


@dataclass(frozen=True, slots=True)
class NegotiatedContext:
    """What was negotiated for one presentation context."""

    sop_class_uid: str
    transfer_syntax_uid: str
    may_store: bool


class AssociationStore:
    """The C-STORE provider of one association. One instance at a time: `begin`, `data`..., `end`, `tidy`."""

    def __init__(
        self,
        spool: Spool,
        settings: Settings,
        disk_refuses: Callable[[], bool],
        syncer: Syncer,
        calling_ae: str,
        address: str,
        rights: Rights = EVERYTHING,
    ) -> None:
        self._spool = spool
        self._durability = settings.listen.durability
        self._max_bytes = settings.listen.max_instance_bytes
        self._disk_refuses = disk_refuses
        self._calling_ae = calling_ae
        self._rights = rights
        # Whoever calls itself by the title of our health check stores the object of that check and nothing else.
        self._is_probe = calling_ae == HEALTH_AE_TITLE
        self.journal = JournalWriter(spool.journal, calling_ae, address)
        self._syncer = syncer
        self._unsynced_bytes = 0
        self._request: StoreRequest | None = None
        self._incoming: Incoming | None = None
        self._refusal: Refusal | None = None
        self._failure: dict[str, str] = {}
        self._head = bytearray()
        self._head_bytes = data_set_uids.HEAD_BYTES
        self._our_ae = settings.listen.ae_title.strip()
        self._moves = RequestedMoves(spool.root)
        self._closed = False
        self.how = ""
        self.stored = 0
        self.duplicates = 0
        self.refused = 0
        self.bytes = 0

    def begin(self, request: StoreRequest, context: NegotiatedContext) -> None:
        """Start an instance. Whether it is refused is told at its `end`: the sender's bytes come anyway."""
        self._request = request
        self._head.clear()
        by_our_move = self._is_by_our_move(request) or self._rights.allow(RETRIEVE)
        self._head_bytes = requested.HEAD_BYTES if by_our_move else data_set_uids.HEAD_BYTES
        self._refusal, self._failure = None, {}
        try:
            self._refusal = self._request_refusal(request, context)
            if self._refusal is None:
                class_uid, instance_uid = request.sop_class_uid, request.sop_instance_uid
                syntax = context.transfer_syntax_uid
                self._incoming = self._spool.begin(Description(class_uid, instance_uid, syntax, self._calling_ae))
        except Exception as error:  # noqa: BLE001 - outermost for one instance: it is answered, and the next one comes
            self._fail(error)

    def _request_refusal(self, request: StoreRequest, context: NegotiatedContext) -> Refusal | None:
        if not context.may_store:
            return statuses.NOT_AUTHORISED
        if not self._rights.may_store:
            return statuses.NO_RIGHT_TO_STORE
        if not is_uid(request.sop_class_uid):
            return statuses.BAD_CLASS_UID
        if not is_uid(request.sop_instance_uid):
            return statuses.BAD_INSTANCE_UID
        if request.sop_class_uid != context.sop_class_uid or context.sop_class_uid in SERVICES:
            return statuses.CLASS_NOT_OF_CONTEXT
        if not request.has_data_set:
            return statuses.NO_DATA_SET
        return statuses.DISK_LOW if self._disk_refuses() else None

    def data(self, piece: memoryview) -> None:
        """A piece of the data set; dropped once the instance is refused."""
        incoming = self._incoming
        if incoming is None:
            return
        if self._is_probe and incoming.size + piece.nbytes > data_set_uids.HEAD_BYTES:
            self._refuse(statuses.NOT_THE_PROBE)
            return
        if incoming.size + piece.nbytes > self._max_bytes:
            self._refuse(statuses.TOO_LARGE)
            return
        if len(self._head) < self._head_bytes:
            self._head += piece[: self._head_bytes - len(self._head)]
        try:
            incoming.write(piece)
        except Exception as error:  # noqa: BLE001 - outermost for one instance
            self._fail(error)

    def end(self) -> tuple[int, str]:
        """The instance is complete: keep or refuse it. Gives the DICOM status and an error comment."""
        assert self._request is not None
        try:
            if self._incoming is not None:
                self._check_identity(self._incoming)
            if self._incoming is not None:
                self._store(self._incoming, self._request)
        except Exception as error:  # noqa: BLE001 - outermost for one instance
            self._fail(error)
        if self._refusal is None:
            return SUCCESS, ""
        self._record_refusal(self._refusal, self._request)
        return self._refusal.status, self._refusal.comment

    def discard_incoming(self) -> None:
        """What can wait until the sender has its answer."""
        if self._incoming is not None:
            self._incoming.discard()
            self._incoming = None

    def _check_identity(self, incoming: Incoming) -> None:
        description = incoming.description
        if self._is_probe:
            if not own_probe.is_own(self._spool.root, description, bytes(self._head)):
                self._refuse(statuses.NOT_THE_PROBE)
            return
        try:
            head = bytes(self._head[: data_set_uids.HEAD_BYTES])
            identity = data_set_uids.identity(head, description.transfer_syntax_uid, size=incoming.size)
        except data_set_uids.Unreadable:
            self._refuse(statuses.NOT_UNDERSTOOD)
            return
        if incoming.size == 0:
            self._refuse(statuses.NO_DATA_SET)
        elif identity.complete and not (identity.sop_class_uid and identity.sop_instance_uid):
            self._refuse(statuses.NO_IDENTITY)
        elif identity.sop_instance_uid not in (None, description.sop_instance_uid):
            self._refuse(statuses.OTHER_INSTANCE)
        elif identity.sop_class_uid not in (None, description.sop_class_uid):
            self._refuse(statuses.OTHER_CLASS)
        else:
            self._check_right(description)

    def _check_right(self, description: Description) -> None:
        """What comes by a C-MOVE of ours was asked for; other instances are of a modality that may be stored."""
        assert self._request is not None
        syntax, head = description.transfer_syntax_uid, bytes(self._head)
        may_retrieve, by_our_move = self._rights.allow(RETRIEVE), self._is_by_our_move(self._request)
        if may_retrieve or by_our_move:
            if requested.was_requested(self._moves, description.sop_instance_uid, head, syntax):
                if may_retrieve:
                    return
            elif by_our_move:
                self._refuse(statuses.NOT_REQUESTED)
                return
        allowed = self._rights.modalities
        if allowed is not None and not modalities.are_all_in(allowed, description.sop_class_uid, head, syntax):
            self._refuse(statuses.NOT_REQUESTED if may_retrieve else statuses.NO_RIGHT_TO_MODALITY)

    def _is_by_our_move(self, request: StoreRequest) -> bool:
        return request.move_originator == self._our_ae

    def _store(self, incoming: Incoming, request: StoreRequest) -> None:
        sync_each = self._durability == "instance"
        stored = incoming.keep(synced=sync_each)
        originator = request.move_originator[:MAX_AE_TITLE]
        extra = {"move_originator": originator} if originator else {}
        self._spool.note(self.journal, incoming.description, stored, priority=request.priority, **extra)
        if sync_each:
            self.journal.sync()
        elif self._durability == "association":
            self._unsynced_bytes += stored.size
            if self._unsynced_bytes >= SYNC_EVERY_BYTES:
                # In the background, so that a long association does not end with a long wait.
                self._unsynced_bytes = 0
                self._syncer.begin()
        self.bytes += stored.size
        if stored.new:
            self.stored += 1
        else:
            self.duplicates += 1

    def _refuse(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self.discard_incoming()

    def _fail(self, error: Exception) -> None:
        """What the disk does not take is one thing, what nobody thought of another."""
        if isinstance(error, OSError):
            self._failure = {"error": errno.errorcode.get(error.errno or 0, "unknown")}
            self._refuse(statuses.WRITE_FAILED)
        else:
            self._failure = {"error": type(error).__name__, "at": place_of(error)}
            self._refuse(statuses.FAILED)

    def _record_refusal(self, refusal: Refusal, request: StoreRequest) -> None:
        """One line in the log, one in the journal."""
        self.refused += 1
        counters.instance_refused(refusal.status)
        uid = request.sop_instance_uid if is_uid(request.sop_instance_uid) else None
        log_line = log.error if self._failure else log.warning
        log_line(
            "instance refused",
            association=self.journal.association,
            calling_ae=self._calling_ae,
            status=f"{refusal.status:04X}",
            reason=refusal.reason,
            sop_instance_uid=uid,
            **self._failure,
        )
        with suppress(OSError):  # a disk that is full is why it is refused, more often than not
            self.journal.append("refused", status=refusal.status, reason=refusal.reason, sop_instance_uid=uid)

    def sync(self) -> None:
        """Have on the disk what `durability` promises by the end of the association. Raises OSError."""
        if self._durability == "association" and self.stored + self.duplicates:
            self._syncer.wait(self._syncer.begin())

    def close(self, how: str) -> None:
        """End the association: drop what is half received, sync, close the journal, say what came. Once."""
        if self._closed:
            return
        self._closed = True
        how = self.how or how
        self.discard_incoming()
        try:
            self.journal.close(how)
            self.sync()
        except OSError as error:
            log.error(
                "the association's files may not be on the disk",
                association=self.journal.association,
                errno=error.errno,
            )
        if self._is_probe and not self.refused:
            return
        counters.association_ended(how, self.stored, self.duplicates, self.bytes)
        log.info(
            "association ended",
            association=self.journal.association,
            calling_ae=self._calling_ae,
            how=how,
            stored=self.stored,
            duplicates=self.duplicates,
            refused=self.refused,
            bytes=self.bytes,
        )

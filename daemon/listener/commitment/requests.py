"""Requests for storage commitment: checked, written down, and locked by whoever works on one."""

from __future__ import annotations

import fcntl
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any  # Any: pynetdicom's objects, whose types mypy does not follow

import structlog
from pydicom.dataset import Dataset

from daemon.spool import Spool, is_uid
from daemon.spool.sync import sync_folder
from pipeline.whole_file import write_whole

log = structlog.get_logger("axrad.listener")

REQUEST_ACTION = 1
SUCCESS, NO_SUCH_ACTION, INVALID_ARGUMENT, RESOURCE_LIMITATION = 0x0000, 0x0123, 0x0115, 0x0213
MAX_ITEMS = 50_000
# What pydicom raises for a data set that lacks something or cannot be decoded.
MALFORMED = (ValueError, AttributeError, KeyError, TypeError, RecursionError, NotImplementedError, OSError)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One request: its instances, who sent it, and how often a report was tried. Times are seconds since 1970."""

    transaction_uid: str
    calling_ae: str
    address: str
    received: float
    items: tuple[tuple[str, str], ...]
    attempts: int = 0
    next_attempt: float = 0.0

    @classmethod
    def from_json(cls, raw: bytes) -> Transaction:
        values = json.loads(raw)
        values["items"] = tuple((str(c), str(u)) for c, u in values["items"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the open requests of one AE title: how many, and for how many instances together."""

    requests: int = 1000
    instances: int = 200_000


def accept_request(spool: Spool, event: Any, calling_ae: str, address: str, limits: Limits | None = None) -> int:
    """The status of an N-ACTION; on success the request is on the disk when this returns."""
    if event.action_type != REQUEST_ACTION:
        return NO_SUCH_ACTION
    try:
        uid, items = _read_request(event.action_information)
    except MALFORMED:
        return INVALID_ARGUMENT
    transaction = Transaction(uid, calling_ae, address, time.time(), items)
    try:
        if not _is_repeated(spool, transaction):
            if not _has_room(spool, transaction, limits or Limits()):
                log.warning("commitment refused", calling_ae=calling_ae, reason="too many open requests")
                return RESOURCE_LIMITATION
            write(new_file(spool, transaction), transaction)
    except OSError as error:
        log.error("the spool cannot be written", errno=error.errno)
        return RESOURCE_LIMITATION
    log.info("commitment requested", calling_ae=calling_ae, transaction_uid=uid, instances=len(items))
    return SUCCESS


def _read_request(data_set: Dataset) -> tuple[str, tuple[tuple[str, str], ...]]:
    uid = str(data_set.TransactionUID)
    requested = (
        (str(i.ReferencedSOPClassUID), str(i.ReferencedSOPInstanceUID)) for i in data_set.ReferencedSOPSequence
    )
    items = tuple(dict.fromkeys(requested))
    if not is_uid(uid) or not 0 < len(items) <= MAX_ITEMS or not all(is_uid(c) and is_uid(u) for c, u in items):
        raise ValueError("not a request for commitment")
    return uid, items


def _transaction_key(transaction: Transaction) -> str:
    return hashlib.sha256(f"{transaction.calling_ae}\0{transaction.transaction_uid}".encode()).hexdigest()[:16]


def new_file(spool: Spool, transaction: Transaction) -> Path:
    """Its name says whose request it is and for how many instances, so that open ones are counted without reading."""
    moment, unique = time.time_ns() // 1_000_000, secrets.token_hex(6)
    of_peer = f"{_peer_key(transaction.calling_ae)}-{len(transaction.items)}"
    return spool.commitment / f"{moment:013d}-{unique}-{of_peer}-{_transaction_key(transaction)}.json"


def _peer_key(calling_ae: str) -> str:
    return hashlib.sha256(calling_ae.strip().encode()).hexdigest()[:12]


def _has_room(spool: Spool, transaction: Transaction, limits: Limits) -> bool:
    peer = _peer_key(transaction.calling_ae)
    counts = [int(path.name.split("-")[3]) for path in spool.commitment.glob(f"*-*-{peer}-*-*.json")]
    return len(counts) < limits.requests and sum(counts) + len(transaction.items) <= limits.instances


def _is_repeated(spool: Spool, transaction: Transaction) -> bool:
    """Whether the same request is already open: one report answers both."""
    for path in spool.commitment.glob(f"*-{_transaction_key(transaction)}.json"):
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            if Transaction.from_json(path.read_bytes()).items == transaction.items:
                return True
    return False


def write(path: Path, transaction: Transaction) -> None:
    write_whole(path, json.dumps(asdict(transaction)).encode("ascii"))
    sync_folder(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[Transaction | None]:
    """The transaction of a file, or None while another process works on it. The lock ends with its process."""
    try:
        file = path.with_suffix(".lock").open("w")
    except OSError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            transaction = Transaction.from_json(path.read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            transaction = None
        try:
            yield transaction
        finally:
            if not path.exists():
                path.with_suffix(".lock").unlink(missing_ok=True)

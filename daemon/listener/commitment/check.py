"""Whether instances are safe: on the disk, whole and synced; and the report that says so."""

from __future__ import annotations

from pydicom.dataset import Dataset

from daemon.listener.commitment.requests import Transaction
from daemon.spool import Spool, read_meta
from daemon.spool.sync import sync_file, sync_folder
from pipeline.errors import NotDicom

ALL_SAFE, SOME_FAILED = 1, 2
NO_SUCH_INSTANCE, CLASS_CONFLICT, PROCESSING_FAILURE = 0x0112, 0x0119, 0x0110


def failure_reason(spool: Spool, sop_class_uid: str, sop_instance_uid: str) -> int:
    """0 where the instance is on the disk, whole and synced; else the Failure Reason (PS3.3 C.14.1.1)."""
    files = spool.find(sop_instance_uid)
    if not files:
        return NO_SUCH_INSTANCE
    try:
        for path in files:
            with path.open("rb") as file:
                if read_meta(file).sop_class_uid != sop_class_uid:
                    return CLASS_CONFLICT
            sync_file(path)
            if not spool.verify(str(path.relative_to(spool.root))):
                return PROCESSING_FAILURE
        for folder in (files[0].parent, files[0].parent.parent, files[0].parent.parent.parent):
            sync_folder(folder)
    except FileNotFoundError:
        return NO_SUCH_INSTANCE
    except (OSError, NotDicom):
        return PROCESSING_FAILURE
    return 0


def report_of(spool: Spool, transaction: Transaction) -> tuple[int, Dataset]:
    """Event type and event information of the N-EVENT-REPORT (PS3.4 J.3.3)."""
    safe: list[Dataset] = []
    failed: list[Dataset] = []
    for sop_class_uid, sop_instance_uid in transaction.items:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        reason = failure_reason(spool, sop_class_uid, sop_instance_uid)
        if reason:
            item.FailureReason = reason
        (failed if reason else safe).append(item)
    information = Dataset()
    information.TransactionUID = transaction.transaction_uid
    if safe:
        information.ReferencedSOPSequence = safe
    if failed:
        information.FailedSOPSequence = failed
    return (SOME_FAILED if failed else ALL_SAFE), information

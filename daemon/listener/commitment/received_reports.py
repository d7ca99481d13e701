"""Reports that come in, on what we asked of others."""

from __future__ import annotations

from typing import Any  # Any: pynetdicom's objects, whose types mypy does not follow

from daemon.listener.commitment.check import PROCESSING_FAILURE
from daemon.listener.commitment.requests import INVALID_ARGUMENT, MALFORMED, SUCCESS
from daemon.spool import JournalWriter, is_uid

UIDS_PER_LINE = 500


def record_report(event: Any, journal: JournalWriter) -> int:
    """Write a peer's N-EVENT-REPORT into the journal, for the exporter; on success it is on the disk."""
    try:
        information = event.event_information
        uid = str(information.TransactionUID)
        lists = {
            "committed": [str(i.ReferencedSOPInstanceUID) for i in information.get("ReferencedSOPSequence") or ()],
            "failed": [str(i.ReferencedSOPInstanceUID) for i in information.get("FailedSOPSequence") or ()],
        }
        if not all(is_uid(text) for text in (uid, *lists["committed"], *lists["failed"])):
            return INVALID_ARGUMENT
    except MALFORMED:
        return INVALID_ARGUMENT
    try:
        for key, uids in lists.items():
            for start in range(0, len(uids), UIDS_PER_LINE):
                journal.append("commitment", transaction_uid=uid, **{key: uids[start : start + UIDS_PER_LINE]})
        journal.sync()
    except OSError:
        return PROCESSING_FAILURE
    return SUCCESS

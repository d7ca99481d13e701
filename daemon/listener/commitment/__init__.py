"""Storage commitment (PS3.4 annex J): requests of those who send to us, and reports on our own requests to others.

A request is written to `<spool>/commitment/` before it is accepted, so it outlives every process. To answer it, each
instance's file and folders are synced and its data set's digest is compared with its name; then the N-EVENT-REPORT goes
out on the same association while that is open, else on a new one to the address in the configuration. A report that
cannot be delivered is tried again with growing pauses for `listen.commitment_days`; while nobody is there to take it,
nothing is hashed for it. Open requests are limited per AE title.
"""

from daemon.listener.commitment.check import (
    ALL_SAFE,
    CLASS_CONFLICT,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    SOME_FAILED,
    failure_reason,
    report_of,
)
from daemon.listener.commitment.received_reports import record_report
from daemon.listener.commitment.reports import RoundOutcome, report_soon, send_due_reports
from daemon.listener.commitment.requests import (
    INVALID_ARGUMENT,
    MAX_ITEMS,
    NO_SUCH_ACTION,
    RESOURCE_LIMITATION,
    SUCCESS,
    Limits,
    Transaction,
    accept_request,
)

__all__ = [
    "ALL_SAFE",
    "CLASS_CONFLICT",
    "INVALID_ARGUMENT",
    "MAX_ITEMS",
    "NO_SUCH_ACTION",
    "NO_SUCH_INSTANCE",
    "PROCESSING_FAILURE",
    "RESOURCE_LIMITATION",
    "SOME_FAILED",
    "SUCCESS",
    "Limits",
    "RoundOutcome",
    "Transaction",
    "accept_request",
    "failure_reason",
    "record_report",
    "report_of",
    "report_soon",
    "send_due_reports",
]

"""What is counted where it happens. Labels are few and closed, or come from settings; none can name a patient."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

INSTANCES = Counter("axrad_instances", "Instances that were sent to us, by DICOM status of our answer.", ["status"])
BYTES = Counter("axrad_instance_bytes", "Bytes of the data sets that were stored.")
ASSOCIATIONS = Counter("axrad_associations", "Associations, by how they ended or why they were refused.", ["outcome"])
STAGE_SECONDS = Histogram(
    "axrad_stage_seconds",
    "How long a stage of the work took.",
    ["stage", "outcome"],
    buckets=(0.1, 0.3, 1, 3, 10, 20, 30, 60, 120, 300, 600, 1200),
)
STEP_SECONDS = Histogram(
    "axrad_step_seconds",
    "How long a step inside the analysis took.",
    ["step"],
    buckets=(0.1, 0.3, 1, 3, 10, 20, 30, 60, 120, 300, 600, 1200),
)
PREDICTIONS = Counter(
    "axrad_predictions", "Predictions, by signature, category and scanner.", ["signature", "category", "scanner"]
)
ABSTENTIONS = Counter("axrad_abstentions", "Exams that were not evaluated, by reason.", ["code", "scanner"])
PROBABILITY = Histogram(
    "axrad_probability",
    "Predicted probability of the positive class.",
    ["signature", "scanner"],
    buckets=tuple(n / 10 for n in range(1, 11)),
)
OUTSIDE = Counter(
    "axrad_outside_training",
    "Predictions made although something about the exam lay outside what the signature was trained on.",
    ["signature", "scanner"],
)
SIGNATURE_USED = Gauge(
    "axrad_signature_last_used_seconds",
    "When a signature was last asked, in seconds since 1970.",
    ["signature", "sha256", "demonstration"],
    multiprocess_mode="max",
)
NOTICES = Counter("axrad_notices", "Notices to people, by channel and outcome.", ["channel", "outcome"])
NOTICE_OUTCOMES = TOLD, NOT_TOLD = "told", "failed"
AUDIT_FAILURES = Counter("axrad_audit_failures", "Lines of the audit trail that could not be written.")


def begin_intake(statuses: Iterable[int], outcomes: Iterable[str]) -> None:
    """Count from 0: a series that begins with its first event shows no increase, and its alert comes one event late."""
    for status in statuses:
        INSTANCES.labels(f"{status:04X}")
    for outcome in outcomes:
        ASSOCIATIONS.labels(outcome)


def begin_notices(channels: Iterable[str]) -> None:
    for channel in channels:
        for outcome in NOTICE_OUTCOMES:
            NOTICES.labels(channel, outcome)


def association_ended(how: str, stored: int, duplicates: int, size: int) -> None:
    """What one association brought."""
    ASSOCIATIONS.labels(how).inc()
    if stored + duplicates:
        INSTANCES.labels("0000").inc(stored + duplicates)
        BYTES.inc(size)


def instance_refused(status: int) -> None:
    INSTANCES.labels(f"{status:04X}").inc()


def association_refused(reason: str) -> None:
    ASSOCIATIONS.labels(reason).inc()


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time the body; `outcome` is `done`, the error's code where it has one of ours, or its type."""
    began, outcome = time.perf_counter(), "done"
    try:
        yield
    except Exception as error:
        outcome = _code_of(error)
        raise
    finally:
        STAGE_SECONDS.labels(name, outcome).observe(time.perf_counter() - began)


def _code_of(error: Exception) -> str:
    """Codes of axrad are words with hyphens; whatever else an error of a library calls so is no label."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) and re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", code) else type(error).__name__

"""What a corrected result has to do with the one before it: it names it as predecessor, and may reject it."""

from __future__ import annotations

from collections.abc import Sequence

from config.schema import Destination, Settings
from daemon.ledger.deliveries import taken_before
from daemon.work.context import Context
from dicom_sr.kinds import CARRIED_PREFIX, UNION_PREFIX
from dicom_sr.report_classes import choices, taken_report
from dicom_sr.report_source import ReportSource, read_header, reference
from pipeline.records import InstanceRef


def report_taken_before(
    context: Context, study_id: str, number: int
) -> tuple[InstanceRef | None, tuple[InstanceRef, ...]]:
    """The report of the newest revision before `number` that a destination took, and everything taken of that revision.

    Taken, not proven: a reader may have it from then on.
    """
    with context.ledger.read() as connection:
        before = taken_before(connection, study_id, number)
    if before is None:
        return None, ()
    files = {kind: context.files.get(before[0], f"{kind}.dcm") for kind in before[1] if kind != "rejection"}
    refs = {kind: reference(read_header(path)) for kind, path in files.items() if path is not None}
    report = taken_report(refs)
    return refs[report] if report else None, tuple(sorted(refs.values()))


def replaces_another_patient(context: Context, study_id: str, number: int, source: ReportSource) -> bool:
    """Whether the report that this one replaces was issued under another Patient ID, or another issuer's."""
    with context.ledger.read() as connection:
        before = taken_before(connection, study_id, number)
    report = taken_report(before[1]) if before is not None else None
    path = context.files.get(before[0], f"{report}.dcm") if before is not None and report else None
    if path is None:
        return False
    header, patient = read_header(path), source.patient_study
    return any(
        str(header.get(keyword) or "").strip() != str(patient.get(keyword) or "").strip()
        for keyword in ("PatientID", "IssuerOfPatientID")
    )


def wants_rejection(destination: Destination, settings: Settings) -> bool:
    """Whether this destination is told with a Key Object which results are superseded."""
    if destination.reject_superseded is None:
        return settings.report.reject_superseded
    return destination.reject_superseded


def for_rendering(settings: Settings) -> Settings:
    """A rejection note is made once if any destination wants it."""
    wanted = any(wants_rejection(destination, settings) for destination in settings.destination)
    return settings.model_copy(update={"report": settings.report.model_copy(update={"reject_superseded": wanted})})


def kinds_for(destination: Destination, objects: Sequence[str], settings: Settings) -> list[str]:
    """What of these objects goes to a destination; a rejection note goes where the report goes, after it."""
    wanted: list[str] = [*(kind for kind in destination.what if kind != "seg")]
    # What a report refers to goes before it, so that a viewer that opens it finds them.
    unions = [kind for kind in objects if kind.startswith(UNION_PREFIX)] if "sr" in wanted else []
    carried = [kind for kind in objects if kind.startswith(CARRIED_PREFIX)] if "seg" in destination.what else []
    # A result that an earlier version made has the one class.
    report = next((kind for kind in choices(destination.sr, settings) if kind in objects), "sr")
    wanted = [report if kind == "sr" else kind for kind in wanted]
    kinds = [*unions, *carried, *(kind for kind in wanted if kind in objects)]
    if "rejection" in objects and report in kinds and wants_rejection(destination, settings):
        kinds.append("rejection")
    return kinds

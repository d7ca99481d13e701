"""What a corrected result has to do with the one before it: it names it as predecessor, and may reject it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydicom.dataset import Dataset

from config.schema import Destination, Settings
from daemon.ledger.deliveries import taken_before
from daemon.work.context import Context
from dicom_sr.kinds import CARRIED_PREFIX, UNION_PREFIX, kind_of, member, members
from dicom_sr.report_classes import choices, taken_report
from dicom_sr.report_source import Earlier, read_header, reference
from pipeline.records import InstanceRef


def earlier_at(context: Context, study_id: str, number: int, destination: str, patient: Dataset) -> Earlier:
    """The report of the newest revision before `number` that this destination took, and what else it took of it.

    Taken, not proven: a reader may have it from then on. `patient`: whose the exam is now.
    """
    with context.ledger.read() as connection:
        before = taken_before(connection, study_id, number, destination)
    if before is None:
        return Earlier()
    paths = {name: context.files.get(before[0], f"{name}.dcm") for name in before[1] if kind_of(name) != "rejection"}
    headers = {name: read_header(path) for name, path in paths.items() if path is not None}
    refs = {name: _kept_as(reference(header), before[1][name]) for name, header in headers.items()}
    report = taken_report(refs)
    if report is None:
        return Earlier(None, tuple(sorted(refs.values())))
    return Earlier(refs[report], tuple(sorted(refs.values())), _is_of_another(headers[report], patient))


def _kept_as(ref: InstanceRef, coerced_uid: str | None) -> InstanceRef:
    return replace(ref, sop_instance_uid=coerced_uid) if coerced_uid else ref


def _is_of_another(header: Dataset, patient: Dataset) -> bool:
    """Whether a report was issued under another Patient ID, or another issuer's."""
    return any(
        str(header.get(keyword) or "").strip() != str(patient.get(keyword) or "").strip()
        for keyword in ("PatientID", "IssuerOfPatientID")
    )


def wants_rejection(destination: Destination, settings: Settings) -> bool:
    """Whether this destination is told with a Key Object which results are superseded: always where preliminary ones
    go.
    """
    if destination.preliminary:
        return True
    if destination.reject_superseded is None:
        return settings.report.reject_superseded
    return destination.reject_superseded


def for_rendering(settings: Settings) -> Settings:
    """A rejection note is made once if any destination wants it."""
    wanted = any(wants_rejection(destination, settings) for destination in settings.destination)
    return settings.model_copy(update={"report": settings.report.model_copy(update={"reject_superseded": wanted})})


def kinds_for(destination: Destination, objects: Sequence[str], settings: Settings, number: int = 0) -> list[str]:
    """What of these objects goes to a destination, whose sets have this number; a rejection note goes where the report
    goes, after it."""
    # A result that an earlier version made has the one class.
    report = next((k for k in choices(destination.sr, settings) if member(k, k, number) in objects), "sr")
    there = members(objects, report, number)
    wanted: list[str] = [report if kind == "sr" else kind for kind in destination.what if kind != "seg"]
    # What a report refers to goes before it, so that a viewer that opens it finds them.
    unions = [kind for kind in there if kind.startswith(UNION_PREFIX)] if "sr" in destination.what else []
    carried = [kind for kind in there if kind.startswith(CARRIED_PREFIX)] if "seg" in destination.what else []
    kinds = [*unions, *carried, *(kind for kind in wanted if kind in there)]
    if "rejection" in there and report in kinds and wants_rejection(destination, settings):
        kinds.append("rejection")
    return [there[kind] for kind in kinds]

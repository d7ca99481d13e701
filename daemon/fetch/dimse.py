"""C-FIND, C-MOVE to ourselves, C-GET (PS3.4 annex C), study root, with all the unique keys above each level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any  # Any: pynetdicom's objects, whose types mypy does not follow

from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from daemon.export.association import Address, associated, within_limits
from daemon.fetch.instance_sink import InstanceTooLarge, NotRequested
from daemon.fetch.plan import MAX_LISTED, MAX_RETRIEVE_S, Batch, NotInArchive, Series
from pipeline.catalog import MR_CLASSES, REGISTRATION_CLASS, RTSTRUCT_CLASS, SEGMENTATION_CLASSES
from pipeline.errors import AxradError, NotDicom, PeerUnreachable, TryLater

FIND = str(StudyRootQueryRetrieveInformationModelFind)
MOVE = str(StudyRootQueryRetrieveInformationModelMove)
GET = str(StudyRootQueryRetrieveInformationModelGet)
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
# One context each, so that an archive sends what it has as it has it; lossless only.
STORED_AS = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
    DeflatedExplicitVRLittleEndian,
]
CLASSES = (*MR_CLASSES, *SEGMENTATION_CLASSES, RTSTRUCT_CLASS, REGISTRATION_CLASS)
PENDING = (0xFF00, 0xFF01)
# PS3.4 C.4.2.1.5 and C.4.3.1.4: all went well; some sub-operations failed, which the counts tell.
DONE_IN_PART = 0xB000
UIDS_AT_ONCE = 200
# PDU headers and command sets beside one instance.
MAX_OVERHEAD_BYTES = 16 << 20
# Statuses of C-STORE (PS3.4 B.2.3, PS3.7 C): to come back later, or not at all.
OUT_OF_RESOURCES, NOT_AUTHORISED, CANNOT_UNDERSTAND = 0xA700, 0x0124, 0xC000


class RetrieveRefused(PeerUnreachable):
    """The archive does not do this kind of retrieval, or not for us; another kind may work."""

    code = "retrieve-refused"


# What is done with an instance that comes by C-GET: class, instance, transfer syntax, encoded data set.
DataSetSink = Callable[[str, str, str, bytes], None]


@dataclass(frozen=True)
class DimseDirectory:
    """What an archive has, by C-FIND; one association per question."""

    address: Address

    def series_of(self, study_uid: str) -> list[Series]:
        query = _query("SERIES", study_uid)
        query.SeriesInstanceUID, query.Modality, query.NumberOfSeriesRelatedInstances = "", "", ""
        return [
            Series(str(match_.SeriesInstanceUID), str(match_.get("Modality") or ""), _instance_count(match_))
            for match_ in find(self.address, query)
            if match_.get("SeriesInstanceUID")
        ]

    def instances_of(self, study_uid: str, series_uid: str) -> list[str]:
        query = _query("IMAGE", study_uid, series_uid)
        query.SOPInstanceUID = ""
        return [str(f.SOPInstanceUID) for f in find(self.address, query) if f.get("SOPInstanceUID")]

    def study(self, study_uid: str) -> Dataset | None:
        """The study with its patient's id and issuer; None where the archive does not know it."""
        query = _query("STUDY", study_uid)
        query.PatientID, query.IssuerOfPatientID = "", ""
        matches = [f for f in find(self.address, query) if f.get("StudyInstanceUID") == study_uid]
        return matches[0] if matches else None

    def studies_of(self, patient_id: str, until: str) -> list[Dataset]:
        """MR studies of a patient up to a date (YYYYMMDD); only those that name exactly this id."""
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.PatientID, query.IssuerOfPatientID = patient_id, ""
        query.StudyInstanceUID, query.StudyDate, query.ModalitiesInStudy = "", f"-{until}", "MR"
        return [f for f in find(self.address, query) if str(f.get("PatientID") or "") == patient_id]


def find(address: Address, query: Dataset) -> list[Dataset]:
    """All matches of one C-FIND. Raises PeerUnreachable where the archive breaks off or refuses."""
    with associated(address, [(FIND, SYNTAXES)]) as association:
        responses = association.send_c_find(query, FIND)
        answers = list(_limited(address, association, responses, MAX_LISTED, 10 * address.answer_timeout_s))
    status = getattr(answers[-1][0], "Status", None) if answers else None
    if status is None:
        raise PeerUnreachable(f"{address.name} broke off while it was queried")
    if status != 0:
        raise PeerUnreachable(f"{address.name} answers the query with status 0x{status:04X}")
    match_ = [i for s, i in answers if getattr(s, "Status", None) in PENDING and i is not None]
    return [one for one in match_ if _is_match(one, query)]


def _is_match(match_: Dataset, query: Dataset) -> bool:
    """An archive that does not match by a unique key answers with others' (PS3.4 C.2.2.2.1)."""
    return all(
        match_.get(key) in (None, "", query.get(key))
        for key in ("StudyInstanceUID", "SeriesInstanceUID")
        if query.get(key)
    )


def move(address: Address, batches: Sequence[Batch]) -> int:
    """Have the archive send it to our listener; how many instances it says it has sent."""
    sent = 0
    with _retrieving(address, [(MOVE, SYNTAXES)]) as association:
        for query in queries(batches):
            responses = association.send_c_move(query, address.our_ae_title, MOVE)
            answers = _limited(address, association, responses, MAX_LISTED, MAX_RETRIEVE_S)
            sent += _completed_count(
                address, answers, f"sends nothing to {address.our_ae_title}: does it know us by that name?"
            )
    return sent


def get(
    address: Address,
    batches: Sequence[Batch],
    store: DataSetSink,
    classes: Sequence[str] = CLASSES,
    syntaxes: Sequence[str] = STORED_AS,
    *,
    max_instance_bytes: int,
) -> int:
    """Fetch over our own association; how many of the requested instances came.

    `store` may refuse an instance with NotDicom or NotRequested; any other error of it ends the retrieval.
    """
    contexts: list[tuple[str, Sequence[str]]] = [(GET, SYNTAXES)]
    contexts += [(uid, [syntax]) for uid in classes for syntax in syntaxes]
    roles = [build_role(uid, scp_role=True) for uid in classes]
    requested = {uid for batch in batches for uid in batch.sop_uids}
    named_all = all(batch.sop_uids for batch in batches)
    received: set[str] = set()

    def on_store(event: Any) -> int:
        request = event.request
        traffic.instance_ended()
        if failures:
            return OUT_OF_RESOURCES
        try:
            store(
                str(request.AffectedSOPClassUID),
                str(request.AffectedSOPInstanceUID),
                str(event.context.transfer_syntax),
                event.encoded_dataset(include_meta=False),
            )
        except NotRequested:
            return NOT_AUTHORISED
        except NotDicom:
            return CANNOT_UNDERSTAND
        except (OSError, AxradError) as error:
            failures.append(error)
            return OUT_OF_RESOURCES
        received.add(str(request.AffectedSOPInstanceUID))
        return 0

    failures: list[Exception] = []
    traffic = _Traffic(max_instance_bytes + MAX_OVERHEAD_BYTES, failures)
    handlers = [(evt.EVT_C_STORE, on_store), (evt.EVT_DATA_RECV, traffic.count)]
    # Beyond what `traffic` counts, so that this one says what is wrong.
    most = 2 * (max_instance_bytes + MAX_OVERHEAD_BYTES)
    options = {"ext_neg": roles, "evt_handlers": handlers, "max_message_bytes": most, "brings_instances": True}
    with _retrieving(address, contexts, **options) as association:
        for query in queries(batches):
            responses = association.send_c_get(query, GET)
            answers = _limited(address, association, responses, MAX_LISTED, MAX_RETRIEVE_S)
            try:
                _completed_count(address, _until(failures, association, answers), "does not let us fetch")
            except TryLater as error:
                raise (failures[0] if failures else error) from None
    return len(received & requested) if named_all else len(received)


def _until(failures: list[Exception], association: Association, answers: Iterator[Any]) -> Iterator[Any]:
    """The answers, until something failed. The association is aborted between two messages, not inside one."""
    for answer in answers:
        if failures:
            association.abort(block=False)
            raise failures[0]
        yield answer


class _Traffic:
    """Counts the bytes of one instance while it comes: pynetdicom keeps it in memory until it is complete."""

    def __init__(self, max_bytes: int, failures: list[Exception]) -> None:
        self._max_bytes, self._failures = max_bytes, failures
        self._count = 0

    def count(self, event: Any) -> None:
        self._count += len(event.data)
        if self._count > self._max_bytes:
            self._count = 0
            self._failures.insert(0, InstanceTooLarge("an instance has more than listen.max_instance_bytes"))
            event.assoc.abort(block=False)
            # Ends the wait for the next message, which will not come.
            event.assoc.dimse.msg_queue.put((None, None))

    def instance_ended(self) -> None:
        self._count = 0


def queries(batches: Sequence[Batch]) -> Iterator[Dataset]:
    """Identifiers of retrieve requests."""
    for batch in batches:
        if not batch.sop_uids:
            yield _query("SERIES" if batch.series_uid else "STUDY", batch.study_uid, batch.series_uid)
        for start in range(0, len(batch.sop_uids), UIDS_AT_ONCE):
            query = _query("IMAGE", batch.study_uid, batch.series_uid)
            query.SOPInstanceUID = list(batch.sop_uids[start : start + UIDS_AT_ONCE])
            yield query


def _limited(
    address: Address, association: Association, responses: Iterable[Any], max_count: int, max_s: float
) -> Iterator[Any]:
    return within_limits(address, association, responses, max_count=max_count, max_s=max_s)


def _retrieving(
    address: Address, contexts: list[tuple[str, Sequence[str]]], **options: Any
) -> AbstractContextManager[Association]:
    return associated(address, contexts, all_contexts=False, **options)


def _query(level: str, study_uid: str, series_uid: str = "") -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = level
    query.StudyInstanceUID = study_uid
    if series_uid:
        query.SeriesInstanceUID = series_uid
    return query


def _instance_count(match_: Dataset) -> int | None:
    try:
        return int(match_.NumberOfSeriesRelatedInstances)
    except (AttributeError, TypeError, ValueError):
        return None


def _completed_count(address: Address, answers: Iterator[Any], if_refused: str) -> int:
    """Completed sub-operations of one request.

    Raises PeerUnreachable without an end, NotInArchive where nothing matched, RetrieveRefused for other failures.
    """
    try:
        last = [status for status, _ in answers][-1]
    except ValueError as error:
        # pynetdicom says so where the peer accepted no context for this kind of retrieval.
        raise RetrieveRefused(f"{address.name} {if_refused}") from error
    code = getattr(last, "Status", None)
    if code is None:
        raise PeerUnreachable(f"{address.name} broke off while it was sending")
    completed = int(getattr(last, "NumberOfCompletedSuboperations", 0) or 0)
    completed += int(getattr(last, "NumberOfWarningSuboperations", 0) or 0)
    if code not in (0, DONE_IN_PART):
        raise RetrieveRefused(f"{address.name} {if_refused} (status 0x{code:04X})")
    if not completed:
        raise NotInArchive(f"{address.name} does not have it, or cannot send it")
    return completed

"""Proof that a destination has what it was sent: read it back by query, or ask it to commit."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from pynetdicom.sop_class import StorageCommitmentPushModel, StudyRootQueryRetrieveInformationModelFind

from daemon.export.cstore import Sent
from daemon.export.peer import Address, associated
from pipeline.errors import PeerUnreachable

# PS3.4 J.3.5: the well-known SOP Instance of the Storage Commitment Push Model.
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"


class NotThere(PeerUnreachable):
    """The destination acknowledged an object and does not list it."""

    code = "not-read-back"


def read_back(address: Address, sent: Sequence[Sent]) -> None:
    """C-FIND every object at instance level by its UID; raises NotThere if one is not listed."""
    model = StudyRootQueryRetrieveInformationModelFind
    with associated(address, [(str(model), [ImplicitVRLittleEndian])]) as association:
        for item in sent:
            query = Dataset()
            query.QueryRetrieveLevel = "IMAGE"
            query.SOPInstanceUID = item.sop_instance_uid
            answers = [
                identifier
                for _status, identifier in association.send_c_find(query, model)
                if identifier is not None and identifier.get("SOPInstanceUID") == item.sop_instance_uid
            ]
            if not answers:
                raise NotThere(f"{address.name} acknowledged {item.sop_instance_uid} and does not list it")


def new_transaction() -> str:
    """A Transaction UID, to be written down before anything is asked under it."""
    return str(generate_uid(prefix=None))


def ask_commitment(address: Address, sent: Sequence[Sent], transaction_uid: str) -> None:
    """N-ACTION: ask to commit. The report arrives later, at our listener, on an association of its own."""
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = []
    for item in sent:
        reference = Dataset()
        reference.ReferencedSOPClassUID = item.sop_class_uid
        reference.ReferencedSOPInstanceUID = item.sop_instance_uid
        request.ReferencedSOPSequence.append(reference)
    with associated(address, [(str(StorageCommitmentPushModel), [ImplicitVRLittleEndian])]) as association:
        status, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
        if getattr(status, "Status", None) != 0:
            raise PeerUnreachable(f"{address.name} does not take the storage commitment request")

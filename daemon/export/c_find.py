"""C-FIND (PS3.4 annex C): which of the objects that were sent an archive lists."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from daemon.export.association import Address, associated, within_limits
from daemon.export.send_outcome import ObjectNotTaken, Sent
from pipeline.errors import PeerUnreachable

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
PENDING = (0xFF00, 0xFF01)
# One instance is asked for; archives that do not match by it answer with its series.
MAX_MATCHES = 20_000


def listed(address: Address, sent: Sequence[Sent]) -> list[Sent]:
    """C-FIND at instance level with all the unique keys above it (PS3.4 C.4.1.2.1)."""
    model = StudyRootQueryRetrieveInformationModelFind
    listed_items = []
    with associated(address, [(str(model), SYNTAXES)]) as association:
        for entry in sent:
            query = Dataset()
            query.QueryRetrieveLevel = "IMAGE"
            query.StudyInstanceUID = entry.item.study_uid
            query.SeriesInstanceUID = entry.item.series_uid
            query.SOPInstanceUID = entry.kept_as
            if not association.is_established:
                raise PeerUnreachable(f"{address.name} broke off while it was queried")
            responses = association.send_c_find(query, model)
            max_s = 10 * address.answer_timeout_s
            answers = list(within_limits(address, association, responses, max_count=MAX_MATCHES, max_s=max_s))
            status = getattr(answers[-1][0], "Status", None) if answers else None
            if status is None:
                raise PeerUnreachable(f"{address.name} broke off while it was queried")
            if status != 0:
                raise ObjectNotTaken(f"{address.name} answers the query with status 0x{status:04X}")
            matches = [i for s, i in answers if getattr(s, "Status", None) in PENDING and i is not None]
            if any(_matches(i, entry) for i in matches):
                listed_items.append(entry)
    return listed_items


def _matches(match: Dataset, entry: Sent) -> bool:
    """Whether a match is our object: its UID, and our study where the match names one."""
    study = match.get("StudyInstanceUID")
    return match.get("SOPInstanceUID") == entry.kept_as and study in (None, "", entry.item.study_uid)

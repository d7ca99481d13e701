"""An archive that receives, and on demand refuses, hangs or breaks off in the middle of a transfer."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Literal

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

Mood = Literal["well", "refuse", "hang", "drop"]


class Archive:
    """Keeps every object as often as it came: `kept[SOP Instance UID]` are the files, in order of arrival."""

    def __init__(self) -> None:
        self.kept: dict[str, list[bytes]] = defaultdict(list)
        self.port = 0
        self._mood: Mood = "well"
        self._changed = threading.Condition()

    @property
    def mood(self) -> Mood:
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        with self._changed:
            self._mood = mood
            self._changed.notify_all()

    def reports(self) -> dict[str, list[str]]:
        """Study Instance UID → SOP Instance UIDs of the SRs kept for it."""
        found: dict[str, list[str]] = defaultdict(list)
        for uid, files in self.kept.items():
            header = dcmread(BytesIO(files[0]), specific_tags=["Modality", "StudyInstanceUID"])
            if header.Modality == "SR":
                found[str(header.StudyInstanceUID)].append(uid)
        return dict(found)

    def _requested(self, event: Any) -> None:
        if self.mood == "refuse":
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)  # transient: local limit exceeded
            event.assoc.kill()

    def _pdu(self, event: Any) -> None:
        if self.mood == "drop" and event.pdu.pdu_type == 0x04:
            event.assoc.dul.socket.close()

    def _store(self, event: Any) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._mood != "hang")
            self.kept[str(event.request.AffectedSOPInstanceUID)].append(event.encoded_dataset())
        return 0x0000

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        with self._changed:
            self._changed.wait_for(lambda: self._mood != "hang")
        uid = str(event.identifier.SOPInstanceUID)
        if uid in self.kept:
            answer = Dataset()
            answer.QueryRetrieveLevel = "IMAGE"
            answer.SOPInstanceUID = uid
            yield 0xFF00, answer


@contextmanager
def archive() -> Iterator[Archive]:
    """Listening on a free loopback port; gone at the end of the block."""
    ours = Archive()
    ae = AE(ae_title="ARCHIVE")
    ae.supported_contexts = list(AllStoragePresentationContexts)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    handlers = [
        (evt.EVT_REQUESTED, ours._requested),
        (evt.EVT_PDU_RECV, ours._pdu),
        (evt.EVT_C_STORE, ours._store),
        (evt.EVT_C_FIND, ours._find),
    ]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    ours.port = server.socket.getsockname()[1]
    try:
        yield ours
    finally:
        ours.mood = "well"
        server.shutdown()

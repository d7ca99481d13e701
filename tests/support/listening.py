"""A real listener for tests: acceptor processes on a free port, over a spool of its own."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.pdu import A_ASSOCIATE_RJ

from config.schema import Settings
from daemon.listener import serve, state
from daemon.spool import Entry, Spool, read_journals
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE
from tests.support.waiting import wait_for

VERIFICATION = "1.2.840.10008.1.1"


@dataclass
class Listening:
    settings: Settings
    port: int
    root: Path

    @property
    def spool(self) -> Spool:
        return Spool(self.root)

    @property
    def acceptors(self) -> list[int]:
        known = state(self.settings)
        return list(known["acceptors"]) if known else []  # type: ignore[call-overload]

    def entries(self, event: str = "") -> list[Entry]:
        return [e for e in read_journals(self.root, {}) if not event or e.event == event]

    def associate(self, *, ae_title: str = "SCANNER", contexts: Any = (), **more: Any) -> Any:
        """An association as requestor; `contexts` are (SOP class, transfer syntaxes)."""
        ae = AE(ae_title=ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = None
        for sop_class, syntaxes in contexts or ((MR_IMAGE, EXPLICIT_LE), (VERIFICATION, EXPLICIT_LE)):
            ae.add_requested_context(sop_class, syntaxes)
        rejections: list[Any] = []
        handlers = more.pop("evt_handlers", [])

        def heard(event: Any) -> None:
            if isinstance(event.pdu, A_ASSOCIATE_RJ):
                rejections.append(event.pdu)

        while True:
            association = ae.associate(
                "127.0.0.1", self.port, ae_title="AXRAD", evt_handlers=[(evt.EVT_PDU_RECV, heard), *handlers], **more
            )
            if association.is_established:
                return association
            forget_sockets()
            # A rejection that comes before pynetdicom's requestor looks whether it is connected is an abort to it.
            if association.is_rejected or not rejections:
                return association
            rejections.clear()


def forget_sockets() -> None:
    """pynetdicom's requestor drops, unclosed, the socket of a connection that failed; that is not ours to fail for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def is_up(port: int) -> bool:
    """Whether an acceptor process answers: the listening socket alone is there before them."""
    ae = AE(ae_title="PROBE")
    ae.acse_timeout = ae.connection_timeout = None
    ae.add_requested_context(VERIFICATION)
    association = ae.associate("127.0.0.1", port)
    up = bool(association.is_established or association.is_rejected)
    if association.is_established:
        association.release()
    forget_sockets()
    return up


@contextmanager
def listening(root: Path, **sections: Any) -> Iterator[Listening]:
    """Sections as in the configuration file; defaults fit a test."""
    sections["listen"] = {"port": 0, "acceptors": 1, "durability": "none", **sections.get("listen", {})}
    sections["spool"] = {"path": root, "warn_free_bytes": 0, "refuse_free_bytes": 0, **sections.get("spool", {})}
    settings = Settings.model_validate(sections)
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(settings, stop))
    thread.start()
    try:
        known = wait_for(lambda: state(settings), "the listener's state")
        port = int(known["port"])
        if settings.listen.tls_certificate is None:
            wait_for(lambda: is_up(port), "an answer of the listener")
        yield Listening(settings, port, root)
    finally:
        stop.set()
        thread.join()
        forget_sockets()


def send(association: Any, data_set: Dataset, transfer_syntax_uid: str = EXPLICIT_LE) -> int:
    """C-STORE one data set; its status."""
    from pydicom.dataset import FileMetaDataset

    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = transfer_syntax_uid
    return int(association.send_c_store(data_set).Status)

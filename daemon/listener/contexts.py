"""What is accepted: every storage class and every transfer syntax that is a stream of bytes, verification, commitment.

A class that is refused makes a PACS route fail and retry for ever, so what we have no use for is taken all the same,
kept as retention says, and ignored.
"""

from __future__ import annotations

from functools import cache

from pydicom._uid_dict import UID_dictionary
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context

VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
EXPLICIT_LE, IMPLICIT_LE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
# Media directories and commitment have "storage" in their names and are none.
_NOT_STORAGE = frozenset(("1.2.840.10008.1.3.10", "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.2"))


@cache
def storage_classes() -> tuple[str, ...]:
    """Every storage class that pynetdicom knows and every further one in the DICOM dictionary, retired ones too."""
    uids = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    for uid, (name, kind, *_) in UID_dictionary.items():
        if kind == "SOP Class" and "Storage" in name and uid not in _NOT_STORAGE:
            uids.append(uid)
    return tuple(dict.fromkeys(uids))


@cache
def transfer_syntaxes() -> tuple[str, ...]:
    """In the order of our preference: uncompressed, then the rest, lossless before lossy as the standard numbers them.

    JPIP leaves the pixels elsewhere, SMPTE ST 2110 is for streams in real time: neither can be kept as a file.
    """
    uids = [
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "Transfer Syntax"
        and not any(word in name for word in ("JPIP", "SMPTE", "RFC 2557", "XML", "Papyrus"))
    ]
    lossless = [uid for uid in uids if "Lossless" in UID_dictionary[uid][0]]
    return tuple(dict.fromkeys((EXPLICIT_LE, IMPLICIT_LE, *lossless, *uids)))


@cache
def supported() -> tuple[PresentationContext, ...]:
    """The contexts of an acceptor; shared by all associations, which only read them."""
    contexts = [build_context(uid, list(transfer_syntaxes())) for uid in storage_classes()]
    contexts.append(build_context(VERIFICATION, [EXPLICIT_LE, IMPLICIT_LE]))
    commitment = build_context(COMMITMENT, [EXPLICIT_LE, IMPLICIT_LE])
    # A PACS that reports on what we asked of it comes as SCP, with role selection.
    commitment.scu_role = True
    commitment.scp_role = True
    contexts.append(commitment)
    return tuple(contexts)

"""Every answer to a C-STORE, chosen once: DICOM status, what it means to the sender, what we say in one line.

Sources: PS3.4 B.2.3 (storage), PS3.7 C (general). A700 to A7FF tell a sender to come back later; the others that the
same object will be refused again. docs/intake.md has the table for people.
"""

from __future__ import annotations

from dataclasses import dataclass

SUCCESS = 0x0000


@dataclass(frozen=True, slots=True)
class Refusal:
    """`comment` goes into the response (LO, at most 64 characters) and into the log; it never names a patient."""

    status: int
    reason: str
    comment: str


DISK_LOW = Refusal(0xA700, "disk-low", "The spool is full up to its limit; try again later")
WRITE_FAILED = Refusal(0xA701, "write-failed", "The spool cannot be written; try again later")
TOO_LARGE = Refusal(0xA702, "too-large", "The instance is larger than this receiver allows")
OTHER_INSTANCE = Refusal(0xA900, "other-instance", "The data set has another SOP Instance UID than the request")
OTHER_CLASS = Refusal(0xA901, "other-class", "The data set has another SOP Class UID than the request")
NOT_UNDERSTOOD = Refusal(0xC000, "not-understood", "The data set cannot be read as DICOM")
NO_DATA_SET = Refusal(0xC001, "no-data-set", "The request came without a data set")
NO_IDENTITY = Refusal(0xC002, "no-identity", "The data set has no SOP Class UID or no SOP Instance UID")
BAD_INSTANCE_UID = Refusal(0x0117, "bad-instance-uid", "The Affected SOP Instance UID is no UID")
BAD_CLASS_UID = Refusal(0x0118, "bad-class-uid", "The Affected SOP Class UID is no UID")
CLASS_NOT_OF_CONTEXT = Refusal(0x0122, "class-not-accepted", "The SOP class is not the one of its presentation context")
NOT_AUTHORISED = Refusal(0x0124, "not-authorised", "This association may not store: its role is not SCU")
NOT_THE_PROBE = Refusal(0x0124, "not-authorised", "Under this AE title only the receiver's own check may store")
NO_RIGHT_TO_STORE = Refusal(0x0124, "not-authorised", "This AE title may not store here")
NOT_REQUESTED = Refusal(0x0124, "not-authorised", "This instance was not requested by the receiver")
NO_RIGHT_TO_MODALITY = Refusal(0x0124, "not-authorised", "This AE title may not store this modality here")
FAILED = Refusal(0x0110, "failed", "The instance could not be processed")

ALL = (
    DISK_LOW,
    WRITE_FAILED,
    TOO_LARGE,
    OTHER_INSTANCE,
    OTHER_CLASS,
    NOT_UNDERSTOOD,
    NO_DATA_SET,
    NO_IDENTITY,
    BAD_INSTANCE_UID,
    BAD_CLASS_UID,
    CLASS_NOT_OF_CONTEXT,
    NOT_AUTHORISED,
    FAILED,
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """An association that is refused: A-ASSOCIATE-RJ result, source and reason (PS3.8 9.3.4)."""

    result: int
    source: int
    diagnostic: int
    reason: str

    @property
    def pdu(self) -> bytes:
        return bytes((3, 0, 0, 0, 0, 4, 0, self.result, self.source, self.diagnostic))


UNKNOWN_PEER = Rejection(1, 1, 3, "unknown-peer")
OTHER_CALLED_TITLE = Rejection(1, 1, 7, "other-called-title")
NOT_ITS_CERTIFICATE = Rejection(1, 1, 3, "not-its-certificate")
TOO_MANY = Rejection(2, 3, 2, "too-many-associations")
TOO_MANY_OF_PEER = Rejection(2, 3, 2, "too-many-associations-of-peer")
CONGESTED = Rejection(2, 3, 1, "disk-low")

ALL_REJECTIONS = (UNKNOWN_PEER, OTHER_CALLED_TITLE, NOT_ITS_CERTIFICATE, TOO_MANY, TOO_MANY_OF_PEER, CONGESTED)

# Of other services where the right is lacking; PS3.7 has no "not authorised" for C-ECHO and N-EVENT-REPORT.
ECHO_REFUSED, ACTION_REFUSED, REPORT_REFUSED = 0x0122, 0x0124, 0x0110

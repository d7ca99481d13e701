"""The patient of a row, for tables that are pooled: a digest under a key that those who pool agree on.

Without a key of theirs the salt is the one below, which everybody knows: exams of one patient are found, but so is an
8-digit id, by trying all of them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.catalog import Exam, patient_key
from pipeline.errors import InputRejected

COLUMN, KEY_ID = "patient_key", "patient_key_id"
PUBLIC_SALT = b"axrad patient key, public salt 1"
PUBLIC = "public-1"
LEAST_BYTES, MOST_BYTES = 16, 64 * 1024
NOBODY = patient_key("", "")


@dataclass(frozen=True, slots=True)
class PatientKey:
    """`id`: says which key it is; tables with different ones cannot be compared by patient."""

    secret: bytes = field(repr=False)
    id: str

    def columns(self, exam: Exam) -> dict[str, str | None]:
        """Digest and key's id. The digest is empty where the images name no patient, or several."""
        digests = {image.patient_key for image in exam.images} - {NOBODY, ""}
        digest = self.of(digests.pop()) if len(digests) == 1 else None
        return {COLUMN: digest, KEY_ID: self.id}

    def of(self, digest: str) -> str:
        """HMAC-SHA256 of the plain digest, 128 bits of it."""
        return hmac.new(self.secret, digest.encode(), hashlib.sha256).hexdigest()[:32]


def public_key() -> PatientKey:
    return PatientKey(PUBLIC_SALT, PUBLIC)


def key_from(content: bytes, name: str) -> PatientKey:
    """The key in a file of this name: everything in it but blanks at its ends.

    Raises:
        InputRejected: it is too short to be one, or too long.
    """
    secret = content.strip()
    if not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        raise InputRejected(
            f"{name} is no key for patients: at least {LEAST_BYTES} characters are needed (`openssl rand -hex 32`)",
            code="patient-key",
        )
    return PatientKey(secret, hashlib.sha256(b"axrad patient key\0" + secret).hexdigest()[:16])


def refuse_others(ids: Iterable[object], key: PatientKey, table: str) -> None:
    """Rows of one table have one key, or none.

    Raises:
        InputRejected: they have another.
    """
    others = sorted({str(i) for i in ids if i not in (None, "", key.id)})
    if others:
        raise InputRejected(
            f"{table} has patients under the key {others[0]}, not {key.id}: give that key (--patient-key), or choose "
            "another name",
            code="bad-table",
        )

"""Every error that axrad raises on purpose, as one tree.

    AxradError
    ├── ExamRejected          permanent: this exam or file cannot be evaluated as it is
    │   ├── NotDicom              the bytes are no readable DICOM data set
    │   │   └── FileSetAside          the file is set aside: its readers died of it
    │   ├── PixelsRejected        pixel data that cannot or may not be decoded
    │   ├── GeometryRejected      slices, grids or frames of reference that do not agree
    │   ├── SequenceRejected      a sequence is missing or two are too close to call
    │   ├── RoiRejected           a region of interest is missing, empty, outside or ambiguous
    │   ├── FeatureRejected       features that cannot be computed
    │   └── OutsideTraining       outside what the signature was trained on
    ├── InputRejected         a table, signature or setting given by a person is wrong
    ├── NotInstalled          a command needs libraries of an extra that is not installed
    ├── ReportRejected        a finished report failed its own check and is not sent
    └── TryLater              transient: the same work may succeed later
        └── PeerUnreachable       a PACS, broker or ledger does not answer

An error carries a `code` (stable, for machines), a sentence for a person, and UIDs; never a value that could
identify a patient.
"""

from __future__ import annotations


class AxradError(Exception):
    """Base of the tree. `code` is kebab-case and stable; `message` is a sentence without PHI."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, uid: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.uid = uid


class ExamRejected(AxradError):
    code = "exam-rejected"


class NotDicom(ExamRejected):
    code = "not-dicom"


class FileSetAside(NotDicom):
    code = "unreadable"


class PixelsRejected(ExamRejected):
    code = "pixels-rejected"


class GeometryRejected(ExamRejected):
    code = "geometry-rejected"


class SequenceRejected(ExamRejected):
    code = "sequence-rejected"


class RoiRejected(ExamRejected):
    code = "roi-rejected"


class FeatureRejected(ExamRejected):
    code = "feature-rejected"


class OutsideTraining(ExamRejected):
    code = "outside-training"


class InputRejected(AxradError):
    code = "input-rejected"


class NotInstalled(AxradError):
    code = "not-installed"


class ReportRejected(AxradError):
    code = "report-rejected"


class TryLater(AxradError):
    code = "try-later"


class PeerUnreachable(TryLater):
    code = "peer-unreachable"

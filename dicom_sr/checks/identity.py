"""Does an object of ours say whose it is as its source does?"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import pydicom
from pydicom.dataset import Dataset

from dicom_sr.checks.finding import Finding
from dicom_sr.copied_identity import OPTIONAL, REQUIRED, as_said
from dicom_sr.source_text import character_sets


def check_identity(written: bytes, source: Dataset, senders: Iterable[str] = ()) -> list[Finding]:
    """Every identifying attribute of `source` (a header, or what was copied of it) that the object says otherwise.

    No finding quotes a value. `senders`: character sets that senders are known for: a source that declares none was
    read in one of them, whichever the object is written in.
    """
    ds = pydicom.dcmread(io.BytesIO(written), stop_before_pixels=True)
    defaults = dict.fromkeys([character_sets(ds), *((name,) for name in senders)])
    by_default = [list(_differences(ds, source, default)) for default in defaults]
    return min(by_default, key=len)


def _differences(written: Dataset, source: Dataset, default: tuple[str, ...]) -> Iterator[Finding]:
    with pydicom.config.disable_value_validation():
        if str(written.get("StudyInstanceUID")) != str(source.get("StudyInstanceUID")):
            yield Finding("identity", "StudyInstanceUID is not that of the source")
        for keyword in (*REQUIRED, *OPTIONAL):
            ours, theirs = as_said(written, keyword), as_said(source, keyword, default)
            if _plain(ours) != _plain(theirs):
                how = "is empty, and not in the source" if ours is None else "is not what the source says"
                yield Finding("identity", f"{keyword} {how}")


def _plain(value: object) -> object:
    """As it is compared: padding says nothing (PS3.5 6.2)."""
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    return [str(v).strip().rstrip("=^") for v in values]

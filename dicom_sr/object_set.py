"""The objects of one result as a set: which there are, under which UIDs, and in which series."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version

from pydicom.dataset import Dataset

from config.schema import Settings
from dicom_sr.kinds import UNION_PREFIX
from dicom_sr.report_source import ReportSource
from dicom_sr.uids import derived
from pipeline.pictures import Panel, fonts
from pipeline.records import InstanceRef
from pipeline.result import StudyResult
from pipeline.roi.grid_regions import GridRegion, regions_to_bytes

# Packages whose versions change what is drawn or written from the same result.
WRITERS = ("axrad", "highdicom", "pydicom", "numpy", "matplotlib", "pillow", "fonttools")


def content_key(result: StudyResult, source: ReportSource, settings: Settings) -> str:
    """SHA-256 over everything that the objects of a result are made from.

    How long the analysis took is in none of them.
    """
    digest = hashlib.sha256()
    for part in _parts(result, source, settings):
        _add(digest, part)
    return digest.hexdigest()


def reference_of(key: str, kind: str, sop_class: str, result: StudyResult, settings: Settings) -> InstanceRef:
    """How other objects refer to the `kind` of the set that is made from what `key` stands for."""
    root = settings.site.uid_root
    series = derived(root, key, UNION_PREFIX if kind.startswith(UNION_PREFIX) else kind, "series")
    return InstanceRef(result.study_uid, series, sop_class, derived(root, key, kind, sop_class, "instance"))


def digest_of_regions(regions: Sequence[GridRegion]) -> str:
    """What the segmentations of a result hold."""
    return hashlib.sha256(regions_to_bytes(tuple(regions))).hexdigest()


def digest_of_panels(panels: Sequence[Panel]) -> str:
    """What the pictures of a result show."""
    digest = hashlib.sha256()
    for panel in panels:
        described = {f.name: getattr(panel, f.name) for f in fields(panel) if f.name not in ("image_yx", "contours")}
        outlines = [(c.role, c.side, c.number, c.points_xy.tobytes().hex()) for c in panel.contours]
        _add(digest, [described, panel.image_yx.shape, panel.image_yx.tobytes().hex(), outlines])
    return digest.hexdigest()


def _add(digest: hashlib._Hash, part: object) -> None:
    encoded = json.dumps(part, sort_keys=True, default=str).encode()
    digest.update(len(encoded).to_bytes(8, "big") + encoded)


def _parts(result: StudyResult, source: ReportSource, settings: Settings) -> Iterator[object]:
    yield "axrad.objects/1"
    yield result.model_dump(mode="json", exclude={"timings_s"})
    for field in fields(source):
        value = getattr(source, field.name)
        if field.name == "patient_study":
            value = _elements(value)
        elif field.name == "requests":
            value = [_elements(item) for item in value]
        elif field.name == "objects":
            continue
        elif isinstance(value, Mapping):
            value = sorted(value.items())
        yield [field.name, value]
    yield settings.report.model_dump(mode="json")
    yield settings.site.model_dump(mode="json")
    yield settings.listen.ae_title
    yield {name: version(name) for name in WRITERS}
    yield fonts.fingerprint()


def _elements(ds: Dataset) -> list[object]:
    """Elements as text, whether or not their values are valid."""
    return [[str(e.tag), e.VR, [_elements(item) for item in e.value] if e.VR == "SQ" else repr(e.value)] for e in ds]

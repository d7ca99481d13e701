"""Series of one exam as files: voxels in, tagged slices out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from pipeline.geometry import Geometry
from pipeline.phantom.headers import clock, put_image, save, series_header
from pipeline.phantom.spec import PhantomSeries, PhantomSpec
from pipeline.phantom.vendors import PHASES, SECONDS_PER_PHASE, STYLES, tag_b_value

Voxels = npt.NDArray[np.floating | np.integer]
Stack = tuple[Geometry, Voxels, int, float | None]  # grid, real values (z, y, x), phase, b-value
_INJECTION_S = 1200 + SECONDS_PER_PHASE - 15


@dataclass(frozen=True, slots=True)
class ExamWriter:
    """Files of one exam under one folder; UIDs from the spec."""

    folder: Path
    spec: PhantomSpec

    def series(
        self,
        kind: str,
        label: str,
        number: int,
        description: str,
        start_s: float,
        stacks: Iterable[Stack],
        phase: int | None = None,
    ) -> PhantomSeries:
        """One series of one or more stacks: (grid, voxels (z, y, x), phase, b-value)."""
        series_uid = self.spec.uid("series", number)
        folder = self.folder / f"{number:04d}_{label}"
        folder.mkdir(parents=True)
        paths: list[Path] = []
        uids: list[str] = []
        for ds, uid in self._images(kind, series_uid, number, description, start_s, stacks):
            path = folder / f"{len(paths) + 1:05d}.dcm"
            save(ds, path)
            paths.append(path)
            uids.append(uid)
        return PhantomSeries(series_uid, label, description, tuple(paths), tuple(uids), phase)

    def _images(
        self,
        kind: str,
        series_uid: str,
        number: int,
        description: str,
        start_s: float,
        stacks: Iterable[Stack],
    ) -> Iterator[tuple[Dataset, str]]:
        instance = 0
        for geometry, voxels_zyx, phase, b in stacks:
            ds = series_header(self.spec, kind, series_uid, number, description, geometry, start_s)
            if kind in ("dce", "subtraction", "mip"):
                _dynamic(ds, self.spec, kind, phase, multi=self.one_dce_series and kind == "dce")
            if kind == "adc":
                _adc_scale(ds)
            if b is not None:
                tag_b_value(ds, self.spec.vendor, b)
            for z, plane in enumerate(voxels_zyx):
                instance += 1
                uid = self.spec.uid("instance", number, instance)
                put_image(ds, plane, uid, instance, geometry, z)
                yield ds, uid

    @property
    def one_dce_series(self) -> bool:
        layout = self.spec.dce_layout
        return STYLES[self.spec.vendor].one_series if layout is None else layout == "one_series"


def _dynamic(ds: Dataset, spec: PhantomSpec, kind: str, phase: int, multi: bool) -> None:
    """Time and contrast of one phase as the vendor tags them."""
    seconds = phase * SECONDS_PER_PHASE
    ds.AcquisitionTime = ds.ContentTime = clock(1200 + seconds)
    if spec.vendor == "ge" and kind == "dce":
        ds.TriggerTime = seconds * 1000
    if multi or spec.vendor == "siemens":
        ds.AcquisitionNumber = phase + 1
    if spec.vendor == "philips":
        ds.TemporalPositionIdentifier = phase + 1
        ds.NumberOfTemporalPositions = PHASES
    if phase or spec.vendor == "philips":  # Philips writes the agent into every image of the dynamic
        ds.ContrastBolusAgent = "GADOLINIUM (SYNTHETIC)"
        ds.ContrastBolusStartTime = clock(_INJECTION_S)


def _adc_scale(ds: Dataset) -> None:
    """Philips stores ADC so that the rescaled value is in 10-3 mm2/s; the others store 10-6 mm2/s."""
    if "RescaleSlope" in ds:
        ds.RescaleSlope = 0.001
        ds.RescaleType = "10-3 mm2/s"

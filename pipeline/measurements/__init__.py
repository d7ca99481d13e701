"""Measurements that readers make in viewers: read from TID 1500 reports and presentation states, understood, placed."""

from pipeline.measurements.exam_volumes import t1c_and_before
from pipeline.measurements.merging import Merged, merged, renumbered
from pipeline.measurements.placing import Placed, Placement, placed
from pipeline.measurements.proposing import (
    REJECTED,
    ProposedRegion,
    ProposedRegions,
    placed_together,
    propose_regions,
)
from pipeline.measurements.reading import MEASUREMENT_CLASSES, read_file, read_files, read_measurements
from pipeline.measurements.records import Graphic, ImageFrame, Measurement, MeasurementReport, NotUsed

__all__ = [
    "MEASUREMENT_CLASSES",
    "REJECTED",
    "Graphic",
    "ImageFrame",
    "Measurement",
    "MeasurementReport",
    "Merged",
    "NotUsed",
    "Placed",
    "Placement",
    "ProposedRegion",
    "ProposedRegions",
    "merged",
    "placed",
    "placed_together",
    "propose_regions",
    "read_file",
    "read_files",
    "read_measurements",
    "renumbered",
    "t1c_and_before",
]

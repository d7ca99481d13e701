"""Radiomics of a region: PyRadiomics' numbers, bit for bit, in a fraction of its time."""

from pipeline.features.extraction import extract, extract_sequence, gather
from pipeline.features.made_names import columns_made, names_made
from pipeline.features.parameters import Parameters, from_settings, read
from pipeline.features.reference_call import plain_extract
from pipeline.features.roi_features import RoiFeatures

__all__ = [
    "Parameters",
    "RoiFeatures",
    "columns_made",
    "extract",
    "extract_sequence",
    "from_settings",
    "gather",
    "names_made",
    "plain_extract",
    "read",
]

"""Regions of interest: which segment is what, and its voxels on an image's grid."""

from pipeline.roi.objects import RoiObject, check_shared_space, draw_on, image_uids, open_object, segment_of
from pipeline.roi.read import Reading, read, read_all
from pipeline.roi.roles import role_of
from pipeline.roi.rules import load_rules

__all__ = [
    "Reading",
    "RoiObject",
    "check_shared_space",
    "draw_on",
    "image_uids",
    "load_rules",
    "open_object",
    "read",
    "read_all",
    "role_of",
    "segment_of",
]

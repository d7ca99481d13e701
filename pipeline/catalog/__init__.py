"""The catalog: what is known of each instance from its header alone, and instances grouped into exams."""

from pipeline.catalog.acceptance import Acceptance, Word, acceptance_of, is_sealed, put_acceptance
from pipeline.catalog.facts import (
    ACCEPTED,
    ACCESSION,
    MEASURES,
    MR_CLASSES,
    OUR_MANUFACTURER,
    REGISTRATION_CLASS,
    REJECTED_PROPOSAL,
    RESULT_CLASS_ROOTS,
    RTSTRUCT_CLASS,
    SEGMENTATION_CLASSES,
    UNCONFIRMED,
    Bring,
    Exam,
    InstanceFacts,
    SegmentFacts,
    SeriesFacts,
    Value,
    accession_key,
    all_here,
    exam_of,
    exams,
    group,
    patient_key,
)
from pipeline.catalog.folder import exam_in
from pipeline.catalog.instance_reading import read_facts
from pipeline.catalog.json_codec import facts_from_json, facts_to_json
from pipeline.catalog.measurement_presence import measured_images
from pipeline.catalog.own_mark import put_mark, voxel_digest
from pipeline.catalog.scan import scan
from pipeline.catalog.selection import FrameRef, Selection, images_of, same_images

__all__ = [
    "ACCEPTED",
    "ACCESSION",
    "MEASURES",
    "MR_CLASSES",
    "OUR_MANUFACTURER",
    "REGISTRATION_CLASS",
    "REJECTED_PROPOSAL",
    "RESULT_CLASS_ROOTS",
    "RTSTRUCT_CLASS",
    "SEGMENTATION_CLASSES",
    "UNCONFIRMED",
    "Acceptance",
    "Bring",
    "Exam",
    "FrameRef",
    "InstanceFacts",
    "SegmentFacts",
    "Selection",
    "SeriesFacts",
    "Value",
    "Word",
    "acceptance_of",
    "accession_key",
    "all_here",
    "exam_in",
    "exam_of",
    "exams",
    "facts_from_json",
    "facts_to_json",
    "group",
    "images_of",
    "is_sealed",
    "measured_images",
    "patient_key",
    "put_acceptance",
    "put_mark",
    "read_facts",
    "same_images",
    "scan",
    "voxel_digest",
]

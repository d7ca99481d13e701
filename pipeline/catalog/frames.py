"""Per-frame facts of enhanced multi-frame objects, kept compactly: one value where all frames agree."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset

from pipeline.catalog.facts import SEGMENTATION_CLASSES, Value
from pipeline.dicom_file.text_values import clean, text_of
from pipeline.vendor_headers import b_values

# A frame without a value in a list of numbers; all real values here are zero or more.
NOT_GIVEN = -1.0


def frame_facts(dataset: Dataset) -> dict[str, Value]:
    """Facts by name `frame_...`: a list with one entry per frame, or with one entry for all frames.

    `frame_b_value` (s/mm2), `frame_temporal_position`, `frame_trigger_s` are numbers, -1 where a frame has none;
    `frame_kind`, `frame_stack`, `frame_type`, `frame_acquired`, `frame_labels` are text, empty where a frame has none;
    `frame_position` and `frame_orientation` are texts of numbers joined by a backslash.
    """
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if not groups:
        return {}
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or []), Dataset())
    if text_of(dataset, "SOPClassUID") in SEGMENTATION_CLASSES:
        # What its frames say is read by whoever reads its pixels.
        return _timing(shared, groups[0])
    maker = text_of(dataset, "Manufacturer")
    facts: dict[str, Value] = {}
    numbers: dict[str, Callable[[Dataset, Dataset], float | None]] = {
        "frame_b_value": lambda f, s: _b_value(f, s, maker),
        "frame_temporal_position": lambda f, s: _number(_macro(f, s, "FrameContentSequence"), "TemporalPositionIndex"),
        "frame_trigger_s": lambda f, s: _milliseconds(
            _macro(f, s, "CardiacSynchronizationSequence"), "NominalCardiacTriggerDelayTime"
        ),
    }
    texts: dict[str, Callable[[Dataset, Dataset], str]] = {
        "frame_kind": lambda f, s: _map(f, s) or b_values.kind(f, maker) or b_values.kind(s, maker) or "",
        "frame_stack": lambda f, s: text_of(_macro(f, s, "FrameContentSequence"), "StackID"),
        "frame_acquired": lambda f, s: text_of(_macro(f, s, "FrameContentSequence"), "FrameAcquisitionDateTime"),
        "frame_type": lambda f, s: text_of(_macro(f, s, "MRImageFrameTypeSequence"), "FrameType"),
        "frame_position": lambda f, s: text_of(_macro(f, s, "PlanePositionSequence"), "ImagePositionPatient"),
        "frame_orientation": lambda f, s: text_of(_macro(f, s, "PlaneOrientationSequence"), "ImageOrientationPatient"),
    }
    for name, number in numbers.items():
        values = [number(f, shared) for f in groups]
        if any(v is not None for v in values):
            facts[name] = _compact([NOT_GIVEN if v is None else v for v in values])
    for name, text in texts.items():
        words = [text(f, shared) for f in groups]
        if any(words):
            facts[name] = _compact(words)
    return facts | _timing(shared, groups[0])


def _timing(shared: Dataset, first: Dataset) -> dict[str, Value]:
    """Times, angles and scaling of the first frame, under the names that single-frame images use."""
    facts: dict[str, Value] = {}
    for sequence, keyword, name in (
        ("MRTimingAndRelatedParametersSequence", "RepetitionTime", "RepetitionTime"),
        ("MRTimingAndRelatedParametersSequence", "FlipAngle", "FlipAngle"),
        ("MRTimingAndRelatedParametersSequence", "EchoTrainLength", "EchoTrainLength"),
        ("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
        ("MRModifierSequence", "InversionTimes", "InversionTime"),
        ("PixelMeasuresSequence", "SliceThickness", "SliceThickness"),
        ("PixelValueTransformationSequence", "RescaleSlope", "RescaleSlope"),
        ("PixelValueTransformationSequence", "RescaleIntercept", "RescaleIntercept"),
    ):
        number = _number(_macro(first, shared, sequence), keyword)
        if number is not None:
            facts[name] = number
    for sequence, keyword in (
        ("MRModifierSequence", "SpectrallySelectedSuppression"),
        ("MRModifierSequence", "InversionRecovery"),
        ("PixelValueTransformationSequence", "RescaleType"),
    ):
        word = text_of(_macro(first, shared, sequence), keyword)
        if word:
            facts[keyword] = word
    return facts


def _map(frame: Dataset, shared: Dataset) -> str | None:
    """Whether the frame's own type says that it is a map computed from diffusion images."""
    words = Dataset()
    words.ImageType = text_of(_macro(frame, shared, "MRImageFrameTypeSequence"), "FrameType")
    kind = b_values.kind(words)
    return kind if kind in ("adc", "fa") else None


def _macro(frame: Dataset, shared: Dataset, sequence: str) -> Dataset:
    for place in (frame, shared):
        items = place.get(sequence)
        if items:
            item = items[0]
            assert isinstance(item, Dataset)
            return item
    return Dataset()


def _b_value(frame: Dataset, shared: Dataset, maker: str) -> float | None:
    b_value = b_values.b_value(frame, maker) or b_values.b_value(shared, maker)
    return None if b_value is None else b_value.value


def _number(dataset: Dataset, keyword: str) -> float | None:
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    try:
        return float(clean(value).split("\\")[0])
    except ValueError:
        return None


def _milliseconds(dataset: Dataset, keyword: str) -> float | None:
    value = _number(dataset, keyword)
    return None if value is None else value / 1000.0


def _compact(values: list[float] | list[str]) -> Value:
    return values[:1] if all(v == values[0] for v in values) else values

"""The result of one exam: the record that `result.json` holds and that the report is rendered from.

Schema `axrad.result/1`. Reading and writing round-trip; unknown keys are refused; numbers are finite.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.records import PROPOSED, InstanceRef, Json, LeftOut, Origin, Role, Sequence, Side


class Record(BaseModel):
    """Frozen, closed, finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class SequenceChoice(Record):
    """The series (and phase) used as one sequence. `computed_from_b`: s/mm2 an ADC was fitted from."""

    series_uid: str
    why: str
    confidence: float = 1.0
    phase: str | None = None
    description: str = ""
    computed_from_b: tuple[float, ...] | None = None
    instances: tuple[InstanceRef, ...] = ()


class SegmentSummary(Record):
    """A segment as referred to from the report. `source` is the SEG or RTSTRUCT instance.

    `property_type`: its Segmented Property Type, as value, scheme, meaning. `algorithm`: the software that made it,
    where one did and its object names it.
    """

    source: InstanceRef
    number: int
    label: str
    tracking_id: str | None = None
    tracking_uid: str | None = None
    property_type: tuple[str, str, str] | None = None
    origin: Origin = "drawn"
    algorithm: str = ""


class NodeSummary(Record):
    """One lymph node: its number on the page, the segment of the SEG that holds it, its size on T1+C."""

    number: int
    segment: int
    source_uid: str = ""
    volume_mm3: float
    long_axis_mm: float
    short_axis_mm: float


class RoiSummary(Record):
    """One ROI. `voxels` per sequence grid; `drawn_on`: the sequence on whose grid it was read.

    `kept_volume` per other sequence: volume there / volume on the grid that it was drawn on.
    `count`: separate lymph nodes, or lesions of a tumour; `nodes`: the lymph nodes one by one. Results written before
    nodes were measured say the count as `nodes`.
    `origin`: who made it: a reader (`drawn`), software from a reader's measurements (`measured`), a model (`model`) or
    software from images alone (`enhancement`); of several segments, what a reader had the least part in.
    `confirmed_by`: who stands for what software made; None: nobody, or nobody needs to.
    """

    source_uid: str
    segments: tuple[int, ...]
    drawn_on: Sequence = "t1c"
    voxels: dict[Sequence, int]
    volume_mm3: float
    kept_volume: dict[Sequence, float] = Field(default_factory=dict)
    count: int = 1
    nodes: tuple[NodeSummary, ...] = ()
    why: str = ""
    segment_details: tuple[SegmentSummary, ...] = ()
    origin: Origin = "drawn"
    confirmed_by: str | None = None

    @property
    def unconfirmed(self) -> bool:
        """Whether axrad proposed it and nobody stands for it."""
        return self.origin in PROPOSED and self.confirmed_by is None

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(data.get("nodes"), int):
            return {**data, "count": data["nodes"], "nodes": ()}
        return data


class Alignment(Record):
    method: str
    shift_mm: float = 0.0
    rotation_deg: float = 0.0
    transform: tuple[float, ...] | None = None
    details: dict[str, float | str] = Field(default_factory=dict)


class QualityCheck(Record):
    """One check of the input. `ok` False is shown on the page; whether it stops the evaluation is said in `reasons`."""

    check: str
    value: float | str | None
    limit: float | str | None = None
    ok: bool
    note: str = ""


class Contribution(Record):
    """What one feature (or clinical variable) did to this prediction, in units of the decision function."""

    name: str
    contribution: float
    value: float | None = None


class Prediction(Record):
    """The signature's answer. `probability` and `cutoff` are in 0..1 and refer to `positive_class`.

    `others`: how many variables had less say than `top_features`; `others_contribution`: what they did together.
    `fallback`: why a signature that would have used more was not asked.
    """

    signature: str
    positive_class: str
    probability: float
    cutoff: float
    category: Literal["high", "low", "indeterminate"]
    in_training_range: bool
    top_features: tuple[Contribution, ...] = ()
    others: int = 0
    others_contribution: float = 0.0
    conformal_set: tuple[str, ...] | None = None
    conformal_alpha: float | None = None
    conformal_band: tuple[float, float] | None = None
    clinical_used: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fallback: str = ""


class Clinical(Record):
    """Clinical variables that a signature in use could read: what is known, from where, and why the rest is not."""

    known: dict[str, int | float | str] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict)
    missing: dict[str, str] = Field(default_factory=dict)


class FeatureChange(Record):
    """One number in an earlier and in this exam. `relative`: (after - before) / |before|, None where before is 0."""

    name: str
    before: float
    after: float
    relative: float | None


class PartChange(Record):
    """One side. `volumes`: mm3 on T1+C per region. `largest`: of the main measurements, those that changed most."""

    volumes: dict[Role, FeatureChange] = Field(default_factory=dict)
    features_compared: int = 0
    largest: tuple[FeatureChange, ...] = ()


class Change(Record):
    """This exam against an earlier one of the same patient. Raw numbers of two scans: they say nothing of a cause.

    `references`: the earlier ROI objects, and the earlier report where a reader may have it. `why_not`: why nothing was
    compared; then `parts` is empty. Keys of `parts` are L, R, or "" where sides are not told apart.
    """

    study_uid: str
    study_date: str
    revision: int
    why_not: str = ""
    parts: dict[Literal["L", "R", ""], PartChange] = Field(default_factory=dict)
    references: tuple[InstanceRef, ...] = ()


class Part(Record):
    """One side of one exam: its ROIs, measurements and prediction.

    `sequences` and `alignment`: where this side was measured on other series than the top level names. `absent` and
    `signature`: as at the top level, of this side.
    """

    rois: dict[Role, RoiSummary] = Field(default_factory=dict)
    prediction: Prediction | None = None
    reasons: tuple[str, ...] = ()
    features: dict[str, float] = Field(default_factory=dict)
    missing_features: dict[str, str] = Field(default_factory=dict)
    grey_levels: dict[str, int] = Field(default_factory=dict)
    shadow: tuple[Prediction, ...] = ()
    sequences: dict[Sequence, SequenceChoice] = Field(default_factory=dict)
    alignment: dict[Sequence, Alignment] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    signature: dict[str, Json] = Field(default_factory=dict)


class StudyResult(Record):
    """One revision of one exam, whole.

    With both sides in one exam, `sides` holds a part per side and the top-level `rois` and `prediction` stay empty;
    otherwise `sides` is empty and the top level is the part. `clinical` None: no signature in use reads any. `change`
    None: no earlier exam of this patient is known. `left_out`: segments that joined no region, and why. `absent`: why a
    sequence (`adc`), a region (`tumor`), a region on a sequence (`adc.tumor`) or a clinical fact could not be read.
    `preliminary`: whether a region was read that axrad proposed and no reader has confirmed.
    `alignment`: how the grid that the regions were drawn on was related to the other sequences.
    """

    schema_: Literal["axrad.result/1"] = Field("axrad.result/1", alias="schema")
    study_uid: str
    revision: int = 1
    laterality: Literal["L", "R", "B"] | None = None
    demonstration: bool = False
    preliminary: bool = False
    status: Literal["evaluated", "not_evaluated"]
    reasons: tuple[str, ...] = ()
    reason_codes: tuple[str, ...] = ()
    absent: dict[str, str] = Field(default_factory=dict)
    sequences: dict[Sequence, SequenceChoice] = Field(default_factory=dict)
    rois: dict[Role, RoiSummary] = Field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    alignment: dict[Sequence, Alignment] = Field(default_factory=dict)
    quality: tuple[QualityCheck, ...] = ()
    prediction: Prediction | None = None
    sides: dict[Side, Part] = Field(default_factory=dict)
    features: dict[str, float] = Field(default_factory=dict)
    missing_features: dict[str, str] = Field(default_factory=dict)
    grey_levels: dict[str, int] = Field(default_factory=dict)
    shadow: tuple[Prediction, ...] = ()
    diagnostics: dict[str, Json] = Field(default_factory=dict)
    evidence: tuple[InstanceRef, ...] = ()
    protocol: dict[str, float | str] = Field(default_factory=dict)
    clinical: Clinical | None = None
    change: Change | None = None
    signature: dict[str, Json] = Field(default_factory=dict)
    settings_hash: str = ""
    input_digest: str = ""
    software: dict[str, str] = Field(default_factory=dict)
    timings_s: dict[str, float] = Field(default_factory=dict)

    def parts(self) -> Iterator[tuple[Side | None, Part]]:
        """Each side with its part; one part where sides are not told apart."""
        if self.sides:
            yield from self.sides.items()
            return
        side: Side | None = self.laterality if self.laterality in ("L", "R") else None
        yield (
            side,
            Part(
                rois=self.rois,
                prediction=self.prediction,
                reasons=self.reasons,
                features=self.features,
                missing_features=self.missing_features,
                grey_levels=self.grey_levels,
                shadow=self.shadow,
                absent=self.absent,
                signature=self.signature,
            ),
        )

    def to_json(self, indent: int | None = 1) -> str:
        """`result.json`."""
        return self.model_dump_json(by_alias=True, indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> StudyResult:
        return cls.model_validate_json(text)

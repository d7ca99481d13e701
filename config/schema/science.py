"""How an exam is read, measured and evaluated, and what the report looks like."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from config.schema.base import Section
from config.schema.urls import BaseUrl
from config.schema.values import InFile, LongString, OwnFolder, Sequence, Uid

# Of sequences whose unit is arbitrary: a z score over the body, in steps of a tenth of a standard deviation.
ADVISED = {"standardise": "body", "scale": 100.0, "bin_width": 10.0}
# What a signature may decide with; each has a row in pipeline/signature/classifiers.py.
Classifier = Literal["svm", "logistic", "forest", "boosting"]


class Sequences(Section):
    """Which series is which.

    `phase`: first_post, peak, nth:N (the N-th after contrast) or seconds:S (after injection). `rules`: a site's own
    rule table, laid over `config/sequence_rules.toml`. `use`: sequence to Series Instance UID, where a person decides.
    `adc_scale`: what brings the values of ADC maps that do not tell their unit to 10-6 mm2/s.
    """

    phase: str = Field("first_post", pattern=r"^(first_post|peak|nth:[1-9][0-9]*|seconds:[0-9]+(\.[0-9]+)?)$")
    rules: InFile | None = None
    min_margin: float = Field(0.05, ge=0)
    use: dict[Sequence, Uid] = Field(default_factory=dict)
    allow_lossy: bool = False
    adc_scale: float | None = Field(None, gt=0)


class RoiSettings(Section):
    """Regions: from which fraction a FRACTIONAL voxel is in, which tumours count, a site's own rule table.

    `min_inside`: the part of a segment that must lie inside the image. `allow_contradictory_positions`: evaluate where
    frames of a segmentation lie more than half a slice away from the images that they name; their positions count.
    `allow_drawn_on_dwi`: a region drawn on diffusion images, which are distorted, is no failed check.
    """

    fractional_threshold: float = Field(0.5, gt=0, le=1)
    tumors: Literal["union", "largest"] = "union"
    rules: InFile | None = None
    min_inside: float = Field(0.95, ge=0, le=1)
    allow_contradictory_positions: bool = False
    allow_drawn_on_dwi: bool = False


class Align(Section):
    """How T1+C relates to the other series: limits on registration, and on a region's volume there against T1+C."""

    registration: Literal["off", "rigid"] = "off"
    max_shift_mm: float = Field(15.0, ge=0)
    max_rotation_deg: float = Field(10.0, ge=0)
    min_kept_volume: float = Field(0.5, ge=0)
    max_kept_volume: float = Field(2.0, gt=0)
    seed: int = 20210628


class Bias(Section):
    """N4 as Slicer's N4ITK sets it: `iterations` per fitting level, coarse to fine; `mesh` in x, y, z order.

    `sequences` are corrected, the others are left as they are. ADC is quantitative and N4 alters it; it is in by
    default because the paper exempts no sequence.
    """

    engine: Literal["fast", "simpleitk"] = "fast"
    sequences: tuple[Sequence, ...] = ("t1c", "t2", "adc")
    shrink: int = Field(4, ge=1)
    iterations: tuple[Annotated[int, Field(ge=1)], ...] = Field((50, 40, 30), min_length=1)
    threshold: float = Field(1e-4, ge=0)
    mesh: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1, 1, 1)
    fwhm: float = Field(0.15, gt=0)
    wiener_noise: float = Field(0.01, gt=0)
    histogram_bins: int = Field(200, ge=2)


class SequenceFeatures(Section):
    """How one sequence's intensities and grid are prepared for its features. By default they are left as they are.

    `standardise`: a z score over the whole `image` (PyRadiomics' `normalize`), over the `body` (above Otsu's threshold)
    or over the region itself (`roi`), or the 1st to 99th percentile of the body as 0 to 1 (`percentiles`).
    `scale`: what one standard deviation, or that range, becomes. `clip`: z scores are cut off at so many standard
    deviations. `bins`: as many grey levels per region, in place of a width; `bin_width`: in place of
    features.bin_width. `voxel_mm`: resampled to cubes of this size (B-spline). `grid`: where the new voxels lie, how
    integers are rounded and what becomes of the region's border: as PyRadiomics does it, or as IBSI defines it.
    """

    standardise: Literal["none", "image", "body", "roi", "percentiles"] = "none"
    scale: float = Field(100.0, gt=0)
    clip: float | None = Field(None, gt=0)
    bins: int | None = Field(None, ge=2, le=2000)
    bin_width: float | None = Field(None, gt=0)
    voxel_mm: float | None = Field(None, gt=0)
    grid: Literal["pyradiomics", "ibsi"] = "pyradiomics"

    @model_validator(mode="after")
    def _grid_of_what_is_resampled(self) -> SequenceFeatures:
        if self.grid != "pyradiomics" and self.voxel_mm is None:
            raise ValueError("grid: give voxel_mm too, since without it nothing is resampled")
        return self

    @model_validator(mode="after")
    def _one_way_to_bin(self) -> SequenceFeatures:
        if self.bins is not None and self.bin_width is not None:
            raise ValueError("bins and bin_width: give one of them")
        return self


class Features(Section):
    """`params`: a PyRadiomics parameter file in place of config/extraction.toml.

    `engine = "plain"` is PyRadiomics' own call on the whole image: the same numbers, slowly. `recipe = "advised"` is
    for new signatures: T1+C and T2 are standardised over the body, and N4 leaves ADC alone, where the settings do not
    say otherwise. `t1c`, `t2`, `adc`: how each sequence is prepared.
    """

    engine: Literal["fast", "plain"] = "fast"
    set: Literal["all", "signature"] = "all"
    bin_width: float = Field(25.0, gt=0)
    params: InFile | None = None
    recipe: Literal["paper", "advised"] = "paper"
    t1c: SequenceFeatures = SequenceFeatures()
    t2: SequenceFeatures = SequenceFeatures()
    adc: SequenceFeatures = SequenceFeatures()


class Training(Section):
    """How a signature is trained. The defaults are the paper's recipe, calibrated and cut out of fold.

    `recipe = "paper"` calibrates and cuts by resubstitution. `t_test_p` or `top` None leaves that selection out.
    `top = "auto"` takes the number per group with the largest out-of-fold AUC, found anew in every fold. `gamma` None
    is 1/p. `clinical` makes a multiomic signature. `range_margin`: part of a feature's training range by which a new
    value may exceed it. `stable_icc`: only features are candidates whose intraclass correlation over the perturbations
    of the training patients (`axrad extract --perturb`) is at least this; it is computed in every fold. `harmonise`:
    ComBat takes differences between scanner groups out of the features, estimated on the training cases of every fold.
    `batch`: the column that tells the group, or several as `manufacturer+field_strength_t`. `covariates`: facts known
    before a prediction whose part in the features stays.
    """

    recipe: Literal["out_of_fold", "paper"] = "out_of_fold"
    sequences: tuple[Sequence, ...] = ("t1c", "t2", "adc")
    rois: tuple[Literal["tumor", "lymph_nodes"], ...] = ("tumor", "lymph_nodes")
    clinical: tuple[str, ...] = ()
    z_score: bool = True
    t_test_p: float | None = Field(0.05, gt=0, le=1)
    trees: int = Field(500, ge=1)
    top: Annotated[int, Field(ge=1)] | Literal["auto"] | None = 30
    standardise: bool = True
    classifier: Classifier = "svm"
    cost: float = Field(1.0, gt=0)
    gamma: float | None = Field(None, gt=0)
    folds: int = Field(5, ge=2)
    seed: int = Field(20210628, ge=0, lt=2**32)
    range_margin: float = Field(0.1, ge=0)
    complete_cases: bool = False
    cutoff: str = "youden"
    stable_icc: float | None = Field(None, gt=0, lt=1)
    harmonise: Literal["combat"] | None = None
    batch: str | None = Field(None, validate_default=True)
    covariates: tuple[str, ...] = Field((), validate_default=True)

    @field_validator("batch")
    @classmethod
    def _goes_with_harmonise(cls, text: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("harmonise") is not None and not (text or "").strip("+ "):
            raise ValueError("harmonisation needs the column of the scanner groups, such as manufacturer")
        if info.data.get("harmonise") is None and text is not None:
            raise ValueError("is the column of the scanner groups for harmonise = combat")
        return text

    @field_validator("covariates")
    @classmethod
    def _are_of_harmonise(cls, columns: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if columns and info.data.get("harmonise") is None:
            raise ValueError("are those of harmonise = combat")
        return columns

    @field_validator("cutoff")
    @classmethod
    def _is_a_rule(cls, text: str) -> str:
        if not re.fullmatch(r"youden|sensitivity=(0?\.\d*[1-9]\d*|1(\.0+)?)|net-benefit=0?\.\d*[1-9]\d*", text):
            raise ValueError("must be youden, sensitivity=S (0 < S <= 1) or net-benefit=T (0 < T < 1)")
        return text


class ScannerGroup(Section):
    """Exams of which every fact given here holds are of the scanner group `group` of a signature's table.

    `manufacturer`, `model`, `field_strength_t`: as the headers of T1+C tell them, spelling and 0.1 T aside; what is not
    given is not asked.
    """

    group: str = Field(min_length=1)
    manufacturer: str | None = None
    model: str | None = None
    field_strength_t: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _has_a_condition(self) -> ScannerGroup:
        if self.manufacturer is None and self.model is None and self.field_strength_t is None:
            raise ValueError("give manufacturer, model or field_strength_t of its scanners")
        return self


class SignatureSettings(Section):
    """`path`: one signature file; `registry`: a directory of them. Neither: the demonstration signature.

    `require_author`: only signatures that an author signed whose key is trusted are activated and used. `authors`: the
    file of trusted keys; default: `authors.json` in the registry.
    Not evaluated: more than `max_outside` of the features outside their training range, or a distance from the
    training data above `max_distance` times its 99 % quantile. `alpha`: the conformal band's error rate per class;
    None leaves the category to the cutoff. `minimum_per_class`: an external cohort with fewer cases in either class is
    neither evidence for a signature nor a bar to it.
    `allow_origins`: regions of these origins are evaluated although the signature was trained on others and no recorded
    evaluation speaks for it there; the report says so. Otherwise it abstains from them. `allow_origins` has `model` by
    default, since many viewers call SEMIAUTOMATIC what a reader drew; `allow_origins = []` is the strict choice.
    `unknown_scanner`: an exam of a scanner group that a harmonised signature was not trained on is not evaluated
    (`abstain`), or goes to the next signature in the written order, which need not know scanners (`unharmonised`).
    `scanner_groups`: which scanners here are which group, where the images' headers do not say it in the table's words.
    """

    path: InFile | None = None
    registry: OwnFolder | None = None
    require_author: bool = False
    authors: InFile | None = None
    max_outside: float = Field(0.05, ge=0, le=1)
    max_distance: float = Field(3.0, gt=0)
    alpha: float | None = Field(0.1, gt=0, lt=1)
    minimum_per_class: int = Field(10, ge=2)
    allow_origins: tuple[Literal["measured", "model", "enhancement", "drawn"], ...] = ("model",)
    unknown_scanner: Literal["abstain", "unharmonised"] = "abstain"
    scanner_groups: tuple[ScannerGroup, ...] = ()
    training: Training = Training()


class Report(Section):
    manufacturer: LongString = Field("axrad", min_length=1)
    comprehensive_3d: bool = False
    all_features: bool = False
    report_not_evaluated: bool = True
    # (0018,1002) inside Contributing Equipment: IHE AIR asks for it, dciodvfy of 2022 warns of it. Without it the same
    # UID is the item's Device Serial Number and the Device UID of the equipment and of the author.
    contributing_device_uid: bool = False
    # With a corrected result, also send a Key Object rejection note (IHE IOCM) for what was delivered before.
    reject_superseded: bool = False
    what: tuple[Literal["sr", "page", "pdf", "key_slices", "seg"], ...] = ("sr", "page", "pdf")
    # Size of the pages of the PDF.
    paper: Literal["a4", "letter"] = "a4"
    # Of the words of every object; codes, numbers and result.json stay as they are.
    language: Literal["en", "zh"] = "en"


class Clinical(Section):
    """Where age, stage, receptors and Ki-67 come from: a CSV or JSON `registry`, a FHIR R4 server, or nothing.

    `fhir_systems`: DICOM Issuer of Patient ID to the identifier system FHIR knows it by. What is dated more than
    `max_days_after_exam` days after the exam is not used: by default, what is dated after the day of the exam.
    `ki67_high_percent`: from there on Ki-67 is high where the molecular subtype follows from the receptors.
    """

    registry: InFile | None = None
    fhir_url: BaseUrl | None = None
    fhir_token: str | None = Field(None, repr=False)
    fhir_systems: dict[str, str] = Field(default_factory=dict)
    timeout_s: float = Field(10.0, gt=0)
    max_days_after_exam: int = Field(0, ge=0)
    ki67_high_percent: float = Field(20.0, ge=0, le=100)

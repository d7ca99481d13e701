"""One series to a label: header facts first, names second, either may veto."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.catalog.facts import PARAMETRIC_MAP_CLASS
from pipeline.diffusion.units import factor_of
from pipeline.sequences.evidence import B_ZERO, Evidence
from pipeline.sequences.name_verdict import NameVerdict, judge
from pipeline.sequences.records import Label
from pipeline.sequences.rules import Rules

# Labels that a series never loses again: it is no acquisition of one of the sequences.
# Apparent diffusion coefficient; the same of a mono-exponential model.
ADC_QUANTITIES = ("113041:DCM", "113290:DCM")
NEVER: tuple[Label, ...] = ("subtraction", "mip", "localizer", "reformat", "parametric_map")

# Words of (0008,0008) Image Type and of the enhanced Frame Type, by what they mean.
_TYPES: tuple[tuple[Label, frozenset[str]], ...] = (
    ("adc", frozenset({"ADC"})),
    ("mip", frozenset({"MIP", "MINIP", "PROJECTION"})),
    ("localizer", frozenset({"LOCALIZER", "SCOUT"})),
    ("reformat", frozenset({"MPR", "REFORMATTED", "CURVED", "MPRTHICK", "RESAMPLED"})),
    ("subtraction", frozenset({"SUBTRACTION", "SUBTRACT", "SUBTRACTED", "SUB"})),
    (
        "parametric_map",
        frozenset({"FA", "EADC", "TTP", "WASHIN", "WASHOUT", "PEI", "KTRANS", "RCBV", "RCBF", "MTT", "TRACEMAP"}),
    ),
    ("other", frozenset({"SCREEN", "CSA"})),
)


@dataclass(frozen=True)
class Verdict:
    """A label with its evidence. `t1`: a T1-weighted acquisition, whose place in the dynamic is still to be told."""

    evidence: Evidence
    name: NameVerdict
    label: Label
    confidence: float
    why: str
    t1: bool = False


def classify(evidence: Evidence, rules: Rules) -> Verdict:
    """The label of one series by itself; T1-weighted series still lack the exam's context."""
    name = _name(evidence, rules)
    header = by_header(evidence)
    if header is not None and header[0] == "adc" and name.label in NEVER:
        # Scanners write ADC into the image type of exponential and coloured maps too.
        return Verdict(evidence, name, name.label, name.confidence, f"{name.why}; {header[1]}")
    if header is not None and header[0] in (*NEVER, "adc", "other"):
        return Verdict(evidence, name, header[0], 0.97, header[1])
    if name.label in NEVER or name.label == "adc":
        return Verdict(evidence, name, name.label, name.confidence, name.why)
    if name.label == "other" and name.confidence >= 0.8:
        return Verdict(evidence, name, "other", name.confidence, name.why)
    if header is None:
        return Verdict(evidence, name, name.label, 0.8 * name.confidence, name.why, name.label.startswith("t1"))
    if name.label == "dwi" and header[0] in ("t2", "t2_stir"):
        return Verdict(evidence, name, "dwi", 0.8, f"{name.why}; {header[1]}")
    label, why = header
    agrees = name.label == label or (label == "t1_static" and name.label.startswith("t1"))
    near = {label, name.label} == {"t2", "t2_stir"}
    if label == "t1_static" and agrees:
        return Verdict(evidence, name, name.label, max(0.6, name.confidence), f"{why}; {name.why}", True)
    silent = name.label == "other"
    confidence = 0.97 if agrees else 0.85 if silent or near else 0.65
    evidence_text = f"{why}; {name.why}" if agrees or silent else f"{why}, although {name.why}"
    return Verdict(evidence, name, label, confidence, evidence_text, label == "t1_static")


def _name(evidence: Evidence, rules: Rules) -> NameVerdict:
    """The verdict on the first of the names that says anything: description, protocol, sequence."""
    verdict = judge(evidence.text("SeriesDescription"), evidence.vendor, rules)
    for keyword in ("ProtocolName", "SequenceName", "PulseSequenceName"):
        if verdict.confidence > 0.2:
            return verdict
        other = judge(evidence.text(keyword), evidence.vendor, rules)
        if other.confidence > verdict.confidence:
            why = other.why.replace("its name says", f"its {keyword} says")
            verdict = NameVerdict(other.label, other.confidence * 0.8, why, other.concepts)
    return verdict


def by_header(evidence: Evidence) -> tuple[Label, str] | None:
    """What image type, diffusion, echo and repetition times tell; None where they do not.

    A T1-weighted series is `t1_static` here: only the exam tells its phase.
    """
    for label, words in _TYPES:
        marks = sorted(words & evidence.image_type)
        if marks:
            return label, f"its image type says {marks[0]}"
    quantity = evidence.text("real_world_quantity")
    if quantity in ADC_QUANTITIES:
        return "adc", "its values are coded as apparent diffusion coefficients"
    if evidence.series.instances[0].ref.sop_class_uid == PARAMETRIC_MAP_CLASS and (
        quantity or factor_of(evidence.text("real_world_unit")) is None
    ):
        return "parametric_map", "a parametric map of another quantity"
    if any(s.kind == "adc" for s in evidence.slices) or factor_of(evidence.text("real_world_unit")) is not None:
        return "adc", "its values are diffusion coefficients"
    if evidence.orientations > 1 and len(evidence.slices) < 60 and not _diffusion(evidence):
        return "localizer", f"{len(evidence.slices)} images in {evidence.orientations} orientations"
    if _diffusion(evidence):
        return "dwi", f"b-values {', '.join(f'{b:g}' for b in evidence.b_values)} s/mm2"
    return _by_times(evidence)


def _diffusion(evidence: Evidence) -> bool:
    return any(b >= B_ZERO for b in evidence.b_values)


def _by_times(evidence: Evidence) -> tuple[Label, str] | None:
    """Weighting after echo, repetition and inversion times in ms, with the usual limits of breast protocols."""
    te, tr, ti = (evidence.number(k) for k in ("EchoTime", "RepetitionTime", "InversionTime"))
    if te is None or tr is None or "EP" in evidence.text("ScanningSequence").split("\\"):
        # Echo-planar images without diffusion weighting have the times of T2, and no use as T2.
        return None
    times = f"TR {tr:g} ms, TE {te:g} ms"
    if ti is not None and 80 <= ti <= 300 and tr >= 1500:
        return "t2_stir", f"{times}, TI {ti:g} ms"
    if te >= 50 and tr >= 1000:
        return "t2", times
    gradient = "GR" in evidence.text("ScanningSequence") or tr <= 30
    if te <= 12 and tr <= 700 and gradient:
        return "t1_static", f"{times}, gradient echo"
    if te <= 30 and 200 <= tr <= 1100:
        return "t1_static", times
    return None

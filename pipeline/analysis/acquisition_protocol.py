"""How an exam was acquired: the facts a signature compares with those of its training cohort."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.catalog import Exam
from pipeline.records import SEQUENCES, Sequence, Volume
from pipeline.sequences import Match


def protocol_of(
    exam: Exam, matched: Match, grids: Mapping[Sequence, Volume], extraction_hash: str
) -> dict[str, float | str]:
    """Vendor, field strength in tesla, in-plane and slice spacing in mm per sequence, phase, ADC source.

    Names are those of a signature's training table; what the headers do not tell is left out. Vendor and field strength
    are those of T1+C, or where it is absent of the first sequence that there is.
    """
    facts: dict[str, float | str] = {"extraction_hash": extraction_hash}
    first = next((matched.chosen[name].series_uid for name in SEQUENCES if name in matched.chosen), None)
    series = next((s for s in exam.series if s.series_uid == first), None)
    if series is not None:
        vendor, model = series.tag("Manufacturer"), series.tag("ManufacturerModelName")
        strength = series.tag("MagneticFieldStrength")
        if isinstance(vendor, str) and vendor:
            facts["manufacturer"] = vendor
        if isinstance(model, str) and model:
            facts["protocol.model"] = model
        if isinstance(strength, int | float):
            facts["field_strength_t"] = float(strength)
    for name, volume in grids.items():
        x, _, z = volume.geometry.spacing_xyz_mm
        facts[f"protocol.{name}_spacing_mm"] = round(x, 3)
        facts[f"protocol.{name}_slice_mm"] = round(z, 3)
    if "t1c" in matched.chosen and matched.chosen["t1c"].phase:
        facts["protocol.phase"] = str(matched.chosen["t1c"].phase)
    if "adc" in matched.chosen:
        facts["protocol.adc_from"] = "dwi" if matched.chosen["adc"].frames_by_b else "map"
    return facts

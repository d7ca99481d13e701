"""What the headers of one series say, without a look at any name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.catalog import InstanceFacts, SeriesFacts
from pipeline.sequences.slices import Slice, slices_of

# Below this a b-value counts as none: imaging gradients alone give some s/mm2 (a United Imaging b=0 says 1.25).
B_ZERO = 10.0
_NO_AGENT = {"", "NO", "NONE", "N", "NO CONTRAST", "WITHOUT", "0", "FALSE", "-", "无"}


@dataclass(frozen=True)
class Evidence:
    """The facts of one series that matching reasons about."""

    series: SeriesFacts

    @property
    def uid(self) -> str:
        return self.series.series_uid

    @property
    def vendor(self) -> str:
        return self.text("Manufacturer")

    @property
    def name(self) -> str:
        """Series description and, where it adds something, protocol and sequence name."""
        return self.text("SeriesDescription") or self.text("ProtocolName")

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        return _with_b_zero(tuple(s for i in self.series.instances for s in slices_of(i)), self.vendor)

    @cached_property
    def image_type(self) -> frozenset[str]:
        """Every word of every image's type, upper case."""
        words: set[str] = set()
        for instance in self.series.instances:
            for name in ("ImageType", "frame_type"):
                value = instance.tags.get(name)
                parts = value if isinstance(value, list) else [value]
                words |= {w for p in parts if p for w in re.split(r"[\\_ ]+", str(p).upper())}
        return frozenset(words)

    @cached_property
    def secondary(self) -> bool:
        """Made from other images (PS3.3 C.7.6.1.1.2): say, a subtraction that does not call itself one."""
        return {"DERIVED", "SECONDARY"} <= self.image_type

    @cached_property
    def has_agent(self) -> bool:
        """A contrast agent is named; some scanners name it for every image of a dynamic, the first phase included."""
        return any(names_agent(i) for i in self.series.instances)

    @cached_property
    def b_values(self) -> tuple[float, ...]:
        """The distinct b-values, as `same_b` tells them apart."""
        return tuple(sorted({same_b(s.b_value) for s in self.slices if s.b_value is not None}))

    @cached_property
    def start_s(self) -> float | None:
        times = [s.time_s for s in self.slices if s.time_s is not None]
        return min(times) if times else None

    @property
    def series_number(self) -> float:
        return self.number("SeriesNumber") or 0.0

    @cached_property
    def grid(self) -> tuple[object, ...]:
        """What all phases of one dynamic share: rows, columns, pixel spacing, orientation."""
        spacing = self.series.tag("PixelSpacing")
        rounded = tuple(round(v, 2) for v in spacing if not isinstance(v, str)) if isinstance(spacing, list) else None
        first = next((s.orientation for s in self.slices if s.orientation), None)
        plane = tuple(round(v, 2) + 0.0 for v in first) if first else None
        return self.series.tag("Rows"), self.series.tag("Columns"), rounded, plane

    @cached_property
    def places(self) -> int:
        """Distinct slice positions."""
        return len({(s.position_mm, s.orientation) for s in self.slices})

    @cached_property
    def orientations(self) -> int:
        return len({s.orientation for s in self.slices})

    def number(self, keyword: str) -> float | None:
        value = self.series.tag(keyword)
        value = value[0] if isinstance(value, list) and value else value
        return float(value) if isinstance(value, (int, float)) else None

    def text(self, keyword: str) -> str:
        value = self.series.tag(keyword)
        return "\\".join(str(v) for v in value) if isinstance(value, list) else "" if value is None else str(value)


def names_agent(instance: InstanceFacts) -> bool:
    """Whether one image names a contrast agent, and not the absence of one."""
    return agent_is_named(instance.tags.get("ContrastBolusAgent"))


def agent_is_named(contrast_bolus_agent: object) -> bool:
    """Whether a value of Contrast/Bolus Agent (0018,0010) names one, and not the absence of one."""
    return str(contrast_bolus_agent or "").strip().upper() not in _NO_AGENT


def same_b(value: float) -> float:
    """A b-value as a key: below 10 s/mm2 it is 0; near a multiple of 50, as people set it, it is that multiple."""
    if value < B_ZERO:
        return 0.0
    nearest = round(value / 50) * 50.0
    return nearest if nearest and abs(value - nearest) <= 0.02 * nearest + 1 else float(round(value))


def _with_b_zero(slices: tuple[Slice, ...], vendor: str) -> tuple[Slice, ...]:
    """Toshiba and Canon write no b-value where it is 0: an image without one among others that have one is b = 0.

    dcm2niix reads them so. With any other maker it may as well have been lost.
    """
    maker = vendor.lower()
    if not ("toshiba" in maker or "canon" in maker) or not any(s.b_value is not None for s in slices):
        return slices
    return tuple(replace(s, b_value=0.0) if s.b_value is None and s.kind not in ("adc", "fa") else s for s in slices)

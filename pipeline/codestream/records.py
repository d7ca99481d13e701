"""What a compressed frame says of itself, and what the header says of it."""

from __future__ import annotations

from dataclasses import dataclass


class Broken(ValueError):
    """The bytes are no codestream of the kind they should be, or not all of one. The message names no value of them."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The size of one codestream. `bits` of a sample; `signed` where the coding tells, else None."""

    rows: int
    columns: int
    components: int
    bits: int
    signed: bool | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What a header says of every frame (PS3.3 C.7.6.3). `high`: the highest bit that is stored; `photometric` and
    `planar` tell what colours mean."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    planar: int = 0

    @property
    def frame_bytes(self) -> int:
        """Of a frame without compression."""
        return (self.rows * self.columns * self.samples * self.allocated + 7) // 8

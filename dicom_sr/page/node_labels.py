"""Where the numbers of a picture stand, so that none covers another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_DIRECTIONS = 16
_DISTANCES = (2.0, 8.0, 16.0, 26.0, 38.0, 52.0, 68.0)


@dataclass(frozen=True, slots=True)
class Box:
    """From the left top to the right bottom, in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def middle(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def meets(self, other: Box) -> bool:
        """Whether the two have an area in common."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def distance(self, other: Box) -> float:
        """Between the nearest edges; 0 where they meet."""
        dx = max(0.0, self.x0 - other.x1, other.x0 - self.x1)
        dy = max(0.0, self.y0 - other.y1, other.y0 - self.y1)
        return math.hypot(dx, dy)


@dataclass(frozen=True, slots=True)
class Label:
    """A text of this size for what `outline` surrounds."""

    text: str
    outline: Box
    width: float
    height: float


def placed(labels: Sequence[Label], taken: Sequence[Box], size: float) -> list[tuple[Label, Box]]:
    """A box within the square for each label, near its outline, free of all others and of `taken`, and if there is room
    also of all outlines. A label that finds no room has none."""
    used = list(taken)
    outlines = [label.outline for label in labels]
    labelled = []
    for label in labels:
        free = [box for box in _around(label, size) if not any(box.meets(other) for other in used)]
        clear = [box for box in free if not any(box.meets(outline) for outline in outlines)]
        box = next(iter(clear or free), None)
        if box is not None:
            used.append(box)
            labelled.append((label, box))
    return labelled


def _around(label: Label, size: float) -> Iterator[Box]:
    """Boxes in the square, the nearest first; to the upper right before others."""
    x, y = label.outline.middle
    half_x = (label.outline.x1 - label.outline.x0 + label.width) / 2
    half_y = (label.outline.y1 - label.outline.y0 + label.height) / 2
    for distance in _DISTANCES:
        for n in range(_DIRECTIONS):
            angle = math.pi / 4 + (n + 1) // 2 * (-1) ** n * 2 * math.pi / _DIRECTIONS
            at_x = x + math.cos(angle) * (half_x + distance)
            at_y = y - math.sin(angle) * (half_y + distance)
            box = Box(at_x - label.width / 2, at_y - label.height / 2, at_x + label.width / 2, at_y + label.height / 2)
            if box.x0 >= 1 and box.y0 >= 1 and box.x1 <= size - 1 and box.y1 <= size - 1:
                yield box

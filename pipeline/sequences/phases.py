"""A series that covers its slices several times, taken apart into single volumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from pipeline.sequences.evidence import Evidence
from pipeline.sequences.slices import Slice


@dataclass(frozen=True)
class Phase:
    """One complete volume of a series, in order of time. `how` says what told the volumes apart."""

    slices: tuple[Slice, ...]
    time_s: float | None
    how: str

    def touches(self, instances: frozenset[str], frames: frozenset[tuple[str, int]]) -> bool:
        """Whether one of its slices is among these instances; of an instance whose `frames` are named, among those."""
        named = {uid for uid, _ in frames}
        for one in self.slices:
            uid, frame = one.frame.instance.ref.sop_instance_uid, one.frame.frame
            if uid in named and frame is not None:
                if (uid, frame) in frames:
                    return True
            elif uid in instances:
                return True
        return False


# What tells volumes apart, the surest first.
KEYS: tuple[tuple[str, Callable[[Slice], Hashable]], ...] = (
    ("temporal position", lambda s: s.temporal),
    ("trigger time", lambda s: s.trigger),
    ("acquisition number", lambda s: s.acquisition),
    ("acquisition time", lambda s: s.time_s),
)
# The parts of a Dixon or complex acquisition that show anatomy, the best first.
COMPONENTS = ("water", "magnitude", "in", "opposed")


def usable(slices: Iterable[Slice]) -> tuple[str, tuple[Slice, ...]]:
    """The slices of the component to be used, and its name: water before magnitude, never fat or phase."""
    slices = tuple(slices)
    for component in COMPONENTS:
        of_component = tuple(s for s in slices if s.component == component)
        if of_component:
            return component, of_component
    return "", ()


def phases(evidence: Evidence) -> tuple[Phase, ...]:
    """The volumes of a series by time; one where nothing repeats, none where the repeats cannot be told apart."""
    _, slices = usable(evidence.slices)
    return split(slices)


def split(slices: tuple[Slice, ...]) -> tuple[Phase, ...]:
    """Slices to volumes in which every position occurs once.

    A key of `KEYS` is accepted when it gives volumes of the same positions. Where none does, the n-th image of each
    position by instance number makes the n-th volume.
    """
    if not slices:
        return ()
    if any(s.position_mm is None for s in slices):
        # Nothing repeats that lies nowhere; whoever loads the volume refuses it for its lack of positions.
        return (_phase(slices, "slice positions are missing"),)
    counts = Counter((s.position_mm, s.orientation) for s in slices)
    repeats = max(counts.values())
    if repeats == 1:
        return (_phase(slices, "every position once"),)
    if min(counts.values()) != repeats:
        return ()
    for how, key in KEYS:
        groups: dict[Hashable, list[Slice]] = {}
        for one in slices:
            groups.setdefault(key(one), []).append(one)
        if len(groups) == repeats and all(_whole(group, counts) for group in groups.values()):
            return _ordered([_phase(tuple(g), how) for g in groups.values()])
    return _by_number(slices, repeats)


def _whole(group: list[Slice], counts: Counter[tuple[float | None, tuple[float, ...] | None]]) -> bool:
    places = Counter((s.position_mm, s.orientation) for s in group)
    return len(places) == len(counts) and max(places.values()) == 1


def _by_number(slices: tuple[Slice, ...], repeats: int) -> tuple[Phase, ...]:
    if any(s.frame.frame is None and s.frame.instance.tags.get("InstanceNumber") is None for s in slices):
        return ()
    at: dict[Hashable, list[Slice]] = {}
    for one in sorted(slices, key=lambda s: s.number):
        at.setdefault((one.position_mm, one.orientation), []).append(one)
    if any(len({s.number for s in stack}) != repeats for stack in at.values()):
        return ()
    return tuple(_phase(tuple(stack[n] for stack in at.values()), "instance number") for n in range(repeats))


def _phase(slices: tuple[Slice, ...], how: str) -> Phase:
    times = [s.time_s for s in slices if s.time_s is not None]
    triggers = [s.trigger for s in slices if s.trigger is not None]
    start = min(times) if times else None
    # GE writes one acquisition time for the whole dynamic and the phase's delay as trigger time.
    if start is not None and how == "trigger time":
        start += min(triggers)
    return Phase(slices, start, how)


def _ordered(volumes: list[Phase]) -> tuple[Phase, ...]:
    def key(phase: Phase) -> tuple[float, float, float]:
        first = phase.slices[0]
        return (
            first.temporal if phase.how == "temporal position" and first.temporal is not None else 0.0,
            phase.time_s if phase.time_s is not None else 0.0,
            min(s.number for s in phase.slices),
        )

    return tuple(sorted(volumes, key=key))

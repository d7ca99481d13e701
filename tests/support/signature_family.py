"""Small signatures that read real features of some regions on some sequences, active together in a registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from config.schema import SignatureSettings
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.signature.record import Signature
from pipeline.signature.registry import Registry
from tests.support.signature_tables import FAST, MADE, clinical, frame, trained


def reading(name: str, groups: Sequence[str], facts: tuple[str, ...] = ()) -> Signature:
    """A signature that reads every one of these groups (`t1c.tumor`) and these clinical facts."""
    data = clinical(frame(60, groups=tuple(groups)))
    recipe = FAST.model_copy(update={"top": None, "t_test_p": None, "clinical": facts})
    made = trained(data, recipe, name=name)
    assert made.inputs == frozenset(groups) | frozenset(facts)
    return made


def in_registry(folder: Path, signatures: Sequence[Signature]) -> Signatures:
    """The signatures as active ones, asked in this order, whatever an exam's values are."""
    registry = Registry(folder)
    for signature in signatures:
        registry.activate(signature, MADE, unevaluated=True)
    settings = SignatureSettings(registry=folder, max_outside=1.0, max_distance=1e9)
    found = Signatures.from_settings(settings)
    assert [s.header.name for s in found.order] == [s.header.name for s in signatures]
    return found

"""The signatures in use: which is asked for this exam's inputs, and which are only watched (shadow)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.schema import SignatureSettings
from pipeline import signature as signature_room
from pipeline.errors import ExamRejected, InputRejected
from pipeline.records import FeatureSet, Json
from pipeline.result import Prediction
from pipeline.signature import Signature


@dataclass(frozen=True, slots=True)
class Outcome:
    """A prediction or the reasons why there is none; and what shadow signatures said."""

    prediction: Prediction | None
    reasons: tuple[str, ...] = ()
    shadow: tuple[Prediction, ...] = ()


@dataclass(frozen=True)
class Signatures:
    """`active`: asked in this order, the first whose inputs are all there answers. `shadow`: computed, not reported."""

    active: tuple[Signature, ...]
    shadow: tuple[Signature, ...] = ()

    @classmethod
    def from_settings(cls, settings: SignatureSettings) -> Signatures:
        """One file, the active ones of a registry, or the demonstration signature. Raises InputRejected."""
        if settings.path is not None:
            return cls((signature_room.load(settings.path),))
        if settings.registry is not None:
            return from_registry(settings.registry)
        return cls((signature_room.load(signature_room.demonstration_path()),))

    @classmethod
    def none(cls) -> Signatures:
        """No signature: everything is measured and nothing predicted."""
        return cls(())

    @property
    def demonstration(self) -> bool:
        return any(s.header.demonstration for s in self.active)

    @property
    def features(self) -> frozenset[str]:
        """Every radiomic feature that some signature reads."""
        return frozenset(name for s in (*self.active, *self.shadow) for name in s.features)

    @property
    def provenance(self) -> dict[str, Json]:
        """For the result: names and content hashes."""
        if not self.active:
            return {}
        first = self.active[0]
        return {
            "name": first.header.title,
            "sha256": first.sha256,
            "demonstration": first.header.demonstration,
            "positive_class": first.header.positive_class,
            "shadow": [s.header.title for s in self.shadow],
        }

    def predict(
        self,
        found: FeatureSet,
        clinical: Mapping[str, object],
        protocol: Mapping[str, object],
        settings: SignatureSettings,
    ) -> Outcome:
        """Ask the active signatures in order; a signature whose clinical data are missing leaves it to the next."""
        if not self.active:
            return Outcome(None, ("no signature was asked",))
        fallback: list[str] = []
        prediction: Prediction | None = None
        reasons: tuple[str, ...] = ()
        for candidate in self.active:
            try:
                prediction = _ask(candidate, found, clinical, protocol, settings)
                break
            except ExamRejected as error:
                if error.code == "missing-clinical" and candidate is not self.active[-1]:
                    fallback.append(error.message)
                    continue
                reasons = (error.message,)
                break
        if prediction is not None and fallback:
            prediction = prediction.model_copy(update={"notes": (*prediction.notes, *fallback)})
        return Outcome(prediction, reasons, tuple(self._shadows(found, clinical, protocol, settings)))

    def _shadows(
        self,
        found: FeatureSet,
        clinical: Mapping[str, object],
        protocol: Mapping[str, object],
        settings: SignatureSettings,
    ) -> list[Prediction]:
        said = []
        for candidate in self.shadow:
            try:
                said.append(_ask(candidate, found, clinical, protocol, settings))
            except ExamRejected:
                continue  # a shadow that abstains has nothing to keep
        return said


def _ask(
    candidate: Signature,
    found: FeatureSet,
    clinical: Mapping[str, object],
    protocol: Mapping[str, object],
    settings: SignatureSettings,
) -> Prediction:
    return signature_room.predict(
        candidate, found.values, missing=found.missing, clinical=clinical, protocol=protocol, settings=settings
    )


def from_registry(folder: Path) -> Signatures:
    """The active signatures of a registry, those that use the most inputs first, and its shadows."""
    from pipeline.signature import registry

    active, shadow = registry.in_use(folder)
    if not active:
        raise InputRejected(f"no signature is active in {folder}; see `axrad signature list` and `activate`")
    return Signatures(tuple(active), tuple(shadow))

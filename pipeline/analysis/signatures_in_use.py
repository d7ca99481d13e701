"""The signatures in use: which is asked for this exam's inputs, and which are only watched (shadow)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from config.schema import Settings, SignatureSettings
from pipeline import signature as signature_room
from pipeline.errors import ExamRejected, InputRejected
from pipeline.extraction_settings import settings_hash
from pipeline.needs import Group, SignatureNeeds
from pipeline.records import FeatureSet, Json, Origin, Role
from pipeline.result import Clinical, Prediction
from pipeline.signature import Signature, harmonisation, trained_origins
from pipeline.signature.registry import choose, in_order, in_shadow, needs_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """A prediction and who made it, or the reasons (with codes) why there is none; and what shadow signatures said."""

    prediction: Prediction | None
    reasons: tuple[tuple[str, str], ...] = ()
    shadow: tuple[Prediction, ...] = ()
    answered_by: Signature | None = None


@dataclass(frozen=True)
class Signatures:
    """`order`: the signatures in use, in the order in which they are asked; `shadows`: those that are only watched.

    `settings` None: none is asked.
    """

    order: tuple[Signature, ...]
    settings: SignatureSettings | None
    shadows: tuple[Signature, ...] = ()

    @classmethod
    def from_settings(cls, settings: SignatureSettings) -> Signatures:
        """One file, the active ones of a registry, or the demonstration. Raises InputRejected."""
        order = in_order(settings)
        if settings.path is not None or settings.registry is None:
            return cls(order, settings)
        if not order:
            raise InputRejected(
                f"no signature is active in {settings.registry}; see `axrad signature list` and `activate`",
                code="no-active-signature",
            )
        return cls(order, settings, in_shadow(settings))

    @classmethod
    def none(cls) -> Signatures:
        """No signature: everything is measured and nothing predicted."""
        return cls((), None)

    @property
    def known(self) -> tuple[Signature, ...]:
        """Every signature that may be asked, to know what to measure."""
        return (*self.order, *self.shadows)

    @property
    def demonstration(self) -> bool:
        return any(s.header.demonstration for s in self.known)

    @property
    def asked(self) -> bool:
        """Whether any signature is asked."""
        return self.settings is not None

    @property
    def needs(self) -> tuple[SignatureNeeds, ...]:
        """What those in use read, in the order in which they are asked."""
        return needs_of(self.order)

    @property
    def features(self) -> frozenset[str]:
        """Every radiomic feature that some signature reads."""
        return frozenset(name for s in self.known for name in s.features)

    @property
    def clinical(self) -> frozenset[str]:
        """Every clinical variable that some signature reads."""
        return frozenset(name for s in self.known for name in s.clinical)

    def as_trained(self, settings: Settings) -> Settings:
        """The settings with which this exam is extracted: as the first signature in the written order says.

        Those that were trained on features of other settings, shadows too, abstain by their hash.

        Raises:
            FeatureRejected: the signature's settings are not known to this version.
        """
        return self.order[0].as_trained(settings) if self.order else settings

    def at_odds(self, settings: Settings) -> tuple[Signature, ...]:
        """The signatures in use that cannot answer because the first one is extracted for with other settings."""
        used = settings_hash(self.as_trained(settings))
        return tuple(s for s in self.known if s.header.extraction_hash not in (None, used))

    def provenance(self, answered_by: Signature | None) -> dict[str, Json]:
        """For the result: name and content hash of the signature that answered (or would have)."""
        asked = answered_by or (self.known[0] if self.known else None)
        if asked is None:
            return {}
        return {
            "name": asked.header.title,
            "sha256": asked.sha256,
            "demonstration": asked.header.demonstration,
            "positive_class": asked.header.positive_class,
        }

    def predict(
        self,
        measured: FeatureSet,
        there: frozenset[Group],
        clinical: Clinical,
        protocol: Mapping[str, object],
        origins: Mapping[Role, Origin],
        ki67_high_percent: float,
    ) -> Outcome:
        """Ask the first signature in the written order whose inputs this exam has; shadows are never reported.

        `origins`: who made each region. One that was not trained on regions of such an origin abstains.
        `ki67_high_percent`: from where on Ki-67 is high in the site's subtypes; where it was another, it abstains too.

        What it abstains from stays unanswered: the next one is asked only where an input is absent or ambiguous. A
        scanner group that a harmonised signature does not know is such an input where the settings say so
        (`unknown_scanner`); otherwise it abstains.
        """
        if self.settings is None:
            return Outcome(None, (("no-signature", "no signature was asked"),))
        groups = {".".join(group) for group in there}
        scanners = self._scanners(protocol)
        choice = choose(self.order, self.shadows, frozenset(groups | set(clinical.known) | scanners))

        def ask(signature: Signature) -> Prediction:
            return self._ask(signature, measured, clinical, protocol, origins, ki67_high_percent)

        shadow = tuple(p for s in choice.shadows if (p := _unless_it_abstains(ask, s)) is not None)
        fallback = "; ".join([*choice.notes, *self._why_missing(clinical)]) if choice.notes else ""
        # A file that was named is asked whatever there is: it says itself which features it lacks, and why.
        asked = choice.signature or (self.order[0] if self.settings.registry is None and len(self.order) == 1 else None)
        if asked is None:
            return Outcome(None, (("no-signature-fits", fallback),), shadow)
        try:
            prediction = ask(asked)
        except ExamRejected as error:
            return Outcome(None, ((error.code, error.message),), shadow)
        return Outcome(prediction.model_copy(update={"fallback": fallback}), (), shadow, asked)

    def _scanners(self, protocol: Mapping[str, object]) -> set[str]:
        """The scanner groups, as inputs of signatures, that this exam counts as being of."""
        assert self.settings is not None
        inputs = set()
        for signature in self.known:
            if (harmonised := signature.header.harmonisation) is not None:
                number, _ = harmonisation.known_group(signature, protocol, self.settings.scanner_groups)
                if number is not None or self.settings.unknown_scanner == "abstain":
                    inputs.add(harmonised.input_name)
        return inputs

    def _why_missing(self, clinical: Clinical) -> list[str]:
        return [f"{name}: {clinical.missing[name]}" for name in sorted(self.clinical & set(clinical.missing))]

    def _ask(
        self,
        asked: Signature,
        measured: FeatureSet,
        clinical: Clinical,
        protocol: Mapping[str, object],
        origins: Mapping[Role, Origin],
        ki67_high_percent: float,
    ) -> Prediction:
        assert self.settings is not None
        signature_room.same_ki67_cutoff(asked, clinical.known, ki67_high_percent)
        notes = trained_origins.notes_on(asked, origins, self.settings)
        missing = {**measured.missing, **clinical.missing}
        prediction = signature_room.predict(
            asked, measured.values, missing=missing, clinical=clinical.known, protocol=protocol, settings=self.settings
        )
        return prediction.model_copy(update={"notes": (*prediction.notes, *notes)})


def _unless_it_abstains(ask: Callable[[Signature], Prediction], shadow: Signature) -> Prediction | None:
    """A shadow that abstains has nothing to keep."""
    try:
        return ask(shadow)
    except ExamRejected:
        return None

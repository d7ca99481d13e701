"""A folder of signatures: content-addressed files, what was found out about them, and which are in use.

`SHA256.axsig` the signatures; `evaluations/SHA256/*.json` what `evaluate` found; `in-use.json` one active signature
per set of available inputs, and the shadows, which are computed and kept but never reported.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from config.schema import SignatureSettings
from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.signature import card, container, names
from pipeline.signature.record import Signature
from pipeline.signature.whole_files import write_atomically

SUFFIX = ".axsig"
IN_USE = "in-use.json"


@dataclass(frozen=True)
class Choice:
    """What to score an exam with; `signature` None: nothing fits the inputs. `notes` say what was lacking."""

    signature: Signature | None
    shadows: tuple[Signature, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One signature of the registry and its state."""

    signature: Signature
    active: bool
    shadow: bool
    orientations: tuple[str, ...]


@dataclass(frozen=True)
class _InUse:
    """`in-use.json`: the SHA-256 of the active signature by `inputs_key`, and those of the shadows."""

    active: dict[str, str]
    shadow: list[str]


def inputs_key(inputs: frozenset[str]) -> str:
    """A set of inputs as text."""
    return "+".join(sorted(inputs))


@dataclass(frozen=True)
class Registry:
    folder: Path

    def add(self, signature: Signature) -> str:
        """Keep a signature; returns its SHA-256, which is its name here."""
        data = container.to_bytes(signature)
        sha256 = hashlib.sha256(data).hexdigest()
        if not self._path(sha256).exists():
            write_atomically(self._path(sha256), data)
        return sha256

    def load(self, sha256: str) -> Signature:
        """A signature by its full SHA-256; altered content is refused."""
        return container.load(self._path(sha256), sha256)

    def find(self, reference: str) -> Signature:
        """A signature by file, `name@version`, or the first digits of its SHA-256.

        Raises:
            InputRejected: none or several are called so.
        """
        path = Path(reference)
        if path.is_file():
            return container.load(path)
        known = [self.load(p.stem) for p in sorted(self.folder.glob(f"*{SUFFIX}"))]
        matching = [
            s for s in known if s.header.title == reference or (len(reference) >= 6 and s.sha256.startswith(reference))
        ]
        if len(matching) != 1:
            count = "no signature" if not matching else f"{len(matching)} signatures"
            raise InputRejected(f"{count} in {self.folder} called {reference}", code="no-such-signature")
        return matching[0]

    def entries(self) -> tuple[Entry, ...]:
        """Every signature with its state, by name."""
        state = self._state()
        entries = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            signature = self.load(path.stem)
            orientations = tuple(str(c["orientation"]) for c in self.external_cohorts(signature.sha256).values())
            entries.append(
                Entry(
                    signature,
                    signature.sha256 in state.active.values(),
                    signature.sha256 in state.shadow,
                    orientations,
                )
            )
        return tuple(sorted(entries, key=lambda e: (e.signature.header.title, e.signature.sha256)))

    def titles_in_use(self) -> frozenset[str]:
        """`name@version` of the signatures that are active or shadow."""
        state = self._state()
        return frozenset(self.load(sha256).header.title for sha256 in (*state.active.values(), *state.shadow))

    def record(self, facts: dict[str, Json]) -> None:
        """Keep what an evaluation found, under the signature it is about."""
        about = facts["signature"]
        assert isinstance(about, dict)
        data = json.dumps(facts, sort_keys=True, allow_nan=False).encode()
        folder = self.folder / "evaluations" / str(about["sha256"])
        write_atomically(folder / f"{hashlib.sha256(data).hexdigest()[:16]}.json", data)

    def evaluations(self, sha256: str) -> list[dict[str, Json]]:
        """All that was found about a signature."""
        folder = self.folder / "evaluations" / sha256
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]

    def external_cohorts(self, sha256: str) -> dict[str, dict[str, Json]]:
        """The external cohorts it was scored on, by the digest of their table."""
        return {
            str(cohort["table_sha256"]): {"name": name, **cohort}
            for facts in self.evaluations(sha256)
            for name, cohort in card.external(facts).items()
        }

    def activate(self, signature: Signature, *, unevaluated: bool = False) -> str | None:
        """Make it the active one for its inputs; returns the SHA-256 of the one it replaces.

        Raises:
            InputRejected: an external cohort says inverted or no evidence, there is none (unless `unevaluated`), or
                it cannot run on images.
        """
        title, sha256 = signature.header.title, self.add(signature)
        if signature.header.foreign_columns:
            raise InputRejected(f"{title} cannot be activated: its columns are not ours", code="not-activated")
        against = [sentence for facts in self.evaluations(sha256) for _, sentence in card.verdicts(facts)]
        if against:
            raise InputRejected(
                f"{title} cannot be activated: {' '.join(dict.fromkeys(against))}", code="not-activated"
            )
        if not unevaluated and all(card.repeated_rows(c) for c in self.external_cohorts(sha256).values()):
            raise InputRejected(
                f"{title} cannot be activated: no evaluation on an independent cohort is recorded in {self.folder}. "
                "Run axrad signature evaluate with this registry, or activate it with --unevaluated.",
                code="not-activated",
            )
        state, key = self._state(), inputs_key(signature.inputs)
        before = state.active.get(key)
        shadow = [s for s in state.shadow if s != sha256]
        self._write(_InUse({**state.active, key: sha256}, shadow))
        return None if before == sha256 else before

    def shadow(self, signature: Signature, *, on: bool = True) -> None:
        """Compute it beside the active one, without reporting it; or stop that."""
        sha256, state = self.add(signature), self._state()
        others = [s for s in state.shadow if s != sha256]
        self._write(replace(state, shadow=[*others, *([sha256] if on else [])]))

    def deactivate(self, signature: Signature) -> None:
        """Take it out of use."""
        state = self._state()
        active = {k: s for k, s in state.active.items() if s != signature.sha256}
        self._write(replace(state, active=active))

    def choose(self, available: frozenset[str]) -> Choice:
        """The active signature that uses most of what is available: `{sequence}.{roi}` groups and clinical columns."""
        state = self._state()
        active = [self.load(sha256) for sha256 in state.active.values()]
        fitting = [s for s in active if s.inputs <= available]
        shadows = tuple(s for sha in state.shadow if (s := self.load(sha)).inputs <= available)
        best = max(fitting, key=_preference, default=None)
        richer = [s for s in active if best is None or _preference(s) > _preference(best)]
        notes = tuple(_lacking(s, available, best) for s in sorted(richer, key=_preference, reverse=True))
        return Choice(best, shadows, notes or (() if active else (f"no signature is active in {self.folder}",)))

    def _path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}{SUFFIX}"

    def _state(self) -> _InUse:
        path = self.folder / IN_USE
        if not path.exists():
            return _InUse({}, [])
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            return _InUse(dict(state["active"]), list(state["shadow"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputRejected(f"{path} is damaged: {error}", code="registry-damaged") from error

    def _write(self, state: _InUse) -> None:
        write_atomically(self.folder / IN_USE, json.dumps(asdict(state), indent=1, sort_keys=True).encode())


def in_use(settings: SignatureSettings, available: frozenset[str]) -> Choice:
    """What the settings say an exam with these inputs is scored with: the file, the registry, or the demonstration."""
    if settings.path is not None:
        return Choice(container.load(settings.path))
    if settings.registry is not None:
        return Registry(settings.registry).choose(available)
    return Choice(container.load(container.demonstration_path()))


def _preference(signature: Signature) -> tuple[int, int, str]:
    """More image inputs first, then more clinical ones."""
    clinical = signature.inputs & frozenset(names.CLINICAL)
    return len(signature.inputs - clinical), len(clinical), signature.sha256


def _lacking(signature: Signature, available: frozenset[str], instead: Signature | None) -> str:
    lacking = ", ".join(sorted(signature.inputs - available))
    end = "no other signature fits" if instead is None else f"{instead.header.title} was used instead"
    return f"{signature.header.title} needs {lacking}, which is missing: {end}"

"""A folder of signatures: content-addressed files, what was found out about them, and which are in use.

`SHA256.axsig` the signatures; `evaluations/SHA256/*.json` what `evaluate` found; `in-use.json` one active signature
per set of inputs, the order in which they are asked, the families they belong to, and the shadows, which are computed
and kept but never reported.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from config.schema import SignatureSettings
from pipeline.errors import InputRejected
from pipeline.needs import SignatureNeeds
from pipeline.records import Json
from pipeline.signature import card, container, evidence, fitness, gate, written_order
from pipeline.signature.family import Family, demonstration
from pipeline.signature.record import Signature
from pipeline.signature.whole_files import write_atomically
from pipeline.signature.written_order import NOTHING_IN_USE, FamilyInUse, InUse, Listed

SUFFIX = container.SUFFIX
IN_USE = "in-use.json"


@dataclass(frozen=True)
class Choice:
    """What to score an exam with; `signature` None: nothing fits the inputs. `notes` say what was lacking."""

    signature: Signature | None
    shadows: tuple[Signature, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One signature of the registry and its state.

    `place`: 1 is asked first, None is not active. `family`: `name@version` of the family it was activated with; "" a
    family of its own.
    """

    signature: Signature
    active: bool
    shadow: bool
    orientations: tuple[str, ...]
    place: int | None = None
    family: str = ""


@dataclass(frozen=True)
class Activated:
    """What activating a family did: its members in use, those left out with the reason, titles of those replaced."""

    members: tuple[Signature, ...]
    left_out: tuple[tuple[Signature, str], ...]
    replaced: tuple[str, ...]


@dataclass(frozen=True)
class Registry:
    """`minimum_per_class`: an external cohort with fewer cases in either class is no evidence and no bar."""

    folder: Path
    minimum_per_class: int = gate.MINIMUM_PER_CLASS

    def add(self, signature: Signature) -> str:
        """Keep a signature, also in place of a file that was altered; returns its SHA-256, which is its name here."""
        data = container.to_bytes(signature)
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.file_of(sha256).exists() or self.file_of(sha256).read_bytes() != data:
            write_atomically(self.file_of(sha256), data)
        return sha256

    def file_of(self, sha256: str) -> Path:
        return self.folder / f"{sha256}{SUFFIX}"

    def load(self, sha256: str) -> Signature:
        """A signature by its full SHA-256; altered content is refused."""
        return container.load(self.file_of(sha256), sha256)

    def find(self, reference: str) -> Signature:
        """A signature by file, `name@version`, or the first digits of its SHA-256.

        Raises:
            InputRejected: none or several are called so.
        """
        if Path(reference).is_file():
            return container.load(Path(reference))
        known = [self.load(p.stem) for p in sorted(self.folder.glob(f"*{SUFFIX}"))]
        matching = [
            s for s in known if s.header.title == reference or (len(reference) >= 6 and s.sha256.startswith(reference))
        ]
        if len(matching) != 1:
            count = "no signature" if not matching else f"{len(matching)} signatures"
            raise InputRejected(f"{count} in {self.folder} called {reference}", code="no-such-signature")
        return matching[0]

    def entries(self) -> tuple[Entry, ...]:
        """Every signature with its state: the active ones in the order in which they are asked, then the others."""
        state = self._state()
        families = {sha256: f.title for f in state.families for sha256 in f.members}
        entries = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            signature = self.load(path.stem)
            sha256 = signature.sha256
            place = state.order.index(sha256) + 1 if sha256 in state.order else None
            orientations = tuple(card.standing(c) for c in self.external_cohorts(sha256).values())
            shadow, family = sha256 in state.shadow, families.get(sha256, "")
            entries.append(Entry(signature, place is not None, shadow, orientations, place, family))
        last = len(entries)
        return tuple(sorted(entries, key=lambda e: (e.place or last + 1, e.signature.header.title, e.signature.sha256)))

    def in_order(self) -> tuple[Signature, ...]:
        """The active signatures in the order in which they are asked."""
        return tuple(self.load(sha256) for sha256 in self._state().order)

    def shadows(self) -> tuple[Signature, ...]:
        """The signatures that are computed and kept and never reported."""
        return tuple(self.load(sha256) for sha256 in self._state().shadow)

    def families(self) -> tuple[FamilyInUse, ...]:
        """The families in use, in the order of their first members."""
        state = self._state()
        return tuple(sorted(state.families, key=lambda f: state.order.index(f.members[0])))

    def titles_in_use(self) -> frozenset[str]:
        """`name@version` of the signatures that are active or shadow."""
        state = self._state()
        return frozenset(self.load(sha256).header.title for sha256 in (*state.order, *state.shadow))

    def record(self, facts: dict[str, Json]) -> None:
        """Keep what an evaluation found, under the signature it is about."""
        about = facts["signature"]
        assert isinstance(about, dict)
        data = json.dumps(facts, sort_keys=True, allow_nan=False).encode()
        folder = self.folder / "evaluations" / str(about["sha256"])
        write_atomically(folder / f"{hashlib.sha256(data).hexdigest()[:16]}.json", data)

    def evaluations(self, sha256: str) -> list[dict[str, Json]]:
        """All that was found about a signature. Raises InputRejected, naming the file, for one that is damaged."""
        folder = self.folder / "evaluations" / sha256
        return [evidence.read(path) for path in sorted(folder.glob("*.json"))]

    def external_cohorts(self, sha256: str) -> dict[str, dict[str, Json]]:
        """The external cohorts it was scored on, by the digest of their table, judged by today's gate."""
        return evidence.external_cohorts(self.evaluations(sha256), self.minimum_per_class)

    def activate(self, signature: Signature, made: Collection[str], *, unevaluated: bool = False) -> str | None:
        """Make it the active one for its inputs; returns the SHA-256 of the one it replaces.

        `made`: every feature that the configured extraction makes.

        Raises InputRejected: an external cohort says inverted or no evidence, there is none (unless `unevaluated`), or
        it reads what no exam has.
        """
        sha256 = self.add(signature)
        against = self._against(signature, sha256, made, unevaluated=unevaluated)
        if against:
            raise InputRejected(f"{signature.header.title} cannot be activated: {against}", code="not-activated")
        state, listed = self._state(), Listed(sha256, signature.inputs)
        before = state.active.get(listed.key)
        self._write(written_order.activated(state, [listed], self._listed(state)))
        return None if before == sha256 else before

    def activate_family(self, family: Family, made: Collection[str], *, unevaluated: bool = False) -> Activated:
        """Make a family's members the active ones for their inputs, in their written order, instead of its former ones.

        Members that an evaluation speaks against, and those that read what is not in `made`, are left out.

        Raises:
            InputRejected: every member is left out, or one has no independent cohort (unless `unevaluated`).
        """
        digests = [self.add(member) for member in family.members]
        pairs = list(zip(family.members, digests, strict=True))
        left_out = tuple((m, why) for m, sha in pairs if (why := self._against(m, sha, made, unevaluated=True)))
        refused = {m.header.title for m, _ in left_out}
        members = [(m, sha) for m, sha in pairs if m.header.title not in refused]
        reasons = [(m.header.title, self._against(m, sha, made, unevaluated=unevaluated)) for m, sha in members]
        unjudged = [(title, why) for title, why in reasons if why]
        if not members or unjudged:
            titles = ", ".join(title for title, _ in unjudged)
            why = f"{titles}: {unjudged[0][1]}" if members else left_out[0][1]
            raise InputRejected(f"{family.title} cannot be activated: {why}", code="not-activated")
        state, listed = self._state(), [Listed(sha, m.inputs) for m, sha in members]
        after = written_order.activated(state, listed, self._listed(state), family.title)
        self._write(after)
        gone = [sha for sha in state.order if sha not in after.order]
        return Activated(tuple(m for m, _ in members), left_out, tuple(self.load(s).header.title for s in gone))

    def shadow(self, signature: Signature, *, on: bool = True) -> None:
        """Compute it beside the active one, without reporting it; or stop that. Raises as `activate` does."""
        if on:
            fitness.refuse_research(signature)
        sha256, state = self.add(signature), self._state()
        others = [s for s in state.shadow if s != sha256]
        self._write(replace(state, shadow=(*others, *([sha256] if on else []))))

    def deactivate(self, signature: Signature) -> None:
        """Take it out of use."""
        self._write(written_order.deactivated(self._state(), signature.sha256))

    def choose(self, available: frozenset[str]) -> Choice:
        """The first signature in the written order whose inputs are available: `{sequence}.{roi}` groups and facts."""
        choice = choose(self.in_order(), self.shadows(), available)
        if choice.signature is not None or choice.notes:
            return choice
        return replace(choice, notes=(f"no signature is active in {self.folder}",))

    def _against(self, signature: Signature, sha256: str, made: Collection[str], *, unevaluated: bool) -> str:
        """Why it may not become active; "" where nothing speaks against it."""
        cohorts = self.external_cohorts(sha256)
        if unfit := fitness.unfit(signature, made):
            return unfit
        return evidence.against(cohorts) or ("" if unevaluated else evidence.lacking(cohorts, self.minimum_per_class))

    def _listed(self, state: InUse) -> dict[str, Listed]:
        return {sha256: Listed(sha256, self.load(sha256).inputs) for sha256 in state.active.values()}

    def _state(self) -> InUse:
        path = self.folder / IN_USE
        if not path.exists():
            return NOTHING_IN_USE
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            families = tuple(
                FamilyInUse(str(f["name"]), str(f["version"]), tuple(map(str, f["members"])))
                for f in stored.get("families", ())
            )
            order, shadow = tuple(map(str, stored.get("order", ()))), tuple(map(str, stored["shadow"]))
            state = InUse({str(k): str(v) for k, v in stored["active"].items()}, shadow, order, families)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputRejected(f"{path} is damaged: {error}", code="registry-damaged") from error
        return written_order.completed(state, self._listed(state))

    def _write(self, state: InUse) -> None:
        write_atomically(self.folder / IN_USE, json.dumps(asdict(state), indent=1, sort_keys=True).encode())


def in_order(settings: SignatureSettings) -> tuple[Signature, ...]:
    """The signatures in use by the settings, in the order of asking: one file, those of a registry, the demonstration.

    Raises InputRejected: one cannot be read, cannot run on images, or lacks an author whom the site trusts, where it
    requires that.
    """
    if settings.path is not None:
        return _usable(settings, (container.load(settings.path),))
    return _usable(settings, Registry(settings.registry).in_order() if settings.registry else demonstration())


def in_shadow(settings: SignatureSettings) -> tuple[Signature, ...]:
    """The shadows of the settings' registry. Raises as `in_order`."""
    registry = None if settings.path is not None else settings.registry
    return () if registry is None else _usable(settings, Registry(registry).shadows())


def _usable(settings: SignatureSettings, signatures: tuple[Signature, ...]) -> tuple[Signature, ...]:
    for signature in signatures:
        fitness.refuse_research(signature)
    if settings.require_author:
        from pipeline.signature.authors import require

        require(settings, signatures)
    return signatures


def choose(order: Sequence[Signature], shadows: Sequence[Signature], available: frozenset[str]) -> Choice:
    """The first of `order` whose inputs are all available, and the shadows that could be computed.

    Notes name what signatures before it lack, each input once; where none fits, what the one that lacks least does.
    """
    first = next((s for s in order if s.inputs <= available), None)
    could = tuple(s for s in shadows if s.inputs <= available)
    if first is None:
        nearest = sorted(order, key=lambda s: len(s.inputs - available))[:1]
        return Choice(None, could, tuple(_lacking(s, available, None) for s in nearest))
    notes: list[str] = []
    named: frozenset[str] = frozenset()
    for signature in order[: order.index(first)]:
        if not signature.inputs - available <= named:
            named |= signature.inputs - available
            notes.append(_lacking(signature, available, first))
    return Choice(first, could, tuple(notes))


def needs_of(order: Sequence[Signature]) -> tuple[SignatureNeeds, ...]:
    """What those in use read, in their order. Two that were given one name and version are told apart by digest."""
    titles = Counter(signature.header.title for signature in order)
    needs = [signature.needs(rank) for rank, signature in enumerate(order)]
    return tuple(replace(n, name=f"{n.name}#{n.sha256[:12]}") if titles[n.name] > 1 else n for n in needs)


def _lacking(signature: Signature, available: frozenset[str], instead: Signature | None) -> str:
    lacking = ", ".join(sorted(signature.inputs - available))
    end = "no other signature fits" if instead is None else f"{instead.header.title} was used instead"
    return f"{signature.header.title} needs {lacking}, which is missing: {end}"

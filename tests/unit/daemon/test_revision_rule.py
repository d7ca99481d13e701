"""When a new revision follows: only where what the answer read has changed, or a better answer is possible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.schema import Assembly, Settings
from daemon.assembly import InUse, RecordedAnswer, Verdict, expected_answer, side_answer
from daemon.assembly.answers import RegionOrigin, groups_of
from daemon.assembly.revision_rule import CHANGED, HIGHER, REGION, REPLACED, STAYS, Outcome, compare, is_preliminary
from pipeline.catalog import InstanceFacts
from pipeline.needs import GROUPS, Group, SignatureNeeds
from pipeline.records import ROLES, Role
from tests.support.exams import T2, series
from tests.support.facts import NODES, TUMOR, ours
from tests.support.stories import HOUR, MINUTE, NOON, STUDY, Story, breast_exam

DRAWN: RegionOrigin = {"origin": "drawn", "confirmed_by": None}
exam = breast_exam()
NOTHING_NEW = Outcome()


def signatures(*read: Iterable[str]) -> InUse:
    """Signatures in their written order, by the sequences that they read in both regions, or by groups."""
    needs = []
    for rank, names in enumerate(read):
        wanted = frozenset(g for g in GROUPS if g[0] in names or ".".join(g) in names)
        needs.append(SignatureNeeds("+".join(names) + "@1", wanted, rank=rank))
    return InUse(tuple(needs))


FAMILY = signatures(("t1c", "t2", "adc"), ("t1c", "t2"), ("t1c",))
T1_ALONE = signatures(("t1c",))
NESTED = signatures(("t1c",), ("t1c.tumor",), ("t1c.lymph_nodes",))


@dataclass
class Told(Story):
    """An exam that arrives, is judged whenever it is due, and whose revisions are made as the rule says.

    `proposed`: regions that software made; `confirmed`: of these, the ones that a reader has confirmed.
    """

    in_use: InUse = FAMILY
    now: float = NOON
    answers: list[RecordedAnswer] = field(default_factory=list)
    contexts: list[frozenset[int]] = field(default_factory=list)
    outcome: Outcome = NOTHING_NEW
    redo: int = 0
    since: float | None = None
    proposed: frozenset[Role] = frozenset()
    confirmed: frozenset[Role] = frozenset()

    def send(self, *facts: InstanceFacts | Sequence[InstanceFacts], digest: str = "d") -> None:
        """What is here already, data set for data set, makes no second row."""
        known = {(s.facts.ref.sop_instance_uid, s.digest) for s in self.stored}
        flat = [f for part in facts for f in ([part] if isinstance(part, InstanceFacts) else part)]
        self.arrive(self.now, [f for f in flat if (f.ref.sop_instance_uid, digest) not in known], digest=digest)
        self.times.append(self.now)

    def until_after(self, seconds: float) -> Verdict:
        """Judge whenever it is due, until then."""
        until = self.now + seconds
        verdict = self._judge()
        while verdict.due_at is not None and self.now < verdict.due_at <= until:
            self.now = verdict.due_at
            verdict = self._judge()
        self.now = until
        return verdict

    def _judge(self) -> Verdict:
        verdict = self.judged(self.now, answerable_since=self.since)
        self.since = verdict.answerable_since
        if verdict.state != "ready" or verdict.basis is None:
            return verdict
        basis = replace(verdict.basis, regions={role: self._origin(role) for role in verdict.basis.regions})
        if self.answers:
            self.outcome = compare(self.answers[-1], self.contexts[-1], basis, self.redo)
        if not self.answers or self.outcome.new:
            answer = expected_answer(basis, self.redo)
            assert answer is not None
            self.answers.append(answer)
            self.contexts.append(frozenset(verdict.context))
        return verdict

    def _origin(self, role: Role) -> RegionOrigin:
        if role not in self.proposed:
            return DRAWN
        return {"origin": "measured", "confirmed_by": "a reader" if role in self.confirmed else None}

    @property
    def names(self) -> list[str]:
        return [a["sides"][""]["signature"] for a in self.answers]

    def names_of_sides(self) -> list[set[str]]:
        return [{side["signature"] for side in a["sides"].values()} for a in self.answers]


def rank(answer: RecordedAnswer, family: InUse) -> tuple[bool, int]:
    """Confirmed before preliminary, then the written order."""
    side = answer["sides"][""]
    preliminary = any(is_preliminary(answer["regions"].get(role)) for _, role in groups_of(side["groups"]))
    return preliminary, {needs.name: needs.rank for needs in family.signatures}[side["signature"]]


def origins(answer: RecordedAnswer) -> dict[str, RegionOrigin | None]:
    return {role: answer["regions"].get(role) for _, role in groups_of(answer["sides"][""]["groups"])}


def read(answer: RecordedAnswer) -> set[tuple[str, str]]:
    names = {name for group in groups_of(answer["sides"][""]["groups"]) for name in group}
    return {(uid, digest) for name in names for uid, digest in answer["reads"].get(name, [])}


# What an answer waits for


def test_an_exam_without_diffusion_is_answered_by_a_signature_that_needs_none() -> None:
    story = Told(in_use=T1_ALONE)
    story.send(exam.pre, exam.t1c, exam.seg())
    assert story.until_after(2 * MINUTE).state == "ready"
    assert story.names == ["t1c@1"]


def test_a_better_answer_is_waited_for_from_when_one_first_became_possible() -> None:
    story = Told()
    story.send(exam.pre, exam.t1c)
    story.until_after(HOUR)
    story.send(exam.seg())
    waiting = story.until_after(29 * MINUTE)
    assert (waiting.state, waiting.code, waiting.due_at) == ("waiting", "preferred", NOON + HOUR + 1800)
    assert waiting.reason.startswith("a T2 series; an ADC map or DWI series, which a better answer would read")
    assert story.answers == []
    story.until_after(MINUTE)
    assert story.names == ["t1c@1"]


def test_other_arrivals_do_not_make_the_wait_for_a_better_answer_longer() -> None:
    story = Told()
    story.send(exam.pre, exam.t1c, exam.seg())
    for _ in range(3):
        story.until_after(10 * MINUTE - 1)
        story.send(exam.seg(f"9{len(story.stored)}.1", (replace(TUMOR, label=f"Lesion {len(story.stored)}"),)))
    assert story.until_after(3 * MINUTE).state == "ready"


def test_what_completes_the_best_answer_ends_the_wait() -> None:
    story = Told()
    story.send(exam.pre, exam.t1c, exam.seg())
    story.until_after(10 * MINUTE)
    story.send(exam.t2, exam.adc)
    assert story.until_after(2 * MINUTE).state == "ready"
    assert story.names == ["t1c+t2+adc@1"]


def test_the_wait_is_a_setting_and_may_be_nothing() -> None:
    story = Told(Settings(assembly=Assembly(prefer_complete_s=0)))
    story.send(exam.pre, exam.t1c, exam.seg())
    assert story.until_after(2 * MINUTE).state == "ready"


def test_a_sequence_that_only_a_lower_signature_reads_is_not_waited_for() -> None:
    story = Told(in_use=signatures(("t1c",), ("t1c", "t2")))
    story.send(exam.pre, exam.t1c, exam.seg())
    assert story.until_after(2 * MINUTE).state == "ready"


def test_a_region_is_waited_for_without_end_unless_a_setting_ends_it() -> None:
    nodes_not_needed = signatures(("t1c",), ("t1c.tumor",))
    for setting, state in ((None, "waiting"), (600.0, "ready")):
        story = Told(Settings(assembly=Assembly(prefer_regions_s=setting)), in_use=nodes_not_needed)
        story.send(exam.images, exam.seg(segments=(TUMOR,)))
        assert story.until_after(599).state == "waiting"
        assert story.until_after(2 * HOUR).state == state


def test_nothing_is_answered_while_no_signature_can_be_read() -> None:
    story = Told(in_use=InUse((), "the folder is not there"))
    story.send(exam.images, exam.seg())
    verdict = story.until_after(HOUR)
    assert (verdict.state, verdict.code) == ("waiting", "no-signature")
    assert verdict.reason == "an active signature (the folder is not there)"


# The rule, by examples


def test_t2_that_comes_after_an_answer_that_reads_none_makes_no_revision_unless_a_higher_signature_reads_it() -> None:
    for in_use, names in ((T1_ALONE, ["t1c@1"]), (FAMILY, ["t1c@1", "t1c+t2@1"])):
        story = Told(in_use=in_use)
        story.send(exam.pre, exam.t1c, exam.seg())
        story.until_after(HOUR)
        story.send(exam.t2)
        story.until_after(HOUR)
        assert story.names == names


def test_activation_alone_makes_no_revision_and_neither_does_what_its_signature_does_not_need() -> None:
    story = Told(in_use=T1_ALONE)
    story.send(exam.images, exam.seg())
    story.until_after(HOUR)
    story.in_use = FAMILY
    story.send(ours())
    story.until_after(HOUR)
    story.in_use = signatures(("t1c", "t2"), ("t1c.tumor",))
    story.until_after(HOUR)
    assert story.names == ["t1c@1"]


def test_what_comes_after_activation_makes_no_revision_where_the_higher_answer_was_possible_before() -> None:
    story = Told(in_use=signatures(("t1c.tumor",)))
    story.send(exam.images, exam.seg("900.1", (TUMOR,)), exam.seg("901.1", (NODES,)))
    story.until_after(HOUR)
    story.in_use = signatures(("t1c", "t2", "adc"), ("t1c.tumor",))
    story.send(exam.seg("902.1", (NODES,), author_key="b"))
    story.until_after(HOUR)
    assert (story.names, story.outcome) == (["t1c.tumor@1"], NOTHING_NEW)


def test_a_region_drawn_anew_replaces_what_the_answer_read() -> None:
    story = Told()
    story.send(exam.images, exam.seg("900.1", ContentTime="1000"))
    story.until_after(HOUR)
    story.send(exam.seg("900.2", ContentTime="1100"))
    story.until_after(HOUR)
    assert (len(story.answers), story.outcome.new) == (2, REPLACED)


def test_the_confirmation_of_a_region_makes_a_revision_only_where_the_answer_read_that_region() -> None:
    for in_use, names, why in ((T1_ALONE, ["t1c@1"] * 2, REGION), (signatures(("t1c.tumor",)), ["t1c.tumor@1"], "")):
        story = Told(in_use=in_use, proposed=frozenset(ROLES))
        story.send(exam.pre, exam.t1c, exam.seg())
        story.until_after(HOUR)
        story.confirmed = frozenset({"lymph_nodes"})
        story.until_after(HOUR)
        assert (story.names, story.outcome.new) == (names, why)


def test_the_rejection_of_a_region_that_the_answer_read_makes_a_revision() -> None:
    story = Told(in_use=T1_ALONE, proposed=frozenset(ROLES), confirmed=frozenset(ROLES))
    story.send(exam.pre, exam.t1c, exam.seg())
    story.until_after(HOUR)
    story.confirmed = frozenset({"tumor"})
    story.until_after(HOUR)
    assert (len(story.answers), story.outcome.new) == (2, REGION)


def test_a_confirmation_makes_an_answer_of_higher_rank_possible() -> None:
    story = Told(in_use=NESTED, proposed=frozenset(ROLES), confirmed=frozenset({"tumor"}))
    story.settings = Settings(assembly=Assembly(prefer_regions_s=0.0))
    story.send(exam.pre, exam.t1c, exam.seg("900.1", (TUMOR,)))
    story.until_after(HOUR)
    story.send(exam.seg("901.1", (NODES,)))
    story.until_after(HOUR)
    assert story.names == ["t1c.tumor@1"], "the nodes are preliminary"
    story.confirmed = frozenset(ROLES)
    story.until_after(HOUR)
    assert (story.names, story.outcome.new) == (["t1c.tumor@1", "t1c@1"], HIGHER)


def test_a_confirmation_alone_makes_an_answer_of_higher_rank_possible() -> None:
    story = Told(in_use=NESTED, proposed=frozenset({"lymph_nodes"}))
    story.send(exam.pre, exam.t1c, exam.seg())
    story.until_after(HOUR)
    story.answers[-1]["sides"] = {"": side_answer(NESTED.signatures[1])}  # as the analysis answered
    story.until_after(HOUR)
    assert story.names == ["t1c.tumor@1"], "the nodes are preliminary"
    story.confirmed = frozenset(ROLES)
    story.until_after(HOUR)
    assert (story.names, story.outcome.new) == (["t1c.tumor@1", "t1c@1"], HIGHER)


def test_no_arrival_that_the_answer_does_not_read_makes_a_revision() -> None:
    story = Told(in_use=signatures(("t1c.tumor",)))
    story.send(exam.pre, exam.t1c, exam.seg("900.1", (TUMOR,)), exam.seg("901.1", (NODES,), ContentTime="1000"))
    story.until_after(HOUR)
    for later in (exam.t2, exam.adc, [exam.seg("901.2", (NODES,), ContentTime="1100")], [ours()]):
        story.send(later)
        story.until_after(HOUR)
        assert (story.names, story.outcome) == (["t1c.tumor@1"], NOTHING_NEW)


def test_a_region_that_only_the_second_side_read_is_replaced() -> None:
    story = Told(in_use=signatures(("t1c.tumor",), ("t1c.lymph_nodes",)))
    story.send(exam.pre, exam.t1c, exam.seg("900.1", (TUMOR,)), exam.seg("901.1", (NODES,), ContentTime="1000"))
    story.until_after(HOUR)
    left, right = map(side_answer, story.in_use.signatures)
    story.answers[-1]["sides"] = {"L": left, "R": right}
    story.send(exam.seg("901.2", (NODES,), ContentTime="1100"))
    story.until_after(HOUR)
    assert (len(story.answers), story.outcome.new) == (2, REPLACED)


def test_a_second_author_changes_what_the_answer_reads() -> None:
    story = Told()
    story.send(exam.images, exam.seg())
    story.until_after(HOUR)
    story.send(exam.seg("901.1", author_key="b"))
    story.until_after(2 * MINUTE)
    assert (len(story.answers), story.outcome.new) == (2, CHANGED)


def test_a_rival_that_leaves_open_what_the_answer_read_changes_nothing_and_is_named() -> None:
    other = series(5, "T2 axial", StudyDate="20260115", **T2)
    rival = [replace(i, patient_key=exam.t2[0].patient_key, frame_of_reference_uid=f"{STUDY}.9") for i in other]
    story = Told()
    story.send(exam.images, exam.seg())
    story.until_after(HOUR)
    story.send(rival)
    story.until_after(HOUR)
    assert (len(story.answers), story.outcome.flagged) == (1, STAYS)


def test_an_operator_may_ask_for_a_revision_whatever_has_come() -> None:
    story = Told()
    story.send(exam.images, exam.seg())
    story.until_after(HOUR)
    story.redo = 1
    story.until_after(HOUR)
    assert len(story.answers) == 2


def test_a_side_that_a_lower_signature_answered_is_answered_anew_when_something_for_a_higher_one_comes() -> None:
    story = Told()
    story.send(exam.pre, exam.t1c, exam.t2, exam.seg())
    story.until_after(HOUR)
    story.answers[-1]["sides"] = {"L": story.answers[-1]["expected"], "R": side_answer(FAMILY.signatures[2])}
    story.send(ours())
    story.until_after(HOUR)
    assert (story.names_of_sides(), story.outcome) == ([{"t1c+t2@1", "t1c@1"}], Outcome())
    story.send(exam.adc)
    story.until_after(HOUR)
    assert (len(story.answers), story.outcome.new) == (2, HIGHER)


def test_an_answer_of_a_signature_that_is_no_longer_in_use_is_followed_where_its_own_inputs_change() -> None:
    story = Told(in_use=T1_ALONE)
    story.send(exam.pre, exam.t1c, exam.seg())
    story.until_after(HOUR)
    story.in_use = signatures(("t2", "t1c"), ("t1c.tumor", "t1c.lymph_nodes"))
    story.send(ours())
    story.until_after(HOUR)
    assert len(story.answers) == 1
    story.send(exam.t2)
    story.until_after(HOUR)
    assert story.names[-1] == "t2+t1c@1"


# The rule, in every order

PARTS: dict[str, list[InstanceFacts]] = {
    "pre": exam.pre,
    "t1c": exam.t1c,
    "t2": exam.t2,
    "adc": exam.adc,
    "tumour": [exam.seg("900.1", (TUMOR,), ContentTime="1000")],
    "tumour again": [exam.seg("900.2", (TUMOR,), ContentTime="1100")],
    "nodes": [exam.seg("901.1", (NODES,), ContentTime="1030")],
    "ours": [ours()],
}
# What happens beside arrivals: a reader confirms a region, which may not be here yet.
CONFIRMATIONS: dict[str, Role] = {"tumour confirmed": "tumor", "nodes confirmed": "lymph_nodes"}
events = (*PARTS, *CONFIRMATIONS)
orders = st.permutations(events)
gaps = st.lists(st.sampled_from([1.0, 130.0, 2 * HOUR]), min_size=len(events), max_size=len(events))
groups = st.frozensets(st.sampled_from(GROUPS), min_size=1)
families = st.one_of(
    st.sampled_from([FAMILY, NESTED]), st.lists(groups, min_size=1, max_size=5, unique=True).map(lambda f: _family(f))
)
proposals = st.sampled_from([frozenset[Role](), frozenset[Role](("tumor",)), frozenset[Role](ROLES)])


def _family(members: Sequence[frozenset[Group]]) -> InUse:
    return InUse(tuple(SignatureNeeds(f"s{n}@1", read, rank=n) for n, read in enumerate(members)))


# The tumour is confirmed and answered before the nodes come, which nobody has confirmed.
CONFIRMED_FIRST = [
    "pre",
    "t1c",
    "tumour",
    "tumour confirmed",
    "nodes",
    "ours",
    "t2",
    "adc",
    "nodes confirmed",
    "tumour again",
]


@settings(max_examples=60)
@example(CONFIRMED_FIRST, [2 * HOUR] * len(events), NESTED, 0.0, frozenset(ROLES))
@given(orders, gaps, families, st.sampled_from([None, 0.0, 600.0]), proposals)
def test_every_order_of_arrival_and_confirmation_ends_in_the_same_answer(
    order: list[str], gaps: list[float], family: InUse, prefer_regions_s: float | None, proposed: frozenset[Role]
) -> None:
    settings = Settings(assembly=Assembly(prefer_regions_s=prefer_regions_s))
    at_once = Told(settings, in_use=family, proposed=proposed, confirmed=frozenset(ROLES))
    story = Told(settings, in_use=family, proposed=proposed)
    at_once.send(*PARTS.values())
    at_once.until_after(3 * HOUR)
    for name, gap in zip(order, gaps, strict=True):
        if name in PARTS:
            story.send(PARTS[name])
        else:
            story.confirmed |= {CONFIRMATIONS[name]}
        if story.stored:
            story.until_after(gap)
    story.until_after(3 * HOUR)
    assert story.names[-1:] == at_once.names[-1:]
    for facts in (read, origins):
        assert [facts(a) for a in story.answers[-1:]] == [facts(a) for a in at_once.answers[-1:]]

    made = len(story.answers)
    for name in reversed(order):
        story.send(PARTS.get(name, []))
        story.until_after(130)
    story.until_after(3 * HOUR)
    assert len(story.answers) == made

    for before, after in zip(story.answers, story.answers[1:], strict=False):
        withdrawn = "1.2.3.900.1" in {uid for uid, _ in read(before) - read(after)}
        assert rank(after, family) <= rank(before, family) or withdrawn
        assert (read(before), origins(before), before["expected"]) != (read(after), origins(after), after["expected"])


@pytest.mark.parametrize("missing", ["t2", "adc"])
def test_an_exam_that_lacks_a_sequence_says_what_it_lacked(missing: str) -> None:
    story = Told()
    story.send(*(part for name, part in PARTS.items() if name != missing))
    assert story.until_after(HOUR).lacked == (missing,)

"""The order in which signatures are asked: written down, kept through every activation, and never made of a digest."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.signature.written_order import (
    NOTHING_IN_USE,
    InUse,
    Listed,
    activated,
    completed,
    deactivated,
    inputs_key,
)

INPUTS = ("t1c.tumor", "t1c.lymph_nodes", "t2.tumor", "adc.tumor", "age_years")
SETS = tuple(
    frozenset(s) for s in chain.from_iterable(combinations(INPUTS, n) for n in range(1, 6)) if s != ("age_years",)
)

sets = st.sampled_from(SETS)
families = st.lists(sets, min_size=1, max_size=5, unique=True)
# Each step: activate one alone (a name), or a family (a name with @), or take one out of use.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("alone"), sets.map(lambda s: [s])),
        st.tuples(st.sampled_from(("a@1", "a@2", "b@1")), families),
        st.tuples(st.just("off"), sets.map(lambda s: [s])),
    ),
    max_size=8,
)


def _listed(inputs: frozenset[str], number: int, salt: str) -> Listed:
    return Listed(hashlib.sha256(f"{salt} {number} {sorted(inputs)}".encode()).hexdigest(), inputs)


def _after(what: list[tuple[str, list[frozenset[str]]]], salt: str = "") -> tuple[InUse, dict[str, Listed]]:
    state, listed = NOTHING_IN_USE, dict[str, Listed]()
    for number, (kind, members) in enumerate(what):
        if kind == "off":
            sha256 = state.active.get(inputs_key(members[0]))
            state = deactivated(state, sha256) if sha256 else state
            continue
        new = [_listed(inputs, number, salt) for inputs in members]
        listed |= {one.sha256: one for one in new}
        state = activated(state, new, listed, "" if kind == "alone" else kind)
    return state, listed


@given(steps)
def test_every_active_signature_has_one_place_and_one_is_active_for_each_set_of_inputs(what):
    state, listed = _after(what)
    assert sorted(state.order) == sorted(state.active.values())
    assert all(key == listed[sha256].key for key, sha256 in state.active.items())


@given(steps, families)
def test_a_family_stands_in_the_order_its_author_wrote_and_stays_in_it(what, family):
    before, listed = _after([*what, ("c@1", family)])
    assert [listed[s].inputs for s in before.order if s in before.families[-1].members] == family
    assert [f.name for f in before.families].count("c") == 1
    after, listed = _after([*what, ("c@1", family), *what])
    kept = [
        inputs for inputs in family if any(f.name == "c" and _has(f.members, listed, inputs) for f in after.families)
    ]
    assert [listed[s].inputs for f in after.families if f.name == "c" for s in f.members] == kept
    places = [after.order.index(s) for f in after.families for s in f.members if f.name == "c"]
    assert places == sorted(places)


@given(steps, st.text(max_size=3))
def test_the_order_does_not_depend_on_digests(what, salt):
    (one, a), (other, b) = _after(what), _after(what, salt)
    assert [a[s].inputs for s in one.order] == [b[s].inputs for s in other.order]


@given(steps)
def test_a_new_version_of_a_family_takes_the_former_one_out_of_use_whole(what):
    state, _ = _after(what)
    names = [family.name for family in state.families]
    assert len(names) == len(set(names))


@given(st.lists(sets, unique=True))
def test_what_an_earlier_version_wrote_is_asked_in_the_order_of_what_it_reads(actives):
    listed = {one.sha256: one for one in (_listed(inputs, 0, "") for inputs in actives)}
    state = completed(InUse({one.key: one.sha256 for one in listed.values()}), listed)
    breadths = [listed[s].breadth for s in state.order]
    assert breadths == sorted(breadths, reverse=True)
    assert set(state.order) == set(listed)


@given(steps)
def test_a_written_order_is_kept_when_it_is_read_again(what):
    state, listed = _after(what)
    assert completed(state, listed) == state


@given(sets, st.lists(sets, unique=True, min_size=1))
def test_one_signature_alone_takes_the_place_of_the_one_it_replaces(inputs, others):
    state, listed = _after([("a@1", list(dict.fromkeys([*others, inputs])))])
    place = state.order.index(state.active[inputs_key(inputs)])
    new = _listed(inputs, 99, "")
    after = activated(state, [new], {**listed, new.sha256: new})
    assert after.order[place] == new.sha256
    assert replace(after, order=()).active[new.key] == new.sha256


def _has(members: tuple[str, ...], listed: dict[str, Listed], inputs: frozenset[str]) -> bool:
    return any(listed[s].inputs == inputs for s in members)

"""Slow facts of a member and their digest."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from arbora.v1 import member_pb2
from arbora_hub.inventory.facts import MAX_PROPERTIES, Facts, digest_of, facts_of

texts = st.text(max_size=4)
some_facts = st.builds(
    Facts,
    texts,
    st.binary(max_size=4),
    st.booleans(),
    st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    st.lists(texts, max_size=3).map(tuple),
)


@given(some_facts, some_facts)
def test_a_digest_is_the_same_for_the_same_facts_and_for_no_others(one: Facts, other: Facts) -> None:
    assert (digest_of(one) == digest_of(other)) is (one == other)


def test_what_moves_from_one_fact_to_the_next_is_noticed() -> None:
    one = Facts(properties=(("a", "b"),), properties_left_out=("c", "d"))
    assert digest_of(one) != digest_of(replace(one, properties=(("a", "b"), ("c", "d")), properties_left_out=()))


def test_the_digest_never_changes_between_versions() -> None:
    known = Facts("v1.36.0", b"pem", True, (("a", "b"),), ("c",))
    assert digest_of(known).hex() == "74d0c61124c6d776"


def test_facts_come_in_an_order_of_their_own_and_within_bounds() -> None:
    status = member_pb2.ClusterStatus(kubernetes_version="v" * 1000, api_ca_pem=b"x" * 100_000)
    for index in reversed(range(MAX_PROPERTIES + 2)):
        status.properties.add(name=f"p{index:03}", value=str(index))
    facts = facts_of(status)
    assert facts.properties[0] == ("p000", "0")
    assert len(facts.properties) == MAX_PROPERTIES
    assert facts.properties_left_out == ("p064", "p065")
    assert len(facts.kubernetes_version) == 128
    assert facts.api_ca_pem == b""

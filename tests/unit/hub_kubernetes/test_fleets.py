"""Fleets: what is read of one, whom it selects, what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora_hub.kubernetes.fleets.selection import Selection
from arbora_hub.kubernetes.fleets.spec import Fleet, read_fleet
from arbora_hub.kubernetes.fleets.status import Standing, conditions_of, status_of

ALL = ["/**"]


def fleet(name: str = "all", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Fleet:
    metadata = {"name": name, "uid": f"uid-{name}", "generation": 3, "creationTimestamp": created}
    return read_fleet({"metadata": metadata, "spec": spec})


def test_a_whole_fleet_is_read() -> None:
    found = fleet(
        selector={"matchLabels": {"gpu": "h100"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]},
        paths=["/eu/**"],
        namespaces=["team-b", "team-a"],
        clusterSet="europe",
        multiKueue={"namespace": "kueue-system", "queues": []},
    )
    assert found.faults == ()
    assert (found.namespaces, found.cluster_set, found.generation) == (("team-a", "team-b"), "europe", 3)
    assert found.selects("/eu/a", {"gpu": "h100", "tier": "1"})
    assert not found.selects("/us/a", {"gpu": "h100", "tier": "1"})
    assert not found.selects("/eu/a", {"gpu": "h100"})


def test_the_clusterset_is_by_default_called_as_the_fleet() -> None:
    assert fleet("europe").cluster_set == "europe"


@pytest.mark.parametrize("spec", [{}, {"selector": {}}, {"selector": {"matchLabels": {}}, "paths": []}])
def test_without_labels_and_paths_nobody_belongs_to_it(spec: Mapping[str, Any]) -> None:
    assert not fleet(**spec).selects("/a", {"gpu": "h100"})
    assert fleet(**spec).faults == ()


def test_each_wrong_field_is_named() -> None:
    found = fleet(
        selector={
            "matchLabels": {"gpu": 3},
            "matchExpressions": [
                {"key": "a", "operator": "In"},
                {"operator": "Exists"},
                {"key": "b", "operator": "Gt"},
            ],
        },
        paths=["/eu/**", "eu"],
        namespaces=["Team"],
        clusterSet="not a label",
    )
    assert [one.field for one in found.faults] == [
        "spec.clusterSet",
        "spec.selector.matchLabels[gpu]",
        "spec.selector.matchExpressions[0]",
        "spec.selector.matchExpressions[1]",
        "spec.selector.matchExpressions[2]",
        "spec.paths[1]",
        "spec.namespaces[0]",
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("selector", "paths", "namespaces", "clusterSet")


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_whatever_stands_in_it_it_is_read(spec: dict[str, Any]) -> None:
    found = fleet(**spec)
    assert found.faults or found.cluster_set
    found.selects("/a", {"b": "c"})


@given(st.dictionaries(st.sampled_from(("matchLabels", "matchExpressions")), json_values))
def test_whatever_stands_in_a_selector_it_is_read(selector: dict[str, Any]) -> None:
    fleet(selector=selector).selects("/a", {"b": "c"})


def test_members_go_where_their_fleets_are_published() -> None:
    selection = Selection()
    assert selection.put_member("/eu/a", {"gpu": "h100"}) == set()
    selection.put_member("/us/b", {})
    eu = fleet("eu", paths=["/eu/**"], namespaces=["one", "two"])
    every = fleet("every", paths=ALL, namespaces=["three"])
    assert selection.put_fleets([eu, every]) == {
        ("one", "/eu/a"),
        ("two", "/eu/a"),
        ("three", "/eu/a"),
        ("three", "/us/b"),
    }
    assert selection.wants("one", "/eu/a")
    assert not selection.wants("one", "/us/b")
    assert (selection.members_of("eu"), selection.members_of("every")) == (1, 2)
    assert selection.put_member("/eu/a", None) == {("one", "/eu/a"), ("two", "/eu/a"), ("three", "/eu/a")}
    assert selection.put_fleets([]) == {("three", "/us/b")}
    assert selection.places() == set()


def test_of_two_sets_in_one_namespace_the_older_fleet_has_it() -> None:
    selection = Selection()
    selection.put_member("/a", {})
    late = fleet("early-name", created="2026-02-01T00:00:00Z", paths=ALL, namespaces=["one", "two"])
    first = fleet("late-name", created="2026-01-01T00:00:00Z", paths=ALL, namespaces=["one"])
    selection.put_fleets([late, first])
    assert selection.cluster_sets == {"one": "late-name", "two": "early-name"}
    assert selection.published_into(late) == ("two",)
    (conflict,) = selection.conflicts["early-name"]
    assert str(conflict) == "namespace one holds the ClusterSet late-name of the Fleet late-name"


def test_two_fleets_of_one_set_share_a_namespace() -> None:
    selection = Selection()
    both = [fleet(name, paths=ALL, namespaces=["one"], clusterSet="set") for name in ("a", "b")]
    selection.put_fleets(both)
    assert selection.conflicts == {}


def test_a_fleet_with_something_wrong_selects_nobody_and_holds_its_namespaces() -> None:
    selection = Selection()
    selection.put_member("/a", {})
    selection.put_fleets([fleet(paths=["/**", "a"], namespaces=["one"])])
    assert not selection.wants("one", "/a")
    assert selection.held == {"one"}


paths = st.sampled_from(["/a", "/b", "/eu/a", "/eu/b"])
labels = st.none() | st.sampled_from([{}, {"gpu": "h100"}])
fleets = st.lists(
    st.sampled_from(
        [
            fleet("a", paths=ALL, namespaces=["one"]),
            fleet("b", paths=["/eu/*"], namespaces=["one", "two"], clusterSet="a"),
            fleet("c", selector={"matchLabels": {"gpu": "h100"}}, namespaces=["two"], clusterSet="a"),
            fleet("d", paths=["nonsense"], namespaces=["one"]),
        ]
    ),
    max_size=3,
)


@given(st.lists(st.tuples(paths, labels) | fleets, max_size=12))
def test_step_by_step_comes_to_the_same_as_all_at_once(steps: list[Any]) -> None:
    stepwise, told = Selection(), set[tuple[str, str]]()
    members: dict[str, Mapping[str, str]] = {}
    now: list[Fleet] = []
    for step in steps:
        if isinstance(step, tuple):
            members.pop(step[0], None)
            if step[1] is not None:
                members[step[0]] = step[1]
            told ^= stepwise.put_member(*step)
        else:
            now = step
            told ^= stepwise.put_fleets(step)
    at_once = Selection()
    at_once.put_fleets(now)
    for path, its in members.items():
        at_once.put_member(path, its)
    assert stepwise.places() == at_once.places() == told
    assert [stepwise.members_of(one) for one in "abcd"] == [at_once.members_of(one) for one in "abcd"]


def ready(standing: Standing, **spec: Any) -> tuple[str, str, str]:
    one = conditions_of(fleet(**{"namespaces": ["one"], **spec}), standing)[0]
    return one.status, one.reason, one.message


def test_a_fleet_is_ready_once_everything_is_there() -> None:
    assert ready(Standing(3, 2, 3))[:2] == ("False", "Publishing")
    assert ready(Standing(3, 3, 3)) == ("True", "Published", "3 members are published in 1 namespaces")
    assert ready(Standing(3), namespaces=[])[2] == "3 members are published in no namespace, as none is named"


def test_every_thing_that_is_wrong_is_named_and_the_worst_is_the_reason() -> None:
    standing = Standing(3, 3, 3, missing=("two",), conflicts=("set",), failures=tuple(map(str, range(9))))
    status, reason, message = ready(standing, paths=["x"])
    assert (status, reason) == ("False", "InvalidSpec")
    for part in ("spec.paths[0]", "there is no namespace two", "set", "0; 1; 2; 3; 4 and 4 more"):
        assert part in message
    assert ready(standing)[1] == "NamespaceMissing"


def test_a_status_keeps_its_transition_times_while_nothing_changes() -> None:
    first = status_of(fleet(), Standing(), {}, "2026-01-01T00:00:00Z")
    again = status_of(fleet(), Standing(renamed=("a",)), first, "2026-01-02T00:00:00Z")
    times = {one["type"]: one["lastTransitionTime"] for one in again["conditions"]}
    assert times == {"Ready": "2026-01-01T00:00:00Z", "NamesUnique": "2026-01-02T00:00:00Z"}
    assert again["observedGeneration"] == 3

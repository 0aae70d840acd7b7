"""The difference that a dry run shows: stable, complete, and without secrets."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.difference import ABSENT, Change, difference, text_difference
from arbora.manifests.override_reading import read_overrides
from arbora.manifests.overrides import MemberFacts, apply_overrides

MEMBER = MemberFacts("m", Path.parse("/m"), {})


def config(name: str = "cm", **data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": list(containers)},
    }


def test_changes_name_their_places_in_order() -> None:
    before: dict[str, Any] = {"b": [1, {"x": 1}], "a": None, "example.org/c": True, "same": {}}
    after: dict[str, Any] = {"b": [1, {"x": 2}, 3], "example.org/c": 1, "same": {}, "d": None}
    assert difference(before, after) == [
        Change("a", None, ABSENT),
        Change("b[1].x", 1, 2),
        Change("b[2]", ABSENT, 3),
        Change("d", ABSENT, None),
        Change("[example.org/c]", True, 1),
    ]


def test_the_text_shows_every_object_that_changes() -> None:
    before = [config("b", x="1"), config("a", x="1"), config("same")]
    after = [config("same"), config("a", x="no"), config("new")]
    assert text_difference(before, after, "general", "edge-7") == (
        "--- general/v1/ConfigMap/a\n"
        "+++ edge-7/v1/ConfigMap/a\n"
        "@@ -1,6 +1,6 @@\n"
        " apiVersion: v1\n"
        " data:\n"
        '-  x: "1"\n'
        '+  x: "no"\n'
        " kind: ConfigMap\n"
        " metadata:\n"
        "   name: a\n"
        "--- general/v1/ConfigMap/b\n"
        "+++ edge-7/v1/ConfigMap/b\n"
        "@@ -1,6 +0,0 @@\n"
        "-apiVersion: v1\n"
        "-data:\n"
        '-  x: "1"\n'
        "-kind: ConfigMap\n"
        "-metadata:\n"
        "-  name: b\n"
        "--- general/v1/ConfigMap/new\n"
        "+++ edge-7/v1/ConfigMap/new\n"
        "@@ -0,0 +1,5 @@\n"
        "+apiVersion: v1\n"
        "+data: {}\n"
        "+kind: ConfigMap\n"
        "+metadata:\n"
        "+  name: new\n"
    )
    assert text_difference(after, list(reversed(after))) == ""


def test_values_of_secrets_are_never_shown() -> None:
    copied = {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter0"}, "name": "s"}
    before = {"apiVersion": "v1", "kind": "Secret", "metadata": copied, "data": {"a": "hunter1", "b": "hunter1"}}
    after = {**before, "data": {"a": "hunter2", "b": "hunter1"}, "stringData": {"c": "hunter3"}}
    shown = text_difference([before], [after])
    assert "hunter" not in shown and "hunter" not in repr(difference(before, after))
    assert [change.path for change in difference(before, after)] == ["data.a", "stringData"]
    assert "+  a: '*** (changed)'" in shown


TEXTS = st.text("ab1", min_size=1, max_size=3)
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=3)
SET_LIKE = st.one_of(
    st.builds(
        lambda part, value: {
            "image": {
                "part": part,
                "operator": "replace",
                "value": f"{value}.io" if part == "registry" else value,
            }
        },
        st.sampled_from(["registry", "repository", "tag"]),
        TEXTS,
    ),
    st.just({"image": {"part": "tag", "operator": "remove"}}),
    st.builds(
        lambda part, op, values: {part: {"container": "c", "operator": op, "values": values}},
        st.sampled_from(["command", "args"]),
        st.sampled_from(["remove", "replace"]),
        st.lists(TEXTS, max_size=2),
    ),
    st.builds(
        lambda part, op, values: {part: {"operator": op, "values": values}},
        st.sampled_from(["labels", "annotations"]),
        st.sampled_from(["add", "replace"]),
        MAPS,
    ),
    st.builds(lambda keys: {"labels": {"operator": "remove", "keys": keys}}, st.lists(TEXTS, max_size=2)),
    st.builds(lambda values: {"env": {"set": values}}, MAPS),
    st.builds(lambda names: {"env": {"remove": names}}, st.lists(TEXTS, max_size=2)),
    st.builds(lambda v: {"jsonPatch": [{"op": "add", "path": "/spec/x", "value": v}]}, TEXTS),
)
CONTAINERS = st.fixed_dictionaries(
    {"name": st.sampled_from(["c", "d"]), "image": st.sampled_from(["a", "r.io/a/b:1", "a:2"])},
    optional={"args": st.lists(TEXTS, max_size=2), "env": st.just([{"name": "a", "value": "1"}])},
)


@given(edit=SET_LIKE, containers=st.lists(CONTAINERS, max_size=3))
def test_a_set_like_override_applied_twice_changes_nothing_more(
    edit: dict[str, Any], containers: list[dict[str, Any]]
) -> None:
    overrides = read_overrides([{"edits": [edit]}])
    manifests = [pod(*containers)]
    before = copy.deepcopy(manifests)
    once = apply_overrides(manifests, overrides, MEMBER)
    kept = copy.deepcopy(once.manifests)
    twice = apply_overrides(once.manifests, overrides, MEMBER)
    assert manifests == before and once.manifests == kept
    assert twice.manifests == once.manifests
    assert all("changed nothing" in sentence for sentence in twice.applied)


@given(edits=st.lists(SET_LIKE, min_size=1, max_size=4), containers=st.lists(CONTAINERS, max_size=2))
def test_the_difference_is_empty_exactly_if_nothing_changed(
    edits: list[dict[str, Any]], containers: list[dict[str, Any]]
) -> None:
    before = pod(*containers)
    (after,) = apply_overrides([before], read_overrides([{"edits": edits}]), MEMBER).manifests
    changes = difference(before, after)
    assert (changes == []) == (before == after) == (text_difference([before], [after]) == "")
    assert changes == difference(before, after)


RUBBISH = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=3),
    st.lists(st.none() | st.text(max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none() | st.lists(st.none(), max_size=1), max_size=2),
)
PLACES: tuple[tuple[str | int, ...], ...] = (
    ("metadata",),
    ("metadata", "labels"),
    ("metadata", "labels", "a"),
    ("metadata", "annotations"),
    ("spec",),
    ("spec", "containers"),
    ("spec", "initContainers"),
    ("spec", "containers", 0),
    *(("spec", "containers", 0, part) for part in ("name", "image", "args", "command", "env")),
    ("spec", "containers", 0, "env", 0),
    ("spec", "containers", 0, "env", 0, "name"),
)


@given(edit=SET_LIKE, place=st.sampled_from(PLACES), rubbish=RUBBISH)
def test_a_damaged_object_is_refused_or_left_alone(
    edit: dict[str, Any], place: tuple[str | int, ...], rubbish: Any
) -> None:
    damaged: Any = pod({"name": "c", "image": "a", "env": [{"name": "a"}]})
    damaged["metadata"]["labels"] = {"a": "1"}
    parent = damaged
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = rubbish
    target = {"selector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["0"]}]}}
    overrides = read_overrides([{"edits": [edit]}, {"edits": [edit], "targets": [target]}])
    try:
        result = apply_overrides([damaged], overrides, MEMBER)
    except InvalidInput as error:
        assert error.field
    else:
        assert text_difference(result.manifests, result.manifests) == ""

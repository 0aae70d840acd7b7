"""`apply -f` reads strictly: what is wrong is told with its path and line."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.manifests.documents import WorkloadDocument, dump, read
from arbora.manifests.objects import ref_of
from arbora.manifests.placement_document import PlacementDocument
from arbora.manifests.selectors import Requirement, Selector
from arbora.manifests.strict_yaml import InvalidDocument

WORKLOAD = """\
apiVersion: arbora.dev/v1
kind: Workload
metadata:
  name: web
  labels:
    team: vision
spec:
  placement:
    members: [edge-7, /eu/paris]
    selector:
      matchLabels:
        gpu: h100
      matchExpressions:
        - {key: zone, operator: In, values: [a, b]}
  manifests:
    - apiVersion: v1
      kind: ConfigMap
      metadata:
        name: cm
        labels: {app: web}
      data:
        greeting: hello
"""


def test_a_workload_is_read_whole() -> None:
    (workload,) = read(WORKLOAD, "workload.yaml").workloads
    assert workload.name == "web"
    assert workload.labels == {"team": "vision"}
    assert workload.placement.members == ("edge-7", "/eu/paris")
    assert workload.placement.selector == Selector({"gpu": "h100"}, (Requirement("zone", "In", ("a", "b")),))
    assert [manifest["kind"] for manifest in workload.manifests] == ["ConfigMap"]
    assert (workload.source, workload.line) == ("workload.yaml", 1)


def _changed(old: str, new: str) -> str:
    assert old in WORKLOAD
    return WORKLOAD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (_changed("  placement:", "  placment:"), "8: spec.placment: unknown field; did you mean placement?"),
        (_changed("  name: web", "  nome: web"), "4: metadata.nome: unknown field; did you mean name?"),
        (_changed("kind: Workload", "kind: Workloads"), "2: kind: 'Workloads' is unknown"),
        (_changed("arbora.dev/v1", "arbora.dev/v2"), "1: apiVersion: 'arbora.dev/v2' is unknown"),
        (_changed("kind: Workload\n", ""), "1: kind is missing"),
        (_changed("  name: web\n", ""), "3: metadata: name is missing"),
        (_changed("  name: web", "  name: Web_1"), "4: metadata.name: 'Web_1' is not a valid name"),
        (_changed("  name: web", "  name: 7"), "4: metadata.name: is a number, quote it"),
        (_changed("team: vision", "team: no"), "6: metadata.labels.team: is a bool, quote it"),
        (_changed("team: vision", "team: 1e3"), "6: metadata.labels.team: is a number, quote it"),
        (_changed("team: vision", "team:"), "6: metadata.labels.team: is null, not a text"),
        (_changed("team: vision", "no: vision"), "6: metadata.labels: the key no is a bool, quote it"),
        (_changed("[edge-7, /eu/paris]", "edge-7"), "9: spec.placement.members: is a text, not a list"),
        (_changed("/eu/paris", "Paris"), "9: spec.placement.members[1]: 'Paris' is not a valid name"),
        (_changed("members: [edge-7, /eu/paris]", "members: [{a: b}]"), "9: spec.placement.members[0]: is a map"),
        (_changed("operator: In", "operator: Is"), "14: spec.placement.selector.matchExpressions[0]: the"),
        (_changed(", values: [a, b]", ""), "14: spec.placement.selector.matchExpressions[0]: In needs at least"),
        (_changed("gpu: h100", "gpu: on"), "12: spec.placement.selector.matchLabels.gpu: is a bool"),
        (_changed("      kind: ConfigMap\n", ""), "16: spec.manifests[0]: kind is missing"),
        (_changed("        name: cm\n", ""), "18: spec.manifests[0].metadata: name is missing"),
        (_changed("{app: web}", "{app: yes}"), "20: spec.manifests[0].metadata.labels.app: is a bool"),
        (_changed("{app: web}", "{a.b/app: 1}"), "20: spec.manifests[0].metadata.labels[a.b/app]: is a number"),
        (_changed("greeting: hello", "port: 8080"), "22: spec.manifests[0].data.port: is a number, quote it"),
        (_changed("      data:", "      kind: X\n      data:"), "21: spec.manifests[0].kind: is given twice"),
        (_changed("metadata:\n  name: web", "metadata:\n\tname: web"), "4: is not YAML"),
        (_changed("team: vision", "team: !!python/name:os.system x"), "6: metadata.labels.team: the tag"),
        (_changed("team: vision", "team: .inf"), "6: metadata.labels.team: '.inf' is not a finite number"),
        (WORKLOAD + "---\n" + WORKLOAD, "27: metadata.name: a second workload 'web'"),
        (WORKLOAD[: WORKLOAD.index("  manifests")] + "  manifests: []\n", "15: spec.manifests: holds no object"),
        ("- just\n- a list\n", "1: is a list, not a map"),
        ("apiVersion: v1\nkind: Pod\n", "1: metadata is missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n", "3: metadata: name is missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata:\n", "3: metadata: is null, not a map"),
        ("kind: List\napiVersion: v1\nitems:\n- kind: Pod\n", "4: items[0]: apiVersion is missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_path_and_line(text: str, error: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read(text, "workload.yaml")
    assert str(caught.value).startswith(f"workload.yaml:{error}")


def test_a_placement_of_nothing_is_refused() -> None:
    text = (
        WORKLOAD[: WORKLOAD.index("    members")]
        + "    members: []\n"
        + WORKLOAD[WORKLOAD.index("  manifests") :]
    )
    with pytest.raises(InvalidDocument, match=r"spec\.placement: names neither members nor a selector"):
        read(text, "w")
    (workload,) = read(text.replace("members: []", "selector: {}"), "w").workloads
    assert workload.placement.selector == Selector()


PLACED = """\
apiVersion: arbora.dev/v1
kind: Workload
metadata: {name: web}
spec:
  placement:
    expression: 'labels.tier == "gold"'
    groups:
      - {name: near, members: [edge-7]}
      - name: far
        selector: {matchLabels: {site: tokyo}}
    overflow: true
    tolerations:
      - {key: team, operator: Equal, value: vision, effect: NoExecute, tolerationSeconds: 60}
    clusters: 3
    minimum: 2
    spread:
      - {label: site, maxSkew: 2, minGroups: 2, maxGroups: 4, whenUnsatisfiable: ScheduleAnyway}
    division:
      mode: weighted
      weights:
        - {weight: 3, member: edge-7}
        - {weight: 1, selector: {}}
      allOrNothing: true
    weights: {cost: 0.5, resource: 1}
    priority: -10
    kinds: [batch/v1/Job]
    claims:
      - {name: residency-eu, weight: 2.5, hard: true}
  overrides:
    - members: [edge-7]
      edits:
        - image: {part: registry, operator: replace, value: registry.local}
        - labels:
            operator: add
            values: {example.org/site.name: paris}
    - selector: {matchLabels: {region: cn}}
      edits:
        - jsonPatch: [{op: replace, path: /data/a, value: 1}]
  manifests:
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: cm}}
"""


def test_every_field_of_a_placement_and_the_overrides_are_read_as_they_are_written() -> None:
    (workload,) = read(PLACED, "w").workloads
    written = yaml.safe_load(PLACED)["spec"]
    assert workload.placement == PlacementDocument(rest=written["placement"])
    assert list(workload.overrides) == written["overrides"]
    assert read(dump(workload), "w").workloads == (workload,)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("overflow:", "overflows:", "11: spec.placement.overflows: unknown field; did you mean overflow?"),
        ("overflow: true", "overflow: 1", "11: spec.placement.overflow: is a number, not true or false"),
        ("name: far", "nam: far", "9: spec.placement.groups[1].nam: unknown field; did you mean name?"),
        ("- {name: near, ", "- {", "8: spec.placement.groups[0]: name is missing"),
        ("members: [edge-7]}", "members: [Edge]}", "8: spec.placement.groups[0].members[0]: 'Edge' is not a"),
        ("{site: tokyo}", "{site: 7}", "10: spec.placement.groups[1].selector.matchLabels.site: is a number"),
        ("tolerationSeconds: 60", "tolerationSeconds: -1", "13: spec.placement.tolerations[0].tolerationSeconds"),
        ("clusters: 3", "clusters: many", "14: spec.placement.clusters: is a text, not a whole number"),
        ("clusters: 3", "clusters: 2.5", "14: spec.placement.clusters: is a number, not a whole number"),
        ("clusters: 3", "clusters: true", "14: spec.placement.clusters: is a bool, not a whole number"),
        ("clusters: 3", "clusters: 4294967296", "14: spec.placement.clusters: 4294967296 is above 4294967295"),
        ("minimum: 2", "minimum: -2", "15: spec.placement.minimum: -2 is below 0"),
        ("{label: site, ", "{", "17: spec.placement.spread[0]: label is missing"),
        ("mode: weighted\n      ", "", "18: spec.placement.division: mode is missing"),
        ("weight: 3", "weight: -3", "21: spec.placement.division.weights[0].weight: -3 is below 0"),
        ("cost: 0.5", "cost: half", "24: spec.placement.weights.cost: is a text, not a number"),
        ("cost: 0.5", "cost: .nan", "24: spec.placement.weights.cost: '.nan' is not a finite number"),
        ("[batch/v1/Job]", "batch/v1/Job", "26: spec.placement.kinds: is a text, not a list"),
        ("hard: true", "hard: no way", "28: spec.placement.claims[0].hard: is a text, not true or false"),
        ("part: registry", "part: registri", "32: spec.overrides[0].edits[0].image.part: 'registri' is not one"),
        ("name: paris", "name: 75", "35: spec.overrides[0].edits[1].labels.values.example.org/site.name: is a n"),
        ("op: replace", "op: replaces", "38: spec.overrides[1].edits[0].jsonPatch"),
        ("members: [edge-7]\n      edits", "member: [edge-7]\n      edits", "30: spec.overrides[0].member: "),
        ("      edits:\n        - jsonPatch", "      edit:\n        - jsonPatch", "37: spec.overrides[1].edit: "),
    ],
)  # fmt: skip
def test_a_mistake_in_a_placement_or_an_override_is_told_with_its_path_and_line(
    old: str, new: str, error: str
) -> None:
    assert old in PLACED
    with pytest.raises(InvalidDocument) as caught:
        read(PLACED.replace(old, new, 1), "w")
    assert str(caught.value).startswith(f"w:{error}")


def test_groups_alone_say_where_but_an_empty_list_of_them_does_not() -> None:
    text = PLACED[: PLACED.index("    expression")] + "    groups: [{name: a, members: [b]}]\n"
    manifests = PLACED[PLACED.index("  manifests") :]
    assert read(text + manifests, "w").workloads[0].placement.rest["groups"][0]["name"] == "a"
    with pytest.raises(InvalidDocument, match="names neither members nor a selector"):
        read(text.replace("[{name: a, members: [b]}]", "[]") + manifests, "w")


def test_overrides_are_no_map() -> None:
    start, end = PLACED.index("  overrides:"), PLACED.index("  manifests:")
    with pytest.raises(InvalidDocument, match=r"w:29: spec.overrides: is a map, not a list"):
        read(PLACED[:start] + "  overrides: {}\n" + PLACED[end:], "w")


def test_the_norway_problem_is_explained() -> None:
    with pytest.raises(InvalidDocument) as caught:
        read(_changed("team: vision", "team: no"), "w")
    assert 'write "no"' in caught.value.hint
    assert read(_changed("team: vision", 'team: "no"'), "w").workloads[0].labels == {"team": "no"}


def test_inside_a_kubernetes_object_every_field_is_free_and_numbers_keep_their_type() -> None:
    text = """\
apiVersion: v1
kind: Anything
metadata: {name: a, whatever: 1}
spec:
  {i: 3, f: 1.5, e: 1e3, octal: 0644, ports: 22:22, date: 2001-01-01, b: on,
   nil: ~, big: 18446744073709551615}
"""
    (found,) = read(text, "w").objects
    assert found["spec"] == {
        "i": 3,
        "f": 1.5,
        "e": 1000.0,
        "octal": 420,
        "ports": "22:22",
        "date": "2001-01-01",
        "b": True,
        "nil": None,
        "big": 2**64 - 1,
    }
    assert type(found["spec"]["i"]) is int
    assert type(found["spec"]["e"]) is float


def test_lists_are_flattened_and_plain_objects_collected_beside_workloads() -> None:
    text = f"""\
{WORKLOAD}---
# nothing here
---
apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}}}
- apiVersion: v1
  kind: ConfigMapList
  items: [{{apiVersion: v1, kind: ConfigMap, metadata: {{name: b}}}}]
"""
    found = read(text, "w")
    assert [workload.name for workload in found.workloads] == ["web"]
    assert [manifest["metadata"]["name"] for manifest in found.objects] == ["a", "b"]


def test_another_groups_workload_is_a_plain_object() -> None:
    text = "apiVersion: kueue.x-k8s.io/v1beta1\nkind: Workload\nmetadata: {name: a}\nspec: {podSets: []}\n"
    assert read(text, "w").objects[0]["kind"] == "Workload"


def test_the_same_object_twice_in_a_workload_is_refused() -> None:
    item = WORKLOAD[WORKLOAD.index("    - apiVersion") :]
    with pytest.raises(InvalidDocument, match=r"23: spec.manifests\[1\]: ConfigMap cm is there twice"):
        read(WORKLOAD + item, "w")


_NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
_TEXT = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from(["no", "y", "1e3", "0x1F", "22:22", "2001-01-01", "~", "", "<<", "=", "a\nb", "null", "- x"]),
)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_LABELS = st.dictionaries(_TEXT, _TEXT, max_size=3)
_MANIFEST = st.builds(
    lambda name, labels, spec: {
        "apiVersion": "v1",
        "kind": "Thing",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    },
    _NAME,
    _LABELS,
    _JSON,
)
_REQUIREMENT = st.one_of(
    st.builds(
        Requirement, _TEXT, st.sampled_from(["In", "NotIn"]), st.lists(_TEXT, min_size=1, max_size=2).map(tuple)
    ),
    st.builds(Requirement, _TEXT, st.sampled_from(["Exists", "DoesNotExist"])),
)
_COUNT = st.integers(0, 2**32 - 1)
_REST = st.fixed_dictionaries(
    {},
    optional={
        "expression": _TEXT,
        "groups": st.lists(
            st.fixed_dictionaries({"name": _TEXT}, optional={"members": st.lists(_NAME)}), max_size=2
        ),
        "clusters": _COUNT,
        "overflow": st.booleans(),
        "tolerations": st.lists(
            st.fixed_dictionaries({}, optional={"key": _TEXT, "tolerationSeconds": _COUNT}), max_size=2
        ),
        "division": st.fixed_dictionaries(
            {"mode": _TEXT},
            optional={"weights": st.lists(st.fixed_dictionaries({"weight": _COUNT}), max_size=2)},
        ),
        "weights": st.dictionaries(_TEXT, st.floats(allow_nan=False, allow_infinity=False), max_size=2),
        "priority": st.integers(-(2**31), 2**31 - 1),
        "kinds": st.lists(_TEXT, max_size=2),
    },
)
_EDIT = st.one_of(
    st.builds(lambda values: {"labels": {"operator": "add", "values": values}}, _LABELS),
    st.builds(lambda names: {"annotations": {"operator": "remove", "keys": names}}, st.lists(_TEXT, max_size=2)),
    st.builds(lambda values: {"env": {"set": values}}, _LABELS),
)
_WORKLOAD = st.builds(
    WorkloadDocument,
    name=_NAME,
    placement=st.builds(
        PlacementDocument,
        st.lists(_NAME, min_size=1, max_size=3).map(tuple),
        st.none() | st.builds(Selector, _LABELS, st.lists(_REQUIREMENT, max_size=2).map(tuple)),
        _REST,
    ),
    manifests=st.lists(_MANIFEST, min_size=1, max_size=2, unique_by=ref_of).map(tuple),
    labels=_LABELS,
    overrides=st.lists(
        st.fixed_dictionaries(
            {"edits": st.lists(_EDIT, min_size=1, max_size=2)},
            optional={"members": st.lists(_NAME, max_size=2)},
        ),
        max_size=2,
    ).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(_WORKLOAD)
def test_what_is_dumped_is_read_back_as_the_same(workload: WorkloadDocument) -> None:
    (again,) = read(dump(workload), "w").workloads
    assert again == workload


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    try:
        read(text, "w")
    except InvalidDocument as error:
        assert error.line >= 1

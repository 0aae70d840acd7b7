"""`apply -f` reads strictly: what is wrong is told with its path and line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.manifests.documents import PlacementDocument, WorkloadDocument, dump, read
from arbora.manifests.objects import ref_of
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
_WORKLOAD = st.builds(
    WorkloadDocument,
    name=_NAME,
    placement=st.builds(
        PlacementDocument,
        st.lists(_NAME, min_size=1, max_size=3).map(tuple),
        st.none() | st.builds(Selector, _LABELS, st.lists(_REQUIREMENT, max_size=2).map(tuple)),
    ),
    manifests=st.lists(_MANIFEST, min_size=1, max_size=2, unique_by=ref_of).map(tuple),
    labels=_LABELS,
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

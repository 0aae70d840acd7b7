"""What is different in one member: overrides apply in order, to what they select, and change nothing else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.override_reading import read_overrides
from arbora.manifests.overrides import MemberFacts, Overridden, apply_overrides

EDGE = MemberFacts("edge-7", Path.parse("/cn/nanjing/edge-7"), {"region": "cn", "gpus": "8"})
CLOUD = MemberFacts("aws", Path.parse("/eu/aws"), {"region": "eu"})


def deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "template": {
                "spec": {
                    "initContainers": [{"name": "fetch", "image": "docker.io/team/fetch:1"}],
                    "containers": [
                        {
                            "name": "web",
                            "image": "team/web:1.2@sha256:" + "a" * 64,
                            "args": ["--port", "80"],
                            "env": [{"name": "MODE", "value": "prod"}, {"name": "DEBUG", "value": "1"}],
                        },
                        {"name": "proxy", "image": "localhost:5000/proxy"},
                    ],
                    "ephemeralContainers": [{"name": "shell", "image": "busybox"}],
                }
            }
        },
    }


def config_map() -> dict[str, Any]:
    data = {"app.yaml": "# comment\nregion: eu\nports:\n  - 80\n", "app.json": '{"region": "eu"}'}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": data}


def apply(*edits: dict[str, Any], member: MemberFacts = EDGE, **override: Any) -> Overridden:
    overrides = read_overrides([{"edits": list(edits), **override}])
    return apply_overrides([deployment(), config_map()], overrides, member)


def web(result: Overridden) -> Any:
    return result.manifests[0]["spec"]["template"]["spec"]["containers"][0]


def images(result: Overridden) -> list[str]:
    spec = result.manifests[0]["spec"]["template"]["spec"]
    return [
        each["image"] for part in ("initContainers", "containers", "ephemeralContainers") for each in spec[part]
    ]


def image(**fields: Any) -> dict[str, Any]:
    return {"image": fields}


def test_a_registry_is_replaced_in_every_container() -> None:
    digest = "sha256:" + "a" * 64
    assert images(apply(image(part="registry", operator="replace", value="reg.cn:5000"))) == [
        "reg.cn:5000/team/fetch:1",
        f"reg.cn:5000/team/web:1.2@{digest}",
        "reg.cn:5000/proxy",
        "reg.cn:5000/busybox",
    ]


def test_a_new_tag_takes_the_old_digest_away() -> None:
    changed = apply(image(part="tag", operator="replace", value="2", container="web"))
    assert images(changed)[1:3] == ["team/web:2", "localhost:5000/proxy"]


def test_parts_of_an_image_are_added_to_and_removed() -> None:
    assert images(apply(image(part="registry", operator="remove")))[0] == "team/fetch:1"
    longer = images(apply(image(part="tag", operator="add", value="-cn")))
    assert (longer[0], longer[3]) == ("docker.io/team/fetch:1-cn", "busybox")
    assert images(apply(image(part="repository", operator="replace", value="a/b")))[3] == "a/b"


def test_a_registry_that_would_be_read_as_a_repository_is_refused() -> None:
    with pytest.raises(InvalidInput, match="would be read as something else"):
        apply(image(part="registry", operator="replace", value="mirror"))


def test_an_image_is_found_by_a_declared_path() -> None:
    server = {"apiVersion": "x.org/v1", "kind": "S", "metadata": {"name": "s"}, "spec": {"image": "a/b:1"}}
    edit = image(part="registry", operator="replace", value="r.io", paths=["/spec/image"])
    result = apply_overrides([server], read_overrides([{"edits": [edit]}]), EDGE)
    assert result.manifests[0]["spec"]["image"] == "r.io/a/b:1"


def test_pod_specs_are_found_in_every_kind() -> None:
    job = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": "p"},
        "spec": {"pytorchReplicaSpecs": {"Worker": {"template": {"spec": {"containers": [{"image": "a"}]}}}}},
    }
    edit = image(part="tag", operator="replace", value="9")
    (changed,) = apply_overrides([job], read_overrides([{"edits": [edit]}]), EDGE).manifests
    worker = changed["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]
    assert worker["image"] == "a:9"


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("add", ["-v"], ["--port", "80", "-v"]),
        ("remove", ["--port", "80"], None),
        ("replace", ["--port", "8080"], ["--port", "8080"]),
    ],
)
def test_arguments_of_one_container(operator: str, values: list[str], expected: list[str] | None) -> None:
    result = apply({"args": {"container": "web", "operator": operator, "values": values}})
    assert web(result).get("args") == expected
    assert "args" not in result.manifests[0]["spec"]["template"]["spec"]["containers"][1]


def test_a_command_is_set() -> None:
    assert web(apply({"command": {"container": "web", "operator": "replace", "values": ["sh"]}}))["command"] == [
        "sh"
    ]


def test_labels_and_annotations_of_the_object() -> None:
    result = apply(
        {"labels": {"operator": "add", "values": {"region": "cn"}}},
        {"labels": {"operator": "replace", "values": {"region": "cn-1", "absent": "x"}}},
        {"annotations": {"operator": "add", "values": {"a": "1", "b": "2"}}},
        {"annotations": {"operator": "remove", "keys": ["a"]}},
        targets=[{"kind": "Deployment"}],
    )
    metadata = result.manifests[0]["metadata"]
    assert metadata["labels"] == {"app": "web", "region": "cn-1"} and metadata["annotations"] == {"b": "2"}


def test_environment_is_set_and_removed() -> None:
    reference = {"secretKeyRef": {"name": "s", "key": "k"}}
    result = apply(
        {"env": {"container": "web", "set": {"MODE": "edge", "TOKEN": reference}, "remove": ["DEBUG"]}}
    )
    assert web(result)["env"] == [{"name": "MODE", "value": "edge"}, {"name": "TOKEN", "valueFrom": reference}]


def test_a_yaml_file_in_a_config_map_is_patched() -> None:
    patch = [{"op": "replace", "path": "/region", "value": "no"}, {"op": "add", "path": "/ports/-", "value": 81}]
    field = {"path": "/data/app.yaml", "format": "yaml", "patch": patch}
    result = apply({"field": field}, targets=[{"kind": "ConfigMap"}])
    assert result.manifests[1]["data"]["app.yaml"] == 'region: "no"\nports:\n- 80\n- 81\n'


def test_a_json_text_keeps_its_one_line() -> None:
    field = {"path": "/data/app.json", "format": "json", "patch": [{"op": "add", "path": "/n", "value": 1}]}
    result = apply({"field": field}, targets=[{"name": "cm"}])
    assert result.manifests[1]["data"]["app.json"] == '{"region": "eu", "n": 1}'


def test_a_text_that_does_not_change_keeps_its_comments() -> None:
    patch = [{"op": "replace", "path": "/region", "value": "eu"}]
    field = {"path": "/data/app.yaml", "format": "yaml", "patch": patch}
    result = apply({"field": field}, targets=[{"kind": "ConfigMap"}])
    assert result.manifests[1] == config_map()
    assert result.applied == ("spec.overrides[0].edits[0]: field /data/app.yaml changed nothing in ConfigMap cm",)


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ({}, True),
        ({"members": ["edge-7"]}, True),
        ({"members": ["edge-8"]}, False),
        ({"members": ["/cn"]}, True),
        ({"members": ["/cn/nan"]}, False),
        ({"members": ["/eu", "/cn/nanjing/edge-7"]}, True),
        ({"selector": {"matchLabels": {"region": "cn"}}}, True),
        ({"selector": {"matchLabels": {"region": "eu"}}}, False),
        ({"members": ["edge-7"], "selector": {"matchLabels": {"region": "eu"}}}, True),
        ({"selector": {"matchExpressions": [{"key": "gpus", "operator": "Gt", "values": ["7"]}]}}, True),
        ({"selector": {"matchExpressions": [{"key": "spot", "operator": "Exists"}]}}, False),
    ],
)
def test_members_are_chosen_by_name_path_or_labels(choice: dict[str, Any], chosen: bool) -> None:
    result = apply({"labels": {"operator": "add", "values": {"x": "y"}}}, **choice)
    assert ("x" in result.manifests[1]["metadata"].get("labels", {})) is chosen
    assert bool(result.applied) is chosen


@pytest.mark.parametrize(
    ("target", "changed"),
    [
        ({"apiVersion": "apps/v1"}, [True, False]),
        ({"kind": "ConfigMap", "name": "cm"}, [False, True]),
        ({"kind": "ConfigMap", "name": "web"}, [False, False]),
        ({"selector": {"matchLabels": {"app": "web"}}}, [True, False]),
        ({"selector": {}}, [True, True]),
    ],
)
def test_objects_are_chosen_by_every_field_of_a_target(target: dict[str, Any], changed: list[bool]) -> None:
    result = apply({"annotations": {"operator": "add", "values": {"x": "y"}}}, targets=[target])
    assert ["annotations" in each["metadata"] for each in result.manifests] == changed
    if not any(changed):
        assert result.applied == ("spec.overrides[0]: no object of the workload is its target",)


def test_a_later_override_wins_and_sees_the_earlier_one() -> None:
    first = {"edits": [{"labels": {"operator": "add", "values": {"tier": "a"}}}], "targets": [{"name": "cm"}]}
    second = {
        "edits": [{"labels": {"operator": "replace", "values": {"tier": "b"}}}],
        "targets": [{"selector": {"matchLabels": {"tier": "a"}}}],
    }
    manifests = [deployment(), config_map()]
    result = apply_overrides(manifests, read_overrides([first, second]), EDGE)
    assert result.manifests[1]["metadata"]["labels"] == {"tier": "b"}
    reversed_order = apply_overrides(manifests, read_overrides([second, first]), EDGE)
    assert reversed_order.manifests[1]["metadata"]["labels"] == {"tier": "a"}


def test_what_is_not_changed_is_passed_on_as_it_is() -> None:
    manifests = [deployment(), config_map()]
    before = copy.deepcopy(manifests)
    overrides = read_overrides(
        [{"targets": [{"kind": "Deployment"}], "edits": [image(part="tag", operator="replace", value="3")]}]
    )
    result = apply_overrides(manifests, overrides, EDGE)
    assert manifests == before and result.manifests[1] is manifests[1]
    assert apply_overrides(manifests, overrides, CLOUD).manifests[0] == result.manifests[0]


def test_sentences_hold_no_values() -> None:
    result = apply(
        {"env": {"set": {"TOKEN": "hunter2"}}},
        {"jsonPatch": [{"op": "add", "path": "/spec/x", "value": "hunter2"}]},
        targets=[{"kind": "Deployment"}],
    )
    assert result.applied == (
        "spec.overrides[0].edits[0]: env TOKEN changed Deployment web",
        "spec.overrides[0].edits[1]: jsonPatch changed Deployment web",
    )


def test_an_edit_that_does_not_fit_names_override_edit_and_object() -> None:
    with pytest.raises(InvalidInput) as caught:
        apply(
            {"labels": {"operator": "add", "values": {}}},
            {
                "jsonPatch": [
                    {"op": "test", "path": "/kind", "value": "Deployment"},
                    {"op": "remove", "path": "/x"},
                ]
            },
            targets=[{"kind": "Deployment"}],
        )
    assert caught.value.field == "spec.overrides[0].edits[1].jsonPatch[1].path"
    assert caught.value.message == "Deployment web: there is no 'x' in /x"


def test_a_text_that_is_not_what_it_is_said_to_be_is_refused() -> None:
    field = {"path": "/data/app.yaml", "format": "json", "patch": []}
    with pytest.raises(InvalidInput, match=r"ConfigMap cm: /data/app.yaml: is not JSON"):
        apply({"field": field}, targets=[{"kind": "ConfigMap"}])


def test_a_patch_of_a_text_that_does_not_fit_names_its_operation() -> None:
    patch = [{"op": "test", "path": "/region", "value": "eu"}, {"op": "remove", "path": "/zone"}]
    field = {"path": "/data/app.json", "format": "json", "patch": patch}
    with pytest.raises(InvalidInput) as caught:
        apply({"field": field}, targets=[{"kind": "ConfigMap"}])
    assert caught.value.field == "spec.overrides[0].edits[0].field.patch[1].path"
    assert caught.value.message == "ConfigMap cm: /data/app.json: there is no 'zone' in /zone"


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        ({"jsonPatch": [{"op": "replace", "path": "", "value": []}]}, "jsonPatch"),
        ({"field": {"path": "/data/none", "format": "json", "patch": []}}, "field.path"),
        ({"field": {"path": "/data/app.yaml", "format": "json", "patch": []}}, "field"),
        (image(part="tag", operator="replace", value="2", paths=["/data/none"]), "image"),
    ],
)
def test_an_edit_that_does_not_fit_is_named_with_its_kind(edit: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        apply(edit, targets=[{"kind": "ConfigMap"}])
    assert caught.value.field == f"spec.overrides[0].edits[0].{field}"


def test_two_objects_never_get_the_same_name() -> None:
    other = config_map()
    other["metadata"]["name"] = "other"
    overrides = read_overrides(
        [{"edits": [{"jsonPatch": [{"op": "add", "path": "/metadata/name", "value": "x"}]}]}]
    )
    with pytest.raises(InvalidInput, match="ConfigMap x would be there twice"):
        apply_overrides([config_map(), other], overrides, EDGE)


def test_an_object_can_not_be_patched_into_something_else() -> None:
    with pytest.raises(InvalidInput, match="makes the object a list"):
        apply({"jsonPatch": [{"op": "replace", "path": "", "value": []}]})


def edit_of(**edit: Any) -> list[dict[str, Any]]:
    return [{"edits": [edit]}]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({}, "spec.overrides"),
        ([{"edits": []}], "spec.overrides[0].edits"),
        ([{"edit": []}], "spec.overrides[0].edit"),
        ([{"edits": [{}]}], "spec.overrides[0].edits[0]"),
        ([{"members": ["Edge"], "edits": [{}]}], "spec.overrides[0].members[0]"),
        ([{"selector": {"matchLabel": {}}, "edits": [{}]}], "spec.overrides[0].selector.matchLabel"),
        (edit_of(imag={}), "spec.overrides[0].edits[0].imag"),
        (edit_of(image={"part": "name", "operator": "add"}), "spec.overrides[0].edits[0].image.part"),
        (edit_of(image={"part": "tag", "operator": "replace"}), "spec.overrides[0].edits[0].image.value"),
        (
            edit_of(image={"part": "repository", "operator": "remove"}),
            "spec.overrides[0].edits[0].image.operator",
        ),
        (edit_of(args={"operator": "add", "values": []}), "spec.overrides[0].edits[0].args.container"),
        (edit_of(labels={"operator": "remove", "values": {}}), "spec.overrides[0].edits[0].labels"),
        (edit_of(env={"set": {"A": 1}}), "spec.overrides[0].edits[0].env.set.A"),
        (edit_of(env={"set": {"A": "1"}, "remove": ["A"]}), "spec.overrides[0].edits[0].env"),
        (edit_of(jsonPatch=[{"op": "put", "path": ""}]), "spec.overrides[0].edits[0].jsonPatch[0].op"),
        (edit_of(jsonPatch=[{"op": "add", "path": "/a"}]), "spec.overrides[0].edits[0].jsonPatch[0].value"),
        (
            edit_of(field={"path": "data", "format": "yaml", "patch": []}),
            "spec.overrides[0].edits[0].field.path",
        ),
        (
            [
                {
                    "edits": [{}],
                    "selector": {"matchExpressions": [{"key": "a", "operator": "Inn", "values": ["b"]}]},
                }
            ],
            "spec.overrides[0].selector.matchExpressions[0]",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path(value: Any, field: str) -> None:
    edit_field = field.startswith("spec.overrides[0].sel")
    if edit_field:  # the edits stand in the way only if they are read first
        value[0]["edits"] = [{"labels": {"operator": "add", "values": {}}}]
    with pytest.raises(InvalidInput) as caught:
        read_overrides(value)
    assert caught.value.field == field


def test_overrides_are_plain_data_that_survives_json() -> None:
    written = [{"members": ["edge-7"], "edits": [image(part="tag", operator="replace", value="2")]}]
    assert read_overrides(json.loads(json.dumps(written))) == read_overrides(written)

"""The rendered installation: least rights, no way to smuggle anything in."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from arbora.errors import InvalidInput
from arbora_agent.cluster import rights
from arbora_agent.cluster.kubernetes.kinds import CONFIG_MAP
from arbora_agent.manifest.agent import render
from arbora_agent.manifest.names import APPLIED_KINDS, CEILING, GRANT_LEDGER, GRANTS, NAME, NODE_CONFIG
from arbora_agent.manifest.settings import ManifestSettings

TOKEN = "arb1.tokenid.hunter2.pin"


def rendered(**changed: Any) -> list[dict[str, Any]]:
    return render(ManifestSettings(**{"hub": "hub.example:7444", "join_token": TOKEN, **changed}))


def rules(objects: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for each in objects:
        for rule in each.get("rules", ()):
            yield each["kind"], each["metadata"].get("namespace", ""), rule


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


FULL = rendered(allow_tokens=("team/reader", "team/writer", "ml/trainer"), grants=("core/events", "x.io/gadgets"))


def test_there_are_no_wildcards_and_no_rights_to_widen_rights() -> None:
    for _, _, rule in rules(FULL):
        for part in ("apiGroups", "resources", "verbs"):
            assert "*" not in "".join(rule[part])
        assert not {"escalate", "bind", "impersonate", "deletecollection", "update"} & set(rule["verbs"]) or (
            rule["resources"] == ["secrets"] and rule["resourceNames"] == ["arbora-agent-identity"]
        )
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"]


def test_secrets_can_neither_be_listed_nor_watched() -> None:
    for kind, namespace, rule in rules(FULL):
        if "secrets" in rule["resources"]:
            assert (kind, namespace) == ("Role", "arbora-system")
            assert not {"list", "watch", "delete"} & set(rule["verbs"])
            assert rule.get("resourceNames") == ["arbora-agent-identity"] or rule["verbs"] == ["create"]


def verbs_on_nodes(**changed: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _, _, rule in rules(rendered(**changed)):
        for resource in rule["resources"]:
            if resource.startswith("nodes"):
                found.setdefault(resource, []).extend(rule["verbs"])
    return {resource: sorted(verbs) for resource, verbs in found.items()}


def test_nodes_are_only_read_unless_they_may_be_marked() -> None:
    read = ["get", "list", "watch"]
    assert verbs_on_nodes() == {"nodes": read}
    assert verbs_on_nodes(mark_nodes=("taint",)) == {"nodes": [*read[:2], "patch", "watch"]}
    assert verbs_on_nodes(mark_nodes=("condition",)) == {"nodes": read, "nodes/status": ["patch"]}
    assert verbs_on_nodes(mark_nodes=("taint",), node_agents=False) == {"nodes": read}


def test_tokens_are_minted_for_allowed_accounts_only() -> None:
    minting = {
        namespace: (kind, rule["resourceNames"], rule["verbs"])
        for kind, namespace, rule in rules(FULL)
        if "serviceaccounts/token" in rule["resources"]
    }
    assert minting == {
        "team": ("Role", ["reader", "writer"], ["create"]),
        "ml": ("Role", ["trainer"], ["create"]),
    }
    assert not [rule for _, _, rule in rules(rendered()) if "serviceaccounts/token" in rule["resources"]]
    assert named(FULL, "ConfigMap", NAME)["data"]["allow-tokens"] == "ml/trainer team/reader team/writer"


def test_of_a_whole_namespace_every_account_is_allowed_and_no_other() -> None:
    objects = rendered(allow_tokens=("team/*", "team/reader", "ml/trainer"))
    minting = {
        namespace: rule.get("resourceNames")
        for _, namespace, rule in rules(objects)
        if "serviceaccounts/token" in rule["resources"]
    }
    assert minting == {"team": None, "ml": ["trainer"]}
    assert named(objects, "ConfigMap", NAME)["data"]["allow-tokens"] == "ml/trainer team/*"


RBAC_GROUP = "rbac.authorization.k8s.io"


def rights_over_rights(**changed: Any) -> set[tuple[str, str, str, str]]:
    """(namespace, resource, verb, name) of everything the agent may do to roles and bindings."""
    return {
        (namespace, resource, verb, name)
        for _, namespace, rule in rules(rendered(**changed))
        if RBAC_GROUP in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def each(namespace: str, resource: str) -> set[tuple[str, str, str, str]]:
    return {(namespace, resource, verb, "") for verb in ("get", "create", "delete")}


FINDING = {("", "rolebindings", "list", ""), ("", "clusterrolebindings", "list", "")}
"""What a grant that is not on the ledger (any more) has left, wherever it is."""


def test_rights_over_rights_are_exactly_those_that_are_allowed() -> None:
    assert rights_over_rights(allow_tokens=("team/*",)) == set()
    assert rights_over_rights(allow_roles=("team/reader",)) == {
        ("team", "roles", "get", "reader"),
        ("team", "roles", "bind", "reader"),
        *each("team", "rolebindings"),
        *FINDING,
    }
    assert rights_over_rights(allow_cluster_roles=("view",)) == {
        ("", "clusterroles", "get", "view"),
        ("", "clusterroles", "bind", "view"),
        *each("", "clusterrolebindings"),
        *FINDING,
    }
    everything = ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
    assert rights_over_rights(allow_rules_of="edit") == FINDING.union(*(each("", one) for one in everything))


def test_the_agent_is_bound_to_the_role_that_bounds_rules_and_only_then() -> None:
    bound = named(rendered(allow_rules_of="edit"), "ClusterRoleBinding", CEILING)
    assert bound["roleRef"] == {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": "edit"}
    assert bound["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "arbora-system"}]
    assert "edit" not in yaml.safe_dump_all(rendered(allow_roles=("team/reader",), allow_cluster_roles=("view",)))


def test_a_running_agent_is_told_what_its_rights_are_for() -> None:
    objects = rendered(
        allow_roles=("team/b", "team/a", "ml/a"), allow_cluster_roles=("view", "view"), allow_rules_of="edit"
    )
    data = named(objects, "ConfigMap", NAME)["data"]
    assert (data["allow-roles"], data["allow-cluster-roles"]) == ("ml/a team/a team/b", "view")
    assert data["allow-rules-of"] == "edit"
    (container,) = one(rendered(allow_rules_of="edit"), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert "ARBORA_ALLOW_RULES_OF" in {variable["name"] for variable in container["env"]}


def test_without_these_options_an_installation_stays_as_it_was() -> None:
    text = yaml.safe_dump_all(FULL)
    for word in (GRANTS, CEILING, GRANT_LEDGER, "allow-role", "allow-cluster-role", "allow-rules-of"):
        assert word not in text
    (container,) = one(FULL, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert [variable["name"] for variable in container["env"]] == [
        "ARBORA_HUB",
        "ARBORA_NAME",
        "ARBORA_ALLOW_TOKENS",
        "ARBORA_NODE_ADDRESS",
        "ARBORA_MARK_NODES",
    ]


def test_the_ledger_is_the_one_that_the_adapter_writes() -> None:
    assert GRANT_LEDGER == rights.GRANT_LEDGER
    objects = rendered(allow_roles=("team/reader",))
    (rule,) = [rule for _, _, rule in rules(objects) if GRANT_LEDGER in rule.get("resourceNames", ())]
    assert (rule["resources"], rule["verbs"]) == (["configmaps"], ["get", "patch"])


def test_workload_kinds_are_an_explicit_list_that_grants_extend() -> None:
    def kinds(objects: list[dict[str, Any]]) -> set[tuple[str, str]]:
        return {
            (rule["apiGroups"][0], resource)
            for kind, _, rule in rules(objects)
            if kind == "ClusterRole" and "patch" in rule["verbs"]
            for resource in rule["resources"]
        }

    assert kinds(FULL) - kinds(rendered()) == {("", "events"), ("x.io", "gadgets")}
    assert ("apps", "deployments") in kinds(rendered())
    assert ("", "secrets") not in kinds(rendered())


def test_the_agents_own_record_is_the_one_that_the_adapter_writes() -> None:
    assert APPLIED_KINDS == CONFIG_MAP
    (rule,) = [rule for _, _, rule in rules(FULL) if APPLIED_KINDS in rule.get("resourceNames", ())]
    assert rule["verbs"] == ["get", "patch"]
    assert rule["resourceNames"] == [APPLIED_KINDS, NODE_CONFIG]


def test_the_pod_runs_with_as_little_as_it_needs() -> None:
    spec = one(FULL, "Deployment")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]
    assert {"name": "state", "emptyDir": {"sizeLimit": "256Mi"}} in pod["volumes"]
    assert pod["serviceAccountName"] == NAME


def test_the_join_token_is_in_its_secret_and_nowhere_else() -> None:
    settings = ManifestSettings(hub="hub.example:7444", join_token=TOKEN)
    assert "hunter2" not in repr(settings)
    for each in render(settings):
        text = yaml.safe_dump(each)
        assert "hunter2" not in text
        assert (base64.b64encode(TOKEN.encode()).decode() in text) == (each["kind"] == "Secret")


def test_another_configuration_makes_another_pod() -> None:
    def mark(**changed: Any) -> str:
        template = one(rendered(**changed), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["arbora.dev/configuration"])

    assert mark() == mark()
    assert len({mark(), mark(hub="other.example:7444"), mark(name="edge-7"), mark(join_token="arb1.x")}) == 4


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("hub", "hub.example"),
        ("hub", "hub.example:7444\n- evil"),
        ("hub", "$(curl evil):1"),
        ("hub", "https://hub.example:7444"),
        ("join_token", ""),
        ("join_token", 'x"\n  admin: true'),
        ("join_token", "x; rm -rf /"),
        ("image", "--privileged"),
        ("image", "a b"),
        ("image", "x\ny"),
        ("runtime_class", "a b"),
        ("mark_nodes", ("cordon",)),
        ("name", "Edge_7"),
        ("name", "--simulate"),
        ("namespace", "../kube-system"),
        ("allow_tokens", ("team",)),
        ("allow_tokens", ("*/reader",)),
        ("allow_tokens", ("team/a*",)),
        ("allow_roles", ("team",)),
        ("allow_roles", ("team/*",)),
        ("allow_roles", ("*/reader",)),
        ("allow_roles", ("team/a b",)),
        ("allow_roles", ("team/a\n",)),
        ("allow_cluster_roles", ("*",)),
        ("allow_cluster_roles", ("a/b",)),
        (
            "allow_rules_of",
            "..",
        ),
        ("allow_rules_of", "a b"),
        ("allow_tokens", ("team/a/b",)),
        ("grants", ("*/*",)),
        ("grants", ("apps/*",)),
        ("grants", ("secrets",)),
        ("grants", ("core/serviceaccounts/token",)),
        ("grants", ("core/pods\n",)),
    ],
)
def test_a_hostile_value_is_refused_and_named(setting: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        rendered(**{setting: value})
    assert refusal.value.field == setting


def test_the_text_reads_back_as_the_same_objects() -> None:
    assert list(yaml.safe_load_all(yaml.safe_dump_all(FULL))) == FULL

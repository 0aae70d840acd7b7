"""The installation of node agents: where they run, what they can do, and who can reach whom."""

from __future__ import annotations

from typing import Any

from arbora_agent.manifest.agent import render
from arbora_agent.manifest.names import METRICS_PORT, NAME, NODE_AGENT, NODE_AUDIENCE, NODE_CONFIG, NODE_SWITCH
from arbora_agent.manifest.settings import ManifestSettings
from arbora_agent.node_agent.settings import MOUNTED, NODE_PORT, NodeSettings

Objects = dict[tuple[str, str], dict[str, Any]]


def rendered(**changed: Any) -> Objects:
    settings = ManifestSettings(hub="hub.example:7444", join_token="arb1.t.s.p", **changed)
    return {(each["kind"], each["metadata"]["name"]): each for each in render(settings)}


def pod_of(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = objects["DaemonSet", NODE_AGENT]["spec"]["template"]["spec"]
    return spec


def runs_on(objects: Objects, labels: dict[str, str]) -> bool:
    """Whether the scheduler would put a node agent there, by the affinity's rules."""
    affinity = pod_of(objects)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    def matches(expression: dict[str, Any]) -> bool:
        found = labels.get(expression["key"])
        if expression["operator"] == "Exists":
            return found is not None
        inside = found in expression["values"]
        return inside if expression["operator"] == "In" else not inside

    return any(all(map(matches, term["matchExpressions"])) for term in affinity["nodeSelectorTerms"])


FULL = rendered()


def test_they_run_where_labels_tell_of_nvidia_gpus_and_nowhere_else() -> None:
    assert not runs_on(FULL, {})
    assert not runs_on(FULL, {"nvidia.com/gpu.present": "false"})
    for label in ("nvidia.com/gpu.present=true", "nvidia.com/gpu.product=NVIDIA-L4"):
        key, _, value = label.partition("=")
        assert runs_on(FULL, {key: value})
        assert not runs_on(FULL, {key: value, NODE_SWITCH: "off"})
    assert runs_on(FULL, {"feature.node.kubernetes.io/pci-10de.present": "true"})


def test_they_stay_on_a_node_that_takes_no_work() -> None:
    assert pod_of(FULL)["tolerations"] == [{"operator": "Exists"}]


def test_they_need_no_privilege_but_the_devices() -> None:
    pod = pod_of(FULL)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "--no-kernel-log" in container["args"]
    assert not {"hostPID", "hostNetwork", "hostIPC"} & set(pod)
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    namespace = FULL["Namespace", "arbora-system"]["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"


def test_their_account_has_no_rights_and_its_token_is_only_for_the_clusters_agent() -> None:
    bound = [each["subjects"] for (kind, _), each in FULL.items() if kind.endswith("Binding")]
    assert NODE_AGENT not in {subject["name"] for subjects in bound for subject in subjects}
    pod = pod_of(FULL)
    assert pod["automountServiceAccountToken"] is False
    (volume,) = pod["volumes"]
    token, certificate = volume["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == NODE_AUDIENCE
    assert token["serviceAccountToken"]["expirationSeconds"] == 3600
    assert certificate["configMap"]["name"] == NODE_CONFIG
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == str(MOUNTED)
    default = NodeSettings("x:1")
    assert (default.token_file, default.ca_file) == (MOUNTED / "token", MOUNTED / "ca.crt")


def test_they_dial_where_the_clusters_agent_listens_and_nobody_else_may() -> None:
    assert f"--cluster-agent={NAME}.arbora-system.svc:{NODE_PORT}" in pod_of(FULL)["containers"][0]["args"]
    (port,) = FULL["Service", NAME]["spec"]["ports"]
    assert port["port"] == NODE_PORT
    (container,) = FULL["Deployment", NAME]["spec"]["template"]["spec"]["containers"]
    assert {"name": port["targetPort"], "containerPort": NODE_PORT, "protocol": "TCP"} in container["ports"]
    assert FULL["ConfigMap", NAME]["data"]["node-address"] == f":{NODE_PORT}"
    policy = FULL["NetworkPolicy", NAME]["spec"]
    (rule,) = [rule for rule in policy["ingress"] if {"port": NODE_PORT, "protocol": "TCP"} in rule["ports"]]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": NODE_AGENT}}}]


def test_the_container_runtime_is_asked_for_every_device_and_for_nvml_only() -> None:
    pod = pod_of(FULL)
    assert pod["runtimeClassName"] == "nvidia"
    assert {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"] if "value" in entry} == {
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "utility",
    }
    assert "runtimeClassName" not in pod_of(rendered(runtime_class=""))


def test_the_kernel_log_is_an_option_that_says_what_it_costs() -> None:
    objects = rendered(kernel_log=True)
    pod = pod_of(objects)
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["SYSLOG"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["securityContext"]["runAsUser"] == 0
    assert "--kernel-log" in container["args"]
    namespace = objects["Namespace", "arbora-system"]["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "privileged"


def test_asking_the_kubelet_is_an_option_that_says_what_it_costs() -> None:
    objects = rendered(pod_resources=True)
    pod = pod_of(objects)
    (container,) = pod["containers"]
    assert "--pod-resources=/var/lib/kubelet/pod-resources/kubelet.sock" in container["args"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "kubelet"]
    assert mount["readOnly"] is True
    (volume,) = [each for each in pod["volumes"] if each["name"] == "kubelet"]
    assert volume["hostPath"]["path"] == mount["mountPath"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsUser"] == 0
    namespace = objects["Namespace", "arbora-system"]["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "privileged"


def test_without_them_the_agent_listens_on_nothing() -> None:
    objects = rendered(node_agents=False, kernel_log=True)
    assert not [key for key in objects if key[1] == NODE_AGENT or key[0] in ("Service", "NetworkPolicy")]
    assert objects["ConfigMap", NAME]["data"]["node-address"] == ""
    rules = [rule for each in objects.values() for rule in each.get("rules", ())]
    assert not [rule for rule in rules if "tokenreviews" in rule["resources"]]
    namespace = objects["Namespace", "arbora-system"]["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"


def test_prometheus_reads_both_kinds_of_agents_only_if_it_is_asked_for() -> None:
    objects = rendered(metrics=True)
    for kind, name in (("Deployment", NAME), ("DaemonSet", NODE_AGENT)):
        for wanted, one in ((True, objects), (False, FULL)):
            template = one[kind, name]["spec"]["template"]
            (container,) = template["spec"]["containers"]
            assert (f"--metrics-address=:{METRICS_PORT}" in container["args"]) is wanted
            assert (METRICS_PORT in [port["containerPort"] for port in container.get("ports", ())]) is wanted
            assert (template["metadata"]["annotations"].get("prometheus.io/scrape") == "true") is wanted
            policy = one["NetworkPolicy", name]["spec"]
            let_in = [
                rule
                for rule in policy.get("ingress", ())
                if {"port": METRICS_PORT, "protocol": "TCP"} in rule["ports"]
            ]
            assert bool(let_in) is wanted


def test_metrics_call_a_node_by_its_name() -> None:
    env = {each["name"]: each for each in pod_of(FULL)["containers"][0]["env"]}
    assert env["NODE_NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}

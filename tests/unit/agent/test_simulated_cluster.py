"""The simulated cluster beyond the contract: admission, merging, controllers, time, outages, tokens."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.clock import ManualClock
from arbora.errors import NotFound
from arbora.manifests.objects import Gvk, ObjectRef
from arbora_agent.cluster.port import ClusterUnavailable, ObjectRejected
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from tests.unit.agent.stage import Stage, config_map, deployment, job, pod_spec, quiet, ref, thing, until


def simulation(fleet: str = "2x8xH100") -> Simulation:
    return Simulation(fleet, clock=ManualClock(), wall=lambda: 1_800_000_000.0)


def applied(sim: Simulation, manifest: dict[str, Any], generation: int = 1) -> dict[str, Any]:
    body = sim.get(sim.apply(manifest, "w", generation))
    assert body is not None
    return dict(body)


def custom_definition(scope: str = "Namespaced") -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": scope,
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1"}],
        },
    }


WIDGET = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}}


def test_the_uid_of_a_cluster_follows_from_its_name() -> None:
    clock = ManualClock()
    one, same, other = (Simulation(name=name, clock=clock).uid for name in ("paris", "paris", "rome"))
    assert one == same != other


WRONG: list[tuple[dict[str, Any], str]] = [
    (thing("ConfigMap", "x" * 254), "RFC 1123 subdomain"),
    (thing("Service", "with.dot"), "RFC 1123 label"),
    (thing("ConfigMap", "x", data={"a": 1}), r"data\[a\]: Invalid value: 1: must be a string"),
    (thing("ConfigMap", "x", data=[1]), "data: Invalid value"),
    ({**thing("ConfigMap", "x"), "apiVersion": "v9"}, "no kind ConfigMap of v9 in this cluster; install its CRD"),
    (WIDGET, "no kind Widget of example.com/v1"),
    (job(gpus=-1), r"limits\[nvidia.com/gpu\]: Invalid value: -1: must be an integer"),
    (job(seconds=float("nan")), "must be a number of seconds"),
    (job(parallelism=-1), "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"),
    (job(parallelism=10**9), "at most 10000 pods"),
    (thing("Job", "x", spec={"template": {"spec": pod_spec()}}), "restartPolicy: Required value"),
    (thing("Pod", "x", spec={}), "spec.containers: Required value"),
    (thing("Pod", "x", spec={"containers": [{"name": "a"}]}), r"containers\[0\].image: Required value"),
    (thing("Pod", "x", spec="nonsense"), 'spec: Invalid value: "nonsense": must be an object'),
    (thing("Deployment", "x", spec={"template": {"spec": pod_spec()}}), "spec.selector: Required value"),
    ({**thing("Namespace", "x"), "metadata": {"name": "x", "namespace": "default"}}, "not allowed on this type"),
    ({**config_map(), "metadata": {"name": "x", "labels": {"a": "not valid"}}}, "a valid label must be"),
]


@pytest.mark.parametrize(("manifest", "words"), WRONG)
def test_what_an_api_server_would_refuse_is_refused(manifest: dict[str, Any], words: str) -> None:
    sim = simulation()
    with pytest.raises(ObjectRejected, match=words):
        sim.apply(manifest, "w", 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "1", "Never"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, each in inner for found in paths(each, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A sound manifest with something else in one place."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    init = job("with-init", gpus=1, seconds=3)
    init["spec"]["template"]["spec"] |= {
        "initContainers": [{"name": "i", "image": "i"}],
        "nodeSelector": {"a": "b"},
    }
    sound = [
        init,
        deployment(gpus=1),
        deployment(gpus=1, kind="DaemonSet"),
        deployment(gpus=1, kind="StatefulSet"),
        thing("Pod", "pod", spec=pod_spec(1, nodeName="h100-0")),
        thing("Service", "front", spec={"type": "LoadBalancer", "ports": [{"port": 80}]}),
        thing("Namespace", "team", spec={"finalizers": ["kubernetes"]}),
        thing("PersistentVolumeClaim", "claim", spec=claim),
        config_map(),
        custom_definition(),
    ]
    manifest = copy.deepcopy(draw(st.sampled_from(sound)))
    *way, last = draw(st.sampled_from([path for path in paths(manifest) if path]))
    place = manifest
    for key in way:
        place = place[key]
    place[last] = draw(json_values)
    return manifest


@settings(max_examples=150, deadline=None)
@given(damaged())
def test_malformed_input_is_a_refusal_and_never_breaks_the_cluster(manifest: dict[str, Any]) -> None:
    sim = simulation()
    before = sim.places()
    try:
        sim.apply(manifest, "w", 1)
    except ObjectRejected:
        assert sim.places() == before
    with contextlib.suppress(ObjectRejected):
        sim.apply(WIDGET, "w", 1)
    sim.step()


def test_a_field_that_can_t_change_is_refused() -> None:
    sim = simulation()
    applied(sim, job(gpus=1))
    with pytest.raises(ObjectRejected, match=r"spec\.template: Invalid value: .*: field is immutable"):
        sim.apply(job(gpus=2), "w", 2)


def test_generation_counts_changes_of_the_spec_only() -> None:
    sim = simulation()
    made = applied(sim, deployment(replicas=1))
    assert made["metadata"]["generation"] == 1
    assert applied(sim, deployment(replicas=1), generation=2)["metadata"]["generation"] == 1
    assert applied(sim, deployment(replicas=2), generation=2)["metadata"]["generation"] == 2
    sim.step()
    stored = sim.read(ref("Deployment", "serve"))
    assert stored is not None
    assert stored["metadata"]["generation"] == stored["status"]["observedGeneration"] == 2


def test_a_container_that_left_the_manifest_goes_and_one_that_somebody_injected_stays() -> None:
    sim = simulation()
    two = deployment()
    two["spec"]["template"]["spec"]["containers"].append({"name": "second", "image": "i"})
    applied(sim, two)
    injected = applied(sim, two)["spec"]["template"]["spec"]["containers"] + [{"name": "mesh", "image": "i"}]
    sim.change(ref("Deployment", "serve"), {"spec": {"template": {"spec": {"containers": injected}}}})
    containers = applied(sim, deployment(), generation=2)["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in containers] == ["main", "mesh"]


def test_a_definition_serves_its_kind_and_takes_its_objects_along() -> None:
    sim = simulation()
    applied(sim, custom_definition())
    assert applied(sim, WIDGET)["metadata"]["namespace"] == "default"
    sim.remove(ObjectRef(Gvk("apiextensions.k8s.io/v1", "CustomResourceDefinition"), "", "widgets.example.com"))
    assert sim.read(ObjectRef(Gvk("example.com/v1", "Widget"), "default", "one")) is None


def test_a_namespace_goes_with_its_contents_once_nothing_holds_them() -> None:
    sim = simulation()
    sim.create(thing("Namespace", "team"))
    held = config_map("held")
    held["metadata"] |= {"namespace": "team", "finalizers": ["x"]}
    sim.create(held)
    sim.remove(ref("Namespace", "team"))
    sim.step()
    namespace = sim.read(ref("Namespace", "team"))
    assert namespace is not None
    assert namespace["status"]["phase"] == "Terminating"
    late = config_map("late")
    late["metadata"]["namespace"] = "team"
    with pytest.raises(ObjectRejected, match="being terminated"):
        sim.apply(late, "w", 1)
    sim.change(ref("ConfigMap", "held", "team"), {"metadata": {"finalizers": None}})
    assert sim.read(ref("Namespace", "team")) is None


@pytest.mark.parametrize("name", ["default", "kube-system"])
def test_permanent_namespaces_can_t_be_deleted(name: str) -> None:
    with pytest.raises(ObjectRejected, match="may not be deleted"):
        simulation().remove(ref("Namespace", name))


def status(sim: Simulation, kind: str, name: str) -> dict[str, Any]:
    body = sim.read(ref(kind, name))
    assert body is not None
    found: dict[str, Any] = body.get("status", {})
    return found


def held(sim: Simulation) -> int:
    return sum(sim.requested().values())


def test_a_job_runs_its_pods_in_turn_each_at_its_own_moment() -> None:
    sim = simulation("1x8xH100")
    assert isinstance(sim.clock, ManualClock)
    applied(sim, job(gpus=4, seconds=10, completions=5, parallelism=3))
    sim.step()
    assert (held(sim), dict(sim.pending())) == (8, {"nvidia.com/gpu": 4})
    assert status(sim, "Job", "train")["active"] == 3
    assert status(sim, "Job", "train")["ready"] == 2
    sim.clock.advance(25)
    sim.step()
    assert status(sim, "Job", "train")["succeeded"] == 4
    assert held(sim) == 4
    sim.clock.advance(4.9)
    sim.step()
    assert sim.next_moment() == pytest.approx(30)
    sim.clock.advance(0.1)
    sim.step()
    assert {each["type"] for each in status(sim, "Job", "train")["conditions"]} == {
        "SuccessCriteriaMet",
        "Complete",
    }
    assert (held(sim), sim.next_moment()) == (0, None)


def test_a_suspended_job_gives_its_gpus_back() -> None:
    sim = simulation()
    applied(sim, job(gpus=4))
    sim.step()
    sim.change(ref("Job", "train"), {"spec": {"suspend": True}})
    sim.step()
    assert held(sim) == 0
    assert status(sim, "Job", "train")["conditions"][0]["type"] == "Suspended"


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_replicas_take_gpus_wait_for_room_and_give_them_back(kind: str) -> None:
    sim = simulation("1x8xH100")
    applied(sim, deployment(gpus=4, replicas=3, kind=kind))
    sim.step()
    assert (held(sim), status(sim, kind, "serve")["readyReplicas"]) == (8, 2)
    sim.add_nodes("1x8xH100")
    assert (held(sim), status(sim, kind, "serve")["availableReplicas"]) == (12, 3)
    applied(sim, deployment(gpus=2, replicas=1, kind=kind), generation=2)
    sim.step()
    assert held(sim) == 2
    sim.remove(ref(kind, "serve"))
    sim.step()
    assert held(sim) == 0


def test_a_daemon_set_runs_on_every_node_that_it_selects() -> None:
    sim = simulation("2x8xH100,1x4xT4")
    manifest = deployment(gpus=1, kind="DaemonSet")
    manifest["spec"]["template"]["spec"]["nodeSelector"] = {"nvidia.com/gpu.product": "H100"}
    applied(sim, manifest)
    sim.step()
    assert status(sim, "DaemonSet", "serve")["desiredNumberScheduled"] == 2
    assert held(sim) == 2
    sim.add_nodes("1x8xH100")
    assert status(sim, "DaemonSet", "serve")["numberAvailable"] == 3


def test_a_node_that_is_gone_takes_its_pods_along_and_controllers_replace_theirs() -> None:
    sim = simulation("2x8xH100")
    applied(sim, deployment(gpus=8))
    applied(sim, thing("Pod", "bare", spec=pod_spec(8)))
    sim.step()
    nodes = {node for node, _ in sim.requested()}
    assert nodes == {"h100-0", "h100-1"}
    sim.remove_node("h100-0")
    sim.remove_node("h100-1")
    assert sim.read(ref("Pod", "bare")) is None
    assert (held(sim), dict(sim.pending())) == (0, {"nvidia.com/gpu": 8})
    sim.add_nodes("1x8xH100")
    assert held(sim) == 8
    with pytest.raises(NotFound):
        sim.cordon("h100-9")


async def test_an_outage_silences_the_watches_and_ends_by_itself() -> None:
    stage = Stage()
    async with stage.running():
        await stage.cluster.apply(config_map(), workload_uid="other", generation=1)
        stage.simulation.fail_api(seconds=30, message="connection refused")
        with pytest.raises(ClusterUnavailable, match="connection refused"):
            await stage.cluster.apply(config_map("b"), workload_uid="other", generation=1)
        stage.simulation.remove(ref("ConfigMap", "settings"))
        stage.simulation.add_nodes("1x8xH100")
        await stage.pass_time(29)
        assert (stage.cluster.facts().api_healthy, stage.cluster.facts().nodes) == (False, 2)
        assert len(stage.cluster.owned("other")) == 1
        await stage.pass_time(1)
        assert (stage.cluster.facts().api_healthy, stage.cluster.facts().nodes) == (True, 3)
        assert stage.cluster.owned("other") == ()


async def test_two_agents_on_one_cluster_come_to_rest() -> None:
    sim = simulation()
    first, second = Stage(simulation=sim), Stage(simulation=sim)
    steps = 0
    step = sim.step

    def counted() -> None:
        nonlocal steps
        steps += 1
        step()

    sim.step = counted  # type: ignore[method-assign]
    async with first.running(), second.running():
        await first.cluster.apply(job(), workload_uid="w", generation=1)
        await until(lambda: bool(second.cluster.owned("w")) and sum(sim.requested().values()) == 1)
        await quiet()
        settled = steps
        await quiet()
        assert steps == settled < 20


def decoded(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


async def test_a_token_names_its_account_and_is_signed_with_the_clusters_key() -> None:
    sim = simulation()
    minted = await SimulatedCluster(sim).mint_token("kube-system", "default", ["arbora"], 900)
    head, claims, signature = minted.token.reveal().split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    der = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    sim.tokens.public_key().verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    assert decoded(head)["alg"] == "ES256"
    assert decoded(head)["kid"]
    found = decoded(claims)
    assert (found["iss"], found["sub"]) == ("simulated", "system:serviceaccount:kube-system:default")
    assert (found["aud"], found["exp"] - found["iat"]) == (["arbora"], 900)
    assert minted.lifetime == 900


@pytest.mark.parametrize("seconds", [599, 2**33])
async def test_a_token_of_a_forbidden_lifetime_is_refused(seconds: int) -> None:
    with pytest.raises(ObjectRejected, match="may not specify a duration"):
        await SimulatedCluster(simulation()).mint_token("default", "default", [], seconds)


async def test_an_account_exists_in_every_new_namespace() -> None:
    sim = simulation()
    cluster = SimulatedCluster(sim)
    with pytest.raises(ObjectRejected, match='serviceaccounts "default" not found'):
        await cluster.mint_token("team", "default", [], 600)
    sim.create(thing("Namespace", "team"))
    assert (await cluster.mint_token("team", "default", [], 600)).token

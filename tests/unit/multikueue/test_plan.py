"""From a Fleet to exactly what Kueue needs, here and in the members."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from arbora_hub.kubernetes.multikueue.draining import SETTLE, Draining
from arbora_hub.kubernetes.multikueue.plan import KnownCluster, planned
from tests.support.kueue_fleets import A100, T4, member
from tests.unit.multikueue.situations import FLEET, clusters, known_by, objects, situation

A, B = member("/eu/a", (T4, 4, 4)), member("/us/b", (A100, 8, 2))


def test_two_members_need_exactly_these_objects() -> None:
    plan = planned(situation(A, B), 0.0)
    found = objects(plan)
    assert sorted(found) == [
        ("AdmissionCheck", "", "training"),
        ("AuthTokenRequest", "kueue-system", "training.eu.a"),
        ("AuthTokenRequest", "kueue-system", "training.us.b"),
        ("ClusterQueue", "", "training"),
        ("LocalQueue", "team-a", "jobs"),
        ("LocalQueue", "team-b", "jobs"),
        ("MultiKueueCluster", "", "training.eu.a"),
        ("MultiKueueCluster", "", "training.us.b"),
        ("MultiKueueConfig", "", "training"),
        ("ResourceFlavor", "", "training"),
    ]
    assert all(body["metadata"]["labels"]["arbora.dev/fleet"] == FLEET for body in found.values())
    request = found["AuthTokenRequest", "kueue-system", "training.eu.a"]["spec"]
    assert request["targetClusterProfile"] == {
        "apiGroup": "multicluster.x-k8s.io",
        "kind": "ClusterProfile",
        "name": "eu-a",
    }
    assert (request["serviceAccountName"], request["serviceAccountNamespace"]) == (
        "multikueue-sa",
        "kueue-system",
    )
    assert request["secretName"] == "training.eu.a"
    assert found["MultiKueueCluster", "", "training.eu.a"]["spec"] == {
        "clusterSource": {"kubeConfig": {"location": "training.eu.a", "locationType": "Secret"}}
    }
    assert clusters(plan) == {"training": ["training.eu.a", "training.us.b"]}
    assert found["AdmissionCheck", "", "training"]["spec"] == {
        "controllerName": "kueue.x-k8s.io/multikueue",
        "parameters": {"apiGroup": "kueue.x-k8s.io", "kind": "MultiKueueConfig", "name": "training"},
    }
    queue = found["ClusterQueue", "", "training"]["spec"]
    assert queue["admissionChecksStrategy"] == {"admissionChecks": [{"name": "training"}]}
    assert queue["resourceGroups"] == [
        {
            "coveredResources": ["cpu", "memory", "nvidia.com/gpu"],
            "flavors": [
                {
                    "name": "training",
                    "resources": [
                        {"name": "cpu", "nominalQuota": "1M"},
                        {"name": "memory", "nominalQuota": "1Pi"},
                        {"name": "nvidia.com/gpu", "nominalQuota": "12"},
                    ],
                }
            ],
        }
    ]
    assert found["LocalQueue", "team-a", "jobs"]["spec"] == {"clusterQueue": "training"}
    assert plan.finding.ready


def test_the_role_in_a_member_has_the_rules_of_kueues_own_script_and_more_only_if_asked() -> None:
    def rules(*kinds: str) -> dict[str, list[str]]:
        found = objects(planned(situation(A, written={"jobKinds": list(kinds)}), 0.0))
        (role,) = found["AuthTokenRequest", "kueue-system", "training.eu.a"]["spec"]["clusterRoles"]
        assert role["name"] == "multikueue-sa-role"
        return {
            f"{rule['apiGroups'][0]}/{resource}": rule["verbs"]
            for rule in role["rules"]
            for resource in rule["resources"]
        }

    follow = ["create", "delete", "get", "list", "watch"]
    plain = rules()
    assert plain["batch/jobs"] == follow
    assert plain["batch/jobs/status"] == ["get"]
    assert plain["/pods"] == follow
    assert "/pods/status" not in plain
    assert plain["ray.io/rayclusters"] == [*follow, "update", "patch"]
    assert plain["kueue.x-k8s.io/workloads"] == [*follow, "update", "patch"]
    assert plain["kueue.x-k8s.io/workloads/status"] == ["get", "patch", "update"]
    assert (
        plain["kueue.x-k8s.io/clusterqueues"] == plain["kueue.x-k8s.io/localqueues"] == ["get", "list", "watch"]
    )
    assert len(plain) == 13 * 2 + 1 + 4
    assert rules("trainjobs", "jaxjobs").keys() - plain.keys() == {
        "trainer.kubeflow.org/trainjobs",
        "trainer.kubeflow.org/trainjobs/status",
        "kubeflow.org/jaxjobs",
        "kubeflow.org/jaxjobs/status",
    }


def test_a_member_gets_namespaces_flavors_by_product_and_queues_of_the_same_names() -> None:
    plan = planned(situation(member("/mixed", (T4, 4, 4), (A100, 8, 2))), 0.0)
    (worker,) = plan.workers
    assert (worker.name, worker.path) == ("kueue-training-mixed-" + worker.name[-10:], "/mixed")
    named = [
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
        for each in worker.manifests
    ]
    assert named == [
        ("Namespace", "", "team-a"),
        ("Namespace", "", "team-b"),
        ("ResourceFlavor", "", "training"),
        ("ResourceFlavor", "", "training.nvidia-a100-sxm4-40gb"),
        ("ResourceFlavor", "", "training.tesla-t4"),
        ("ClusterQueue", "", "training"),
        ("LocalQueue", "team-a", "jobs"),
        ("LocalQueue", "team-b", "jobs"),
    ]
    flavors = {
        each["metadata"]["name"]: each["spec"] for each in worker.manifests if each["kind"] == "ResourceFlavor"
    }
    assert flavors["training.tesla-t4"] == {"nodeLabels": {"nvidia.com/gpu.product": "Tesla-T4"}}
    assert flavors["training"] == {}
    queue = next(each for each in worker.manifests if each["kind"] == "ClusterQueue")
    quotas = {
        (flavor["name"], resource["name"]): resource["nominalQuota"]
        for group in queue["spec"]["resourceGroups"]
        for flavor in group["flavors"]
        for resource in flavor["resources"]
    }
    assert quotas == {
        ("training", "cpu"): "1M",
        ("training", "memory"): "1Pi",
        ("training.nvidia-a100-sxm4-40gb", "nvidia.com/gpu"): "8",
        ("training.tesla-t4", "nvidia.com/gpu"): "4",
    }


def test_without_queues_and_workers_none_are_made() -> None:
    plan = planned(situation(A, written={}), 0.0)
    assert {kind for kind, _, _ in objects(plan)} == {
        "AuthTokenRequest",
        "MultiKueueCluster",
        "MultiKueueConfig",
        "AdmissionCheck",
    }
    assert not plan.workers


def test_more_than_twenty_members_have_configs_checks_and_queues_by_the_shard() -> None:
    plan = planned(situation(*(member(f"/m{number}", (T4, 1, 1)) for number in range(41))), 0.0)
    assert {name: len(names) for name, names in clusters(plan).items()} == {
        "training": 20,
        "training.2": 20,
        "training.3": 1,
    }
    found = objects(plan)
    assert found["LocalQueue", "team-a", "jobs-3"]["spec"] == {"clusterQueue": "training.3"}
    last = next(path for path, known in known_by(plan).items() if known.shard == 2)
    worker = next(one for one in plan.workers if one.path == last)
    assert [each["metadata"]["name"] for each in worker.manifests if each["kind"] == "LocalQueue"] == [
        "jobs-3"
    ] * 2


def test_a_member_without_a_profile_waits_and_is_named() -> None:
    plan = planned(situation(A, B, unpublished=["/us/b"]), 0.0)
    assert clusters(plan) == {"training": ["training.eu.a"]}
    assert plan.finding.reason == "ProfileMissing"
    assert "/us/b has no ClusterProfile in namespace kueue-system" in plan.finding.message


def test_a_member_whose_name_is_somebody_elses_is_left_out_of_the_config_and_named() -> None:
    plan = planned(situation(A, B, taken={"/us/b": "MultiKueueCluster training.us.b"}), 0.0)
    assert clusters(plan) == {"training": ["training.eu.a"]}
    assert plan.finding.reason == "NameTaken"
    assert "/us/b is left out, as MultiKueueCluster training.us.b was not made" in plan.finding.message


def test_the_cluster_of_kueues_manager_is_never_its_own_member() -> None:
    plan = planned(situation(A, B, own_uid=B.cluster_uid), 0.0)
    assert clusters(plan) == {"training": ["training.eu.a"]}
    assert "/us/b is left out: it is the cluster of Kueue's manager" in plan.finding.message


def test_an_offline_member_stays() -> None:
    lost = member("/eu/a", (T4, 4, 4), liveness="lost")
    before = planned(situation(A, B), 0.0)
    assert clusters(planned(situation(lost, B, known=known_by(before)), 10.0)) == clusters(before)


def test_free_gpus_change_nothing_and_what_is_not_known_lowers_no_quota() -> None:
    before = planned(situation(A, B), 0.0)
    busy = member("/us/b", (A100, 8, 0))
    assert planned(situation(A, busy, known=known_by(before)), 10.0).wanted == before.wanted
    unknown = member("/us/b", age=math.inf)
    standing = objects(before)["ClusterQueue", "", FLEET]["spec"]["resourceGroups"]
    after = planned(situation(A, unknown, known=known_by(before), standing={0: standing}), 10.0)
    assert after.wanted == before.wanted
    assert [one.path for one in after.workers] == ["/eu/a"]
    assert len(after.kept_workers) == 1


def test_a_fleet_that_ends_admits_nothing_more_and_goes_when_its_last_job_has() -> None:
    known = known_by(planned(situation(A), 0.0))
    plan = planned(situation(known=known, busy={"/eu/a": 1}, ended=True), 10.0)
    assert objects(plan)["ClusterQueue", "", FLEET]["spec"]["stopPolicy"] == "Hold"
    assert clusters(plan) == {"training": ["training.eu.a"]}
    known = {"/eu/a": KnownCluster("/eu/a", 0, 10.0, "eu-a")}
    assert not planned(situation(known=known, ended=True), 10.0 + SETTLE).wanted


def test_a_cordoned_member_goes_only_where_the_fleet_says_so() -> None:
    known = known_by(planned(situation(A), 0.0))
    cordoned = member("/eu/a", (T4, 4, 4), cordoned=True)
    assert "/eu/a" in known_by(planned(situation(cordoned, known=known), 99.0))
    plan = planned(situation(cordoned, known=known, written={"removal": {"cordoned": True}}), 99.0)
    assert isinstance(plan.states["/eu/a"], Draining)
    assert known_by(plan)["/eu/a"].since == 99.0


NAMES = [f"/m{number}" for number in range(30)]
HISTORY = st.lists(
    st.tuples(st.sets(st.sampled_from(NAMES), max_size=25), st.sets(st.sampled_from(NAMES), max_size=5)),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=40)
@given(HISTORY)
def test_whatever_comes_and_goes_nobody_moves_between_configs_and_nobody_busy_leaves(
    history: list[tuple[set[str], set[str]]],
) -> None:
    known: dict[str, KnownCluster] = {}
    for step, (paths, busy) in enumerate(history):
        members = [member(path) for path in sorted(paths)]
        plan = planned(
            situation(*members, known=known, busy=dict.fromkeys(busy, 1), written={}), 100.0 * (step + 1)
        )
        after = known_by(plan)
        assert all(after[path].shard == known[path].shard for path in after.keys() & known.keys())
        assert not {path for path in known if path in busy} - after.keys()
        assert paths <= after.keys()
        assert all(len(names) <= 20 for names in clusters(plan).values())
        assert sorted(name for names in clusters(plan).values() for name in names) == sorted(
            f"training.{path[1:]}" for path in after
        )
        known = after

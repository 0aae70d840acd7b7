"""Names are within limits and never stand for two things; what a Fleet says is checked field by field."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbora.errors import InvalidInput
from arbora_hub.kubernetes.multikueue.names import cluster_name, flavor_name, label_value, queue_name, worker_name
from arbora_hub.kubernetes.multikueue.settings import check_lasting, read_settings

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
FLEETS = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
PATHS = st.lists(LABEL, min_size=1, max_size=8).map(lambda labels: "/" + "/".join(labels))
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@given(FLEETS, PATHS, FLEETS, PATHS)
def test_two_members_never_share_a_name(fleet: str, path: str, other: str, elsewhere: str) -> None:
    same = (fleet, path) == (other, elsewhere)
    assert (cluster_name(fleet, path) == cluster_name(other, elsewhere)) == same


@given(FLEETS, PATHS)
def test_names_are_what_kubernetes_takes(fleet: str, path: str) -> None:
    assert SUBDOMAIN.fullmatch(cluster_name(fleet, path))
    assert len(cluster_name(fleet, path)) <= 253
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", worker_name(fleet, path))
    assert len(worker_name(fleet, path)) <= 63
    assert len(label_value(fleet)) <= 63


def test_fleets_and_paths_that_join_to_the_same_text_are_told_apart() -> None:
    assert cluster_name("a", "/b/c") == "a.b.c"
    assert cluster_name("a.b", "/c") != "a.b.c"


def test_queues_of_further_shards_are_numbered_and_products_are_readable() -> None:
    assert [queue_name("jobs", shard) for shard in range(3)] == ["jobs", "jobs-2", "jobs-3"]
    assert len(queue_name("j" * 63, 12)) == 63
    assert flavor_name("training", "NVIDIA-A100-SXM4-40GB") == "training.nvidia-a100-sxm4-40gb"


def test_nothing_has_to_be_said() -> None:
    settings = read_settings("training", {})
    assert (settings.name, settings.namespace, settings.queues, settings.workers) == (
        "training",
        "kueue-system",
        None,
        None,
    )
    assert settings.dispatch.weights == {"free": 1.0}
    assert settings.removal.after is None


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({"nmae": "x"}, "spec.multiKueue.nmae"),
        ({"name": "Not A Name"}, "spec.multiKueue.name"),
        ({"jobKinds": ["jobs"]}, "spec.multiKueue.jobKinds[0]"),
        ({"queues": {"namespaces": []}}, "spec.multiKueue.queues.namespaces"),
        ({"queues": {"namespaces": ["a"], "quota": {"cpu": "lots"}}}, "spec.multiKueue.queues.quota.cpu"),
        ({"queues": {"namespaces": ["a"], "quota": {"cpu": "-1"}}}, "spec.multiKueue.queues.quota.cpu"),
        ({"workers": {}}, "spec.multiKueue.workers"),
        ({"dispatch": {"by": "chance"}}, "spec.multiKueue.dispatch.by"),
        ({"dispatch": {"retryAfterSeconds": 1}}, "spec.multiKueue.dispatch.retryAfterSeconds"),
        ({"dispatch": {"weights": {"beauty": 1}}}, "spec.multiKueue.dispatch.weights.beauty"),
        ({"removal": {"afterSeconds": -1}}, "spec.multiKueue.removal.afterSeconds"),
        ({"expirationSeconds": 60}, "spec.multiKueue.expirationSeconds"),
    ],
)
def test_what_is_wrong_is_named(written: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_settings("training", written)
    assert caught.value.field == field


def test_name_and_namespace_do_not_change_under_what_runs() -> None:
    before = read_settings("training", {"name": "one"})
    check_lasting(before, read_settings("training", {"name": "one", "queues": {"namespaces": ["a"]}}))
    for changed, field in (({"name": "two"}, "name"), ({"name": "one", "namespace": "other"}, "namespace")):
        with pytest.raises(InvalidInput) as caught:
            check_lasting(before, read_settings("training", changed))
        assert caught.value.field == f"spec.multiKueue.{field}"

"""What the hub tells MultiKueue: whose token is kept while a member drains, and who is still in a Fleet."""

from __future__ import annotations

from typing import Any, cast

import pytest

from arbora.errors import Unavailable
from arbora.kubernetes.api import ApiServer
from arbora_hub.kubernetes.collection import Collection
from arbora_hub.kubernetes.multikueue.here import Retained
from arbora_hub.kubernetes.multikueue.kinds import FLEET_ANNOTATION, FLEET_LABEL, MULTIKUEUE_CLUSTER
from arbora_hub.kubernetes.multikueue.objects import ClusterWanted, for_member
from arbora_hub.kubernetes.multikueue.settings import read_settings


def made() -> tuple[dict[str, Any], Collection]:
    """The metadata of a request that MultiKueue made, and the MultiKueueClusters that there are."""
    settings = read_settings("training", {})
    request, cluster = for_member("training", settings, ClusterWanted("/eu/edge-7", 0, "eu-edge-7"))
    mirror = Collection(cast(ApiServer, None), MULTIKUEUE_CLUSTER)
    mirror.begin()
    mirror.page([cluster.body])
    mirror.end("1")
    return dict(request.body["metadata"]), mirror


def test_the_request_of_a_member_that_kueue_knows_is_for_that_member() -> None:
    request, clusters = made()
    assert Retained(clusters, lambda: True).path(request) == "/eu/edge-7"


@pytest.mark.parametrize(
    "changed",
    [{"namespace": "team-a"}, {"name": "training.eu.other"}, {"labels": {}}],
    ids=["one of that name in another namespace", "one that Kueue does not know", "one that says nothing"],
)
def test_no_other_request_reaches_it(changed: dict[str, Any]) -> None:
    request, clusters = made()
    assert Retained(clusters, lambda: True).path({**request, **changed}) is None


def test_a_cluster_that_the_hub_did_not_make_keeps_nothing() -> None:
    request, clusters = made()
    (cluster,) = clusters
    foreign = {
        **cluster["metadata"],
        "annotations": {**cluster["metadata"]["annotations"], FLEET_ANNOTATION: "x"},
    }
    clusters.put({**cluster, "metadata": foreign | {"resourceVersion": "2"}})
    assert request["labels"][FLEET_LABEL]
    assert Retained(clusters, lambda: True).path(request) is None


def test_before_it_is_known_whom_kueue_knows_nothing_is_concluded() -> None:
    request, _ = made()
    unknown = Collection(cast(ApiServer, None), MULTIKUEUE_CLUSTER)
    for served in (None, True):
        with pytest.raises(Unavailable):
            Retained(unknown, lambda served=served: served).path(request)  # type: ignore[misc]


def test_where_kueue_is_not_nothing_is_kept_for_it() -> None:
    request, _ = made()
    unknown = Collection(cast(ApiServer, None), MULTIKUEUE_CLUSTER)
    assert Retained(unknown, lambda: False).path(request) is None

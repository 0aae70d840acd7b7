"""What a member needs so that Kueue there admits what comes from here, as manifests of one Arbora workload. Pure.

Kueue copies a Workload into the namespace of the same name, where it asks for the LocalQueue of the same name: a
member that lacks either never admits it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arbora.kubernetes.discovery import Resource
from arbora.manifests.objects import Manifest
from arbora_hub.kubernetes.kinds import NAMESPACE
from arbora_hub.kubernetes.multikueue.kinds import CLUSTER_QUEUE, LOCAL_QUEUE, RESOURCE_FLAVOR
from arbora_hub.kubernetes.multikueue.names import queue_name
from arbora_hub.kubernetes.multikueue.objects import queue_spec
from arbora_hub.kubernetes.multikueue.quotas import by_product
from arbora_hub.kubernetes.multikueue.settings import MultiKueueSettings
from arbora_hub.placement.rows import Row


def worker_manifests(settings: MultiKueueSettings, shard: int, rows: Sequence[Row]) -> tuple[Manifest, ...]:
    """The objects of one member; none where a Fleet wants none. rows: what the member has."""
    queues, workers = settings.queues, settings.workers
    if queues is None or workers is None:
        return ()
    groups = by_product(rows, workers.quota, settings.name)
    namespaces = queues.namespaces if workers.create_namespaces else ()
    return (
        *(_manifest(NAMESPACE, each) for each in namespaces),
        *(
            _manifest(RESOURCE_FLAVOR, one.name, spec={"nodeLabels": dict(one.labels)} if one.labels else {})
            for group in groups
            for one in group.flavors
        ),
        _manifest(
            CLUSTER_QUEUE, settings.name, spec=queue_spec([one.data() for one in groups], queues.namespaces)
        ),
        *(
            _manifest(
                LOCAL_QUEUE,
                queue_name(queues.local_queue, shard),
                namespace=each,
                spec={"clusterQueue": settings.name},
            )
            for each in queues.namespaces
        ),
    )


def _manifest(
    kind: Resource, name: str, *, namespace: str = "", spec: dict[str, Any] | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "apiVersion": kind.gvk.api_version,
        "kind": kind.gvk.kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
    }
    return body if spec is None else {**body, "spec": spec}
